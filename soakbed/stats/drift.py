"""Whether something creeps inside a long phase: memory, disk, descriptors, latency.

The slope is the median of the slopes of all pairs (Theil 1950, Sen 1968), which outliers hardly
move; the test is Mann-Kendall's, its variance widened by the autocorrelation of the ranks (Hamed
and Rao 1998), since neighbouring values that are alike look like a trend to the plain test. That
widening is itself an estimate, so Student's t stands in for the normal distribution, with as many
degrees of freedom as the series has independent values, less two.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from soakbed.records.comparison import Drift, DriftWord
from soakbed.stats.blocks import Array, autocovariance

__all__ = ["LEAST_VALUES", "METHOD", "drift", "hours_until"]

METHOD = "Theil-Sen slope, Mann-Kendall with the variance of Hamed and Rao (1998)"
LEAST_VALUES = 20
_MOST_VALUES = 600  # all pairs of more would cost more than they tell; neighbours are joined
_CONFIDENCE = 0.99
_MOST_CORRELATION = 0.98
_LEAST_PER_DAY = 0.05  # a slope below 5 % of the median in a day is called none


def drift(
    values: ArrayLike,
    *,
    block_s: float,
    confidence: float = _CONFIDENCE,
    least_per_day: float = _LEAST_PER_DAY,
) -> Drift:
    """Judge the slope of one value (nan where there is none) per block of `block_s` seconds.

    "rising" or "falling": the interval does not hold 0. "none": it holds 0, and not
    `least_per_day` of the median in a day either way. Otherwise nobody can tell.
    """
    series, step_s = _thinned(np.asarray(values, dtype=np.float64), block_s)
    there = np.flatnonzero(~np.isnan(series))
    if len(there) < LEAST_VALUES:
        return _unknown(len(there), confidence)
    kept = series[there]
    hours = there * step_s / 3600
    slopes, score = _of_all_pairs(kept, hours)
    slope = float(np.median(slopes))
    widening = _widening(kept - slope * hours)
    variance = _plain_variance(kept) * widening
    freedom = max(len(kept) / widening - 2, 1.0)
    low, high = _sen_interval(slopes, variance, freedom, confidence)
    probability = _mann_kendall(score, variance, freedom)
    middle = float(np.median(kept))
    word = _word((low, high), probability, abs(middle) * least_per_day / 24, confidence)
    return Drift(
        word=word,
        slope_per_hour=slope,
        low_per_hour=low,
        high_per_hour=high,
        share_per_day=slope * 24 / middle if middle else None,
        probability=probability,
        points=len(kept),
        independent=len(kept) / widening,
        confidence=confidence,
        sentence=_sentence(word, slope, (low, high), middle),
        method=METHOD,
    )


def hours_until(limit: float, *, now: float, found: Drift) -> float | None:
    """Hours until a drifting value meets `limit` at the steeper end of its interval.

    None where it never does, or where the drift is not known. All in the value's own unit.
    """
    if found.low_per_hour is None or found.high_per_hour is None or found.word == "none":
        return None
    steepest = found.high_per_hour if limit > now else found.low_per_hour
    if steepest == 0 or (limit > now) != (steepest > 0):
        return None
    return (limit - now) / steepest


def _thinned(series: Array, block_s: float) -> tuple[Array, float]:
    """Medians of neighbours, so that at most 600 values are left; and their step in s."""
    join = -(-len(series) // _MOST_VALUES)
    if join <= 1:
        return series, block_s
    whole = series[: len(series) // join * join].reshape(-1, join)
    full = ~np.isnan(whole).all(axis=1)
    medians = np.full(len(whole), np.nan)
    medians[full] = np.nanmedian(whole[full], axis=1)
    return medians, block_s * join


def _of_all_pairs(kept: Array, hours: Array) -> tuple[Array, float]:
    """Slopes per hour between all pairs, in order of size; and how many more rise than fall."""
    first, second = np.triu_indices(len(kept), 1)
    rises = kept[second] - kept[first]
    return np.sort(rises / (hours[second] - hours[first])), float(np.sign(rises).sum())


def _mann_kendall(score: float, variance: float, freedom: float) -> float:
    """Chance of a score S (rises less falls, over all pairs) so far from 0 without any trend."""
    if variance <= 0:
        return 1.0
    steps = max(abs(score) - 1, 0.0) / sqrt(variance)  # S moves in steps of two
    return min(1.0, 2 * float(stdtr(freedom, -steps)))


def _plain_variance(kept: Array) -> float:
    """Variance of Kendall's S for independent values, with ties (Kendall 1975)."""
    count = len(kept)
    ties = np.unique(kept, return_counts=True)[1].astype(np.float64)
    tied = float((ties * (ties - 1) * (2 * ties + 5)).sum())
    return (count * (count - 1) * (2 * count + 5) - tied) / 18


