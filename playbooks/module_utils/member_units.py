"""The systemd units of members, as systemd and /proc tell them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

BUNDLES = Path("/opt/soakbed/bundles")
MEMBER_UNITS = (
    "soakbed-etcd.service",
    "soakbed-pd.service",
    "soakbed-redis-master.service",
    "soakbed-redis-replica.service",
    "soakbed-tikv.service",
)
PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,MainPID,NRestarts"


def show(units: list[str]) -> dict[str, dict]:
    """State of each unit; `config` is the stamp that the running process was started with."""
    command = ["systemctl", "show", f"--property={PROPERTIES}", *units]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    states = {}
    for block in text.strip().split("\n\n"):
        row = dict(line.split("=", 1) for line in block.splitlines())
        pid = int(row.get("MainPID", 0))  # a timer has no process
        environment = environment_of(pid)
        states[row["Id"]] = {
            "loaded": row["LoadState"] == "loaded",
            "active": row["ActiveState"] in ("active", "activating"),
            "state": row["ActiveState"],
            "failed": row["ActiveState"] == "failed",
            "enabled": row["UnitFileState"] == "enabled",
            "pid": pid,
            "restarts": int(row.get("NRestarts") or 0),
            "config": environment.get("SOAKBED_CONFIG", ""),
            "nofile": nofile_of(pid),
        }
    return states


def environment_of(pid: int) -> dict[str, str]:
    """Environment of a process; empty when there is none."""
    try:
        text = Path(f"/proc/{pid}/environ").read_text() if pid else ""
    except OSError:
        return {}
    return dict(word.split("=", 1) for word in text.split("\0") if "=" in word)


def nofile_of(pid: int) -> int:
    """Hard limit on open files that a process has; 0 when there is no process."""
    try:
        text = Path(f"/proc/{pid}/limits").read_text() if pid else ""
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Max open files"):
            return int(line.split()[4])
    return 0


def sha256_of(path: str) -> str:
    """The file's sha256; "" when there is no file."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def bundle_on_host(target: str) -> tuple[str, dict[str, str]]:
    """Stamp and files of the bundle that is really here; "" when any file differs."""
    listing = BUNDLES / f"{target}.json"
    try:
        listed = json.loads(listing.read_text())
    except (OSError, ValueError):
        return "", {}
    found = {path: sha256_of(path) for path in listed["files"]}
    return (listed["stamp"] if found == listed["files"] else ""), found
