"""What a host says of units that did not start or do not answer: status, journal, open ports."""

from __future__ import annotations

import subprocess

from ansible.module_utils.member_units import show

LINES = 50


def said(*command: str) -> str:
    """What a command writes, or why it could not be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"({command[0]}: {error.strerror})"
    return (done.stdout or done.stderr).strip()


def report(units: list[str], lines: int = LINES) -> str:
    """Status, the last lines of the journal, and who listens where; for people."""
    named = [word for unit in units for word in ("-u", unit)]
    journal = ["journalctl", "--no-pager", "--output=cat", f"--lines={lines}", *named]
    parts = {
        "status": said("systemctl", "status", "--no-pager", "--full", "--lines=0", *units),
        f"last {lines} lines of the journal": said(*journal) or "(none)",
        "listening ports": said("ss", "-Hltnp") or "(none)",
    }
    return "\n".join(f"--- {name}\n{text}" for name, text in parts.items())


def ended(units: list[str]) -> list[str]:
    """Units that no longer run: waiting for them is no use."""
    return [name for name, unit in show(units).items() if not unit["active"]]
