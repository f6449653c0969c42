"""The ratio of two contenders, with its interval, from blocks of time of one run each.

Errors are those of logarithms, so a ratio and its inverse have the same interval, and ten times
above is as far as ten times below.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, hypot

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soakbed.records.comparison import Ratio
from soakbed.stats.intervals import CONFIDENCE, LEAST_BLOCKS, METHOD, spread
from soakbed.stats.percentiles import carried
from soakbed.stats.resampling import REPLICATES, SEED, Resampled, resampled, resampled_mean

__all__ = ["percentile_ratio", "rate_ratio", "ratio_of", "slow_noise"]

_SLOW_SHARE = 0.25
_SLOW_S = 300.0


def slow_noise(seconds: float) -> float:
    """Standard error (of a logarithm) by noise too slow for a phase of `seconds` to show it.

    A phase of one minute lies between two compactions or in one, and cannot know which. Taken as
    25 % for phases short against five minutes, the pace of compactions, flushes and rewrites of
    a log, and falling as the phase grows. An assumption, not a measurement: it keeps short runs
    from claiming small differences, and is below 0.1 % from one day on.

    >>> [round(slow_noise(seconds), 4) for seconds in (60, 600, 3600, 72 * 3600)]
    [0.2083, 0.0833, 0.0192, 0.0003]
    """
    return _SLOW_SHARE / (1 + seconds / _SLOW_S)


def percentile_ratio(
    contender: NDArray[np.int64],
    baseline: NDArray[np.int64],
    percentile: float,
    *,
    block_s: float | tuple[float, float],
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
) -> Ratio | None:
    """`percentile` (0-100) of `contender` over that of `baseline`.

    Both are counts [blocks, BUCKETS] of equal stretches of `block_s` seconds in order of time
    (a pair where the two differ). None with fewer than ten blocks on either side, or where a
    sample does not carry the percentile.
    """
    sides = (contender, baseline)
    if any(len(one) < LEAST_BLOCKS or not carried(percentile, int(one.sum())) for one in sides):
        return None
    lengths_s = _pair(block_s)
    found = [
        resampled(one, percentile, block_s=length, replicates=replicates, seed=SEED + side)
        for side, (one, length) in enumerate(zip(sides, lengths_s, strict=True))
    ]
    seconds = [len(one) * length for one, length in zip(sides, lengths_s, strict=True)]
    return _over(found, (len(contender), len(baseline)), seconds, confidence)


def rate_ratio(
    contender_per_s: ArrayLike,
    baseline_per_s: ArrayLike,
    *,
    block_s: float | tuple[float, float],
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
) -> Ratio | None:
    """Mean rate of `contender_per_s` [blocks] over that of `baseline_per_s` [blocks].

    Also for any other mean over time that is positive (cores busy, bytes written). None with
    fewer than ten blocks on either side, or where a mean is not above 0.
    """
    sides = [np.asarray(one, dtype=np.float64) for one in (contender_per_s, baseline_per_s)]
    if any(len(one) < LEAST_BLOCKS or not one.mean() > 0 for one in sides):
        return None
    lengths_s = _pair(block_s)
    found = [
        resampled_mean(one, block_s=length, replicates=replicates, seed=SEED + side)
        for side, (one, length) in enumerate(zip(sides, lengths_s, strict=True))
    ]
    seconds = [len(one) * length for one, length in zip(sides, lengths_s, strict=True)]
    return _over(found, (len(sides[0]), len(sides[1])), seconds, confidence)


def ratio_of(
    logs: tuple[float, float],
    errors: tuple[float, float],
    freedoms: tuple[float, float],
    confidence: float,
) -> tuple[dict[str, float], float]:
    """exp(logs[0] - logs[1]) with its interval, as fields of a Ratio; and the half width.

    Degrees of freedom by Welch (1947) and Satterthwaite (1946).
    """
    error = hypot(*errors)
    parts = sum(one**4 / freedom for one, freedom in zip(errors, freedoms, strict=True))
    freedom = error**4 / parts if parts else min(freedoms)
    half = spread(error, freedom, confidence)
    middle = logs[0] - logs[1]
    fields = {
        "ratio": exp(middle),
        "low": exp(middle - half),
        "high": exp(middle + half),
        "confidence": confidence,
        "log_error": error,
        "freedom": freedom,
    }
    return fields, half


def _over(
    found: Sequence[Resampled], units: tuple[int, int], seconds: Sequence[float], confidence: float
) -> Ratio:
    contender, baseline = found
    errors = [
        hypot(one.log_error, slow_noise(length)) for one, length in zip(found, seconds, strict=True)
    ]
    fields, _ = ratio_of(
        (contender.log_value, baseline.log_value),
        (errors[0], errors[1]),
        (contender.freedom, baseline.freedom),
        confidence,
    )
    drawn = "/".join(str(one.length) for one in found)
    return Ratio(unit="time", units=units, method=f"{METHOD}, {drawn} blocks together", **fields)


def _pair(block_s: float | tuple[float, float]) -> tuple[float, float]:
    return block_s if isinstance(block_s, tuple) else (block_s, block_s)
