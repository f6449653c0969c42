#!/usr/bin/python
"""Waits until this host's Redis members are whole, and reads back what they run with."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mutual_tls import ReplyError, Resp, admits_strangers, fields
from ansible.module_utils.redis_options import OPTIONS, NotYet, connect

DOCUMENTATION = r"""
module: redis_members
short_description: Check the members of one host and read their configuration back
description: Asks over mutual TLS only; passwords are left out of what is returned.
options:
  members:
    type: list
    elements: dict
    required: true
    description: Each has name, address and port.
  wants: {type: dict, required: true, description: Settings that must be read back like this.}
  whole: {type: bool, default: true, description: Also wait for the cluster to be whole.}
  ca: {type: path, required: true, description: The CA's certificate.}
  cert: {type: path, required: true, description: A certificate of that CA.}
  key: {type: path, required: true, description: Its key.}
  user: {type: str, required: true, description: ACL user that may read the configuration.}
  password: {type: str, required: true, description: Its password.}
  timeout_s: {type: int, default: 60, description: How long readiness may take.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: Members are whole
  redis_members:
    members: [{name: d1-master, address: 10.83.17.11, port: 6379}]
    wants: {appendonly: "yes"}
    ca: /etc/soakbed/pki/ca.crt
    cert: /etc/soakbed/pki/host.crt
    key: /etc/soakbed/pki/host.key
    user: admin
    password: "{{ password }}"
"""
RETURN = r"""
soakbed: {type: dict, returned: success, description: Effective settings and health.}
"""

SECRETS = {"masterauth", "requirepass", "tls-key-file-pass", "tls-client-key-file-pass"}
ALWAYS = {"port": "0", "tls-auth-clients": "yes", "tls-cluster": "yes", "tls-replication": "yes"}
SLOTS = 16384
BUS_OFFSET = 10000
POLL_S = 0.2


def settings(link: Resp) -> dict[str, str]:
    """CONFIG GET *, without what is secret."""
    words = link.call("CONFIG", "GET", "*")
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    return {key: value for key, value in sorted(pairs.items()) if key not in SECRETS}


def locked(link: Resp) -> None:
    """Raise NotYet unless the user without a name is off."""
    reply = link.call("ACL", "GETUSER", "default")
    if "off" not in reply[reply.index("flags") + 1]:
        raise NotYet("the ACL user default is not off")


def whole(link: Resp) -> None:
    """Raise NotYet unless the member calls the cluster whole and is linked to its master."""
    info = fields(link.text("CLUSTER", "INFO"))
    if info["cluster_state"] != "ok" or int(info["cluster_slots_ok"]) != SLOTS:
        covered = int(info["cluster_slots_ok"])
        raise NotYet(f"cluster is {info['cluster_state']}, {covered:,} of {SLOTS:,} slots")
    if link.info("replication").get("master_link_status", "up") != "up":
        raise NotYet("its link to the master is down")


def look(given: dict, member: dict) -> dict[str, str]:
    """One member, everything at once; raises when anything is not as it must be."""
    address, port = member["address"], int(member["port"])
    link = connect(given, address, port)
    try:
        if given["whole"]:
            whole(link)
        locked(link)
        running = settings(link)
        server = link.info("server")
        persistence = link.info("persistence")
    finally:
        link.close()
    for key, value in {**ALWAYS, **given["wants"]}.items():
        if running.get(key) != str(value):
            raise NotYet(f"{key} is {running.get(key)!r}, wanted {value!r}")
    if persistence.get("loading", "0") != "0":
        raise NotYet("it is still loading its data")
    for open_port in (port, port + BUS_OFFSET):
        if admits_strangers(address, open_port, given["ca"]):
            raise NotYet(f"port {open_port} answers a client that shows no certificate")
    return {**running, "version": server["redis_version"]}


def waited(given: dict, member: dict, until: float) -> dict[str, str]:
    """Look until all is well. Raises NotYet, naming the member, when time is up."""
    while True:
        try:
            return look(given, member)
        except (NotYet, ReplyError, OSError) as reason:
            if time.monotonic() > until:
                raise NotYet(f"{member['name']}: {reason}") from reason
        time.sleep(POLL_S)


def main() -> None:
    """Run as a module."""
    more = {
        "members": {"type": "list", "elements": "dict", "required": True},
        "wants": {"type": "dict", "required": True},
        "whole": {"type": "bool", "default": True},
    }
    module = AnsibleModule(argument_spec=OPTIONS | more, supports_check_mode=True)
    given = module.params
    until = time.monotonic() + given["timeout_s"]
    try:
        effective = {m["name"]: waited(given, m, until) for m in given["members"]}
    except NotYet as reason:
        module.fail_json(msg=f"not ready after {given['timeout_s']} s: {reason}")
    module.exit_json(changed=False, soakbed={"effective": effective})


if __name__ == "__main__":
    main()
