"""A phase of an archived target as equal stretches of time: what statistics draw from.

Whole stretches only: one that a worker began late, ended early or was absent from would read low,
and is left out. So is one that holds a second which the event policy leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from soakbed.archive.data.collate import collate, known
from soakbed.archive.data.reading import TargetData, TargetPhase
from soakbed.records.policy import left_out
from soakbed.stats.distinct import distinct
from soakbed.stats.percentiles import HIGH_US

__all__ = ["KINDS", "Packed", "PhaseBlocks", "phase_blocks"]

KINDS = ("response", "service")
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

    From the tables that are there, so of the same windows as the numbers that were judged. Empty
    where the phase never ran or no block of it is whole. What is damaged is left out; the verdict
    says so.
    """
    data = TargetData(target_folder, known(target_folder) or collate(target_folder))
    held = data.phase(session, phase)
    if held is not None and held.mode == "open":
        held = held.without(left_out(data.events()))
    if held is None:
        nothing = np.zeros(0, dtype=np.int64)
        return PhaseBlocks(block_s, nothing, nothing.astype(np.float64), {})
    places, began_s = _whole(held, block_s)
    ok = np.zeros(len(places), dtype=np.int64)
    operations = set()
    for operation, part in held.counters(("ok",)):
        operations.add(operation)
        _add_at(ok, places, part["start_s"] // block_s, part["ok"])
    keys = [(operation, kind) for operation in sorted(operations) for kind in KINDS]
    found = held.counts(keys, block_s)
    counts = {key: _at_places(*found.pop(key), places) for key in keys}
    return PhaseBlocks(block_s, places * block_s - began_s, ok / block_s, counts)


def _whole(held: TargetPhase, block_s: int) -> tuple[Rows, int]:
    """Places (start_s // block_s) that whole windows of every worker fill; when the first begins.

    Those that a worker began late, ended early or was absent from are not among them.
    """
    found: dict[int, int] = {}
    workers: set[int] = set()
    for part in held.generator(("complete",)):
        workers |= set(distinct(part["worker"])[0].tolist())
        whole = part["complete"].astype(bool)
        places, inverse = distinct(part["start_s"][whole] // block_s)
        seconds = np.bincount(inverse, part["length_s"][whole], len(places)).astype(np.int64)
        for place, whole_s in zip(places.tolist(), seconds.tolist(), strict=True):
            found[place] = found.get(place, 0) + whole_s
    needed_s = block_s * len(workers)
    filled = sorted(place for place, whole_s in found.items() if whole_s >= needed_s)
    return np.array(filled, dtype=np.int64), min(found, default=0) * block_s


def _add_at(sums: Rows, places: Rows, at: Rows, values: Rows) -> None:
    """Add each of `values` to the sum of the place where it belongs, if that is one of `places`."""
    index = np.searchsorted(places, at)
    inside = (index < len(places)) & (np.append(places, -1)[index] == at)
    np.add.at(sums, index[inside], values[inside])


def _at_places(at: Rows, found: Rows, places: Rows) -> Packed:
    counts = np.zeros((len(places), BUCKETS), dtype=np.int64)
    _add_at(counts, places, at, found)
    return Packed.of(counts)
