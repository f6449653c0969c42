"""One pipeline per testbed: a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soakbed.errors import SoakbedError

__all__ = ["TestbedBusy", "held_alone"]


class TestbedBusy(SoakbedError):
    """Another pipeline holds this testbed."""

    __test__ = False  # pytest: not a test class
    exit_code = 3


@contextmanager
def held_alone(folder: Path, testbed: str) -> Iterator[None]:
    """Hold testbed `testbed` for the length of the block.

    The lock lies in `folder`, shared by all clones on this machine, since the hosts are too.
    Raises TestbedBusy naming the process that holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"soakbed-{testbed}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise TestbedBusy(
                f"testbed {testbed} is in use by process {holder}",
                remedy=f"wait for it to end, or stop it (kill -INT {holder}) and try again",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
