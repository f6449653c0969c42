"""Which combinations of levels are tried: all of them, or an orthogonal array; and what that hides.

Arrays come from the library pydoe. None is believed: a test proves every array that is offered,
and each is proven again when it is used, since a mistake in one digit would quietly favour a level
(pydoe 1.6.0 has one such: 59 pairs of columns of its L64(2^31) are unbalanced).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "OFFERED",
    "Confounded",
    "NoDesign",
    "confounded",
    "full_factorial",
    "held_by",
    "is_orthogonal",
    "orthogonal",
    "smallest_array",
]

Rows = NDArray[np.int64]

# Short name -> the library's names, the one to try first in front. Not offered: L64(2^31), which
# is not orthogonal in pydoe 1.6.0.
OFFERED: dict[str, tuple[str, ...]] = {
    "L4": ("L4(2^3)",),
    "L8": ("L8(2^7)",),
    "L9": ("L9(3^4)",),
    "L12": ("L12(2^11)",),
    "L16": ("L16(2^15)", "L16(4^5)"),
    "L18": ("L18(6^1 3^6)",),
    "L25": ("L25(5^6)",),
    "L27": ("L27(2^1 3^12)",),
    "L32": ("L32(2^31)", "L32(2^1 4^9)"),
    "L36": ("L36(3^23)",),
    "L50": ("L50(2^1 5^11)",),
    "L54": ("L54(2^1 3^25)",),
    "L64": ("L64(4^21)",),
    "L81": ("L81(3^40)",),
}
# Below this a share is rounding, above 1 - this it is the whole.
_ROUNDING = 1e-9


class NoDesign(ValueError):
    """No array fits these factors; the message says why."""


@dataclass(frozen=True, slots=True)
class Confounded:
    """The effect of factor `effect` and the interaction of `between`, as indexes, look alike.

    `share` (0-1) of the effect's contrasts lies in that of the interaction: at 1 nobody can tell
    them apart, whatever the figures are.
    """

    effect: int
    between: tuple[int, int]
    share: float

    @property
    def wholly(self) -> bool:
        """Whether the two are one and the same column of numbers."""
        return self.share > 1 - _ROUNDING


def full_factorial(levels: Sequence[int]) -> Rows:
    """Every combination once, int64[product of levels, factors]; the first factor turns fastest.

    >>> full_factorial([2, 3]).tolist()[:3]
    [[0, 0], [1, 0], [0, 1]]
    """
    from pydoe import fullfact  # half a second, which only a campaign should wait for

    return np.asarray(fullfact(np.array(levels)), dtype=np.int64).reshape(-1, len(levels))


def orthogonal(levels: Sequence[int], array: str) -> Rows:
    """Rows of an array of `OFFERED` for factors with so many levels each, int64[rows, factors].

    A factor may stand in a column of more levels that fold evenly into its own. Columns are
    chosen one after the other, each so that effects look as little as possible like interactions.
    Raises NoDesign where the array does not hold the factors, or is not orthogonal.
    """
    for name in OFFERED[array]:
        rows = _chosen(levels, _array(name))
        if rows is None:
            continue
        if not is_orthogonal(rows):
            raise NoDesign(f"{name} of the library is not orthogonal in the columns asked for")
        return rows
    raise NoDesign(
        f"{array} does not hold factors of {', '.join(map(str, levels))} levels; "
        f"its columns are {held_by(array)}"
    )


def smallest_array(levels: Sequence[int]) -> str:
    """The array with the fewest rows that holds these factors; "" where there is none."""
    for array in OFFERED:
        try:
            orthogonal(levels, array)
        except NoDesign:
            continue
        return array
    return ""


def held_by(array: str) -> str:
    """The columns of an array in words.

    >>> held_by("L18")
    '1 of 6 levels and 6 of 3'
    """
    told = []
    for name in OFFERED[array]:
        counts: dict[int, int] = {}
        for column in _array(name).T:
            levels = int(column.max()) + 1
            counts[levels] = counts.get(levels, 0) + 1
        first, *rest = [f"{count} of {levels}" for levels, count in counts.items()]
        told.append(" and ".join([f"{first} levels", *rest]))
    return ", or ".join(told)


def is_orthogonal(rows: Rows) -> bool:
    """Whether every pair of columns holds each pair of its levels equally often (strength 2).

    >>> is_orthogonal(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]))
    True
    >>> is_orthogonal(np.array([[0, 0], [0, 1], [1, 0], [1, 0]]))
    False
    """
    widths = rows.max(axis=0) + 1
    for one, other in combinations(range(rows.shape[1]), 2):
        pairs = rows[:, one] * widths[other] + rows[:, other]
        counts = np.bincount(pairs, minlength=int(widths[one] * widths[other]))
        if counts.min() != counts.max():
            return False
    return bool(all(np.ptp(np.bincount(column)) == 0 for column in rows.T))


def confounded(rows: Rows) -> list[Confounded]:
    """Every effect that looks like an interaction of two others, the most alike first.

    By the projection of the effect's contrasts on the interaction's (generalised word counts,
    Xu and Wu 2001), so any number of levels will do. `rows` must be orthogonal.
    """
    contrasts = [_contrasts(column) for column in rows.T]
    found = []
    for three in combinations(range(rows.shape[1]), 3):
        alike = _words(*(contrasts[place] for place in three))
        if alike < _ROUNDING:
            continue
        for effect in three:
            one, other = (place for place in three if place != effect)
            share = min(1.0, alike / contrasts[effect].shape[1])
            found.append(Confounded(effect, (one, other), share))
    return sorted(found, key=lambda one: (-round(one.share, 9), one.effect, one.between))


def _array(name: str) -> Rows:
    from pydoe import get_orthogonal_array  # see full_factorial

    return np.asarray(get_orthogonal_array(name), dtype=np.int64)


def _chosen(levels: Sequence[int], array: Rows) -> Rows | None:
    """The array's columns for these factors, levels folded; None where one has no column left."""
    widths = [int(column.max()) + 1 for column in array.T]
    # Factors that fit fewest columns choose first, and take what is no wider than they need.
    order = sorted(range(len(levels)), key=lambda one: -levels[one])
    free = set(range(len(widths)))
    columns: dict[int, Rows] = {}
    for factor in order:
        fitting = [place for place in sorted(free) if widths[place] % levels[factor] == 0]
        if not fitting:
            return None
        narrow = min(widths[place] for place in fitting)
        fitting = [place for place in fitting if widths[place] == narrow]
        taken = [_contrasts(column) for column in columns.values()]
        folded = {
            (place, way): _folded(array[:, place], levels[factor], way)
            for place in fitting
            for way in (range(2) if narrow > levels[factor] else range(1))
        }
        best = min(folded, key=lambda one: _cost(folded[one], taken))
        free.discard(best[0])
        columns[factor] = folded[best]
    return np.stack([columns[factor] for factor in range(len(levels))], axis=1)


