"""A phase of an archived target as equal stretches of time: what statistics draw from.

Whole stretches only: one that a worker began late, ended early or was absent from would read low,
and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.spool import SpoolDamaged, read_spool
from loadgen.contract.window import Window
from soakbed.archive.data.reading import Blocks, TargetData
from soakbed.stats.percentiles import HIGH_US

__all__ = ["KINDS", "Packed", "PhaseBlocks", "phase_blocks"]

KINDS = ("response", "service")
OPERATIONS = ("read", "write")
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Packed:
    """Counts [blocks, BUCKETS] with the empty buckets left out: a phase fills few hundred."""

    used: NDArray[np.int64]  # indexes of buckets
    counts: NDArray[np.int32]  # [blocks, len(used)]

    @classmethod
    def of(cls, counts: Rows) -> Packed:
        """Pack counts [blocks, BUCKETS]."""
        used = np.flatnonzero(counts.any(axis=0))
        return cls(used, counts[:, used].astype(np.int32))

    def dense(self) -> Rows:
        """The counts as they were, int64 [blocks, BUCKETS]."""
        whole = np.zeros((len(self.counts), BUCKETS), dtype=np.int64)
        whole[:, self.used] = self.counts
        return whole

    def percentiles_us(self, percentile: float, *, least: int) -> Floats:
        """`percentile` (0-100) of each block; nan where a block has fewer than `least` values."""
        found = np.full(len(self.counts), np.nan)
        totals = self.counts.sum(axis=1)
        full = np.flatnonzero(totals >= max(least, 1))
        if len(full):
            needed = np.maximum(1, np.ceil(totals[full] * percentile / 100))
            sums = np.cumsum(self.counts[full], axis=1)
            found[full] = HIGH_US[self.used[np.argmax(sums >= needed[:, None], axis=1)]]
        return found


@dataclass(frozen=True, slots=True)
class PhaseBlocks:
    """One phase: `counts` by (operation, kind), `ok_per_s` by block and `at_s` since it began."""

    block_s: int
    at_s: Rows
    ok_per_s: Floats
    counts: dict[tuple[str, str], Packed]


def phase_blocks(target_folder: Path, session: str, phase: str, *, block_s: int) -> PhaseBlocks:
    """The whole blocks of one phase of `results/<run_id>/<target>`, all workers added.

    From the collated tables where they are, from the spools else; both say the same. Empty where
    the phase never ran or no block of it is whole. A damaged spool is read as far as it goes; the
    verdict says so. Raises ArchiveError when the tables are damaged.
    """
    if (target_folder / "data" / "collated.json").is_file():
        return _of_tables(TargetData(target_folder), session, phase, block_s)
    gathered = _Gathered(block_s)
    for spool in sorted((target_folder / "load" / session).glob("worker-*.spool")):
        for window in _windows(spool):
            if window.phase == phase:
                gathered.take(window)
    return gathered.blocks()


def _of_tables(data: TargetData, session: str, phase: str, block_s: int) -> PhaseBlocks:
    held: dict[tuple[str, str], Blocks] = {}
    for operation in OPERATIONS:
        for kind in KINDS:
            found = data.blocks(session, phase, operation, kind, block_s)
            if len(found.starts_s):
                held[operation, kind] = found
    # Every operation has a row in each window, so any of them shows which blocks are whole.
    whole_s = {
        int(start_s): int(windows_s)
        for found in held.values()
        for start_s, windows_s, complete in zip(
            found.starts_s, found.windows, found.complete, strict=True
        )
        if complete
    }
    needed_s = max([block_s, *whole_s.values()])
    starts_s = np.array(sorted(at for at, s in whole_s.items() if s >= needed_s), dtype=np.int64)
    counts = {key: _placed(found, starts_s) for key, found in held.items()}
    ok = sum((counts[key].sum(axis=1) for key in counts if key[1] == "response"), np.zeros(1))
    began_s = min((int(found.starts_s[0]) for found in held.values()), default=0)
    packed = {key: Packed.of(found) for key, found in counts.items()}
    rates = np.zeros(len(starts_s)) + ok / block_s if len(starts_s) else np.zeros(0)
    return PhaseBlocks(block_s, starts_s - began_s, rates, packed)


def _placed(found: Blocks, starts_s: Rows) -> Rows:
    """Counts at these starts; a block without a value is all zeros."""
    made = np.zeros((len(starts_s), BUCKETS), dtype=np.int64)
    place = np.searchsorted(starts_s, found.starts_s)
    place[place == len(starts_s)] = 0
    there = np.isin(found.starts_s, starts_s)
    made[place[there]] = found.counts[there]
    return made


def _windows(spool: Path) -> Iterator[Window]:
    try:
        for frame in read_spool(spool):
            if frame.get("kind") == "window":
                yield Window.from_json(frame)
    except (SpoolDamaged, KeyError, TypeError, ValueError):
        return  # named by `measure`, which makes the verdict incomplete


class _Gathered:
    """Windows added up by their place in the phase."""

    def __init__(self, block_s: int) -> None:
        self._block_s = block_s
        self._counts: dict[tuple[str, str], dict[int, Rows]] = {}
        self._ok: dict[int, int] = {}
        self._whole_s: dict[int, int] = {}  # seconds of complete windows, all workers
        self._workers: set[int] = set()

    def take(self, window: Window) -> None:
        """Add one window of one worker."""
        place = window.start_s // self._block_s
        self._workers.add(window.worker)
        if window.complete:
            self._whole_s[place] = self._whole_s.get(place, 0) + window.length_s
        for name, operation in window.operations.items():
            self._ok[place] = self._ok.get(place, 0) + operation.ok
            for kind in KINDS:
                held = self._counts.setdefault((name, kind), {})
                counts = np.asarray(getattr(operation, kind).counts, dtype=np.int64)
                if place in held:
                    held[place] += counts
                else:
                    held[place] = counts

    def blocks(self) -> PhaseBlocks:
        """What was gathered, whole blocks alone."""
        needed_s = self._block_s * len(self._workers)
        places = sorted(place for place, whole_s in self._whole_s.items() if whole_s >= needed_s)
        nothing = np.zeros(BUCKETS, dtype=np.int64)
        counts = {
            key: Packed.of(
                np.array([held.get(place, nothing) for place in places]).reshape(-1, BUCKETS)
            )
            for key, held in self._counts.items()
        }
        starts_s = np.array(places, dtype=np.int64) * self._block_s
        ok = np.array([self._ok.get(place, 0) for place in places], dtype=np.float64)
        began_s = min(self._whole_s, default=0) * self._block_s
        return PhaseBlocks(self._block_s, starts_s - began_s, ok / self._block_s, counts)
