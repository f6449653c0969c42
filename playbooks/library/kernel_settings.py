#!/usr/bin/python
"""Applies tuning that the host can take, restores what is no longer wanted, reports the rest."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_parts import (
    CAP_SYS_RESOURCE,
    hard_limit_nofile,
    has_capability,
    in_container,
    mount_of,
    owns_network,
    queue_of,
)

DOCUMENTATION = r"""
module: kernel_settings
short_description: Tune kernel, disk and limits as far as the host's own settings go
description:
  - A container shares the kernel of its machine. Settings that are not the host's own are never
    attempted there; they are reported with what was wanted and what was found.
  - The value found before the first change is kept in O(memory), and put back when a setting is
    no longer in O(settings), so that one profile leaves nothing behind for the next.
options:
  data_dir: {type: str, required: true, description: Where database files will lie.}
  settings:
    type: list
    elements: dict
    required: true
    description: Each has name, kind (sysctl, sysfs, scheduler, mount, nofile) and value.
  memory: {type: path, required: true, description: File that remembers the values found.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: Tuning is applied
  kernel_settings:
    data_dir: /data
    memory: /var/lib/soakbed/os_tuning.json
    settings: [{name: net.core.somaxconn, kind: sysctl, value: "32768"}]
"""
RETURN = r"""
soakbed: {type: dict, returned: always, description: Applied and not applied, topic tuning.}
"""

SHARED_KERNEL = "belongs to the machine's kernel, which a container shares"
SHARED_NETWORK = "this container uses the machine's own network"


class Refused(Exception):
    """The host cannot take this setting; the text says why."""


class Setting:
    """A value in a file under /proc/sys or /sys."""

    def __init__(self, name: str, kind: str, value: str, data_dir: str) -> None:
        self.name, self.kind, self.value, self.data_dir = name, kind, value, data_dir

    def file(self) -> Path:
        """Where the value is read and written."""
        if self.kind == "sysctl":
            return Path("/proc/sys") / self.name.replace(".", "/")
        if self.kind == "scheduler":
            queue = queue_of(self.data_dir)
            if queue is None:
                raise Refused(f"{self.data_dir} is on no disk that this host can see")
            return queue / "scheduler"
        return Path(self.name)

    def found(self) -> str:
        """The value now, in the form in which it would be written."""
        if self.kind == "mount":
            return "yes" if self.name in mount_of(self.data_dir)[2] else "no"
        if self.kind == "nofile":
            can_raise = has_capability(CAP_SYS_RESOURCE)
            return self.value if can_raise else str(min(int(self.value), hard_limit_nofile()))
        try:
            text = " ".join(self.file().read_text().split())
        except OSError as error:
            raise Refused(error.strerror or str(error)) from error
        chosen = re.search(r"\[([^]]+)\]", text)
        return chosen[1] if chosen else text

    def apply(self, value: str) -> None:
        """Set it, or say why not."""
        if self.kind == "nofile":
            raise Refused("the hard limit of this host's PID 1 is lower and cannot be raised")
        if self.kind == "mount":
            self._remount(value)
            return
        if in_container() and not (self.kind == "sysctl" and self.name.startswith("net.")):
            raise Refused(SHARED_KERNEL)
        if not owns_network():
            raise Refused(SHARED_NETWORK)
        try:
            self.file().write_text(value)
        except OSError as error:
            raise Refused(error.strerror or str(error)) from error
        if self.found() != value:
            raise Refused(f"the kernel kept {self.found()}")

    def _remount(self, value: str) -> None:
        point = mount_of(self.data_dir)[0]
        if point != self.data_dir.rstrip("/"):
            raise Refused(f"{self.data_dir} is no mount of its own, it is part of {point}")
        # atime first, or the flag that is to go stays: mount(8) adds to the options that are set.
        option = self.name if value == "yes" else "atime,relatime"
        # bind: this mount's own flag, so that the file system beneath keeps its options.
        command = ["mount", "-o", f"remount,bind,{option}", point]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Refused(done.stderr.strip() or "mount failed")
        if self.found() != value:
            raise Refused(f"mount kept {','.join(mount_of(self.data_dir)[2])}")


def settle(settings: list[Setting], before: dict, *, check: bool) -> tuple[list, list, bool]:
    """Bring every setting to its value. Returns applied, not applied, changed."""
    applied, refused, changed = [], [], False
    for setting in settings:
        row = {"setting": setting.name, "wanted": setting.value, "found": ""}
        try:
            row["found"] = setting.found()
            if row["found"] != setting.value:
                if not check:
                    setting.apply(setting.value)
                    before.setdefault(setting.name, {"kind": setting.kind, "value": row["found"]})
                changed = True
            applied.append(row)
        except Refused as refusal:
            refused.append({**row, "reason": str(refusal)})
    return applied, refused, changed


def restore(before: dict, wanted: set, data_dir: str, *, check: bool) -> tuple[list, bool]:
    """Put back what an earlier profile set and this one does not name."""
    refused, changed = [], False
    for name in sorted(set(before) - wanted):
        old = Setting(name, before[name]["kind"], before[name]["value"], data_dir)
        try:
            if old.found() != old.value:
                changed = True
                if not check:
                    old.apply(old.value)
        except Refused as refusal:
            row = {"setting": name, "wanted": old.value, "found": "tuned", "reason": str(refusal)}
            refused.append(row)
            continue
        if not check:
            del before[name]
    return refused, changed


def persisted(settings: list[Setting], applied: list) -> dict[str, str]:
    """Files that bring the values back after a reboot; content "" means no file."""
    names = {row["setting"] for row in applied}
    kept = [setting for setting in settings if setting.name in names]
    sysctl = "".join(f"{s.name} = {s.value}\n" for s in kept if s.kind == "sysctl")
    written = [s for s in kept if s.kind in ("sysfs", "scheduler")]
    if in_container():
        written = []
    sysfs = "".join(f"w {s.file()} - - - - {s.value}\n" for s in written)
    return {"/etc/sysctl.d/90-soakbed.conf": sysctl, "/etc/tmpfiles.d/soakbed.conf": sysfs}


def write_if_changed(path: str, text: str, *, check: bool) -> bool:
    """Write a file, or remove it when there is nothing to say. True when that changed it."""
    file = Path(path)
    now = file.read_text() if file.exists() else ""
    if now == text:
        return False
    if not check:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text) if text else file.unlink()
    return True


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "data_dir": {"type": "str", "required": True},
            "settings": {"type": "list", "elements": "dict", "required": True},
            "memory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    data_dir, memory = given["data_dir"], Path(given["memory"])
    before = json.loads(memory.read_text()) if memory.exists() else {}
    settings = [Setting(s["name"], s["kind"], str(s["value"]), data_dir) for s in given["settings"]]
    unrestored, restored = restore(before, {s.name for s in settings}, data_dir, check=check)
    applied, refused, changed = settle(settings, before, check=check)
    text = json.dumps(before, indent=1, sort_keys=True) + "\n" if before else ""
    files = {str(memory): text, **persisted(settings, applied)}
    written = [write_if_changed(path, content, check=check) for path, content in files.items()]
    module.exit_json(
        changed=changed or restored or any(written),
        soakbed={"tuning": {"applied": applied, "not_applied": refused + unrestored}},
    )


if __name__ == "__main__":
    main()
