#!/usr/bin/python
"""Stops a target's members on a host and makes sure that no process of theirs is left."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.member_units import show

DOCUMENTATION = r"""
module: members_stopped
short_description: Stop and disable units, and prove that their binaries run no more
description: Units that do not exist are fine.
options:
  units: {type: list, elements: str, required: true, description: Units to stop.}
  binaries: {type: list, elements: path, required: true, description: What they ran.}
  timeout_s: {type: int, default: 30, description: How long the processes may take to end.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The member is stopped
  members_stopped: {units: [soakbed-etcd.service], binaries: [/opt/soakbed/bin/etcd]}
"""
RETURN = r"""
stopped: {type: list, returned: always, description: Units that ran or were enabled.}
"""


def running(binaries: list[str]) -> list[int]:
    """Processes that run one of these binaries, also when the file was replaced since."""
    wanted = {os.path.realpath(path) for path in binaries}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                program = os.readlink(entry / "exe").removesuffix(" (deleted)")
            except OSError:
                continue
            if program in wanted:
                found.append(int(entry.name))
    return found


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "binaries": {"type": "list", "elements": "path", "required": True},
            "timeout_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    given = module.params
    states = show(given["units"])
    busy = [n for n, unit in states.items() if unit["active"] or unit["enabled"]]
    failed = [name for name, unit in states.items() if unit["state"] == "failed"]
    if module.check_mode:
        module.exit_json(changed=bool(busy), stopped=busy)
    if busy:
        subprocess.run(["systemctl", "disable", "--quiet", "--now", *busy], check=True)
    if failed:
        subprocess.run(["systemctl", "reset-failed", *failed], check=False)
    until = time.monotonic() + given["timeout_s"]
    while (left := running(given["binaries"])) and time.monotonic() < until:
        time.sleep(0.1)
    if left:
        module.fail_json(msg=f"processes {left} still run {given['binaries']}; end them by hand")
    module.exit_json(changed=bool(busy), stopped=busy)


if __name__ == "__main__":
    main()
