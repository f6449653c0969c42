"""A percentile of merged counts, and the same percentile had the blocks of time been others.

Values are continuous here: within its bucket the counts are taken as even, so that a percentile
moves smoothly and the ratio of two is not a ratio of bucket edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS, bucket_low_us
from soakbed.stats.blocks import Array, Dependence, dependence, draws

__all__ = [
    "REPLICATES",
    "SEED",
    "Resampled",
    "exceedances",
    "percentile_of",
    "percentiles_of_draws",
    "resampled",
    "resampled_mean",
    "together",
]

REPLICATES = 2000
SEED = 20231027  # fixed, so that judging a run again gives the same page

_EDGES_US: Array = np.array([bucket_low_us(i) for i in range(BUCKETS + 1)], dtype=np.float64)
_LEAST_US = 0.5  # a percentile of 0 us has no logarithm
_PARTS = 10
_MOST_BLOCKS = 1200
_LONGEST_TOGETHER_S = 3600
_COARSE = 16  # columns looked at first; the fine ones only where the percentile fell


def percentile_of(counts: NDArray[np.int64], percentile: float) -> float:
    """`percentile` (0-100) in us of counts [BUCKETS], which must not be all zero."""
    return float(percentiles_of_draws(np.ones((1, 1)), counts[None, :], percentile)[0])


def percentiles_of_draws(drawn: Array, counts: NDArray[np.int64], percentile: float) -> Array:
    """`percentile` (0-100) in us for each row of `drawn` [replicates, n] over counts [n, BUCKETS].

    The product with all buckets is never made: coarse columns say where to look.
    """
    used = np.flatnonzero(counts.any(axis=0))
    first, last = int(used[0]), int(used[-1]) + 1
    # Column j holds what lies below the bucket first + j.
    below = np.zeros((len(counts), last - first + 1))
    np.cumsum(counts[:, first:last], axis=1, out=below[:, 1:])
    needed = drawn @ below[:, -1] * percentile / 100
    coarse = np.unique(np.append(np.arange(0, below.shape[1], _COARSE), below.shape[1] - 1))
    reached = (drawn @ below[:, coarse]) >= needed[:, None]
    place = np.maximum(np.argmax(reached, axis=1), 1)
    left, right = int(coarse[place.min() - 1]), int(coarse[place.max()])
    near = drawn @ below[:, left : right + 1]
    column = np.maximum(np.argmax(near >= needed[:, None], axis=1), 1)
    rows = np.arange(len(drawn))
    held = near[rows, column] - near[rows, column - 1]
    part = np.divide(
        needed - near[rows, column - 1], held, out=np.ones_like(needed), where=held > 0
    )
    bucket = first + left + column - 1
    width = _EDGES_US[bucket + 1] - _EDGES_US[bucket]
    values: Array = _EDGES_US[bucket] + np.clip(part, 0, 1) * width
    return values


def exceedances(counts: NDArray[np.int64], percentile: float) -> Array:
    """Per block, how many values more lie above the overall percentile than its share of all.

    To first order a percentile moves as the mean of this series does (Bahadur 1966), so the
    dependence that matters for the percentile is the dependence of this series. Sums to about 0.
    """
    total = counts.sum(axis=0)
    edge = int(np.searchsorted(np.cumsum(total), total.sum() * percentile / 100))
    above: Array = counts[:, edge + 1 :].sum(axis=1).astype(np.float64)
    share = float(above.sum()) / max(float(total.sum()), 1.0)
    more: Array = above - counts.sum(axis=1) * share
    return more


@dataclass(frozen=True, slots=True)
class Resampled:
    """A percentile's natural logarithm (of us), its standard error, and what stands behind that.

    `length`: blocks drawn together. `freedom`: degrees of freedom of the error.
    """

    log_value: float
    log_error: float
    freedom: float
    length: int


def resampled(
    counts: NDArray[np.int64],
    percentile: float,
    *,
    block_s: float | None = None,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> Resampled:
    """How far `percentile` (0-100) moves when the blocks of time are drawn anew.

    `counts` [blocks, BUCKETS] are equal stretches of `block_s` seconds, in order, not all empty;
    of more than 1,200, neighbours are added first.
    """
    counts, block_s = _joined(counts, block_s)
    found = dependence(exceedances(counts, percentile), least=together(len(counts), block_s))
    drawn = draws(len(counts), found.length, replicates, seed)
    logs = np.log(np.maximum(percentiles_of_draws(drawn, counts, percentile), _LEAST_US))
    value = max(percentile_of(counts.sum(axis=0), percentile), _LEAST_US)
    return _with_error(float(np.log(value)), logs, found)


def resampled_mean(
    values: Array,
    *,
    block_s: float | None = None,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> Resampled:
    """The same for the mean of `values` [blocks], which must be positive."""
    join = -(-len(values) // _MOST_BLOCKS)
    whole = values[: len(values) // join * join].reshape(-1, join).mean(axis=1)
    joined_s = None if block_s is None else block_s * join
    found = dependence(whole, least=together(len(whole), joined_s))
    means = draws(len(whole), found.length, replicates, seed) @ whole / len(whole)
    mean = float(values.mean())
    return _with_error(float(np.log(mean)), np.log(np.maximum(means, mean * 1e-9)), found)


def together(blocks: int, block_s: float | None) -> int:
    """Blocks that are drawn together at least, whatever the data says.

    A short series cannot show how slow its own noise is, so a tenth of the phase; but no more
    than an hour, two to three times the longest cycle that a target's housekeeping has. Where
    the blocks' length is not known, one.
    """
    if block_s is None:
        return 1
    return max(1, ceil(min(blocks / _PARTS, _LONGEST_TOGETHER_S / block_s)))


def _joined(
    counts: NDArray[np.int64], block_s: float | None
) -> tuple[NDArray[np.int64], float | None]:
    """Sums of neighbouring blocks, so that at most 1,200 are left and draws fit into memory."""
    join = -(-len(counts) // _MOST_BLOCKS)
    if join <= 1:
        return counts, block_s
    summed = np.add.reduceat(counts, np.arange(0, len(counts), join), axis=0)
    return summed, None if block_s is None else block_s * join


def _with_error(log_value: float, logs: Array, found: Dependence) -> Resampled:
    return Resampled(
        log_value=log_value,
        log_error=float(logs.std(ddof=1)) / (1 - found.narrowing),
        freedom=found.freedom,
        length=found.length,
    )
