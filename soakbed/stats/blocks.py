"""Stretches of time as the unit that is drawn: how long, how many together, and the draws.

Neighbouring seconds are alike (compaction, fsync stalls), so whole runs of neighbouring blocks are
drawn. How many together is read from the data, because a fixed number is too short for one target
and wasteful for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log10, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dependence", "autocovariance", "block_s_for", "dependence", "draws"]

Array = NDArray[np.float64]

# 432 blocks of ten minutes over 72 h; more would cost time and say the same.
_MOST_BLOCKS = 600
_ROUND_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600)


def block_s_for(seconds: float) -> int:
    """A block's length in s for a phase of `seconds`: round, and at most 600 blocks of it.

    >>> block_s_for(60), block_s_for(3600), block_s_for(72 * 3600)
    (1, 10, 600)
    """
    return next((one for one in _ROUND_S if seconds / one <= _MOST_BLOCKS), _ROUND_S[-1])


@dataclass(frozen=True, slots=True)
class Dependence:
    """How alike neighbouring values of a series are.

    `length`: values that should be drawn together. `narrowing`: by how much the spread of a block
    bootstrap at that length falls short of the truth (0-1, a share of the standard error).
    `freedom`: the degrees of freedom of that spread. `variance`: the long-run variance, which
    over the number of values is that of their mean.
    """

    length: int
    narrowing: float
    freedom: float
    variance: float


def autocovariance(series: Array, lags: int) -> Array:
    """Autocovariances at lags 0..`lags` (shape [lags + 1]), each over the whole length."""
    centred = series - series.mean()
    count = len(centred)
    return np.array([centred[lag:] @ centred[: count - lag] / count for lag in range(lags + 1)])


def dependence(series: Array, *, least: int = 1) -> Dependence:
    """The block length for a circular block bootstrap of the mean of `series`.

    Politis and White (2004), "Automatic block-length selection for the dependent bootstrap",
    with the correction of Patton, Politis and White (2009): a flat-top lag window whose width is
    where the correlogram falls into its noise.
    """
    count = len(series)
    longest = max(1, ceil(min(3 * sqrt(count), count / 3)))
    reach = max(5, ceil(sqrt(log10(max(count, 2)))))
    lags = min(ceil(sqrt(count)) + reach, count - 1)
    covariance = autocovariance(series, lags)
    if count < 3 or covariance[0] <= 0:
        return _of(min(least, longest), 0.0, count, max(float(covariance[0]), 0.0))
    half = _falls_into_noise(covariance / covariance[0], count, reach)
    width = min(2 * max(half, 1), lags)
    lag = np.arange(1, width + 1)
    window = np.minimum(1.0, 2 * (1 - lag / width))
    slope = 2 * float((window * lag) @ covariance[1 : width + 1])  # sum of |k| R(k)
    spectrum = float(covariance[0] + 2 * window @ covariance[1 : width + 1])  # long-run variance
    if slope <= 0 or spectrum <= 0:
        return _of(min(least, longest), 0.0, count, float(covariance[0]))
    best = (1.5 * slope**2 / spectrum**2 * count) ** (1 / 3)
    length = int(min(max(least, ceil(best)), longest))
    # The variance at length L falls short by sum |k| R(k) / L (Politis and White, their eq. 2).
    return _of(length, min(slope / spectrum / length, 0.75), count, spectrum)


def _falls_into_noise(correlation: Array, count: int, reach: int) -> int:
    """The lag after which `reach` correlations in a row are no larger than chance makes them."""
    limit = 2 * sqrt(log10(count) / count)
    loud = np.flatnonzero(np.abs(correlation[1:]) >= limit) + 1
    edges = np.concatenate([[0], loud, [len(correlation) + reach]])
    gaps = np.diff(edges)
    return int(edges[np.argmax(gaps > reach)])


def _of(length: int, short: float, count: int, variance: float) -> Dependence:
    """Correct what is known to be too small, and say on how much the rest stands.

    A circular bootstrap centres on the series' own mean, which costs a share length/count of the
    variance (Lahiri 2003, "Resampling Methods for Dependent Data", ch. 3). Its variance estimate
    scatters like chi-squared with 1.5 count/length degrees of freedom (ibid., ch. 5: 4/3 L/n).
    """
    kept = (1 - short) * (1 - length / max(count, length + 1))
    freedom = max(1.0, min(count - 1.0, 1.5 * count / length - 1))
    return Dependence(length=length, narrowing=1 - sqrt(kept), freedom=freedom, variance=variance)


def draws(count: int, length: int, replicates: int, seed: int) -> Array:
    """For each replicate how often each block was drawn: shape [replicates, count].

    The circular block bootstrap of Politis and Romano (1992): runs of `length` neighbours, the
    last block being followed by the first, the last run cut so that `count` are drawn in all.
    """
    return _drawn(count, length, replicates, seed).astype(np.float64)


@lru_cache(maxsize=8)
def _drawn(count: int, length: int, replicates: int, seed: int) -> NDArray[np.uint16]:
    """The same in a quarter of the memory; figures ask for the same draws again and again."""
    whole, rest = divmod(count, length)
    random = np.random.default_rng(seed)
    drawn = np.zeros((replicates, count), dtype=np.uint16)  # of at most 1,200 blocks
    for runs, each in ((whole, length), (1 if rest else 0, rest)):
        if runs:
            starts = random.integers(0, count, size=(replicates, runs))
            drawn += _covered(starts, count, each)
    drawn.setflags(write=False)
    return drawn


def _covered(starts: NDArray[np.int64], count: int, length: int) -> NDArray[np.uint16]:
    """How often each of `count` places on a circle is covered by runs from `starts`."""
    replicates = len(starts)
    flat = (starts + np.arange(replicates)[:, None] * count).ravel()
    begun = np.bincount(flat, minlength=replicates * count).astype(np.uint16)
    begun = begun.reshape(replicates, count)
    around = np.concatenate([begun[:, count - length + 1 :], begun], axis=1)
    summed = np.cumsum(np.pad(around, ((0, 0), (1, 0))), axis=1, dtype=np.uint16)
    covered: NDArray[np.uint16] = (summed[:, length:] - summed[:, :-length])[:, -count:]
    return covered