def _folded(column: Rows, levels: int, way: int) -> Rows:
    """A column with so many levels: each stands for as many of its own, in turn or in a row."""
    each = (int(column.max()) + 1) // levels
    return column // each if way else column % levels


def _cost(column: Rows, taken: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """How much a further column makes effects look like interactions, then those like each other.

    Rounded, so that of equally good columns the first is taken on every machine.
    """
    own = _contrasts(column)
    three = sum(_words(own, *pair) for pair in combinations(taken, 2))
    four = sum(_words(own, *triple) for triple in combinations(taken, 3))
    return round(three, 6), round(four, 6)


def _contrasts(column: Rows) -> NDArray[np.float64]:
    """Orthonormal contrasts of one factor, float[rows, levels - 1], each of mean 0 and square 1."""
    levels = int(column.max()) + 1
    # Helmert's contrasts: level k against the mean of those before it.
    coding = np.zeros((levels, levels - 1))
    for place in range(1, levels):
        coding[:place, place - 1] = -1.0
        coding[place, place - 1] = place
    made: NDArray[np.float64] = coding[column]
    made /= np.sqrt((made**2).mean(axis=0))
    return made


def _words(*contrasts: NDArray[np.float64]) -> float:
    """Sum of squared mean products over all choices of one contrast of each factor."""
    whole = contrasts[0]
    for one in contrasts[1:-1]:
        whole = (whole[:, :, None] * one[:, None, :]).reshape(len(whole), -1)
    means = whole.T @ contrasts[-1] / len(whole)
    return float((means**2).sum())
