"""Percentiles of merged counts, and how far a sample carries them. Pure functions over numpy.

The buckets are those of `loadgen.contract.histogram`; merging adds counts and never averages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS, Histogram, bucket_high_us

__all__ = [
    "LADDER",
    "MIN_TAIL_SAMPLES",
    "Counts",
    "carried",
    "curve",
    "percentile_us",
    "percentiles_us",
    "smallest_sample_for",
]

LADDER = (50.0, 90.0, 95.0, 99.0, 99.9, 99.99)

# A percentile rests on at least this many values above it (Rally's rule of thumb, style rule 8).
MIN_TAIL_SAMPLES = 10

# Points per decade of 1 - q in a latency curve: 20 makes neighbours 11 % apart, finer than a
# reader can see at the width of a page.
_POINTS_PER_DECADE = 20

HIGH_US: NDArray[np.int64] = np.array([bucket_high_us(i) for i in range(BUCKETS)], dtype=np.int64)


def smallest_sample_for(percentile: float) -> int:
    """Samples needed before `percentile` (0-100) rests on at least ten values above it.

    >>> smallest_sample_for(99.0)
    1000
    >>> smallest_sample_for(99.99)
    100000
    """
    return round(MIN_TAIL_SAMPLES / (1.0 - percentile / 100.0))


def carried(percentile: float, count: int) -> bool:
    """Whether a sample of `count` carries `percentile` (0-100).

    >>> carried(99.0, 999), carried(99.0, 1000)
    (False, True)
    """
    return count >= smallest_sample_for(percentile)


class Counts:
    """Counts per bucket as one array, with the exact scalars of a histogram beside it."""

    __slots__ = ("buckets", "clamped", "max_us", "sum_us")

    def __init__(self) -> None:
        self.buckets: NDArray[np.int64] = np.zeros(BUCKETS, dtype=np.int64)
        self.sum_us = 0
        self.max_us = 0
        self.clamped = 0

    @classmethod
    def of(cls, histogram: Histogram) -> Counts:
        """The counts of one histogram."""
        made = cls()
        made.buckets[:] = histogram.counts
        made.sum_us = histogram.sum_us
        made.max_us = histogram.max_us
        made.clamped = histogram.clamped
        return made

    @classmethod
    def of_row(cls, buckets: NDArray[np.int64], max_us: int) -> Counts:
        """Counts that are there as an array; without sum, so without a mean. Nothing is copied."""
        made = cls.__new__(cls)
        made.buckets, made.max_us = buckets, int(max_us)
        made.sum_us = made.clamped = 0
        return made

    @classmethod
    def merged(cls, parts: Iterable[Counts]) -> Counts:
        """The sum of `parts`."""
        whole = cls()
        for part in parts:
            whole.add(part)
        return whole

    def add(self, other: Counts) -> None:
        """Merge `other` into this one; exact."""
        self.buckets += other.buckets
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)
        self.clamped += other.clamped

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.buckets.sum())

    @property
    def mean_us(self) -> float:
        """Sum over count, from the exact sum; 0 when empty."""
        total = self.total
        return self.sum_us / total if total else 0.0


def percentile_us(counts: Counts, percentile: float) -> int | None:
    """The value that `percentile` (0-100) do not exceed, or None where the sample is too small.

    The upper edge of its bucket, but never above the exact maximum, so it never flatters.
    """
    total = counts.total
    if not total or not carried(percentile, total):
        return None
    needed = max(1, -int(-total * percentile // 100))
    index = int(np.searchsorted(np.cumsum(counts.buckets), needed))
    return min(int(HIGH_US[index]), counts.max_us)


def percentiles_us(
    counts: NDArray[np.int64], max_us: NDArray[np.int64], percentile: float
) -> list[int | None]:
    """`percentile_us` of each row of `counts` (int64[n, BUCKETS]) with its exact `max_us`."""
    if not len(counts):
        return []
    cumulated = np.cumsum(counts, axis=1)
    totals = cumulated[:, -1]
    needed = np.maximum(1, -np.floor_divide(-totals * percentile, 100))
    values = np.minimum(HIGH_US[np.argmax(cumulated >= needed[:, None], axis=1)], max_us)
    told = (totals > 0) & (totals >= smallest_sample_for(percentile))
    return [
        value if enough else None
        for value, enough in zip(values.tolist(), told.tolist(), strict=True)
    ]


def curve(counts: Counts) -> tuple[tuple[float, int], ...]:
    """Points (percentile, us), even steps on a log axis of 1 - q, only as far as they carry."""
    total = counts.total
    if total < smallest_sample_for(0.0):
        return ()
    cumulated = np.cumsum(counts.buckets)
    points: list[tuple[float, int]] = []
    step = 0
    while (tail := 10.0 ** (-step / _POINTS_PER_DECADE)) * total >= MIN_TAIL_SAMPLES:
        needed = max(1, math.ceil(total * (1.0 - tail)))
        index = int(np.searchsorted(cumulated, needed))
        value = min(int(HIGH_US[index]), counts.max_us)
        points.append((round(100.0 * (1.0 - tail), 6), value))
        step += 1
    return tuple(points)
