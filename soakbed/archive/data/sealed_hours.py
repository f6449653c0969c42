"""A sealed hour as arrays: one checksum, an inflate for each kind of histogram, and no object per
window. `loadgen.contract.sealed` is the format and reads it at leisure.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.limits import DELAY_PERCENTILE
from loadgen.contract.sealed import RARE, SealedDamaged, SealedHour
from soakbed.stats.percentiles import HIGH_US

__all__ = ["HourArrays", "Sparse", "delays_us"]

Column = NDArray[Any]

_RAW = -zlib.MAX_WBITS
_TYPES = {"B": "<u1", "H": "<u2", "I": "<u4", "q": "<i8", "d": "<f8"}
_SCALARS = ("sum_us", "max_us", "clamped")
_BROKEN = (ValueError, KeyError, TypeError, IndexError, OverflowError, zlib.error)


@dataclass(frozen=True, slots=True)
class Sparse:
    """Histograms of n windows. `buckets` uint16 and `counts` of all entries, window by window;
    `edges` int64[n + 1] where each window's begin; `seen` int64[entries + 1] counts before each.
    """

    buckets: NDArray[np.uint16]
    counts: NDArray[Any]
    edges: NDArray[np.int64]
    seen: NDArray[np.int64]
    scalars: Mapping[str, NDArray[np.int64]]  # sum_us, max_us, clamped: n each

    def between(self, first: int, last: int) -> Sparse:
        """The windows from `first` to `last`, the end left out."""
        low, high = int(self.edges[first]), int(self.edges[last])
        return Sparse(
            buckets=self.buckets[low:high],
            counts=self.counts[low:high],
            edges=self.edges[first : last + 1] - low,
            seen=self.seen[low : high + 1] - self.seen[low],
            scalars={name: held[first:last] for name, held in self.scalars.items()},
        )

    @property
    def totals(self) -> NDArray[np.int64]:
        """Values of each window."""
        at = self.seen[self.edges]
        return at[1:] - at[:-1]

    def up_to(self, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bucket of each window in which its value number `wanted` lies; 0 where it has none.

        `wanted` is from 1 to the window's total where that is not 0.
        """
        if not len(self.buckets):
            return np.zeros(len(wanted), dtype=np.int64)
        at = np.searchsorted(self.seen[1:], self.seen[self.edges[:-1]] + wanted)
        return self.buckets[np.minimum(at, len(self.buckets) - 1)].astype(np.int64)


class HourArrays:
    """All windows of one sealed hour, in their order. Raises SealedDamaged."""

    def __init__(self, hour: SealedHour) -> None:
        self.hour = hour
        self.windows = int(hour.head["windows"])
        self.phases: list[tuple[str, str]] = [tuple(one) for one in hour.head["phases"]]
        self.shapes: list[tuple[str, ...]] = [tuple(one) for one in hour.head["shapes"]]
        try:
            self._read()
        except SealedDamaged:
            raise
        except _BROKEN as error:
            raise SealedDamaged(hour.path, f"cannot be read: {error}", hour.records) from error

    def _read(self) -> None:
        self.columns: dict[str, Column] = {}
        self.histograms: dict[str, Sparse] = {}
        for name, packed, length in self.hour.blocks():
            content = zlib.decompress(packed, _RAW, max(length, 1))
            if len(content) != length:
                raise ValueError(f"{len(content)} bytes of {length} in block {name!r}")
            if name:
                self.histograms[name] = self._sparse(name, content)
            else:
                for told, held in self.hour.columns_in(content):
                    self.columns[told["name"]] = _array(told, held)
        self._place_operations()

    def _place_operations(self) -> None:
        """Which windows have an operation: its rows are numbered by them."""
        shape = self.columns["shape"] if self.windows else np.zeros(0, dtype=np.int64)
        self._before: dict[str, NDArray[np.int64]] = {}
        for name in {name for shape in self.shapes for name in shape}:
            having = [number for number, held in enumerate(self.shapes) if name in held]
            there = np.isin(shape, having)
            self._before[name] = np.append(0, np.cumsum(there, dtype=np.int64))

    def rows_of(self, operation: str, first: int, last: int) -> tuple[int, int]:
        """Where windows `first` to `last` stand in the columns of an operation ("": of all)."""
        before = self._before.get(operation)
        return (first, last) if before is None else (int(before[first]), int(before[last]))

    def column(self, name: str, first: int, last: int, operation: str = "") -> Column:
        """A column of the windows from `first` to `last`; of an operation that all of them have."""
        low, high = self.rows_of(operation, first, last)
        return self.columns[f"{operation}.{name}" if operation else name][low:high]

    def _sparse(self, name: str, codes: bytes) -> Sparse:
        columns = self.columns
        entries = columns[f"{name}.entries"].astype(np.int64)
        edges = np.append(0, np.cumsum(entries))
        if edges[-1] != len(codes):
            raise ValueError(f"{name}: {len(codes)} codes for {edges[-1]} entries")
        gaps, counts = self._decoded(name, codes)
        filled = entries > 0
        begins, lengths = edges[:-1][filled], entries[filled]
        # The first entry of a window has distance 0; one running sum serves them all.
        buckets = np.cumsum(gaps, dtype=np.int32)
        first = columns[f"{name}.first"].astype(np.int64)
        if len(first) != len(begins):
            raise ValueError(f"{name}: {len(first)} first buckets of {len(begins)} windows")
        buckets += np.repeat((first - buckets[begins]).astype(np.int32), lengths)
        if len(buckets) and (buckets.max() >= BUCKETS or buckets.min() < 0):
            raise ValueError(f"{name}: a bucket is outside the layout")
        seen = np.zeros(len(codes) + 1, dtype=np.int64)
        np.cumsum(counts, out=seen[1:])
        scalars = {one: columns[f"{name}.{one}"].astype(np.int64) for one in _SCALARS}
        return Sparse(buckets.astype(np.uint16), counts, edges, seen, scalars)

    def _decoded(self, name: str, codes: bytes) -> tuple[Column, Column]:
        """Distance and count of each entry."""
        table = np.zeros((2, 256), dtype=np.uint8)
        for row, column in zip(table, ("gap", "count"), strict=True):
            row[: len(self.columns[f"{name}.{column}"])] = self.columns[f"{name}.{column}"]
        gaps, counts = (np.frombuffer(codes.translate(one.tobytes()), np.uint8) for one in table)
        rare = self.columns[f"{name}.rare_gap"], self.columns[f"{name}.rare_count"]
        if len(rare[0]):
            at = np.flatnonzero(np.frombuffer(codes, np.uint8) == RARE)
            gaps, counts = gaps.astype(np.int64), counts.astype(np.int64)
            gaps[at], counts[at] = rare
        return gaps, counts


