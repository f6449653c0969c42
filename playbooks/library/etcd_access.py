#!/usr/bin/python
"""Users and roles of etcd, and authentication on: who is who is the certificate's CN."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.etcd_control import OPTIONS, Etcdctl, EtcdctlFailed, control

DOCUMENTATION = r"""
module: etcd_access
short_description: Give users their rights by certificate CN and turn authentication on
description:
  - Users have no password, so that a certificate of the testbed's CA is the only way in.
  - Can be repeated from any half-done state.
options:
  etcdctl: {type: path, required: true, description: The program.}
  endpoints: {type: list, elements: str, required: true, description: URLs of all members.}
  ca: {type: path, required: true, description: The CA's certificate.}
  cert: {type: path, required: true, description: Certificate of user root.}
  key: {type: path, required: true, description: Its key.}
  user: {type: str, required: true, description: The user that brings the load.}
  prefix: {type: str, required: true, description: The keys it may read and write.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The load's user may read and write its keys
  etcd_access:
    etcdctl: /opt/soakbed/bin/etcdctl
    endpoints: [https://10.83.17.11:2379]
    ca: /etc/soakbed/pki/ca.crt
    cert: /etc/soakbed/pki/admin.crt
    key: /etc/soakbed/pki/admin.key
    user: bench
    prefix: /bench/
"""
RETURN = r"""
did: {type: list, returned: always, description: What was changed, in etcdctl's words.}
"""


def granted(etcd: Etcdctl, prefix: str, role: str) -> bool:
    """Whether the role may read and write exactly below the prefix."""
    lines = [line.strip() for line in etcd.run("role", "get", role).splitlines()]
    return sum(line.startswith(f"[{prefix}, ") for line in lines) == 2


def missing(etcd: Etcdctl, user: str, prefix: str) -> list[list[str]]:
    """The commands that are still to be run, in order."""
    users = etcd.run("user", "list").split()
    roles = etcd.run("role", "list").split()
    todo = []
    for name in ("root", user):
        if name not in roles:
            todo.append(["role", "add", name])
        if name not in users:
            todo.append(["user", "add", name, "--no-password"])
        if name not in users or name not in etcd.run("user", "get", name).split()[2:]:
            todo.append(["user", "grant-role", name, name])
    if user not in roles or not granted(etcd, prefix, user):
        todo.append(["role", "grant-permission", user, "readwrite", prefix, "--prefix=true"])
    status = etcd.json("auth", "status")
    if not status.get("enabled"):
        todo.append(["auth", "enable"])
    return todo


def main() -> None:
    """Run as a module."""
    more = {"user": {"type": "str", "required": True}, "prefix": {"type": "str", "required": True}}
    module = AnsibleModule(argument_spec=OPTIONS | more, supports_check_mode=True)
    etcd = control(module.params)
    try:
        todo = missing(etcd, module.params["user"], module.params["prefix"])
        for words in todo if not module.check_mode else []:
            etcd.run(*words)
    except EtcdctlFailed as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(todo), did=[" ".join(words) for words in todo])


if __name__ == "__main__":
    main()
