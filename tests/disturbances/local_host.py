"""One host of a local testbed as the machine below it sees it, without SSH, up or down."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["LocalHost", "NotInTime", "wait_until"]

ROOTS = Path("/var/lib/soakbed")
CGROUPS = (Path("/sys/fs/cgroup/systemd/soakbed"), Path("/sys/fs/cgroup/soakbed"))
SESSIONS = "/var/lib/soakbed/sessions"
# Words on the command line of each kind of process that a session has.
KINDS = {"master": "--master", "worker": "--worker", "engine": "loadgen.engine"}


class NotInTime(AssertionError):
    """Something awaited did not come true."""


def wait_until(true: Callable[[], object], what: str, *, within_s: float = 240) -> None:
    """Return once `true()` is. Raises NotInTime, which says `what` was waited for."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.05)


class LocalHost:
    """Host `name` of the local testbed `testbed`, at `address`."""

    def __init__(self, testbed: str, name: str, address: str) -> None:
        self.testbed, self.name, self.address = testbed, name, address
        self.folder = ROOTS / testbed / name

    @property
    def sessions(self) -> Path:
        """The sessions on it, as files of this machine; there also while the host is down."""
        on_small_disk = self.folder / "data" / "sessions"
        return on_small_disk if on_small_disk.exists() else self.folder / f"root{SESSIONS}"

    def pids(self) -> list[int]:
        """Every process of the host, by the machine's numbers."""
        found: set[int] = set()
        for tree in CGROUPS:
            for folder, _, _ in os.walk(tree / self.testbed / self.name):
                with contextlib.suppress(OSError):
                    text = Path(folder, "cgroup.procs").read_text()
                    found |= {int(pid) for pid in text.split() if pid != "0"}
        return sorted(found)

    def pids_of(self, kind: str, *, session: str = "") -> list[int]:
        """Processes of a `master`, `worker` or `engine`, of any session unless one is named."""
        return [
            pid
            for pid in self.pids()
            if KINDS[kind] in (words := command_line(pid)) and session in " ".join(words)
        ]

    def first_process(self) -> int | None:
        """The host's own process 1, by the machine's number; None while the host is down."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    words = line.split()
                    if words[0] == "NSpid:" and words[2:] == ["1"]:
                        return pid
        return None

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command as root of the host. Raises CalledProcessError, or NotInTime when down."""
        return self._enter(["--mount", "--uts", "--ipc", "--net", "--pid"], command, check=check)

    def in_network(self, *command: str, given: str = "", check: bool = True) -> str:
        """Run a command of this machine in the host's network."""
        return self._enter(["--net"], command, given=given, check=check)

    def greets(self) -> bool:
        """Whether its SSH server greets us."""
        try:
            with socket.create_connection((self.address, 22), timeout=10) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _enter(
        self, namespaces: Sequence[str], command: Sequence[str], *, given: str = "", check: bool
    ) -> str:
        pid = self.first_process()
        if pid is None:
            raise NotInTime(f"{self.name} of {self.testbed} is down")
        done = subprocess.run(
            ["nsenter", f"--target={pid}", *namespaces, "--", *command],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout


def command_line(pid: int) -> list[str]:
    """Words that a process was started with; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
