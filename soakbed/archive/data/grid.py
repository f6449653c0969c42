"""Histograms of a stretch of time, added in place as dense arrays, and taken out sparse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.limits import DELAY_PERCENTILE
from loadgen.contract.packed_window import COUNT_BYTES
from loadgen.contract.window import HISTOGRAMS
from soakbed.archive.data.rows import Cells, HistogramRows, Rows
from soakbed.stats.percentiles import HIGH_US

__all__ = ["Grid"]

STEP_S = 600
LATE = ("", "late")
_WIDTH = 1024  # buckets up to 16 ms; grows when a slower operation comes
_DENSE = np.dtype("<u4")


class _Layer:
    """Dense counts [row, key, bucket] with the exact scalars [row, key, 4] beside them."""

    def __init__(self, rows: int) -> None:
        self.index: dict[tuple[Any, ...], int] = {}
        self.windows: list[int] = []
        self.complete: list[bool] = []
        self.counts = np.zeros((rows, 7, _WIDTH), dtype=np.uint32)
        self.scalars: list[tuple[int, int, int, int, int, int]] = []

    def row(self, key: tuple[Any, ...]) -> int:
        """The row of `key`, made if it is new."""
        found = self.index.get(key)
        if found is None:
            found = self.index[key] = len(self.windows)
            self.windows.append(0)
            self.complete.append(True)
            if found >= len(self.counts):
                self.fit(rows=2 * len(self.counts))
        return found

    def fit(self, *, rows: int = 0, keys: int = 0, width: int = 0) -> None:
        """Make room."""
        held = self.counts.shape
        shape = (max(rows, held[0]), max(keys, held[1]), max(width, held[2]))
        if shape != held:
            larger = np.zeros(shape, dtype=np.uint32)
            larger[: held[0], : held[1], : held[2]] = self.counts
            self.counts = larger


class Grid:
    """What all workers saw in one stretch: by window, and each worker's ten minutes."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._keys: dict[tuple[str, str], int] = {}
        self._order: dict[tuple[str, ...], list[tuple[str, int]]] = {}
        self._begin()

    def _begin(self) -> None:
        self._windows = _Layer(self._rows)
        self._workers = _Layer(16)
        self._seen: set[tuple[int, int]] = set()
        self._late: list[_Own] = []
        self._response: list[_Own] = []

    def add(self, session: str, worker: int, plain: dict[str, Any], content: bytes | None) -> None:
        """Add one window. Raises ValueError or KeyError when it is not one."""
        start_s = plain["start_s"]
        phase, mode, length_s = plain["phase"], plain["mode"], plain["length_s"]
        row = self._windows.row((session, phase, mode, start_s, length_s))
        step_s = start_s // STEP_S * STEP_S
        own = self._workers.row((session, phase, mode, step_s, worker))
        layer, mine = self._windows, self._workers
        layer.windows[row] += 1
        mine.windows[own] += 1
        if not plain["complete"]:
            layer.complete[row] = False
        if (row, worker) in self._seen:
            layer.complete[row] = False
        self._seen.add((row, worker))
        at = 0 if content is None else COUNT_BYTES + int.from_bytes(content[:COUNT_BYTES], "little")
        late, response = _Own(), _Own()
        for key, kind, held in self._held(plain):
            if content is None:
                counts = _dense(held)
                size, total = len(counts), int(counts.sum())
            else:
                size, total = held["size"], held["total"]
                counts = np.frombuffer(content, _DENSE, size, at)
                at += COUNT_BYTES * size
            if size:
                if size > layer.counts.shape[2]:
                    self._widen(size)
                layer.counts[row, key, :size] += counts
                mine.counts[own, key, :size] += counts
                if kind == "response":
                    response.take(counts, total, held["max_us"])
                elif kind == "late":
                    late.take(counts, total, held["max_us"])
            told = (total, held["sum_us"], held["max_us"], held["clamped"])
            layer.scalars.append((row, key, *told))
            mine.scalars.append((own, key, *told))
        self._late.append(late)
        self._response.append(response)
        if content is not None and at != len(content):
            raise ValueError(f"{len(content) - at} bytes after the last histogram")

    def _held(self, plain: dict[str, Any]) -> list[tuple[int, str, dict[str, Any]]]:
        found = [(self._key(LATE), "late", plain["late"])]
        for name, operation in plain["operations"].items():
            found += [(self._key((name, kind)), kind, operation[kind]) for kind in HISTOGRAMS]
        return found

    def _key(self, key: tuple[str, str]) -> int:
        found = self._keys.get(key)
        if found is None:
            found = self._keys[key] = len(self._keys)
            self._windows.fit(keys=len(self._keys))
            self._workers.fit(keys=len(self._keys))
        return found

    def _widen(self, size: int) -> None:
        if size > BUCKETS:
            raise ValueError(f"{size} buckets, the layout has {BUCKETS}")
        width = min(BUCKETS, 1 << (size - 1).bit_length())
        self._windows.fit(width=width)
        self._workers.fit(width=width)

    def own_states(self) -> dict[str, NDArray[np.int64]]:
        """Of each window added since the last call: its own delay, its response times merged."""
        late, response = self._late, self._response
        self._late, self._response = [], []
        return _states("late", late) | _states("response", response)

    def flush(self, rows: Rows) -> bool:
        """Hand everything to `rows` and begin anew; False when counts and totals disagree."""
        names = list(self._keys)
        good = True
        for layer, into in ((self._windows, rows.windows), (self._workers, rows.workers)):
            good = _take_out(layer, names, into) and good
        self._begin()
        self._windows.fit(keys=len(self._keys))
        self._workers.fit(keys=len(self._keys))
        return good


