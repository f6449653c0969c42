"""Where a series moves to another level: inside a run over time, or from run to run.

Levels are found by optimal partitioning (Jackson et al. 2005, the exact search that PELT of
Killick et al. 2012 speeds up; our series are short): the fewest pieces whose squared distances
from their own means pay for the pieces. Noise that wanders looks like many small changes, so its
strength is taken as an AR(1) process's, estimated in a way that the changes themselves do not
spoil (Chakar, Lebarbier, Levy-Leduc and Robin 2017), and a change stays only if it is larger than
`least_change` and than what the noise between its pieces makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, expm1, log, sqrt

import numpy as np
from numpy.typing import ArrayLike

from soakbed.records.comparison import ChangePoint
from soakbed.stats.blocks import Array, dependence

__all__ = ["LEAST_VALUES", "METHOD", "change_points", "partition"]

METHOD = "optimal partitioning of logarithms, AR(1) noise"
LEAST_VALUES = 8  # fewer hold no two levels that anybody could tell from noise
_LEAST_PIECE = 3
_PENALTY = 3.0  # times the noise's long-run variance and ln n: the modified BIC's order
_LEAST_STRENGTH = 4.0  # standard errors between two levels
_MOST_CORRELATION = 0.9


def change_points(
    values: ArrayLike,
    *,
    at_s: Sequence[float] = (),
    labels: Sequence[str] = (),
    least_change: float = 0.03,
) -> tuple[ChangePoint, ...]:
    """Where `values` (all above 0; nan where there is none) take another level, in order.

    `at_s` or `labels` name each value, if given. Levels are geometric means; a change below the
    share `least_change` is not told. Empty with fewer than eight values. Raises ValueError for a
    value that is not above 0.
    """
    series = np.asarray(values, dtype=np.float64)
    kept = np.flatnonzero(~np.isnan(series))
    if len(kept) < LEAST_VALUES:
        return ()
    if not (series[kept] > 0).all():
        raise ValueError("a series for change points must be above 0 throughout")
    logs = np.log(series[kept])
    edges = _that_stand(logs, partition(logs, _penalty(logs)), log(1 + least_change))
    means = [float(logs[left:right].mean()) for left, right in _pieces(edges, len(logs))]
    found = []
    for number, edge in enumerate(edges):
        at = int(kept[edge])
        found.append(
            ChangePoint(
                at=at,
                before=exp(means[number]),
                after=exp(means[number + 1]),
                change=expm1(means[number + 1] - means[number]),
                at_s=at_s[at] if len(at_s) else None,
                label=labels[at] if len(labels) else "",
            )
        )
    return tuple(found)


def partition(series: Array, penalty: float, least: int = _LEAST_PIECE) -> list[int]:
    """Indexes at which a new piece begins (0 is not among them), each at least `least` long.

    Minimises the squared distances from the pieces' means plus `penalty` for each piece; exact,
    in time that grows with the square of the length (0.1 s for 4,000 values).
    """
    count = len(series)
    sums = np.concatenate([[0.0], np.cumsum(series - series.mean())])
    squares = np.concatenate([[0.0], np.cumsum((series - series.mean()) ** 2)])
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    began = np.zeros(count + 1, dtype=np.int64)
    for end in range(least, count + 1):
        starts = np.arange(end - least + 1)
        lengths = end - starts
        cost = squares[end] - squares[starts] - (sums[end] - sums[starts]) ** 2 / lengths
        total = best[starts] + cost + penalty
        began[end] = int(np.argmin(total))
        best[end] = total[began[end]]
    edges: list[int] = []
    end = int(began[count])
    while end > 0:
        edges.append(end)
        end = int(began[end])
    return edges[::-1]


def _penalty(logs: Array) -> float:
    return _PENALTY * _long_run_variance(logs) * log(len(logs))


def _long_run_variance(logs: Array) -> float:
    """Of AR(1) noise under changes of level, from medians of differences.

    var(y[i+1] - y[i]) = 2 s2 (1 - r) and var(y[i+2] - y[i]) = 2 s2 (1 - r2) for correlation r
    and variance s2 of a value, so r = ratio - 1, and the long-run variance is s2 (1 + r)/(1 - r).
    """
    one = float(np.median(np.abs(np.diff(logs)))) ** 2
    two = float(np.median(np.abs(logs[2:] - logs[:-2]))) ** 2
    if one == 0 or two == 0:  # most neighbours equal: values on a coarse grid
        return float(np.var(np.diff(logs))) / 2
    correlation = min(max(two / one - 1, 0.0), _MOST_CORRELATION)
    normal = 0.6745**2  # the median of |x| over its standard deviation, squared
    variance = one / normal / 2 / (1 - correlation)
    return variance * (1 + correlation) / (1 - correlation)


def _pieces(edges: Sequence[int], count: int) -> list[tuple[int, int]]:
    return list(zip([0, *edges], [*edges, count], strict=True))


def _that_stand(logs: Array, edges: list[int], least: float) -> list[int]:
    """Drop the weakest edge again and again, until each is larger than noise and than `least`."""
    while edges:
        pieces = _pieces(edges, len(logs))
        means = [logs[left:right].mean() for left, right in pieces]
        rest = np.concatenate(
            [logs[left:right] - mean for (left, right), mean in zip(pieces, means, strict=True)]
        )
        noise = max(dependence(rest).variance, _long_run_variance(logs), 1e-18)
        strengths = []
        for number in range(len(edges)):
            (left, middle), (_, right) = pieces[number], pieces[number + 1]
            error = sqrt(noise * (1 / (middle - left) + 1 / (right - middle)))
            apart = abs(float(means[number + 1] - means[number]))
            strengths.append(min(apart / error / _LEAST_STRENGTH, apart / least))
        weakest = int(np.argmin(strengths))
        if strengths[weakest] >= 1:
            return edges
        edges = edges[:weakest] + edges[weakest + 1 :]
    return edges
