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

__all__ = ["CountsDiffer", "Rows", "Stretch"]

Key = tuple[str, str, str, str]  # phase, mode, operation, kind
Rows = dict[str, Any]  # column -> array or list; buckets and counts flat, `entries` per row

_NO_CAUSES = (0,) * len(CAUSES)


class CountsDiffer(ValueError):
    """Counts of some windows are not what the windows say that they add up to."""


class _Histograms:
    """Dense counts of `rows` rows of one key; `told` has the rest of each window, one tuple each:
    row, total, sum_us, max_us, clamped, length_s, whether it is complete.

    Tuples are added up at the end, in one go: adding one number to an array costs ten times as
    much as keeping it, and a soak has a hundred million of them.
    """

    __slots__ = ("counts", "told", "width")

    def __init__(self, rows: int) -> None:
        self.counts: NDArray[np.uint32] = np.zeros((rows, BUCKETS), dtype=np.uint32)
        self.told: list[tuple[int, ...]] = []
        self.width = 1  # buckets in use

    def rows(self) -> Rows | None:
        """The rows that hold a window, sparse. None: none does. Raises CountsDiffer."""
        if not self.told:
            return None
        told = np.array(self.told, dtype=np.int64)
        held, row = np.unique(told[:, 0], return_inverse=True)
        sums = np.zeros((len(held), 4), dtype=np.int64)  # windows, total, sum_us, clamped
        np.add.at(sums, row, np.column_stack([np.ones(len(told), np.int64), told[:, (1, 2, 4)]]))
        max_us, length_s, complete = (np.zeros(len(held), dtype=np.int64) for _ in range(3))
        np.maximum.at(max_us, row, told[:, 3])
        length_s[row] = told[:, 5]
        complete += 1
        np.minimum.at(complete, row, told[:, 6])
        dense = self.counts[held, : self.width]
        where, buckets = np.nonzero(dense)
        counts = dense[where, buckets]
        if (np.bincount(where, counts, len(held)) != sums[:, 1]).any():
            raise CountsDiffer("counts of windows do not add up to their totals")
        return {
            "row": held,
            "windows": sums[:, 0],
            "length_s": length_s,
            "complete": complete.astype(bool),
            "count": sums[:, 1],
            "sum_us": sums[:, 2],
            "max_us": max_us,
            "clamped": sums[:, 3],
            "entries": np.bincount(where, minlength=len(held)),
            "buckets": buckets.astype(np.uint16),
            "counts": counts,
        }


class Stretch:
    """Ten minutes of one session."""

    def __init__(self, start_s: int) -> None:
        self.start_s = start_s
        self._seconds: dict[Key, _Histograms] = {}
        self._workers: dict[tuple[int, str, str], dict[tuple[str, str], _Histograms]] = {}
        self._pairs: dict[tuple[Any, ...], list[tuple[_Histograms, _Histograms]]] = {}
        self.counters: list[tuple[Any, ...]] = []
        self.generator: list[tuple[Any, ...]] = []

    def take(self, window: dict[str, Any]) -> None:
        """Add one window, as `frames.window_of` gives it. With a key `again` it is of seconds that
        its worker has claimed before, and they are not complete.
        """
        phase, mode, rank = window["phase"], window["mode"], window["worker"]
        add = np.add
        row, length_s = window["start_s"] - self.start_s, window["length_s"]
        complete = window["complete"] and "again" not in window
        key = (rank, phase, mode, *window["operations"])
        pairs = self._pairs.get(key) or self._begun(key, window)
        for (holder, kind), (all_workers, own) in zip(holders(window), pairs, strict=True):
            told = holder[kind]
            total, sum_us, max_us = told["total"], told["sum_us"], told["max_us"]
            rest = (total, sum_us, max_us, told["clamped"], length_s, complete)
            all_workers.told.append((row, *rest))
            own.told.append((0, *rest))
            if total:
                dense = told["dense"]
                size = len(dense)
                part = all_workers.counts[row, :size]
                add(part, dense, part)
                part = own.counts[0, :size]
                add(part, dense, part)
                if size > all_workers.width:
                    all_workers.width = size
                if size > own.width:
                    own.width = size
        whose = (phase, mode, window["start_s"], length_s, rank, window["seq"])
        for name, one in window["operations"].items():
            self.counters.append((*whose, name, *_counts(one)))
        self.generator.append((*whose, *_state(window)))

    def _begun(
        self, key: tuple[Any, ...], window: dict[str, Any]
    ) -> list[tuple[_Histograms, _Histograms]]:
        """For each histogram of such windows: where all workers' are added, and where its own."""
        rank, phase, mode = key[:3]
        mine = self._workers.setdefault((rank, phase, mode), {})
        made = self._pairs[key] = []
        for (_, kind), operation in zip(holders(window), _operations(window), strict=True):
            of_all = (phase, mode, operation, kind)
            if of_all not in self._seconds:
                self._seconds[of_all] = _Histograms(HISTOGRAM_STEP_S)
            made.append((self._seconds[of_all], mine.setdefault((operation, kind), _Histograms(1))))
        return made

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
