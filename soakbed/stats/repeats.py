"""Repeats combined: the run is the unit, never the second.

A thousand seconds of one run are one draw of everything that differs between runs: placement,
page cache, leader, neighbours. Runs are few, so Student's t over the runs' logarithms, and no
bootstrap, which with five values can draw no more than those five.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt

import numpy as np

from soakbed.records.comparison import Ratio, RepeatedValue
from soakbed.stats.blocks import Array
from soakbed.stats.intervals import CONFIDENCE, spread
from soakbed.stats.ratios import ratio_of

__all__ = ["LEAST_RUNS", "repeated", "repeats_ratio"]

LEAST_RUNS = 3


def repeated(values: Sequence[float], *, confidence: float = CONFIDENCE) -> RepeatedValue:
    """One figure over its runs, `values` in its own unit and all above 0.

    Geometric mean and interval; no interval with fewer than three runs. Raises ValueError for no
    values, or one that is not above 0.
    """
    logs = _logs(values)
    count = len(logs)
    middle = float(logs.mean())
    low = high = variation = None
    if count >= LEAST_RUNS:
        half = spread(_error(logs), count - 1, confidence)
        low, high = exp(middle - half), exp(middle + half)
    if count > 1:
        variation = float(np.std(values, ddof=1) / np.mean(values))
    return RepeatedValue(
        runs=count,
        values=tuple(values),
        value=exp(middle),
        low=low,
        high=high,
        variation=variation,
        confidence=confidence,
        sentence=_sentence(count, variation),
    )


def repeats_ratio(
    contender: Sequence[float],
    baseline: Sequence[float],
    *,
    paired: bool = False,
    confidence: float = CONFIDENCE,
) -> Ratio | None:
    """The ratio of two figures that each were measured in several runs; all above 0.

    `paired`: the values stand beside each other in time (A B, B A, ...), so what changed for
    both in the same way drops out. None with fewer than three runs on either side. Raises
    ValueError for a value that is not above 0, or pairs that do not match.
    """
    if min(len(contender), len(baseline)) < LEAST_RUNS:
        return None
    first, second = _logs(contender), _logs(baseline)
    counts = (len(first), len(second))
    if paired:
        if counts[0] != counts[1]:
            raise ValueError(f"{counts[0]} runs cannot be paired with {counts[1]}")
        apart = first - second
        logs, errors = (float(apart.mean()), 0.0), (_error(apart), 0.0)
        method = "Student's t over the pairs of runs"
    else:
        logs = (float(first.mean()), float(second.mean()))
        errors = (_error(first), _error(second))
        method = "Welch's t over the runs"
    fields, _ = ratio_of(logs, errors, (counts[0] - 1.0, counts[1] - 1.0), confidence)
    return Ratio(unit="run", units=counts, method=f"{method}, on logarithms", **fields)


def _error(logs: Array) -> float:
    """Standard error of the mean."""
    return float(logs.std(ddof=1)) / sqrt(len(logs))


def _logs(values: Sequence[float]) -> Array:
    found = np.asarray(values, dtype=np.float64)
    if not len(found) or not (found > 0).all():
        raise ValueError(f"values of repeats must be above 0 and at least one: {list(values)}")
    return np.log(found)


def _sentence(count: int, variation: float | None) -> str:
    if count == 1:
        return "one run: it says nothing about how the next run would differ"
    told = f"{count} runs, {variation:.1%} apart (standard deviation over mean)"
    if count < LEAST_RUNS:
        return f"{told}; an interval needs at least {LEAST_RUNS} runs"
    return f"{told}; interval over runs, n = {count}"
