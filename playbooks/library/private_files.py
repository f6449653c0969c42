#!/usr/bin/python
"""Writes a handful of small files in one round trip, keys and passwords among them."""

from __future__ import annotations

import grp
import os
import pwd
import tempfile

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: private_files
short_description: Write small files with owner and mode in one round trip
description: Contents never appear in the result; a file is whole or absent, never half.
options:
  directory: {type: path, required: true, description: Folder of all files; made when missing.}
  directory_mode: {type: str, default: "0755", description: Its mode.}
  files:
    type: list
    elements: dict
    required: true
    description: Each has name, content, owner and mode.
  only: {type: bool, default: false, description: Remove every other file in the folder.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The key is in place
  private_files:
    directory: /etc/soakbed/pki
    files: [{name: host.key, content: "...", owner: soakbed, mode: "0600"}]
  no_log: true
"""
RETURN = r"""
written: {type: list, returned: always, description: Names of files that were changed.}
"""


def settle(directory: str, wanted: dict, check: bool) -> bool:
    """Bring one file to content, owner and mode. True when that changed it."""
    path = os.path.join(directory, wanted["name"])
    content = wanted["content"].encode()
    mode = int(str(wanted["mode"]), 8)
    owner = pwd.getpwnam(wanted["owner"])
    group = grp.getgrgid(owner.pw_gid).gr_gid
    if os.path.isfile(path) and not os.path.islink(path):
        now = os.stat(path)
        with open(path, "rb") as stream:
            same = stream.read() == content
        if same and (now.st_mode & 0o7777, now.st_uid, now.st_gid) == (mode, owner.pw_uid, group):
            return False
    if check:
        return True
    handle, partial = tempfile.mkstemp(prefix=".soakbed-", dir=directory)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    os.chown(partial, owner.pw_uid, group)
    os.chmod(partial, mode)
    os.replace(partial, path)
    return True


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "directory_mode": {"type": "str", "default": "0755"},
            "files": {"type": "list", "elements": "dict", "required": True, "no_log": True},
            "only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    directory = given["directory"]
    made = not os.path.isdir(directory)
    if made and check:
        module.exit_json(changed=True, written=[])
    os.makedirs(directory, mode=int(given["directory_mode"], 8), exist_ok=True)
    try:
        written = [file["name"] for file in given["files"] if settle(directory, file, check)]
    except KeyError as error:
        module.fail_json(msg=f"no such user on this host: {error}")
    names = {file["name"] for file in given["files"]}
    left = sorted(set(os.listdir(directory)) - names) if given["only"] else []
    for name in left:
        if not check:
            os.unlink(os.path.join(directory, name))
    module.exit_json(changed=made or bool(written) or bool(left), written=written, removed=left)


if __name__ == "__main__":
    main()
