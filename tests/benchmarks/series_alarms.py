"""How often rates, `drift` and `steadiness` err on made-up series, by how long noise remembers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from soakbed.stats.drift import drift
from soakbed.stats.ratios import rate_ratio
from soakbed.stats.steadiness import steadiness
from soakbed.stats.verdicts import compare

__all__ = ["Alarms", "made_up_series", "series_alarms"]

_SERIES = 200
_BLOCK_S = 600.0
_HOURS = (24, 72)
_CORRELATIONS = (0.0, 0.5, 0.8)
_WANDER = 0.015
_PER_DAY = 0.10


@dataclass(frozen=True)
class Alarms:
    """Of `series` series each: what was said that is wrong, and what was found that is there."""

    hours: int
    correlation: float  # between neighbours, ten minutes apart
    series: int
    drift_false: int  # drift said of none
    drift_found: int  # 10 % a day
    warm_up_found: int  # 30 % for the first eighth, its end within two blocks
    shift_missed: int  # called steady although it moved by 10 % half way
    steady: int  # called steady, and is
    rates_different: int  # two such series as rates, called better or worse
    rates_found: int  # one of them 10 % lower, called worse


def made_up_series(
    count: int, correlation: float, wander: float, *, seed: int
) -> NDArray[np.float64]:
    """`count` values about 1: AR(1) with standard deviation `wander`, and 1 % of white noise."""
    random = np.random.default_rng(seed)
    pushes = random.standard_normal(count) * np.sqrt(1 - correlation**2)
    pushes[0] = random.standard_normal()
    wandering = wander * lfilter([1.0], [1.0, -correlation], pushes)
    return np.exp(wandering + 0.01 * random.standard_normal(count))


def series_alarms() -> list[Alarms]:
    """Every length with every noise."""
    return [_alarms(hours, correlation) for hours in _HOURS for correlation in _CORRELATIONS]


def _alarms(hours: int, correlation: float) -> Alarms:
    count = round(hours * 3600 / _BLOCK_S)
    rising = np.exp(np.arange(count) * _BLOCK_S / 86400 * np.log(1 + _PER_DAY))
    warm_up = np.where(np.arange(count) < count // 8, 1.3, 1.0)
    shift = np.where(np.arange(count) < count // 2, 1.0, 1.1)
    drift_false = drift_found = warm_up_found = shift_missed = steady = 0
    rates_different = rates_found = 0
    for seed in range(_SERIES):
        flat = made_up_series(count, correlation, _WANDER, seed=seed)
        drift_false += drift(flat, block_s=_BLOCK_S).word in ("rising", "falling")
        drift_found += drift(flat * rising, block_s=_BLOCK_S).word == "rising"
        steady += steadiness(flat, block_s=_BLOCK_S).steady
        shift_missed += steadiness(flat * shift, block_s=_BLOCK_S).steady
        from_s = steadiness(flat * warm_up, block_s=_BLOCK_S).steady_from_s
        other = made_up_series(count, correlation, _WANDER, seed=seed + _SERIES)
        rates_different += _rates(flat, other) in ("better", "worse")
        rates_found += _rates(flat / 1.1, other) == "worse"
        warm_up_found += from_s is not None and abs(from_s / _BLOCK_S - count // 8) <= 2
    return Alarms(
        hours=hours,
        correlation=correlation,
        series=_SERIES,
        drift_false=drift_false,
        drift_found=drift_found,
        warm_up_found=warm_up_found,
        shift_missed=shift_missed,
        steady=steady,
        rates_different=rates_different,
        rates_found=rates_found,
    )


def _rates(contender: NDArray[np.float64], baseline: NDArray[np.float64]) -> str:
    return compare(rate_ratio(contender, baseline, block_s=_BLOCK_S), better="higher").word
