"""What earlier engines of a rank left behind, for the one that goes on in their place.

An engine that is killed leaves a spool, perhaps with half a frame at its end, the clock of its
phases, and a lock that nobody holds any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.contract.packed_window import split
from loadgen.contract.parts import parts_of, read_part
from loadgen.contract.spool import HEAD, MAX_FRAME_BYTES, PACKED, SpoolDamaged, sync_folder

__all__ = ["Past", "PhaseClock", "past_of"]

# A window takes up to 100 kB. What is longer and no frame is damage in the middle of a file, behind
# which readers find whole frames again, and not the end of one that was being written.
TORN_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Past:
    """What was before this engine. `attempt` counts the engines of a rank from 0, `seq` is the
    number of its first window, `outcome` that of the session's end, "" while it has none.
    """

    attempt: int = 0
    seq: int = 0
    reason: str = "start"
    outcome: str = ""
    began_s: Mapping[str, int] = field(default_factory=dict)


class PhaseClock:
    """clock-<rank>.json: when each phase began, whole seconds of unix time; always whole."""

    def __init__(self, path: Path, began_s: Mapping[str, int]) -> None:
        self._path = path
        self.began_s = dict(began_s)

    def write(self) -> None:
        """Make it durable."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(json.dumps(self.began_s) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        sync_folder(self._path.parent)


def past_of(spool: Path, clock: Path, *, rank: int, attempts: int) -> Past:
    """What the engines before this one left; `attempts` of them had the lock.

    Cuts a torn frame off the end of the spool. Raises ValueError where a file is not what it should
    be, and OSError.
    """
    parts = [path for path in parts_of(spool.parent, rank) if path != spool]
    if spool.exists():
        parts.append(spool)
    if not parts:
        return Past()
    wrote_s = parts[-1].stat().st_mtime
    seq, outcome = _looked_through(spool) if spool.exists() else (-1, "")
    # It died in the first second of an hour, or before its first window.
    closed = [path for path in parts if path != spool]
    while seq < 0 and closed:
        seq = max((one["seq"] for one in _windows_of(closed.pop())), default=-1)
    return Past(
        attempt=max(attempts, 1),
        seq=seq + 1,
        reason="host_booted" if booted_s() > wrote_s else "engine_died",
        outcome=outcome,
        began_s=_began_s(clock, parts),
    )


def _began_s(clock: Path, parts: list[Path]) -> dict[str, int]:
    """When each phase began: as noted, or by the windows if the note was lost, which takes long."""
    try:
        noted = json.loads(clock.read_text())
        return {str(phase): int(start_s) for phase, start_s in noted.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        began_s: dict[str, int] = {}
        for window in (one for path in parts for one in _windows_of(path)):
            began_s.setdefault(window["phase"], window["start_s"])
        return began_s


def _windows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The windows of a file, as far as it can be read."""
    with contextlib.suppress(SpoolDamaged):
        yield from (one for one in read_part(path) if one["kind"] == "window")


def _looked_through(spool: Path) -> tuple[int, str]:
    """Number of the last window (-1: none) and outcome of the session's end; cuts off a torn tail.

    Only frames with a right checksum count; of windows, which are most of it, only the last is
    unpacked.
    """
    seq, outcome, window, whole, at = -1, "", b"", 0, 0
    with spool.open("rb") as file:
        while len(head := file.read(HEAD.size)) == HEAD.size:
            size, checksum = HEAD.unpack(head)
            payload = file.read(size) if 0 < size <= MAX_FRAME_BYTES else b""
            if not payload or len(payload) < size:
                break
            at += HEAD.size + size
            if zlib.crc32(payload) != checksum:
                continue
            whole = at
            if payload[:1] == PACKED:
                window = payload
                continue
            record = json.loads(zlib.decompress(payload))
            seq = max(seq, record["seq"]) if record["kind"] == "window" else seq
            outcome = record["outcome"] if record["kind"] == "end" else outcome
    if 0 < spool.stat().st_size - whole <= TORN_MOST_BYTES:
        _cut(spool, whole)
    if window:
        seq = max(seq, json.loads(split(zlib.decompress(window[1:]))[0])["seq"])
    return seq, outcome


def _cut(spool: Path, size: int) -> None:
    with spool.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def booted_s() -> float:
    """Unix time at which this host's first process began; a container's is not its machine's."""
    ticks = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
    lines = Path("/proc/stat").read_text().splitlines()
    kernel_s = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return kernel_s + ticks / os.sysconf("SC_CLK_TCK")
