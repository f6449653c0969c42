#!/usr/bin/python
"""Folders and small files in one round trip, keys and passwords among them."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: small_files
short_description: Make folders and write small files, with owner and mode, in one round trip
description:
  - A task per file would cost a second each on small machines; a target has up to ten.
  - Contents never appear in the result; a file is whole or absent, never half.
options:
  folders:
    type: list
    elements: dict
    default: []
    description: Each has path, owner and mode.
  files:
    type: list
    elements: dict
    default: []
    description: Each has path, content, owner and mode. Their folders must exist.
  exclusive: {type: path, description: Folder in which every other file is removed.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The key is in place
  small_files:
    folders: [{path: /etc/soakbed/pki, owner: root, mode: "0755"}]
    files: [{path: /etc/soakbed/pki/host.key, content: "...", owner: soakbed, mode: "0600"}]
  no_log: true
"""
RETURN = r"""
written: {type: list, returned: always, description: Paths that were changed.}
"""


class Wanted:
    """A path with the owner and mode it is to have."""

    def __init__(self, given: dict) -> None:
        self.path = Path(given["path"])
        self.content = given.get("content")
        self.mode = int(str(given["mode"]), 8)
        owner = pwd.getpwnam(given["owner"])
        self.ids = (owner.pw_uid, owner.pw_gid)

    def dressed(self) -> bool:
        """Whether owner and mode are right."""
        now = self.path.stat()
        return (now.st_mode & 0o7777, now.st_uid, now.st_gid) == (self.mode, *self.ids)

    def folder(self, *, check: bool) -> bool:
        """Bring a folder about. True when that changed it."""
        if self.path.is_dir() and self.dressed():
            return False
        if not check:
            self.path.mkdir(parents=True, exist_ok=True)
            os.chown(self.path, *self.ids)
            self.path.chmod(self.mode)
        return True

    def file(self, *, check: bool) -> bool:
        """Bring a file about. True when that changed it."""
        content = str(self.content).encode()
        is_file = self.path.is_file() and not self.path.is_symlink()
        if is_file and self.dressed() and self.path.read_bytes() == content:
            return False
        if not check:
            handle, partial = tempfile.mkstemp(prefix=".soakbed-", dir=self.path.parent)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.chown(partial, *self.ids)
            Path(partial).chmod(self.mode)
            Path(partial).replace(self.path)
        return True


def strangers(folder: str | None, files: list[Wanted]) -> list[Path]:
    """Files of the exclusive folder that nobody asked for."""
    if not folder or not Path(folder).is_dir():
        return []
    return sorted(set(Path(folder).iterdir()) - {file.path for file in files})


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "folders": {"type": "list", "elements": "dict", "default": []},
            "files": {"type": "list", "elements": "dict", "default": [], "no_log": True},
            "exclusive": {"type": "path"},
        },
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    try:
        folders = [Wanted(folder) for folder in given["folders"]]
        files = [Wanted(file) for file in given["files"]]
    except KeyError as error:
        module.fail_json(msg=f"a key or a user that does not exist: {error}")
    written = [str(folder.path) for folder in folders if folder.folder(check=check)]
    written += [str(file.path) for file in files if file.file(check=check)]
    left = strangers(given["exclusive"], files)
    for path in left if not check else []:
        path.unlink()
    written += [str(path) for path in left]
    module.exit_json(changed=bool(written), written=written)


if __name__ == "__main__":
    main()
