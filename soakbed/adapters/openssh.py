"""The OpenSSH client: does a host greet, does it let us in, and which of its keys do we know.

`stages.provision` asks it before anything relies on a host. Keys are never trusted on first sight.
"""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path

from soakbed.records.testbed import Host

__all__ = ["greets", "known_keys", "refusal_of", "user_known_hosts"]

_CONNECT_WITHIN_S = 10


def greets(address: str, port: int, *, within_s: float) -> bool:
    """Whether an SSH server sends its greeting there."""
    try:
        with socket.create_connection((address, port), timeout=within_s) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def refusal_of(host: Host, known_hosts: str, *, command: str = "true") -> str:
    """Why the host does not let us in and run `command`, in its own words; "" if it does."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(_CONNECT_WITHIN_S),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": known_hosts,
    }
    done = subprocess.run(
        [
            *("ssh", "-F", "/dev/null", "-i", host.key_file, "-p", str(host.port)),
            *(part for key, value in options.items() for part in ("-o", f"{key}={value}")),
            *(f"{host.user}@{host.reached_at}", command),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    words = done.stderr.strip() or done.stdout.strip() or f"exit {done.returncode}"
    return "" if done.returncode == 0 else words


def user_known_hosts() -> list[Path]:
    """Where the user's own ssh keeps keys, by the same rule that ssh follows."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    files = [home / ".ssh/known_hosts", Path("/etc/ssh/ssh_known_hosts")]
    return [file for file in files if file.exists()]


def known_keys(address: str, port: int, files: list[Path]) -> list[str]:
    """Lines of those known_hosts files that are about this host, hashed ones included."""
    name = address if port == 22 else f"[{address}]:{port}"
    lines = []
    for file in files:
        asked = subprocess.run(
            ["ssh-keygen", "-F", name, "-f", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        lines += [line for line in asked.stdout.splitlines() if line and not line.startswith("#")]
    return lines
