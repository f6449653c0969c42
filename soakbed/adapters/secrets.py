"""Passwords of one testbed: made once, kept in `<state>/secrets` with mode 0600.

Read by `stages.configure`, which hands them to Ansible in a private file and to nobody else.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["ensure_passwords"]

_BYTES = 32  # 256 bits; the text form holds only letters, digits, - and _


def ensure_passwords(file: Path, users: Sequence[str]) -> Mapping[str, str]:
    """One password for each user; those that exist already stay. Twice changes nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    passwords = {user: kept.get(user) or secrets.token_urlsafe(_BYTES) for user in users}
    if passwords != kept:
        # mkstemp makes the file 0600 from its first byte.
        handle, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "w") as out:
            out.write(json.dumps(passwords, indent=1) + "\n")
        Path(partial).replace(file)
    return passwords
