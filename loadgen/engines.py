"""One engine a rank: who runs, and how one is started.

An engine outlives the worker that minds it. So whoever comes to mind a rank first asks for the
lock whether its engine is there, and takes it over or starts one.

`python -m loadgen.engines FOLDER` ends those of a session that was stopped and whose workers were
gone before.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadgen.session import SessionFolder

__all__ = ["EngineRuns", "Lock", "end_leftovers", "engine_of", "start_engine"]

# A window and the wait for what is in flight.
LEFTOVER_PATIENCE_S = 10.0


class EngineRuns(Exception):
    """Another engine presses as this rank of the session; a second one would press twice."""


class Lock:
    """One engine a rank. Goes with the process, however it ends; the file says who has it.

    The file is written in place, so that a disk that is full does not stop an engine from coming
    back.
    """

    def __init__(self, path: Path) -> None:
        """Raises EngineRuns, and OSError when the file cannot be made."""
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise EngineRuns(f"{path.name}: another engine presses as this rank") from None
        self.attempts = _engines_before(os.pread(self._fd, 64, 0))

    def take(self, attempt: int) -> None:
        """Say which engine has the lock."""
        told = f"{attempt} {os.getpid()}\n".encode()
        os.pwrite(self._fd, told.ljust(32), 0)
        os.fdatasync(self._fd)


def _engines_before(told: bytes) -> int:
    words = told.split()
    return int(words[0]) + 1 if words and words[0].isdigit() else 0


def engine_of(path: Path) -> int | None:
    """The process id of the engine that holds this lock; None: no engine runs."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        words = os.pread(descriptor, 64, 0).split()
        return int(words[1]) if len(words) > 1 else 0  # 0: it has the lock and is just starting
    else:
        return None
    finally:
        os.close(descriptor)


def start_engine(
    session: SessionFolder, rank: int, *, popen: Callable[..., Any] = subprocess.Popen
) -> Any:  # noqa: ANN401  (a Popen, gevent's or Python's)
    """Start the engine of `rank`; it begins its session, or goes on with it. Raises OSError."""
    command = [
        *(sys.executable, "-m", session.share().engine, str(session.plan_file)),
        *("--rank", str(rank), "--spool", str(session.spool(rank))),
    ]
    with session.engine_log(rank).open("ab") as errors:
        return popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=Path(__file__).parent.parent,
        )


def end_leftovers(session: SessionFolder) -> list[int]:
    """End the engines of a session that was stopped: they see its stop file within a window, and
    drain. The ranks whose engine had to be killed.
    """
    ends_s = time.monotonic() + LEFTOVER_PATIENCE_S
    killed: list[int] = []
    for rank in session.share().ranks:
        while pid := engine_of(session.lock(rank)):
            if time.monotonic() > ends_s:
                os.kill(pid, signal.SIGKILL)
                killed.append(rank)
                ends_s += 1
            time.sleep(0.05)
    return killed


if __name__ == "__main__":
    for one in end_leftovers(SessionFolder(Path(sys.argv[1]))):
        print(f"engine {one} did not stop: killed", file=sys.stderr)
