"""A Shell that waits for hosts which are away, however long: a soak outlives its own network.

Load goes on by its plan meanwhile (design.md D9), so waiting costs nothing, and giving up would.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from soakbed.adapters.ssh import Answer, HostUnreachable, Result, Shell
from soakbed.records.testbed import Host

__all__ = ["PatientShell"]

Made = TypeVar("Made")

# An attempt that is refused takes no time, one that is not answered takes CONNECT_TIMEOUT_S twice.
PAUSE_S = 5.0


class PatientShell:
    """Every call of `shell`, tried again until its host answers; Ctrl-C ends it.

    Raises HostUnreachable after `patience_s` of one call; without a limit never.
    """

    def __init__(
        self, shell: Shell, tell: Callable[[str], None], patience_s: float = math.inf
    ) -> None:
        self._shell = shell
        self._tell = tell
        self._patience_s = patience_s

    def run(
        self, host: Host, command: Sequence[str], *, timeout_s: float = 60, check: bool = True
    ) -> Result:
        """Run one command, which must bear being run twice. Raises CommandFailed."""
        return self._waited(
            lambda: self._shell.run(host, command, timeout_s=timeout_s, check=check)
        )

    def ask(self, host: Host, command: Sequence[str], *, times: int) -> list[Answer]:
        """Ask a command on a host so many times. Raises CommandFailed."""
        return self._waited(lambda: self._shell.ask(host, command, times=times))

    def put_texts(self, host: Host, folder: str, texts: Mapping[str, str]) -> None:
        """Write small files into a folder."""
        self._waited(lambda: self._shell.put_texts(host, folder, texts))

    def get_tree(self, host: Host, folder: str, into: Path, *, timeout_s: float = 600) -> None:
        """Copy a folder of the host into a local one."""
        self._waited(lambda: self._shell.get_tree(host, folder, into, timeout_s=timeout_s))

    def read_part(self, host: Host, path: str, offset: int, most_bytes: int) -> bytes:
        """Bytes of a file. Raises CommandFailed."""
        return self._waited(lambda: self._shell.read_part(host, path, offset, most_bytes))

    def _waited(self, call: Callable[[], Made]) -> Made:
        since_s = time.monotonic()
        while True:
            try:
                return call()
            except HostUnreachable as error:
                away_s = time.monotonic() - since_s
                if away_s > self._patience_s:
                    raise
                self._tell(f"{error.problem}; waiting for it ({away_s:.0f} s so far)")
                time.sleep(PAUSE_S)
