"""Windows of a sealed hour as rows of the tables, without looking at any of them alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.sealed import COUNTS
from loadgen.contract.window import CAUSES, HISTOGRAMS
from soakbed.archive.data.delays import delays_us
from soakbed.archive.data.histogram_rows import Batch, HistogramRows, Rows
from soakbed.archive.data.sealed_hours import HourArrays, Sparse

__all__ = ["DELAYS", "STATE", "Columns", "Key", "Run", "Words", "own_rows", "runs_of"]

Key = tuple[str, str, str, str]  # phase, mode, operation, kind

# Column -> int64 array, list or Words, all of one length.
Columns = dict[str, Any]

STATE = ("loop_lag_max_us", "overdue_max", "in_flight_max", "reconnects", "moved", "ask")
DELAYS = ("late_count", "late_p95_us", "response_count", "response_p95_us")
_SHARES = ("cpu_share", "wait_share", "nic_share")


@dataclass(frozen=True, slots=True)
class Words:
    """A column of words: `words` one after the other, `times` times."""

    words: tuple[str, ...]
    times: int

    def to_list(self) -> list[str]:
        """The words themselves."""
        return list(self.words) * self.times


@dataclass(frozen=True, slots=True)
class Run:
    """Windows from `first` to `last` (left out) of a sealed hour: of one worker, one phase, one
    list of operations.
    """

    hour: HourArrays
    worker: int
    phase: str
    mode: str
    operations: tuple[str, ...]
    first: int
    last: int

    @property
    def start_s(self) -> NDArray[np.int64]:
        """When each begins, unix time."""
        return self._column("start_s").astype(np.int64)

    def between(self, first: int, last: int) -> Run:
        """Windows `first` to `last` of these."""
        return Run(
            self.hour,
            self.worker,
            self.phase,
            self.mode,
            self.operations,
            self.first + first,
            self.first + last,
        )

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """What these windows have in common, for the rows of `HistogramRows` that they go to."""
        length_s = self._column("length_s").astype(np.int64)
        return Batch(rows, length_s, self._column("complete"))

    def histograms(self) -> Iterator[tuple[str, str, Sparse]]:
        """(operation, kind, histograms of these windows)."""
        yield "", "late", self.hour.histograms["late"].between(self.first, self.last)
        for name in self.operations:
            for kind in HISTOGRAMS:
                yield name, kind, self._histogram(name, kind)

    def generator(self) -> Columns:
        """Rows of the table `generator`."""
        windows = self.last - self.first
        made = self._whose(1)
        made["phase"], made["mode"] = Words((self.phase,), windows), Words((self.mode,), windows)
        made["complete"] = self._column("complete")
        for name in _SHARES:
            made[name] = self._column(f"generator.{name}").astype(np.float64)
        for name in STATE:
            made[name] = self._column(f"generator.{name}").astype(np.int64)
        late = self.hour.histograms["late"].between(self.first, self.last)
        responses = [self._histogram(name, "response") for name in self.operations]
        delays = (*delays_us([late], windows), *delays_us(responses, windows))
        return made | dict(zip(DELAYS, delays, strict=True))

    def counters(self) -> Columns:
        """Rows of the table `counters`: of each window all its operations."""
        windows, many = self.last - self.first, len(self.operations)
        made = self._whose(many)
        made["phase"] = Words((self.phase,), windows * many)
        made["mode"] = Words((self.mode,), windows * many)
        made["operation"] = Words(self.operations, windows)
        for name in COUNTS:
            made[name] = self._of_all(name)
        for cause in CAUSES:
            made[cause] = self._of_all(f"cause.{cause}")
        return made

    def _whose(self, many: int) -> Columns:
        names = ("start_s", "length_s", "worker", "seq")
        return {name: np.repeat(self._column(name).astype(np.int64), many) for name in names}

    def _of_all(self, name: str) -> NDArray[np.int64]:
        """A column of all operations, window by window."""
        made = np.zeros((self.last - self.first, len(self.operations)), dtype=np.int64)
        for at, operation in enumerate(self.operations):
            if f"{operation}.{name}" in self.hour.columns:
                made[:, at] = self.hour.column(name, self.first, self.last, operation)
        return made.ravel()

    def _column(self, name: str) -> NDArray[Any]:
        return self.hour.column(name, self.first, self.last)

    def _histogram(self, operation: str, kind: str) -> Sparse:
        low, high = self.hour.rows_of(operation, self.first, self.last)
        return self.hour.histograms[f"{operation}.{kind}"].between(low, high)


def runs_of(hour: HourArrays) -> list[Run]:
    """All windows of an hour, cut where the worker, the phase or the list of operations is
    another.
    """
    if not hour.windows:
        return []
    held = [hour.column(name, 0, hour.windows) for name in ("worker", "phase", "shape")]
    changes = np.any([one[1:] != one[:-1] for one in held], axis=0)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), hour.windows]
    made = []
    for first, last in pairwise(edges):
        worker, phase, shape = (int(one[first]) for one in held)
        made.append(Run(hour, worker, *hour.phases[phase], hour.shapes[shape], first, last))
    return made


def own_rows(runs: Sequence[Run], step_s: int) -> Iterator[tuple[int, int, Key, Rows]]:
    """(unix time at which a stretch of `step_s` begins, worker, key, its only row): the windows of
    `runs` added up.
    """
    if not runs:
        return
    places = [run.start_s // step_s for run in runs]
    stretches = np.unique(np.concatenate(places))
    held: dict[tuple[int, Key], HistogramRows] = {}
    for run, place in zip(runs, places, strict=True):
        batch = run.batch(np.searchsorted(stretches, place))
        for operation, kind, block in run.histograms():
            whose = run.worker, (run.phase, run.mode, operation, kind)
            if whose not in held:
                held[whose] = HistogramRows(len(stretches))
            held[whose].add_by_row(block, batch)
    for (worker, key), one in held.items():
        if (rows := one.rows()) is not None:
            for row, apart in _each(rows):
                yield int(stretches[row]) * step_s, worker, key, apart


def _each(rows: Rows) -> Iterator[tuple[int, Rows]]:
    """(its number, one row alone)."""
    numbers, edges = rows.pop("row"), np.append(0, np.cumsum(rows["entries"])).tolist()
    flat = {name: rows.pop(name) for name in ("buckets", "counts")}
    for at, row in enumerate(numbers.tolist()):
        apart = {name: held[at : at + 1] for name, held in rows.items()}
        yield row, apart | {name: held[edges[at] : edges[at + 1]] for name, held in flat.items()}
