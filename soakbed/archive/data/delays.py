"""The percentile of windows by which an engine's own delay is judged, of a whole hour at once.

Few values lie above it, so every window is walked from its highest bucket down to the one where
enough of them are passed: a step of all windows is some operations on arrays, and there are about
as many steps as values above.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.limits import DELAY_PERCENTILE
from soakbed.archive.data.sealed_hours import Sparse
from soakbed.stats.percentiles import HIGH_US

__all__ = ["delays_us"]

_Ints = NDArray[np.int64]


def delays_us(parts: Sequence[Sparse], windows: int) -> tuple[_Ints, _Ints]:
    """Counts and `Histogram.percentile_us` of DELAY_PERCENTILE of each window, `parts` together."""
    totals = sum((one.totals for one in parts), np.zeros(windows, dtype=np.int64))
    found = np.zeros(windows, dtype=np.int64)
    held = np.flatnonzero(totals)
    if len(held):
        needed = np.maximum(1, np.ceil(totals[held] * DELAY_PERCENTILE / 100)).astype(np.int64)
        longest_us = np.max([one.scalars["max_us"][held] for one in parts], axis=0)
        bucket = _passed(parts, held, totals[held] - needed)
        found[held] = np.minimum(HIGH_US[bucket], longest_us)
    return totals, found


def _passed(parts: Sequence[Sparse], windows: _Ints, above: _Ints) -> _Ints:
    """The highest bucket of each of `windows` from which on it has more than `above` values."""
    at = [one.edges[windows + 1] - 1 for one in parts]  # the highest entry not yet passed
    ends = [one.edges[windows] for one in parts]
    left, place = above.copy(), np.arange(len(windows))
    made = np.zeros(len(windows), dtype=np.int64)
    while len(place):
        tops = [_bucket(one, at[n], ends[n]) for n, one in enumerate(parts)]
        top = tops[0] if len(tops) == 1 else np.max(tops, axis=0)
        for n, one in enumerate(parts):
            here = np.flatnonzero(tops[n] == top)
            left[here] -= one.counts[at[n][here]]
            at[n][here] -= 1
        done = left < 0
        if done.any():
            made[place[done]] = top[done]
            more = ~done
            at, ends = [one[more] for one in at], [one[more] for one in ends]
            left, place = left[more], place[more]
    return made


def _bucket(part: Sparse, at: _Ints, end: _Ints) -> _Ints:
    """The buckets of entries `at`; -1 for a window that has none left from `end` on."""
    if not len(part.buckets):
        return np.full(len(at), -1, dtype=np.int64)
    return np.where(at >= end, part.buckets[at].astype(np.int64), -1)
