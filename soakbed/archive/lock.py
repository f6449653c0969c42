"""One pipeline per testbed: a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soakbed.errors import SoakbedError

__all__ = ["TestbedBusy", "held_alone", "holder"]

# `holder` takes the lock for a moment; whoever wants it meanwhile waits this often, this long.
_ATTEMPTS = 5
_PAUSE_S = 0.05


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
        if not _taken(handle):
            pid = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise TestbedBusy(
                f"testbed {testbed} is in use by process {pid}",
                remedy=f"wait for it to end, or stop it (kill -INT {pid}) and try again",
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def holder(folder: Path, testbed: str) -> int | None:
    """The process that holds testbed `testbed` now; None when none does."""
    path = folder / f"soakbed-{testbed}.lock"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.pread(handle, 32, 0).decode(errors="replace").strip()
        return int(said) if said.isdigit() else 0
    finally:
        os.close(handle)
    return None


def _taken(handle: int) -> bool:
    for left in reversed(range(_ATTEMPTS)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left:
                time.sleep(_PAUSE_S)
        else:
            return True
    return False