def _widening(rest: Array) -> float:
    """By how much autocorrelation widens the variance of S; never below 1.

    The sum of Hamed and Rao's equation over the lags, from 1 up to the first whose rank
    correlation is not above chance (5 %), of the values without their slope. That sum breaks off
    early in short series, so where it is larger the widening of Yue and Wang (2004) for an AR(1)
    process holds, with the first correlation freed of its bias (1 + 3 r)/n (Marriott and Pope
    1954).
    """
    count = len(rest)
    ranks = np.argsort(np.argsort(rest, kind="stable"), kind="stable").astype(np.float64)
    covariance = autocovariance(ranks, count // 2)
    if covariance[0] <= 0:
        return 1.0
    correlation = covariance[1:] / covariance[0]
    quiet = np.flatnonzero(correlation < 1.96 / sqrt(count))
    lags = np.arange(1, (int(quiet[0]) if len(quiet) else len(correlation)) + 1)
    weights = (count - lags) * (count - lags - 1.0) * (count - lags - 2.0)
    total = float((weights * correlation[: len(lags)]).sum())
    ranked = 1 + 2 * total / (count * (count - 1.0) * (count - 2.0))
    first = min(max((count * float(correlation[0]) + 1) / (count - 3), 0.0), _MOST_CORRELATION)
    powers = first ** np.arange(1, count)
    fading = 1 + 2 * float(((1 - np.arange(1, count) / count) * powers).sum())
    return max(1.0, ranked, fading)


def _sen_interval(
    slopes: Array, variance: float, freedom: float, confidence: float
) -> tuple[float, float]:
    """Sen's interval from the ordered slopes (Gilbert 1987, section 16.4.2)."""
    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * sqrt(max(variance, 0.0))
    low = int(np.floor((len(slopes) - reach) / 2))
    high = int(np.ceil((len(slopes) + reach) / 2))
    return float(slopes[max(low, 0)]), float(slopes[min(high, len(slopes) - 1)])


def _word(
    ends: tuple[float, float], probability: float, least: float, confidence: float
) -> DriftWord:
    low, high = ends
    if probability < 1 - confidence and (low > 0 or high < 0):
        return "rising" if low > 0 else "falling"
    return "none" if -least < low and high < least else "cannot_tell"


def _sentence(word: DriftWord, slope: float, ends: tuple[float, float], middle: float) -> str:
    def per_day(one: float) -> str:
        return f"{one * 24 / abs(middle):+.2%}" if middle else f"{one * 24:+.3g}"

    told = f"{per_day(slope)} a day ({per_day(ends[0])} to {per_day(ends[1])})"
    return {
        "rising": f"rising: {told}",
        "falling": f"falling: {told}",
        "none": f"no drift: {told}",
        "cannot_tell": f"cannot tell: {told}",
    }[word]


def _unknown(points: int, confidence: float) -> Drift:
    return Drift(
        word="cannot_tell",
        slope_per_hour=None,
        low_per_hour=None,
        high_per_hour=None,
        share_per_day=None,
        probability=None,
        points=points,
        independent=None,
        confidence=confidence,
        sentence=f"cannot tell: {points} values, at least {LEAST_VALUES} needed",
        method=METHOD,
    )
