#!/usr/bin/python
"""Finds a host's local disk by its model, formats it if it is blank, and mounts it for data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.block_devices import LABEL, choose, disks_of_model
from ansible.module_utils.host_parts import mount_of

DOCUMENTATION = r"""
module: local_disk
short_description: Give a host's database files its local disk
description:
  - Finds whole disks by their model. One that carries our label is mounted; else the first that is
    blank (no signature, no partition, not mounted, nothing built on it) is formatted and mounted.
  - Never writes to a disk on which anything is. Where no disk can be taken, it fails and says why.
options:
  model: {type: str, required: true, description: Model that the disk reports.}
  data_dir: {type: path, required: true, description: Where it is mounted.}
  filesystems:
    type: list
    elements: str
    required: true
    description: In order of preference; the first whose mkfs the host has is made.
author: [soakbed]
"""
EXAMPLES = r"""
- name: The local disk holds the data
  local_disk:
    model: Amazon EC2 NVMe Instance Storage
    data_dir: /data
    filesystems: [xfs, ext4]
"""
RETURN = r"""
soakbed: {type: dict, returned: always, description: The disk taken and the disks left, topic disk.}
"""

_COLUMNS = "NAME,PATH,TYPE,MODEL,SERIAL,SIZE,RO,FSTYPE,LABEL,PTTYPE,MOUNTPOINTS"
# Both discard first by themselves, so that all of an SSD's blocks are fresh alike.
_MAKE = {
    "xfs": ["mkfs.xfs", "-L", LABEL],
    "ext4": ["mkfs.ext4", "-q", "-L", LABEL],
}


def said(*command: str) -> str:
    """What a command printed; raises RuntimeError with its words if it failed."""
    # Nobody answers: a tool that asks whether to go on must not.
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def signatures_on(path: str) -> list | None:
    """What wipefs reads on the disk itself; None if it could not be read."""
    try:
        text = said("wipefs", "--no-act", "--json", "--output", "TYPE,OFFSET", path).strip()
        return list(json.loads(text).get("signatures", [])) if text else []
    except (RuntimeError, ValueError, AttributeError, OSError):
        return None


def held_by_nobody(path: str) -> None:
    """Raise OSError if the kernel uses the disk: mounted, part of a RAID, swap."""
    os.close(os.open(path, os.O_RDONLY | os.O_EXCL))


def tool_for(filesystems: list[str]) -> str:
    """The first of `filesystems` that this host can make."""
    for name in filesystems:
        if name in _MAKE and shutil.which(_MAKE[name][0]):
            return name
    raise RuntimeError(f"this host has none of {', '.join(_MAKE[n][0] for n in filesystems)}")


def fstab_with(text: str, data_dir: str, filesystem: str) -> str:
    """/etc/fstab with the one line that mounts the disk again after a reboot.

    nofail: a local disk of a cloud is blank after a stop, and the host must boot all the same.
    """
    line = f"LABEL={LABEL} {data_dir} {filesystem} defaults,noatime,nofail 0 2"
    kept = [one for one in text.splitlines() if not one.startswith(f"LABEL={LABEL} ")]
    return "\n".join([*kept, line]) + "\n"


def take(path: str, action: str, filesystem: str, data_dir: str) -> None:
    """Format if that was decided, mount, and write it down for the next boot."""
    if action == "format":
        held_by_nobody(path)
        said(*_MAKE[filesystem], path)
    else:
        filesystem = said("lsblk", "--noheadings", "--nodeps", "--output", "FSTYPE", path).strip()
    Path(data_dir).mkdir(parents=True, exist_ok=True)
    if any(Path(data_dir).iterdir()):
        raise RuntimeError(f"{data_dir} is not empty, and what is in it would be hidden")
    fstab = Path("/etc/fstab")
    fstab.write_text(fstab_with(fstab.read_text(), data_dir, filesystem))
    said("mount", "-t", filesystem, "-o", "noatime", path, data_dir)


def mounted_at(data_dir: str) -> bool:
    """Whether `data_dir` is a mount of its own."""
    return mount_of(data_dir)[0] == data_dir.rstrip("/")


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "str", "required": True},
            "data_dir": {"type": "path", "required": True},
            "filesystems": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    model, data_dir = module.params["model"], module.params["data_dir"]
    try:
        listing = json.loads(said("lsblk", "--json", "--bytes", "--output", _COLUMNS))
        disks = disks_of_model(listing, model)
        signatures = {one["path"]: signatures_on(one["path"]) for one in disks}
        choice = choose(disks, signatures, mounted=mounted_at(data_dir))
        if choice.action == "refuse":
            left = "; ".join(f"{path}: {why}" for path, why in choice.refused.items())
            module.fail_json(
                msg=f"no disk of model {model} can hold {data_dir}: {left or 'there is none'}. "
                "Make the host again, or mount a disk there by hand."
            )
        changed = choice.action != "there"
        filesystem = tool_for(module.params["filesystems"]) if choice.action == "format" else ""
        if changed and not module.check_mode:
            take(choice.path, choice.action, filesystem, data_dir)
    except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=f"the disk for {data_dir} could not be made ready: {error}")
    left = [{"disk": path, "reason": why} for path, why in sorted(choice.refused.items())]
    module.exit_json(
        changed=changed,
        soakbed={"disk": {"action": choice.action, "path": choice.path, "left": left}},
    )


if __name__ == "__main__":
    main()
