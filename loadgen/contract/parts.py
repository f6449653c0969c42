"""The files of one worker, in order of time: finished hours, then the spool being written.

A session that lasts leaves an hour as `worker-<rank>.<hour>.spool` when its last window is written,
and as `worker-<rank>.<hour>.sealed` once it was put into columns (`hour`: unix time over 3600).
Short sessions leave `worker-<rank>.spool` alone. All readers go by these functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadgen.contract.sealed import SEALED, read_sealed
from loadgen.contract.spool import SPOOL, read_spool

__all__ = ["closed_spools", "hour_of_part", "parts_of", "read_part", "read_parts"]

_PART = re.compile(r"worker-(\d+)\.(\d+)(\.spool|\.sealed)")


def parts_of(folder: Path, rank: int) -> list[Path]:
    """Files of worker `rank` in order of time; where an hour is sealed, its spool is left out."""
    hours: dict[int, Path] = {}
    for path in folder.glob(f"worker-{rank}.*"):
        hour = hour_of_part(path)
        if hour is not None and (hour not in hours or path.suffix == SEALED):
            hours[hour] = path
    spool = folder / f"worker-{rank}{SPOOL}"
    return [hours[hour] for hour in sorted(hours)] + ([spool] if spool.is_file() else [])


def closed_spools(folder: Path, rank: int) -> list[Path]:
    """Spools of finished hours, sealed or not, in order of time."""
    found = {hour_of_part(path): path for path in folder.glob(f"worker-{rank}.*{SPOOL}")}
    return [found[hour] for hour in sorted(hour for hour in found if hour is not None)]


def hour_of_part(path: Path) -> int | None:
    """The hour that a file's name says; None for the spool being written and for other files.

    >>> hour_of_part(Path("worker-3.472222.sealed")), hour_of_part(Path("worker-3.spool"))
    (472222, None)
    """
    named = _PART.fullmatch(path.name)
    return int(named[2]) if named else None


def read_part(path: Path) -> Iterator[dict[str, Any]]:
    """Every record of one file. Raises SpoolDamaged, naming the file."""
    return read_sealed(path) if path.suffix == SEALED else read_spool(path)


def read_parts(folder: Path, rank: int) -> Iterator[dict[str, Any]]:
    """Every record of worker `rank`, each once, in the order in which they were written.

    Raises SpoolDamaged where a file is; a cut last frame ends its file quietly.
    """
    for path in parts_of(folder, rank):
        yield from read_part(path)
