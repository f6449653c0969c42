"""The files of a worker's history: finished hours, then the one being written; bounded on disk.

`worker-<rank>.<hour>.history` and `worker-<rank>.history`, as the spool's hours (`parts`), but
never sealed: a block is columns already.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from loadgen.contract.history import HISTORY, HistoryBlock, read_history
from loadgen.contract.spool import HEAD, HOUR_S, SpoolDamaged, SpoolWriter

__all__ = [
    "LEAST_FREE_BYTES",
    "MOST_BYTES",
    "HistoryWriter",
    "history_hour",
    "history_parts",
    "history_ranks",
    "read_histories",
]

# Of one worker and session. 72 h of full blocks (2,000 rows a second of 16 bytes) fit.
MOST_BYTES = 8 << 30
# What a history leaves to the spool and to everybody else.
LEAST_FREE_BYTES = 1 << 30

_PART = re.compile(r"worker-(\d+)\.(?:(\d+)\.)?history")


def history_parts(folder: Path, rank: int) -> list[Path]:
    """Files of worker `rank` in order of time."""
    named = ((_PART.fullmatch(path.name), path) for path in folder.glob(f"worker-{rank}.*"))
    found = [(int(name[2] or 1 << 62), path) for name, path in named if name is not None]
    return [path for _, path in sorted(found)]


def history_ranks(folder: Path) -> list[int]:
    """Workers that left a history."""
    named = (_PART.fullmatch(path.name) for path in folder.glob(f"worker-*{HISTORY}"))
    return sorted({int(name[1]) for name in named if name is not None})


def read_histories(
    folder: Path, rank: int, *, torn: Callable[[int], None] | None = None
) -> Iterator[HistoryBlock]:
    """Every whole block of worker `rank`, in the order in which they were written.

    A missing `seq` of an attempt is a gap: the disk took nothing. Raises SpoolDamaged.
    """
    for path in history_parts(folder, rank):
        yield from read_history(path, torn=torn)


def history_hour(path: Path) -> int | None:
    """The hour (since 1970) of the first block of a file; None when it has none that is whole."""
    try:
        return next((block.until_ns // 10**9 // HOUR_S for block in read_history(path)), None)
    except SpoolDamaged:
        return None


class HistoryWriter(SpoolWriter):
    """Appends blocks, as the spool's writer does its windows, and goes on after a crash.

    Beyond the limits it takes nothing, as a disk that is full: there are more important files.
    """

    def __init__(
        self,
        path: Path,
        *,
        most_bytes: int = MOST_BYTES,
        least_free_bytes: int = LEAST_FREE_BYTES,
    ) -> None:
        _cut_torn(path)
        self._most_bytes, self._least_free_bytes = most_bytes, least_free_bytes
        rank = path.name.removeprefix("worker-").removesuffix(HISTORY)
        parts = history_parts(path.parent, int(rank)) if rank.isdecimal() else [path]
        self._bytes = sum(part.stat().st_size for part in parts if part.exists())
        super().__init__(path, first_hour=history_hour)

    def write(self, payload: bytes, *, start_s: int | None = None) -> None:
        """See SpoolWriter. Raises OSError also when a limit is reached."""
        size = HEAD.size + len(payload)
        if self._bytes + size > self._most_bytes:
            raise OSError(errno.EFBIG, f"the history has its {self._most_bytes >> 20} MiB")
        disk = os.fstatvfs(self._fd)
        if disk.f_bavail * disk.f_frsize < self._least_free_bytes + size:
            raise OSError(errno.ENOSPC, f"less than {self._least_free_bytes >> 20} MiB are free")
        super().write(payload, start_s=start_s)
        self._bytes += size


def _cut_torn(path: Path) -> None:
    """Cut half a frame, as a crash leaves it, off the end; only heads are read."""
    if not path.exists():
        return
    size, at = path.stat().st_size, 0
    with path.open("r+b") as file:
        while len(head := file.read(HEAD.size)) == HEAD.size:
            end = at + HEAD.size + HEAD.unpack(head)[0]
            if end > size:
                break
            at = end
            file.seek(at)
        if at < size:
            file.truncate(at)
            os.fsync(file.fileno())