def _take_out(layer: _Layer, names: list[tuple[str, str]], into: HistogramRows) -> bool:
    """Every row and key with what it holds, sparse; keys that no window had are left out."""
    count, keys = len(layer.windows), len(names)
    width = layer.counts.shape[2]
    scalars = np.array(layer.scalars, dtype=np.int64).reshape(-1, 6)
    cell = scalars[:, 0] * keys + scalars[:, 1]
    summed = np.zeros((count * keys, 4), dtype=np.int64)
    for column in (0, 1, 3):
        np.add.at(summed[:, column], cell, scalars[:, 2 + column])
    np.maximum.at(summed[:, 2], cell, scalars[:, 4])
    present = np.zeros(count * keys, dtype=bool)
    present[cell] = True
    flat = layer.counts[:count, :keys].reshape(count * keys, width)
    places = np.flatnonzero(flat)
    cells, buckets = places // width, places % width
    counts = flat.reshape(-1)[places]
    lengths = np.bincount(cells, minlength=count * keys)
    totals = np.zeros(count * keys, dtype=np.int64)
    np.add.at(totals, cells, counts)
    into.add(
        Cells(
            keys=list(layer.index),
            names=names,
            windows=np.array(layer.windows),
            complete=np.array(layer.complete),
            present=present,
            summed=summed,
            lengths=lengths,
            buckets=buckets.astype(np.uint16),
            counts=counts,
        )
    )
    return bool((totals == summed[:, 0]).all())


@dataclass(slots=True)
class _Own:
    """One kind of time of one window, of all its operations."""

    parts: list[NDArray[np.uint32]] = field(default_factory=list)
    total: int = 0
    max_us: int = 0

    def take(self, counts: NDArray[np.uint32], total: int, max_us: int) -> None:
        """Add one histogram."""
        self.parts.append(counts)
        self.total += total
        if max_us > self.max_us:
            self.max_us = max_us


def _dense(held: dict[str, Any]) -> NDArray[np.uint32]:
    """Counts of a sparse histogram. Raises ValueError when it does not fit the layout."""
    buckets, counts = held["buckets"], held["counts"]
    if len(buckets) != len(counts):
        raise ValueError(f"{len(buckets)} buckets but {len(counts)} counts")
    if not buckets:
        return np.zeros(0, dtype=np.uint32)
    if min(buckets) < 0 or max(buckets) >= BUCKETS or min(counts) < 0:
        raise ValueError("a bucket or a count is outside the layout")
    dense = np.zeros(max(buckets) + 1, dtype=np.uint32)
    np.add.at(dense, buckets, np.array(counts, dtype=np.uint32))
    return dense


def _states(name: str, windows: list[_Own]) -> dict[str, NDArray[np.int64]]:
    """Count and P95 of each window, the latter exactly as `Histogram.percentile_us` has it."""
    totals = np.array([one.total for one in windows], dtype=np.int64)
    max_us = np.array([one.max_us for one in windows], dtype=np.int64)
    width = max((len(part) for one in windows for part in one.parts), default=0)
    p95_us = np.zeros(len(windows), dtype=np.int64)
    if width:
        dense = np.zeros((len(windows), width), dtype=np.uint32)
        for row, one in zip(dense, windows, strict=True):
            for part in one.parts:
                row[: len(part)] += part
        needed = np.maximum(1, np.ceil(totals * DELAY_PERCENTILE / 100))
        seen = np.cumsum(dense, axis=1, dtype=np.uint32)
        index = (seen < needed[:, None].astype(np.uint32)).sum(axis=1)
        index = np.minimum(index, width - 1)
        p95_us = np.where(totals > 0, np.minimum(HIGH_US[index], max_us), 0)
    return {f"{name}_count": totals, f"{name}_p95_us": p95_us}
