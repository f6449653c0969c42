"""The OpenSSH client: does a host greet, does it let us in, and which of its keys do we know.

`stages.provision` asks it before anything relies on a host. Keys are never trusted on first sight.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import shlex
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from soakbed.records.testbed import Host

__all__ = ["Conversation", "greets", "known_keys", "refusal_of", "said_by", "user_known_hosts"]

_CONNECT_WITHIN_S = 10
_ENDS_WITHIN_S = 5.0
# The program comes as the first line, so that no argument of sudo's is longer than this.
_READS_ITS_PROGRAM = "import json,sys;exec(json.loads(sys.stdin.readline()))"


def greets(address: str, port: int, *, within_s: float) -> bool:
    """Whether an SSH server sends its greeting there."""
    try:
        with socket.create_connection((address, port), timeout=within_s) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def refusal_of(host: Host, known_hosts: str, *, command: str = "true") -> str:
    """Why the host does not let us in and run `command`, in its own words; "" if it does."""
    done = said_by(host, known_hosts, command)
    words = done.stderr.strip() or done.stdout.strip() or f"exit {done.returncode}"
    return "" if done.returncode == 0 else words


def said_by(host: Host, known_hosts: str, command: str) -> subprocess.CompletedProcess[str]:
    """How `command`, read by the login shell of the host's user, ended there, and what it wrote.

    The code is 255 where ssh itself failed.
    """
    return subprocess.run(
        _login(host, known_hosts, command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


class Conversation:
    """A Python program on a host that answers each line of JSON with a line of JSON.

    `as_root`: through sudo where the user is another; else as the user that logs in.
    """

    def __init__(self, host: Host, known_hosts: str, program: str, *, as_root: bool) -> None:
        words = ["python3", "-E", "-c", _READS_ITS_PROGRAM]
        if as_root and host.user != "root":
            words = ["sudo", "-n", "--", *words]
        self._process = subprocess.Popen(
            _login(host, known_hosts, shlex.join(words)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._read = b""
        with contextlib.suppress(OSError):  # who ended already will not answer either
            self._tell(program)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=_ENDS_WITHIN_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def ask(self, question: Mapping[str, Any], *, within_s: float) -> dict[str, Any]:
        """The answer to one question. Raises OSError when none comes, or the program ended."""
        self._tell(question)
        assert self._process.stdout is not None
        ends_s = time.monotonic() + within_s
        while True:
            line, found, rest = self._read.partition(b"\n")
            if found:
                self._read = rest
                # A shell that greets does so on standard output.
                if line.startswith(b"{"):
                    answer: dict[str, Any] = json.loads(line)
                    return answer
                continue
            ready, _, _ = select.select(
                [self._process.stdout], [], [], max(0.0, ends_s - time.monotonic())
            )
            if not ready:
                raise TimeoutError(f"no answer in {within_s:.0f} s")
            if not (chunk := os.read(self._process.stdout.fileno(), 65536)):
                raise ConnectionError("the program on the host ended")
            self._read += chunk

    def _tell(self, said: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(said).encode() + b"\n")
        self._process.stdin.flush()


def _login(host: Host, known_hosts: str, command: str) -> list[str]:
    """The words of ssh that run a command on a host, and trust no key but those that are known."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(_CONNECT_WITHIN_S),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": known_hosts,
    }
    return [
        *("ssh", "-F", "/dev/null", "-i", host.key_file, "-p", str(host.port)),
        *(part for key, value in options.items() for part in ("-o", f"{key}={value}")),
        *(f"{host.user}@{host.reached_at}", command),
    ]


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
