"""Tables of a target, read as numpy arrays: any stretch of time, operation or worker, exactly.

Files are read one at a time, so memory does not grow with the length of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.window import CAUSES
from soakbed.archive.data.schema import TABLES
from soakbed.records.collated import Collated, CollatedSession, SpoolEnd
from soakbed.stats.percentiles import Counts
from soakbed.stats.phase_data import COUNTS, GENERATOR, KEYS, Columns, StepCounts

__all__ = ["Blocks", "TargetData", "TargetPhase"]

_HISTOGRAM = ["start_s", "length_s", "complete", "sum_us", "max_us", "clamped", "buckets", "counts"]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Histograms of equal stretches of a phase in order of time; empty stretches are absent.

    All of one length n; `counts` int64[n, BUCKETS]. `complete`: no window of it was cut by the
    beginning or end of the phase. `windows_s`: seconds covered, which is less than a stretch where
    windows are missing.
    """

    starts_s: NDArray[np.int64]
    counts: NDArray[np.int64]
    sum_us: NDArray[np.int64]
    max_us: NDArray[np.int64]
    clamped: NDArray[np.int64]
    complete: NDArray[np.bool_]
    windows_s: NDArray[np.int64]


class TargetData:
    """The tables below `results/<run_id>/<target>/data/`, as `collate` left them."""

    def __init__(self, target_folder: Path, collated: Collated) -> None:
        self._data = target_folder / "data"
        self._collated = collated

    def sessions(self) -> tuple[str, ...]:
        """Sessions in their order."""
        return tuple(self._collated.sessions)

    def workers(self, session: str) -> tuple[SpoolEnd, ...]:
        """What each worker's spool holds, by rank."""
        return self._collated.sessions[session].workers

    def phases(self, session: str) -> list[TargetPhase]:
        """Phases of `session` in order of their first window. Raises KeyError: no such session."""
        held = self._collated.sessions[session]
        return [TargetPhase(self._data, held, phase, mode) for phase, mode in held.phases]

    def phase(self, session: str, phase: str) -> TargetPhase | None:
        """One phase, or None when it never ran."""
        if session not in self._collated.sessions:
            return None
        return next((one for one in self.phases(session) if one.phase == phase), None)

    def blocks(
        self, session: str, phase: str, operation: str, kind: str, block_s: int
    ) -> Blocks | None:
        """Histograms of `block_s` seconds each, aligned to unix time; None: nothing is there."""
        held = self.phase(session, phase)
        return held.blocks(operation, kind, block_s) if held else None

    def table(self, name: str) -> pa.Table:
        """A whole small table: hosts, units or events; without rows when there is none."""
        paths = sorted((self._data / name).rglob("*.parquet"))
        columns = list(TABLES[name].columns)
        parts = [pq.read_table(path, columns=columns, partitioning=None) for path in paths]
        if not parts:
            return pa.table({column: [] for column in columns})
        return pa.concat_tables(parts).unify_dictionaries()


class TargetPhase:
    """One phase of one session, all workers: what `stats.windows.phase_numbers` asks for."""

    def __init__(self, data: Path, session: CollatedSession, phase: str, mode: str) -> None:
        self.phase = phase
        self.mode = mode
        names = sorted(name for chunk in session.chunks for name in chunk.files)
        self._files = {
            table: [data / name for name in names if name.startswith(f"{table}/")]
            for table in ("windows", "workers", "counters", "generator")
        }

    def generator(self) -> Iterator[Columns]:
        """One row per window of a worker, a file at a time."""
        for table in self._parts("generator", [*KEYS, *GENERATOR]):
            yield {name: _numbers(table, name) for name in (*KEYS, *GENERATOR)}

    def counters(self) -> Iterator[tuple[str, Columns]]:
        """(operation, one row per window of a worker)."""
        names = (*KEYS, *COUNTS, *CAUSES)
        for table in self._parts("counters", [*names, "operation"]):
            for operation in pc.unique(table.column("operation")).to_pylist():
                part = table.filter(pc.equal(table.column("operation"), operation))
                yield operation, {name: _numbers(part, name) for name in names}

    def operations(self) -> tuple[str, ...]:
        """Names of the operations, sorted."""
        found: set[str] = set()
        for table in self._parts("counters", ["operation"]):
            found |= set(pc.unique(table.column("operation")).to_pylist())
        return tuple(sorted(found))

    def steps(self, operation: str, step_s: int) -> StepCounts:
        """Response of one operation in steps of `step_s` seconds."""
        made = self.blocks(operation, "response", step_s)
        return StepCounts(starts_s=made.starts_s, counts=made.counts, max_us=made.max_us)

    def blocks(self, operation: str, kind: str, block_s: int) -> Blocks:
        """Histograms of one operation and kind in stretches of `block_s` seconds."""
        gathered = _Gathered(block_s)
        for table in self._parts("windows", _HISTOGRAM, operation=operation, kind=kind):
            gathered.take(table)
        return gathered.blocks()

    def total(self, operation: str, kind: str, *, worker: int | None = None) -> Counts:
        """The whole phase of one operation and kind; operation "", kind "late": own delay."""
        source = "windows" if worker is None else "workers"
        keys = {"operation": operation, "kind": kind}
        made = Counts()
        for table in self._parts(source, _HISTOGRAM[2:], **keys, worker=worker):
            buckets, counts = _entries(table)
            made.buckets += np.bincount(buckets, counts, BUCKETS).astype(np.int64)
            made.sum_us += int(pc.sum(table.column("sum_us")).as_py() or 0)
            made.max_us = max(made.max_us, int(pc.max(table.column("max_us")).as_py() or 0))
            made.clamped += int(pc.sum(table.column("clamped")).as_py() or 0)
        return made

    def _parts(self, table: str, columns: Sequence[str], **equal: Any) -> Iterator[pa.Table]:  # noqa: ANN401
        """Rows of this phase, file by file, where each column of `equal` that is not None is so."""
        wanted = {"phase": self.phase, "mode": self.mode, **equal}
        held = [(name, "==", value) for name, value in wanted.items() if value is not None]
        for path in self._files[table]:
            part = pq.read_table(path, columns=list(columns), filters=held, partitioning=None)
            if part.num_rows:
                yield part


