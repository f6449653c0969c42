"""Finished hours of one worker, put into columns: `python -m loadgen.sealing FOLDER --rank 0`.

The Locust worker starts it when its engine has closed an hour. It works at the lowest priority and
rests nine tenths of the time, in pieces of milliseconds, because the engine beside it measures: an
hour of 250 operations/s takes 3 s of CPU, spread over half a minute. A spool goes only after the
sealed hour in its place was read back and found to say the same; a damaged one stays as it is.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import os
import struct
import sys
import time
import zlib
from array import array
from pathlib import Path
from typing import Any

from loadgen.contract.hour_columns import HourColumns
from loadgen.contract.parts import closed_spools
from loadgen.contract.sealed import SEALED, SealedDamaged, SealedHour, read_sealed
from loadgen.contract.spool import HEAD, SpoolDamaged, read_spool, read_spool_from, sync_folder

__all__ = ["BUSY_SHARE", "LEAST_WINDOWS", "NotTheSame", "Pace", "main", "seal", "seal_closed"]

# Below this an hour's spool is read as fast as its columns would be.
LEAST_WINDOWS = 120
BUSY_SHARE = 0.1
_PIECE_S = 0.002
_PRIORITY = 19

EXAMPLES = """\
examples:
  python -m loadgen.sealing /var/lib/soakbed/session --rank 0
  python -m loadgen.sealing results/my-run/etcd/load/steady --rank 0 --busy 1

exit codes: 0 all sealed that can be, 5 one could not be written or was not read back as it was
"""


class Pace:
    """Rests after each piece of work, so that `busy_share` (0 to 1) of a core is used at most."""

    def __init__(self, busy_share: float = BUSY_SHARE) -> None:
        self._rest = 1 / busy_share - 1
        self._since_s = time.thread_time()

    def step(self) -> None:
        """Called between pieces of work; returns at once or after a rest."""
        busy_s = time.thread_time() - self._since_s
        if busy_s >= _PIECE_S and self._rest > 0:
            time.sleep(busy_s * self._rest)
            self._since_s = time.thread_time()


class NotTheSame(RuntimeError):
    """A sealed hour did not say what its spool says: an error of ours, and the spool is kept."""


def seal_closed(folder: Path, rank: int, *, pace: Pace | None = None) -> list[Path]:
    """Seal every closed hour of worker `rank` that is whole and worth it; those made.

    Raises OSError when the disk is full, NotTheSame; what was not sealed stays a spool.
    """
    pace = pace or Pace()
    made = [seal(path, pace=pace) for path in closed_spools(folder, rank)]
    return [path for path in made if path is not None]


def seal(spool: Path, *, pace: Pace, least_windows: int = LEAST_WINDOWS) -> Path | None:
    """Put one closed spool into columns and remove it; None: it stays, damaged or too short.

    Two at once do no harm: the second leaves the spool to the first.
    """
    target = spool.with_suffix(SEALED)
    with spool.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        told = _told(held.read())
        if told is None or told["frames"] < least_windows:
            return None
        if not _stands_for(target, told):
            columns = _columns(spool, pace)
            if columns is None:
                return None
            _write(columns, spool, target, told, pace)
        spool.unlink(missing_ok=True)
    return target


def _told(content: bytes) -> dict[str, int] | None:
    """Number and fingerprint of the frames of a spool by their headers; None: it ends inside one.

    The fingerprint is that of `soakbed.archive.data.frames`: an hour that was collated from the
    spool is not collated again from its columns.
    """
    sizes, sums, at = array("q"), array("I"), 0
    while at + HEAD.size <= len(content):
        size, checksum = HEAD.unpack_from(content, at)
        sizes.append(size)
        sums.append(checksum)
        at += HEAD.size + size
    if at != len(content):
        return None
    whole = (struct.pack(f"<{len(sizes)}q", *sizes), struct.pack(f"<{len(sums)}I", *sums))
    fingerprint = zlib.crc32(whole[1], zlib.crc32(whole[0]))
    return {"frames": len(sizes), "fingerprint": fingerprint, "bytes": len(content)}


def _stands_for(target: Path, told: dict[str, int]) -> bool:
    """Whether the sealed hour is there already, whole, and made of this spool."""
    try:
        hour = SealedHour.of(target)
        hour.body()
    except (FileNotFoundError, SealedDamaged):
        return False
    return bool(hour.head["spool"] == told)


def _columns(spool: Path, pace: Pace) -> HourColumns | None:
    columns, end = HourColumns(), 0
    try:
        for record, after in read_spool_from(spool, 0):
            columns.take(record)
            end = after
            pace.step()
    except SpoolDamaged:
        return None
    return columns if end == spool.stat().st_size else None


def _write(
    columns: HourColumns, spool: Path, target: Path, told: dict[str, int], pace: Pace
) -> None:
    fresh = target.with_name(f".{target.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(columns.assembled(spool=told, pace=pace.step))
            file.flush()
            os.fsync(file.fileno())
        _compare(spool, fresh, pace)
        fresh.rename(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _compare(spool: Path, fresh: Path, pace: Pace) -> None:
    """Raises NotTheSame unless both say the same, record by record."""
    nothing: dict[str, Any] = {}
    both = itertools.zip_longest(read_spool(spool), read_sealed(fresh), fillvalue=nothing)
    for number, (before, after) in enumerate(both):
        if before != after:
            raise NotTheSame(f"record {number} of {spool.name} is another in {fresh.name}")
        pace.step()


def main(arguments: list[str] | None = None) -> int:
    """Seal what is closed; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loadgen.sealing",
        description="Put the finished hours of one worker into columns.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="the session's folder")
    parser.add_argument("--rank", type=int, required=True, help="which worker's hours")
    parser.add_argument(
        "--busy", type=float, default=BUSY_SHARE, help=f"most of a core to use ({BUSY_SHARE})"
    )
    asked = parser.parse_args(arguments)
    os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    try:
        for path in seal_closed(asked.folder, asked.rank, pace=Pace(asked.busy)):
            print(f"sealed {path.name}", file=sys.stderr)
    except (OSError, NotTheSame) as error:
        print(f"{asked.folder}: an hour stays a spool: {error}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
