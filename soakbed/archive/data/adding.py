"""Windows of one session added up, a stretch of ten minutes at a time, in bounded memory.

A stretch has one dense row of counts per second, operation and kind. Adding is exact, and the sums
are asked once per stretch whether they are what the windows said of themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.limits import DELAY_PERCENTILE
from loadgen.contract.window import CAUSES, HISTOGRAMS
from soakbed.archive.data.frames import DTYPES
from soakbed.archive.data.schema import HISTOGRAM_STEP_S
from soakbed.stats.percentiles import HIGH_US

__all__ = ["Columns", "CountsDiffer", "Rows", "Stretch"]

Key = tuple[str, str, str, str]  # phase, mode, operation, kind
Columns = dict[str, Any]  # column -> int64 array or list, all of one length
Rows = dict[str, Any]  # column -> array or list; buckets and counts flat, `entries` per row

# Windows that are added at once: their counts of one kind stay in the cache of a core.
_BATCH = 128
_COUNTS = ("due", "sent", "ok", "failed", "unknown", "dropped")
_STATE = ("loop_lag_max_us", "overdue_max", "in_flight_max", "reconnects", "moved", "ask")
_DELAYS = ("late_count", "late_p95_us", "response_count", "response_p95_us")


class CountsDiffer(ValueError):
    """Counts of some windows are not what the windows say that they add up to."""


class _Batch:
    """What windows of one worker and phase have in common with all their histograms."""

    __slots__ = ("complete", "length_s", "rows")

    def __init__(self, windows: list[dict[str, Any]], start_s: int) -> None:
        self.rows = np.array([one["start_s"] for one in windows], dtype=np.int64) - start_s
        self.length_s = np.array([one["length_s"] for one in windows], dtype=np.int64)
        self.complete = np.array([one["complete"] and "again" not in one for one in windows])


class _Block:
    """Histograms of one key: `counts` [n, buckets], scalars int64[n], `of` which window each is."""

    __slots__ = ("clamped", "counts", "max_us", "of", "sum_us", "totals")

    def __init__(self, of: NDArray[np.int64], told: list[dict[str, Any]]) -> None:
        self.of = of
        self.totals, self.sum_us, self.max_us, self.clamped = (
            np.array([one[name] for one in told], dtype=np.int64)
            for name in ("total", "sum_us", "max_us", "clamped")
        )
        self.counts = _dense(told)


def _dense(told: list[dict[str, Any]]) -> NDArray[Any]:
    """Counts of each histogram as a row, in the narrowest type that any of them came in."""
    widths = [one.get("width", 4) for one in told]
    size = max(one["size"] for one in told)
    wide = max(widths)
    if min(widths) == wide:
        rows = b"".join([one["raw"].ljust(size * wide, b"\0") for one in told])
        return np.frombuffer(rows, DTYPES[wide]).reshape(len(told), size)
    made = np.zeros((len(told), size), dtype=DTYPES[wide])
    for width in set(widths):
        here = [at for at, one in enumerate(widths) if one == width]
        made[here] = _dense([told[at] for at in here] + [_padding(size, width)])[:-1]
    return made


def _padding(size: int, width: int) -> dict[str, Any]:
    return {"raw": b"", "size": size, "width": width}


class _Histograms:
    """Dense counts of `rows` rows of one key, and their scalars."""

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
        self.sum_us, self.max_us, self.clamped, self.totals, self.windows, self.length_s = (
            np.zeros(rows, dtype=np.int64) for _ in range(6)
        )
        self.cut = np.zeros(rows, dtype=bool)
        self.width = 0  # buckets in use

    def add(self, rows: NDArray[np.int64], block: _Block, batch: _Batch) -> None:
        """The histograms of `block`, each into its row; exact, also where rows repeat."""
        size = block.counts.shape[1]
        self.width = max(self.width, size)
        first, last = int(rows[0]), int(rows[-1])
        if last - first + 1 == len(rows) and (np.diff(rows) == 1).all():
            part = self.counts[first : last + 1, :size]
            np.add(part, block.counts, out=part)
        else:
            for row, counts in zip(rows.tolist(), block.counts, strict=True):
                self.counts[row, :size] += counts
        np.add.at(self.sum_us, rows, block.sum_us)
        np.add.at(self.totals, rows, block.totals)
        np.add.at(self.clamped, rows, block.clamped)
        np.maximum.at(self.max_us, rows, block.max_us)
        np.add.at(self.windows, rows, 1)
        self.length_s[rows] = batch.length_s[block.of]
        self.cut[rows[~batch.complete[block.of]]] = True

    def add_all(self, block: _Block, batch: _Batch) -> None:
        """The histograms of `block` into the only row."""
        size = block.counts.shape[1]
        self.width = max(self.width, size)
        self.counts[0, :size] += block.counts.sum(axis=0, dtype=np.uint32)
        self.sum_us += block.sum_us.sum()
        self.totals += block.totals.sum()
        self.clamped += block.clamped.sum()
        self.max_us[0] = max(self.max_us[0], block.max_us.max())
        self.windows += len(block.of)
        self.length_s[0] = batch.length_s[block.of[-1]]
        self.cut[0] |= not batch.complete[block.of].all()

    def rows(self) -> Rows | None:
        """The rows that hold a window, sparse. None: none does."""
        held = np.flatnonzero(self.windows)
        if not len(held):
            return None
        dense = self.counts[held, : max(self.width, 1)]
        totals = self.totals[held]
        if (dense.sum(axis=1) != totals).any():
            raise CountsDiffer("counts of windows do not add up to their totals")
        where, buckets = np.nonzero(dense)
        return {
            "row": held,
            "windows": self.windows[held],
            "length_s": self.length_s[held],
            "complete": ~self.cut[held],
            "count": totals,
            "sum_us": self.sum_us[held],
            "max_us": self.max_us[held],
            "clamped": self.clamped[held],
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
        batch = _Batch(windows, self.start_s)
        own = self._workers.setdefault((rank, phase, mode), {})
        responses: list[_Block] = []
        late: _Block | None = None
        for operation, kind, of, told in _by_key(windows):
            block = _Block(of, told)
            key = (phase, mode, operation, kind)
            if (held := self._seconds.get(key)) is None:
                held = self._seconds[key] = _Histograms(HISTOGRAM_STEP_S)
            held.add(batch.rows[of], block, batch)
            if (mine := own.get((operation, kind))) is None:
                mine = own[operation, kind] = _Histograms(1)
            mine.add_all(block, batch)
            if kind == "late":
                late = block
            elif kind == "response":
                responses.append(block)
        delays = (*_p95_us([late] if late else [], len(windows)), *_p95_us(responses, len(windows)))
        self.generator.append(_generator(windows, delays))
        if counters := _counters(windows):
            self.counters.append(counters)

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
        for (rank, phase, mode), own in self._workers.items():
            for (operation, kind), held in own.items():
                if (rows := held.rows()) is not None:
                    rows["start_s"] = rows.pop("row") + self.start_s
                    yield rank, (phase, mode, operation, kind), rows


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
    made |= _ints(held, _COUNTS)
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
    return made | _ints(states, _STATE) | dict(zip(_DELAYS, delays, strict=True))


def _ints(held: list[dict[str, Any]], names: tuple[str, ...]) -> Columns:
    values = np.array(list(map(itemgetter(*names), held)), dtype=np.int64)
    return {name: values[:, at] for at, name in enumerate(names)}


def _p95_us(blocks: list[_Block], windows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts and `Histogram.percentile_us` of DELAY_PERCENTILE of each window, `blocks` together:
    the same values from arrays.
    """
    size = max((one.counts.shape[1] for one in blocks), default=0)
    counts = np.zeros((windows, size), dtype=np.uint32)
    totals, longest_us = np.zeros(windows, dtype=np.int64), np.zeros(windows, dtype=np.int64)
    for one in blocks:
        counts[one.of, : one.counts.shape[1]] += one.counts
        totals[one.of] += one.totals
        longest_us[one.of] = np.maximum(longest_us[one.of], one.max_us)
    needed = np.maximum(1, np.ceil(totals * DELAY_PERCENTILE / 100)).astype(np.int64)
    np.cumsum(counts, axis=1, out=counts)
    at = np.minimum((counts < needed[:, None]).sum(axis=1), BUCKETS - 1)
    return totals, np.where(totals > 0, np.minimum(HIGH_US[at], longest_us), 0)
