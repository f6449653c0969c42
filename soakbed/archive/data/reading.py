"""Tables of a target, read as numpy arrays: any stretch of time, operation or worker, exactly.

Files are read one or two at a time, so memory does not grow with the length of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from soakbed.archive.data.parquet_rows import rows_by_word, rows_of, taken
from soakbed.archive.data.schema import HISTOGRAM_STEP_S, TABLES
from soakbed.records.collated import Collated, CollatedSession, SpoolEnd
from soakbed.records.events import Event
from soakbed.stats.distinct import distinct
from soakbed.stats.percentiles import Counts
from soakbed.stats.phase_data import COUNTERS, GENERATOR, KEYS, Columns, Spans, StepCounts, inside

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

    def events(self) -> tuple[Event, ...]:
        """What happened, in order of time."""
        return tuple(Event(**row) for row in self.table("events").to_pylist())

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
        self._spans: Spans = ()
        self._totals: dict[tuple[str, str], Counts] = {}  # of the whole phase, once they are read

    def began_s(self) -> int:
        """When its first window began, unix time. Raises ValueError when it has none."""
        parts = self._parts("generator", ["start_s", "length_s"])
        return min(int(_numbers(part, "start_s").min()) for part in parts)

    def without(self, spans: Spans) -> TargetPhase:
        """The same phase without every window that a span touches."""
        made = copy(self)
        made._spans = (*self._spans, *spans)
        return made

    def generator(
        self, names: Sequence[str] = GENERATOR, *, at_s: NDArray[np.int64] | None = None
    ) -> Iterator[Columns]:
        """One row per window of a worker, a file at a time: KEYS and `names`. `at_s`: only files
        with a window that may begin at one of these, sorted.
        """
        for table in self._parts("generator", [*KEYS, *names], at_s=at_s):
            yield {name: _numbers(table, name) for name in (*KEYS, *names)}

    def counters(
        self, names: Sequence[str] = COUNTERS, *, at_s: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[str, Columns]]:
        """(operation, one row per window of a worker), likewise."""
        for table in self._parts("counters", [*KEYS, *names, "operation"], at_s=at_s):
            columns = {name: _numbers(table, name) for name in (*KEYS, *names)}
            for operation, rows in rows_by_word(table, "operation"):
                yield operation, {name: held[rows] for name, held in columns.items()}

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

    def counts(
        self, keys: Sequence[tuple[str, str]], block_s: int
    ) -> dict[tuple[str, str], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Of each of `keys` (operation, kind): places (start_s // block_s) in order, and the counts
        of each: int64[n], [n, BUCKETS].
        """
        if block_s % HISTOGRAM_STEP_S or self._spans:
            blocks = ((key, self.blocks(*key, block_s)) for key in keys)
            return {key: (made.starts_s // block_s, made.counts) for key, made in blocks}
        # A fiftieth of the rows that the same by the second are.
        found: dict[tuple[str, str], dict[int, NDArray[np.int64]]] = {key: {} for key in keys}
        for key, table in self._by_key(["start_s", "buckets", "counts"]):
            if (held := found.get(key)) is None:
                continue
            lengths = pc.list_value_length(table.column("buckets")).to_numpy()
            places, row = distinct(_numbers(table, "start_s") // block_s)
            buckets, counts = _entries(table)
            at = np.repeat(row, lengths) * BUCKETS + buckets
            sums = np.bincount(at, counts, len(places) * BUCKETS).astype(np.int64)
            for place, one in zip(places.tolist(), sums.reshape(-1, BUCKETS), strict=True):
                held[place] = held[place] + one if place in held else one
        return {key: _in_order(held) for key, held in found.items()}

    def total(self, operation: str, kind: str, *, worker: int | None = None) -> Counts:
        """The whole phase of one operation and kind; operation "", kind "late": own delay."""
        if worker is not None:
            return self._all_totals(worker=worker).get((operation, kind), Counts())
        if not self._totals:
            self._totals.update(self._all_totals())
        made = Counts.merged([self._totals.get((operation, kind), Counts())])
        if self._spans:
            self._take_away(made, operation, kind)
        return made

    def _all_totals(self, *, worker: int | None = None) -> dict[tuple[str, str], Counts]:
        """Totals of every operation and kind, in one pass. Ten minutes of all workers are a row for
        each: a fiftieth of the same by the second.
        """
        found: dict[tuple[str, str], Counts] = {}
        for key, table in self._by_key(
            _HISTOGRAM[3:], **({} if worker is None else {"worker": worker})
        ):
            made = found.setdefault(key, Counts())
            buckets, counts = _entries(table)
            made.buckets += np.bincount(buckets, counts, BUCKETS).astype(np.int64)
            made.sum_us += int(pc.sum(table.column("sum_us")).as_py())
            made.max_us = max(made.max_us, int(pc.max(table.column("max_us")).as_py()))
            made.clamped += int(pc.sum(table.column("clamped")).as_py())
        return found

    def _by_key(
        self,
        columns: Sequence[str],
        **equal: Any,  # noqa: ANN401
    ) -> Iterator[tuple[tuple[str, str], pa.Table]]:
        """((operation, kind), rows) of the table `workers`, each file opened once."""
        for table in self._parts("workers", [*columns, "operation", "kind"], **equal):
            for operation, rows in rows_by_word(table, "operation"):
                part = taken(table, rows)
                for kind, held in rows_by_word(part, "kind"):
                    yield (operation, kind), taken(part, held)

    def _take_away(self, made: Counts, operation: str, kind: str) -> None:
        """Take out of a total what windows inside the spans added to it."""
        whole = copy(self)
        whole._spans = ()
        keys: dict[str, Any] = {"operation": operation, "kind": kind}
        made.max_us = 0  # the one thing that cannot be taken away again
        for table in whole._parts("windows", _HISTOGRAM, **keys):
            spoiled = _inside(table, self._spans)
            kept = table.column("max_us").to_numpy()[~spoiled]
            made.max_us = max(made.max_us, int(kept.max(initial=0)))
            if spoiled.any():
                part = table.filter(pa.array(spoiled))
                buckets, counts = _entries(part)
                made.buckets -= np.bincount(buckets, counts, BUCKETS).astype(np.int64)
                made.sum_us -= int(pc.sum(part.column("sum_us")).as_py())
                made.clamped -= int(pc.sum(part.column("clamped")).as_py())

    def _parts(
        self,
        table: str,
        columns: Sequence[str],
        *,
        at_s: NDArray[np.int64] | None = None,
        **equal: Any,  # noqa: ANN401
    ) -> Iterator[pa.Table]:
        """Rows of this phase, file by file, where each column of `equal` is so."""
        wanted = {"phase": self.phase, "mode": self.mode, **equal}
        for part in _read_ahead(
            self._files[table], lambda path: rows_of(path, columns, wanted, at_s)
        ):
            if self._spans and "length_s" in part.column_names:
                part = part.filter(pa.array(~_inside(part, self._spans)))
            if part.num_rows:
                yield part


def _read_ahead(paths: Iterable[Path], read: Callable[[Path], pa.Table]) -> Iterator[pa.Table]:
    """What is read of each path; of the next one while the last is being added up, for Arrow reads
    without holding the interpreter.
    """
    with ThreadPoolExecutor(1) as reader:
        ahead: Future[pa.Table] | None = None
        for path in paths:
            done, ahead = ahead, reader.submit(read, path)
            if done is not None:
                yield done.result()
        if ahead is not None:
            yield ahead.result()


def _in_order(
    found: Mapping[int, NDArray[np.int64]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    at = sorted(found)
    whole = np.array([found[place] for place in at], dtype=np.int64)
    return np.array(at, dtype=np.int64), whole.reshape(-1, BUCKETS)


class _Gathered:
    """Rows of the table `windows` added up into stretches."""

    def __init__(self, block_s: int) -> None:
        self._block_s = block_s
        self._counts: dict[int, NDArray[np.int64]] = {}
        self._scalars: dict[int, list[int]] = {}  # sum_us, clamped, cut, windows_s, max_us

    def take(self, table: pa.Table) -> None:
        """Add rows. They come in order of time, so a stretch is a slice of them; where a clock was
        set back it is several.
        """
        keys = _numbers(table, "start_s") // self._block_s
        begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        lengths = pc.list_value_length(table.column("buckets")).to_numpy()
        entries = np.append(0, np.cumsum(lengths, dtype=np.int64))
        edges = np.append(entries[begins], entries[-1]).tolist()
        buckets, counts = _entries(table)
        sums = [
            _numbers(table, "sum_us"),
            _numbers(table, "clamped"),
            (~_numbers(table, "complete")).astype(np.int64),
            _numbers(table, "length_s"),
        ]
        scalars = [np.add.reduceat(one, begins) for one in sums]
        scalars.append(np.maximum.reduceat(_numbers(table, "max_us"), begins))
        for index, key in enumerate(keys[begins].tolist()):
            part = slice(edges[index], edges[index + 1])
            # Sums of doubles are exact here: no stretch has 2^53 operations.
            row = np.bincount(buckets[part], counts[part], BUCKETS).astype(np.int64)
            told = [int(one[index]) for one in scalars]
            if key in self._counts:
                row += self._counts[key]
                before = self._scalars[key]
                sums_of_both = [one + other for one, other in zip(before, told, strict=True)]
                told = [*sums_of_both[:-1], max(before[-1], told[-1])]
            self._counts[key], self._scalars[key] = row, told

    def blocks(self) -> Blocks:
        """All that was added."""
        keys = sorted(self._counts)
        scalars = np.array([self._scalars[key] for key in keys], dtype=np.int64).reshape(-1, 5)
        counts = np.array([self._counts[key] for key in keys], dtype=np.int64)
        return Blocks(
            starts_s=np.array(keys, dtype=np.int64) * self._block_s,
            counts=counts.reshape(-1, BUCKETS),
            sum_us=scalars[:, 0],
            max_us=scalars[:, 4],
            clamped=scalars[:, 1],
            complete=scalars[:, 2] == 0,
            windows_s=scalars[:, 3],
        )


def _inside(table: pa.Table, spans: Spans) -> NDArray[np.bool_]:
    return inside(_numbers(table, "start_s"), _numbers(table, "length_s"), spans)


def _entries(table: pa.Table) -> tuple[NDArray[Any], NDArray[Any]]:
    """Buckets and counts of all rows, one behind the other."""
    buckets, counts = (
        pc.list_flatten(table.column(name)).to_numpy() for name in ("buckets", "counts")
    )
    return buckets, counts


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    column = table.column(name)
    if pa.types.is_integer(column.type):
        column = column.cast(pa.int64())
    return np.asarray(column.to_numpy())
