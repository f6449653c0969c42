"""Windows of one session added up, a stretch of ten minutes at a time, in bounded memory.

A stretch has one dense row of counts per second, operation and kind. Adding is exact, and the sums
are asked once per stretch whether they are what the windows said of themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.limits import DELAY_PERCENTILE
from loadgen.contract.packed_window import holders
from loadgen.contract.window import CAUSES
from soakbed.archive.data.schema import HISTOGRAM_STEP_S
from soakbed.stats.percentiles import HIGH_US

__all__ = ["Rows", "Stretch"]

Key = tuple[str, str, str, str]  # phase, mode, operation, kind
Rows = dict[str, Any]  # column -> array or list; buckets and counts flat, `entries` per row

_NO_CAUSES = (0,) * len(CAUSES)


class _Histograms:
    """Dense counts of `rows` rows of one key, and their scalars.

    The scalars are lists: adding one number to an array costs ten times as much, and a soak has
    a hundred million of them.
    """

    __slots__ = (
        "clamped",
        "counts",
        "cut",
        "length_s",
        "max_us",
        "sum_us",
        "totals",
        "width",
        "windows",
    )

    def __init__(self, rows: int) -> None:
        self.counts: NDArray[np.uint32] = np.zeros((rows, BUCKETS), dtype=np.uint32)
        self.sum_us = [0] * rows
        self.max_us = [0] * rows
        self.clamped = [0] * rows
        self.totals = [0] * rows
        self.windows = [0] * rows
        self.cut = [False] * rows
        self.length_s = [0] * rows
        self.width = 0  # buckets in use

    def add(self, row: int, told: dict[str, Any], length_s: int, complete: bool) -> None:  # noqa: FBT001
        """One histogram more in `row`; exact."""
        total = told["total"]
        if total:
            dense = told["dense"]
            size = len(dense)
            part = self.counts[row, :size]
            np.add(part, dense, part)
            self.width = max(self.width, size)
            self.sum_us[row] += told["sum_us"]
            self.totals[row] += total
            self.clamped[row] += told["clamped"]
            if told["max_us"] > self.max_us[row]:
                self.max_us[row] = told["max_us"]
        self.windows[row] += 1
        self.length_s[row] = length_s
        if not complete:
            self.cut[row] = True

    def rows(self) -> Rows | None:
        """The rows that hold a window, sparse. None: none does."""
        held = np.flatnonzero(self.windows)
        if not len(held):
            return None
        dense = self.counts[held, : max(self.width, 1)]
        totals = np.array(self.totals)[held]
        if (dense.sum(axis=1) != totals).any():
            raise ValueError("counts of windows do not add up to their totals")
        where, buckets = np.nonzero(dense)
        return {
            "row": held,
            "windows": np.array(self.windows)[held],
            "length_s": np.array(self.length_s)[held],
            "complete": ~np.array(self.cut)[held],
            "count": totals,
            "sum_us": np.array(self.sum_us)[held],
            "max_us": np.array(self.max_us)[held],
            "clamped": np.array(self.clamped)[held],
            "entries": np.bincount(where, minlength=len(held)),
            "buckets": buckets.astype(np.uint16),
            "counts": dense[where, buckets],
        }


class Stretch:
    """Ten minutes of one session."""

    def __init__(self, start_s: int) -> None:
        self.start_s = start_s
        self._seconds: dict[Key, _Histograms] = {}
        self._workers: dict[tuple[int, str, str], dict[tuple[str, str], _Histograms]] = {}
        self.counters: list[tuple[Any, ...]] = []
        self.generator: list[tuple[Any, ...]] = []

    def take(self, window: dict[str, Any]) -> None:
        """Add one window, as `frames.window_of` gives it."""
        phase, mode, rank = window["phase"], window["mode"], window["worker"]
        row = window["start_s"] - self.start_s
        length_s, complete = window["length_s"], window["complete"]
        own = self._workers.setdefault((rank, phase, mode), {})
        for (holder, kind), operation in zip(holders(window), _operations(window), strict=True):
            told = holder[kind]
            key = (phase, mode, operation, kind)
            if (held := self._seconds.get(key)) is None:
                held = self._seconds[key] = _Histograms(HISTOGRAM_STEP_S)
            held.add(row, told, length_s, complete)
            if (mine := own.get((operation, kind))) is None:
                mine = own[operation, kind] = _Histograms(1)
            mine.add(0, told, length_s, complete)
        whose = (phase, mode, window["start_s"], length_s, rank, window["seq"])
        for name, one in window["operations"].items():
            self.counters.append((*whose, name, *_counts(one)))
        self.generator.append((*whose, *_state(window)))

    def seconds(self) -> Iterator[tuple[Key, Rows]]:
        """Rows of the table `windows` by phase, operation and kind."""
        for key, held in self._seconds.items():
            if (rows := held.rows()) is not None:
                rows["start_s"] = rows.pop("row") + self.start_s
                yield key, rows

    def workers(self) -> Iterator[tuple[int, Key, Rows]]:
        """Rows of the table `workers`."""
        for (rank, phase, mode), own in self._workers.items():
            for (operation, kind), held in own.items():
                if (rows := held.rows()) is not None:
                    rows["start_s"] = rows.pop("row") + self.start_s
                    yield rank, (phase, mode, operation, kind), rows


def _operations(window: dict[str, Any]) -> Iterable[str]:
    """The operation of each histogram, in the order of `holders`."""
    yield ""
    for name in window["operations"]:
        yield from (name, name, name)


def _counts(one: dict[str, Any]) -> tuple[int, ...]:
    causes = one["causes"]
    by_cause = tuple(causes.get(cause, 0) for cause in CAUSES) if causes else _NO_CAUSES
    counts = (one["due"], one["sent"], one["ok"], one["failed"], one["unknown"], one["dropped"])
    return counts + by_cause


def _state(window: dict[str, Any]) -> tuple[Any, ...]:
    state, late = window["generator"], window["late"]
    responses = [one["response"] for one in window["operations"].values()]
    response = _together(responses)
    longest_us = max((one["max_us"] for one in responses), default=0)
    total = sum(one["total"] for one in responses)
    return (
        window["complete"],
        state["cpu_share"],
        state.get("wait_share"),
        state.get("nic_share"),
        state["loop_lag_max_us"],
        state["overdue_max"],
        state["in_flight_max"],
        state["reconnects"],
        state["moved"],
        state["ask"],
        late["total"],
        _percentile_us(late["dense"], late["total"], late["max_us"]),
        total,
        _percentile_us(response, total, longest_us),
    )


def _together(histograms: list[dict[str, Any]]) -> NDArray[Any]:
    dense = [one["dense"] for one in histograms]
    made = np.zeros(max((len(one) for one in dense), default=0), dtype=np.uint32)
    for one in dense:
        made[: len(one)] += one
    return made


def _percentile_us(dense: NDArray[Any], total: int, max_us: int) -> int:
    """`Histogram.percentile_us` of DELAY_PERCENTILE: the same value from an array."""
    if not total:
        return 0
    needed = max(1, -int(-total * DELAY_PERCENTILE // 100))
    return min(int(HIGH_US[dense.cumsum().searchsorted(needed)]), max_us)
