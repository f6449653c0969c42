#!/usr/bin/python
"""Stops a target's members on a host, proves that no process is left, and empties its folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.member_units import show

DOCUMENTATION = r"""
module: target_wiped
short_description: End members, prove that their binaries run no more, and remove their folders
description:
  - Members are killed, not asked. Their data goes anyway, and etcd's orderly stop of all members
    at once takes seconds, since its leader looks for a successor.
  - What does not exist is fine.
options:
  units: {type: list, elements: str, required: true, description: Units to end.}
  binaries: {type: list, elements: path, required: true, description: What they ran.}
  folders: {type: list, elements: path, required: true, description: What is removed.}
  timeout_s: {type: int, default: 30, description: How long the processes may take to end.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: Target is gone
  target_wiped:
    units: [soakbed-etcd.service]
    binaries: [/opt/soakbed/bin/etcd]
    folders: [/data/etcd]
"""
RETURN = r"""
stopped: {type: list, returned: always, description: Units that ran or were enabled.}
removed: {type: list, returned: always, description: Folders that were there.}
"""


def running(binaries: list[str]) -> list[int]:
    """Processes that run one of these binaries, also when the file was replaced since."""
    wanted = {os.path.realpath(path) for path in binaries}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                program = str((entry / "exe").readlink()).removesuffix(" (deleted)")
            except OSError:
                continue
            if program in wanted:
                found.append(int(entry.name))
    return found


def end(units: list[str]) -> None:
    """Kill, then tell systemd that this is how it should be."""
    subprocess.run(["systemctl", "kill", "--signal=KILL", *units], check=False)
    subprocess.run(["systemctl", "disable", "--quiet", "--now", *units], check=True)
    subprocess.run(["systemctl", "reset-failed", *units], check=False, capture_output=True)


def aside(folder: Path) -> Path:
    """Where a folder is put before it is emptied; on the same disk."""
    return folder.with_name(f".{folder.name}.wiped")


def remove(folder: Path) -> None:
    """Out of the way in one step, then gone: half a member's data would look like a whole one's."""
    if aside(folder).exists():
        shutil.rmtree(aside(folder))
    if folder.exists():
        folder.rename(aside(folder))
        shutil.rmtree(aside(folder))


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "binaries": {"type": "list", "elements": "path", "required": True},
            "folders": {"type": "list", "elements": "path", "required": True},
            "timeout_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    given = module.params
    states = show(given["units"]).items()
    busy = [n for n, unit in states if unit["active"] or unit["enabled"] or unit["failed"]]
    wanted = [Path(folder) for folder in given["folders"]]
    folders = [str(path) for path in wanted if path.exists() or aside(path).exists()]
    if not module.check_mode:
        if busy:
            end(busy)
        until = time.monotonic() + given["timeout_s"]
        while (left := running(given["binaries"])) and time.monotonic() < until:
            time.sleep(0.05)
        if left:
            module.fail_json(msg=f"processes {left} still run {given['binaries']}; end them")
        for folder in folders:
            remove(Path(folder))
    module.exit_json(changed=bool(busy or folders), stopped=busy, removed=folders)


if __name__ == "__main__":
    main()
