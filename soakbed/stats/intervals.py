"""How far a percentile would move if this run's stretches of time had come in other numbers.

A circular block bootstrap over blocks of time (`stats.blocks`): an interval from independent draws
of single operations would be far too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from loadgen.contract.histogram import bucket_low_us, bucket_of
from soakbed.records.comparison import IntervalUs
from soakbed.stats.percentiles import HIGH_US, Counts, carried
from soakbed.stats.resampling import REPLICATES, SEED, Resampled, resampled

__all__ = [
    "CONFIDENCE",
    "LEAST_BLOCKS",
    "METHOD",
    "REPLICATES",
    "bootstrap_us",
    "percentile_interval",
    "spread",
]

CONFIDENCE = 0.99
LEAST_BLOCKS = 10  # fewer draws say more about the method than about the run
METHOD = f"circular block bootstrap over time, {REPLICATES} replicates"


def percentile_interval(
    counts: NDArray[np.int64],
    percentile: float,
    *,
    block_s: float | None = None,
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> IntervalUs | None:
    """Where `percentile` (0-100) lies, from counts [blocks, BUCKETS] of equal stretches in order.

    None with fewer than ten blocks, or where the whole sample does not carry the percentile.
    With `block_s` (seconds of a block) at least an hour, or a tenth of the phase, is drawn
    together (`stats.resampling`). The ends are the outer edges of their buckets.
    """
    found = _spread_of(counts, percentile, block_s, replicates, seed)
    if found is None:
        return None
    half = spread(found.log_error, found.freedom, confidence)
    ends = [float(np.exp(found.log_value + side * half)) for side in (-1, 1)]
    low, high = (bucket_of(int(min(end, HIGH_US[-1]))) for end in ends)
    return IntervalUs(
        low_us=bucket_low_us(low),
        high_us=int(HIGH_US[high]),
        confidence=confidence,
        blocks=len(counts),
        block_length=found.length,
        method=METHOD,
    )


def spread(log_error: float, freedom: float, confidence: float) -> float:
    """Half the width of an interval of a logarithm: Student's t times the standard error."""
    return float(stdtrit(freedom, (1 + confidence) / 2)) * log_error


def bootstrap_us(steps: Sequence[Counts], percentile: float) -> tuple[int, int] | None:
    """`percentile_interval` of `steps`, equal stretches in order of time, as (low, high) in us.

    Never above the longest value that was seen.
    """
    if len(steps) < LEAST_BLOCKS:
        return None
    found = percentile_interval(np.stack([step.buckets for step in steps]), percentile)
    if found is None:
        return None
    longest = max(step.max_us for step in steps)
    return min(found.low_us, longest), min(found.high_us, longest)


def _spread_of(
    counts: NDArray[np.int64],
    percentile: float,
    block_s: float | None,
    replicates: int,
    seed: int,
) -> Resampled | None:
    if len(counts) < LEAST_BLOCKS or not carried(percentile, int(counts.sum())):
        return None
    return resampled(counts, percentile, block_s=block_s, seed=seed, replicates=replicates)
