"""Whether a phase was steady, and from when: read from the data, not from the plan's warm-up.

Fixed warm-ups are wrong more often than right (Traini et al. 2023; Barrett et al. 2017). The
warm-up ends at the last change of level in the first quarter; what follows must stay at one
level. MSER-5, which knows nothing of levels, is the cross-check.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from soakbed.records.comparison import ChangePoint, Steadiness
from soakbed.stats.blocks import Array
from soakbed.stats.changes import METHOD, change_points

__all__ = ["LEAST_VALUES", "MOST_VARIATION", "mser5", "steadiness"]

LEAST_VALUES = 20
MOST_VARIATION = 0.03  # of the medians of stretches; 2-3 % is what Georges et al. (2007) ask for
_WARM_UP_WITHIN = 0.25
_LEAST_CHANGE = 0.03
_STRETCH_S = 600.0
_LEAST_STRETCHES = 10
_LEAST_SHARE = 0.1  # another level for less of the time than this is an event, not a state
_BATCH = 5


def steadiness(
    values: ArrayLike,
    *,
    block_s: float,
    most_variation: float = MOST_VARIATION,
) -> Steadiness:
    """Judge a series of one value (above 0, nan where there is none) per block of `block_s` s.

    Best asked of throughput or of a median. A high percentile scatters more by its nature; give
    it a wider `most_variation` (0-1). Raises ValueError for a value that is not above 0.
    """
    series = np.asarray(values, dtype=np.float64)
    there = int((~np.isnan(series)).sum())
    if there < LEAST_VALUES:
        return _unsteady(f"no steady state shown: {there} values, at least {LEAST_VALUES} needed")
    seconds = [place * block_s for place in range(len(series))]
    found = change_points(series, at_s=seconds, least_change=_LEAST_CHANGE)
    start = max((one.at for one in found if one.at <= len(series) * _WARM_UP_WITHIN), default=0)
    cross = mser5(series)
    cross_s = None if cross is None else cross * block_s
    variation = _variation(series[start:], block_s)
    moved = _moved([one for one in found if one.at > start], series, start)
    against = _against(moved, variation, most_variation, block_s)
    if against:
        return _unsteady(against, variation=variation, cross_s=cross_s, found=found)
    return Steadiness(
        steady=True,
        steady_from_s=start * block_s,
        variation=variation,
        cross_check_s=cross_s,
        change_points=found,
        sentence=_steady_sentence(start * block_s, cross_s, len(series) * block_s, variation),
        method=f"{METHOD}; MSER-5",
    )


def _against(
    moved: ChangePoint | None, variation: float, most_variation: float, block_s: float
) -> str:
    """Why the phase was not steady; empty if it was."""
    if moved is not None:
        return (
            f"no steady state: after {moved.at * block_s:.0f} s the level moved by "
            f"{moved.change:+.1%} and stayed"
        )
    if variation > most_variation:
        return (
            f"no steady state: stretches differ by {variation:.1%} (standard deviation over mean "
            f"of their medians), at most {most_variation:.0%} is steady"
        )
    return ""


def mser5(values: ArrayLike) -> int | None:
    """How many values to leave out at the start, by MSER-5; None where it cannot say.

    White, Cobb and Spratt (2000): of means of five, the start that makes the standard error of
    the rest smallest. An answer in the second half means that there was no warm-up's end.
    """
    series = np.asarray(values, dtype=np.float64)
    series = series[~np.isnan(series)]
    batches = len(series) // _BATCH
    if batches < 4:
        return None
    means = series[: batches * _BATCH].reshape(batches, _BATCH).mean(axis=1)
    left = np.arange(batches, 0, -1)
    sums = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum(means[::-1] ** 2)[::-1]
    errors = np.maximum(squares - sums**2 / left, 0) / left**2
    best = int(np.argmin(errors[: batches - 2]))  # the last few would win by being few
    return best * _BATCH if best < batches // 2 else None


def _variation(rest: Array, block_s: float) -> float:
    """Coefficient of variation of the medians of stretches of ten minutes, or of a tenth."""
    blocks = min(_STRETCH_S / block_s, len(rest) / _LEAST_STRETCHES)
    stretches = np.array_split(rest, max(_LEAST_STRETCHES, round(len(rest) / max(blocks, 1))))
    medians = [np.nanmedian(one) for one in stretches if not np.isnan(one).all()]
    return float(np.std(medians, ddof=1) / np.mean(medians))


def _moved(later: list[ChangePoint], series: Array, start: int) -> ChangePoint | None:
    """The first change after the warm-up that leaves a level for good, or for long."""
    edges = [start, *(one.at for one in later), len(series)]
    lengths = np.diff(edges)
    longest = int(np.argmax(lengths))
    levels = [one.before for one in later] + [later[-1].after] if later else [1.0]
    for number, one in enumerate(later):
        side = number if number < longest else number + 1  # the piece away from the longest
        apart = abs(levels[side] / levels[longest] - 1)
        if apart > _LEAST_CHANGE and lengths[side] > _LEAST_SHARE * (len(series) - start):
            return one
    return None


def _steady_sentence(from_s: float, cross_s: float | None, all_s: float, variation: float) -> str:
    told = f"steady from {from_s:.0f} s on; stretches differ by {variation:.1%}"
    if cross_s is None:
        return f"{told}; MSER-5 finds no end of a warm-up"
    if abs(cross_s - from_s) > 0.1 * all_s:
        return f"{told}; MSER-5 would leave out {cross_s:.0f} s instead"
    return f"{told}; MSER-5 agrees ({cross_s:.0f} s)"


def _unsteady(
    sentence: str,
    *,
    variation: float | None = None,
    cross_s: float | None = None,
    found: tuple[ChangePoint, ...] = (),
) -> Steadiness:
    return Steadiness(
        steady=False,
        steady_from_s=None,
        variation=variation,
        cross_check_s=cross_s,
        change_points=found,
        sentence=sentence,
        method=f"{METHOD}; MSER-5",
    )