class _Gathered:
    """Rows of the table `windows` added up into stretches."""

    def __init__(self, block_s: int) -> None:
        self._block_s = block_s
        self._counts: dict[int, NDArray[np.int64]] = {}
        self._scalars: dict[int, list[int]] = {}  # sum_us, max_us, clamped, cut, windows_s

    def take(self, table: pa.Table) -> None:
        keys = _numbers(table, "start_s") // self._block_s
        found, inverse = np.unique(keys, return_inverse=True)
        lengths = pc.list_value_length(table.column("buckets")).to_numpy()
        buckets, counts = _entries(table)
        flat = np.repeat(inverse, lengths) * BUCKETS + buckets
        # Sums of doubles are exact here: no stretch has 2^53 operations.
        dense = np.bincount(flat, counts, len(found) * BUCKETS).astype(np.int64)
        longest_us = np.zeros(len(found), dtype=np.int64)
        np.maximum.at(longest_us, inverse, _numbers(table, "max_us"))
        scalars = [
            _added(inverse, _numbers(table, "sum_us"), len(found)),
            longest_us,
            _added(inverse, _numbers(table, "clamped"), len(found)),
            _added(inverse, ~_numbers(table, "complete"), len(found)),
            _added(inverse, _numbers(table, "length_s"), len(found)),
        ]
        rows = zip(found.tolist(), dense.reshape(-1, BUCKETS), np.stack(scalars, 1), strict=True)
        for key, row, told in rows:
            if key not in self._counts:
                self._counts[key], self._scalars[key] = row.copy(), told.tolist()
                continue
            self._counts[key] += row
            held, more = self._scalars[key], told.tolist()
            longest = max(held[1], more[1])
            self._scalars[key] = [one + other for one, other in zip(held, more, strict=True)]
            self._scalars[key][1] = longest

    def blocks(self) -> Blocks:
        keys = sorted(self._counts)
        scalars = np.array([self._scalars[key] for key in keys], dtype=np.int64).reshape(-1, 5)
        counts = np.array([self._counts[key] for key in keys], dtype=np.int64)
        return Blocks(
            starts_s=np.array(keys, dtype=np.int64) * self._block_s,
            counts=counts.reshape(-1, BUCKETS),
            sum_us=scalars[:, 0],
            max_us=scalars[:, 1],
            clamped=scalars[:, 2],
            complete=scalars[:, 3] == 0,
            windows_s=scalars[:, 4],
        )


def _added(inverse: NDArray[np.intp], values: NDArray[Any], size: int) -> NDArray[np.int64]:
    made = np.zeros(size, dtype=np.int64)
    np.add.at(made, inverse, values.astype(np.int64))
    return made


def _entries(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Buckets and counts of all rows, one behind the other."""
    flat = (pc.list_flatten(table.column(name)).to_numpy() for name in ("buckets", "counts"))
    buckets, counts = (one.astype(np.int64) for one in flat)
    return buckets, counts


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    column = table.column(name)
    if pa.types.is_integer(column.type):
        column = column.cast(pa.int64())
    return np.asarray(column.to_numpy())
