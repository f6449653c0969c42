"""Windows of one session added up, a stretch of ten minutes at a time, in bounded memory.

A stretch has one row of counts per second, operation and kind. Adding is exact, and the sums are
asked once per stretch whether they are what the windows said of themselves. Windows come one by
one, as spools have them, or many at once, as sealed hours do (`adding_columns`).
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.limits import DELAY_PERCENTILE
from loadgen.contract.sealed import COUNTS
from loadgen.contract.window import CAUSES, HISTOGRAMS
from soakbed.archive.data.adding_columns import DELAYS, STATE, Columns, Key, Run
from soakbed.archive.data.histogram_rows import Batch, Block, HistogramRows, Rows
from soakbed.archive.data.schema import HISTOGRAM_STEP_S
from soakbed.stats.percentiles import HIGH_US

__all__ = ["Stretch"]

# Windows that are added at once: their counts of one kind stay in the cache of a core.
_BATCH = 128


class Stretch:
    """Ten minutes of one session; an hour where all windows come from sealed hours."""

    def __init__(self, start_s: int, length_s: int = HISTOGRAM_STEP_S) -> None:
        self.start_s = start_s
        self._length_s = length_s
        self._seconds: dict[Key, HistogramRows] = {}
        self._own: dict[tuple[int, Key], HistogramRows] = {}  # of each worker one row
        self._own_rows: list[tuple[int, int, Key, Rows]] = []  # when it begins, worker, key
        self._waiting: list[dict[str, Any]] = []  # all of the same worker, phase and mode
        self._whose = (-1, "", "")
        self.counters: list[Columns] = []
        self.generator: list[Columns] = []

    def take(self, window: dict[str, Any]) -> None:
        """Add one window, as `frames.window_of` gives it. With a key `again` it is of seconds that
        its worker has claimed before, and they are not complete.
        """
        whose = (window["worker"], window["phase"], window["mode"])
        if whose != self._whose or len(self._waiting) >= _BATCH:
            self._add_waiting()
            self._whose = whose
        self._waiting.append(window)

    def _add_waiting(self) -> None:
        windows, self._waiting = self._waiting, []
        if not windows:
            return
        rank, phase, mode = self._whose
        batch = Batch.of(windows, self.start_s)
        responses: list[Block] = []
        late: list[Block] = []
        for operation, kind, of, told in _by_key(windows):
            block = Block(of, told)
            key = (phase, mode, operation, kind)
            if (own := self._own.get((rank, key))) is None:
                own = self._own[rank, key] = HistogramRows(1)
            self._held(key).add(block, batch.part(of))
            own.add_all(block, batch.part(of))
            if kind in ("late", "response"):
                (late if kind == "late" else responses).append(block)
        delays = (*_p95_us(late, len(windows)), *_p95_us(responses, len(windows)))
        self.generator.append(_generator(windows, delays))
        if counters := _counters(windows):
            self.counters.append(counters)

    def take_run(self, run: Run) -> None:
        """Add windows of a sealed hour that follow each other, all of one phase and shape. Their
        rows of the table `workers` come apart.
        """
        batch = run.batch(run.start_s - self.start_s)
        for operation, kind, block in run.histograms():
            self._held((run.phase, run.mode, operation, kind)).add_sparse(block, batch)
        self.generator.append(run.generator())
        if run.operations:
            self.counters.append(run.counters())

    def take_own(self, start_s: int, rank: int, key: Key, rows: Rows) -> None:
        """Add ten minutes of one worker and key (`own_rows` of its sealed hour)."""
        self._own_rows.append((start_s, rank, key, rows))

    def _held(self, key: Key) -> HistogramRows:
        """Where the histograms of a key go by the second."""
        if (seconds := self._seconds.get(key)) is None:
            seconds = self._seconds[key] = HistogramRows(self._length_s)
        return seconds

    def seconds(self) -> Iterator[tuple[Key, Rows]]:
        """Rows of the table `windows` by phase, operation and kind."""
        self._add_waiting()
        for key, held in self._seconds.items():
            if (rows := held.rows()) is not None:
                rows["start_s"] = rows.pop("row") + self.start_s
                yield key, rows

    def workers(self) -> Iterator[tuple[int, Key, Rows]]:
        """Rows of the table `workers`."""
        self._add_waiting()
        found = list(self._own_rows)
        for (rank, key), held in self._own.items():
            if (rows := held.rows()) is not None:
                del rows["row"]
                found.append((self.start_s, rank, key, rows))
        for start_s, rank, key, rows in sorted(found, key=itemgetter(0, 1)):
            rows["start_s"] = np.array([start_s])
            yield rank, key, rows


def _by_key(
    windows: list[dict[str, Any]],
) -> Iterator[tuple[str, str, NDArray[np.int64], list[dict[str, Any]]]]:
    """(operation, kind, which of `windows`, their histograms)."""
    yield "", "late", np.arange(len(windows)), [one["late"] for one in windows]
    for name in dict.fromkeys(name for one in windows for name in one["operations"]):
        of = [at for at, one in enumerate(windows) if name in one["operations"]]
        held = [windows[at]["operations"][name] for at in of]
        for kind in HISTOGRAMS:
            yield name, kind, np.array(of), [one[kind] for one in held]


def _whose(windows: list[dict[str, Any]]) -> Columns:
    made: Columns = {name: [one[name] for one in windows] for name in ("phase", "mode")}
    for name in ("start_s", "length_s", "worker", "seq"):
        made[name] = np.array([one[name] for one in windows], dtype=np.int64)
    return made


def _counters(windows: list[dict[str, Any]]) -> Columns:
    """Rows of the table `counters`: of each window all its operations. Empty: there are none."""
    told = [(one, name) for one in windows for name in one["operations"]]
    if not told:
        return {}
    held = [one["operations"][name] for one, name in told]
    made = _whose([one for one, _ in told])
    made["operation"] = [name for _, name in told]
    made |= _ints(held, COUNTS)
    causes: Columns = {cause: np.zeros(len(held), dtype=np.int64) for cause in CAUSES}
    for at, one in enumerate(held):
        for cause, count in one["causes"].items():
            if cause in causes:
                causes[cause][at] = count
    return made | causes


def _generator(windows: list[dict[str, Any]], delays: tuple[NDArray[np.int64], ...]) -> Columns:
    """Rows of the table `generator`."""
    states = [one["generator"] for one in windows]
    made = _whose(windows)
    made["complete"] = [one["complete"] for one in windows]
    made["cpu_share"] = [one["cpu_share"] for one in states]
    for name in ("wait_share", "nic_share"):
        made[name] = [one.get(name) for one in states]
    return made | _ints(states, STATE) | dict(zip(DELAYS, delays, strict=True))


def _ints(held: list[dict[str, Any]], names: tuple[str, ...]) -> Columns:
    values = np.array(list(map(itemgetter(*names), held)), dtype=np.int64)
    return {name: values[:, at] for at, name in enumerate(names)}


def _p95_us(blocks: list[Block], windows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts and `Histogram.percentile_us` of DELAY_PERCENTILE of each window, `blocks` together:
    the same values from arrays.
    """
    size = max((one.counts.shape[1] for one in blocks), default=0)
    counts = np.zeros((windows, size), dtype=np.uint32)
    totals, longest_us = np.zeros(windows, dtype=np.int64), np.zeros(windows, dtype=np.int64)
    for one in blocks:
        counts[one.of, : one.counts.shape[1]] += one.counts
        totals[one.of] += one.totals
        longest_us[one.of] = np.maximum(longest_us[one.of], one.scalars["max_us"])
    needed = np.maximum(1, np.ceil(totals * DELAY_PERCENTILE / 100)).astype(np.int64)
    np.cumsum(counts, axis=1, out=counts)
    at = np.minimum((counts < needed[:, None]).sum(axis=1), BUCKETS - 1)
    return totals, np.where(totals > 0, np.minimum(HIGH_US[at], longest_us), 0)
