"""How far a percentile would move if this run's stretches of time had come in other numbers.

Neighbouring seconds are alike (compaction, fsync stalls), so whole blocks of time are drawn, not
single operations; an interval from independent draws would be far too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soakbed.stats.percentiles import HIGH_US, Counts, carried

__all__ = ["CONFIDENCE", "REPLICATES", "bootstrap_us"]

CONFIDENCE = 0.99
REPLICATES = 2000
_LEAST_STEPS = 10  # fewer draws say more about the method than about the run
_SEED = 20231027  # fixed, so that judging a run again gives the same page


def bootstrap_us(steps: Sequence[Counts], percentile: float) -> tuple[int, int] | None:
    """Interval (low, high) of `percentile` (0-100) by a circular block bootstrap over `steps`.

    `steps` are equal stretches in order of time. None where there are too few of them, or too
    few values to carry the percentile at all.
    """
    count = len(steps)
    if count < _LEAST_STEPS or not carried(percentile, sum(step.total for step in steps)):
        return None
    stacked = np.stack([step.buckets for step in steps])
    used = np.flatnonzero(stacked.any(axis=0))
    drawn = _draws(count) @ stacked[:, used].astype(np.float64)
    cumulated = np.cumsum(drawn, axis=1)
    needed = np.maximum(1.0, np.ceil(cumulated[:, -1] * percentile / 100))
    indexes = np.argmax(cumulated >= needed[:, None], axis=1)
    values = HIGH_US[used[indexes]]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values, [tail, 100 - tail], method="nearest")
    longest = max(step.max_us for step in steps)
    return min(int(low), longest), min(int(high), longest)


def _draws(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """For each replicate, how often each step was drawn."""
    # The cube root is the usual order of the best block length for a mean-like statistic
    # (Hall, Horowitz and Jing 1995).
    length = max(1, round(count ** (1 / 3)))
    blocks = -(-count // length)
    random = np.random.default_rng(_SEED)
    starts = random.integers(0, count, size=(REPLICATES, blocks))
    picked = (starts[:, :, None] + np.arange(length)) % count
    picked = picked.reshape(REPLICATES, -1)[:, :count]
    draws = np.zeros((REPLICATES, count))
    np.add.at(draws, (np.arange(REPLICATES)[:, None], picked), 1.0)
    return draws