def _array(told: Mapping[str, Any], content: bytes) -> Column:
    """A column as `loadgen.contract.columns.decoded` gives it; None among doubles is NaN."""
    count = int(told["count"])
    if "same" in told:
        value = told["same"]
        return np.full(count, np.nan if value is None else value)
    if "step" in told:
        return int(told["first"]) + int(told["step"]) * np.arange(count, dtype=np.int64)
    held = np.frombuffer(content, _TYPES[told["type"]])
    if len(held) != count:
        raise ValueError(f"{told['name']}: {len(held)} values of {count}")
    return held.astype(bool) if told.get("truth") else held


def delays_us(parts: list[Sparse], windows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts and `Histogram.percentile_us` of DELAY_PERCENTILE of each window, `parts` together.

    Two histograms are searched by halving, between the percentiles that each has alone: a
    percentile of both lies there.
    """
    totals = sum((one.totals for one in parts), np.zeros(windows, dtype=np.int64))
    alone = [one.up_to(_needed(one.totals)) for one in parts]
    known = [np.where(one.totals > 0, at, -1) for one, at in zip(parts, alone, strict=True)]
    if not known:
        return totals, totals
    high = np.max(known, axis=0)
    low = np.min([np.where(at < 0, high, at) for at in known], axis=0)
    if len(parts) > 1:
        low = _between(parts, low, high, _needed(totals))
    longest_us = np.max([one.scalars["max_us"] for one in parts], axis=0)
    return totals, np.where(totals > 0, np.minimum(HIGH_US[np.maximum(low, 0)], longest_us), 0)


def _needed(totals: NDArray[np.int64]) -> NDArray[np.int64]:
    needed: NDArray[np.int64] = np.ceil(totals * DELAY_PERCENTILE / 100).astype(np.int64)
    return np.maximum(1, needed)


def _between(
    parts: list[Sparse],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    needed: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The least bucket from `low` to `high` up to which each window has `needed` values."""
    row = np.arange(len(low)) * BUCKETS
    places = [
        (one.buckets + np.repeat(row, np.diff(one.edges)), one.seen, one.seen[one.edges[:-1]])
        for one in parts
    ]
    while (open_ := np.flatnonzero(low < high)).size:
        middle = (low[open_] + high[open_]) // 2
        found = np.zeros(len(open_), dtype=np.int64)
        for place, seen, before in places:
            found += seen[np.searchsorted(place, row[open_] + middle, side="right")] - before[open_]
        enough = found >= needed[open_]
        high[open_[enough]] = middle[enough]
        low[open_[~enough]] = middle[~enough] + 1
    return low
