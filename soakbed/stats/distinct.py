"""The different values of whole numbers that lie close together, such as seconds of an hour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["distinct"]

# Further apart than this many times their number, and sorting them is less work.
_SPARSE = 8


def distinct(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """`np.unique` with `return_inverse` of whole numbers, by counting instead of sorting.

    >>> [held.tolist() for held in distinct(np.array([7, 5, 7]))]
    [[5, 7], [1, 0, 1]]
    """
    values = values.astype(np.int64)
    low = int(values.min()) if len(values) else 0
    span = int(values.max()) - low + 1 if len(values) else 0
    if span > _SPARSE * len(values):
        found, inverse = np.unique(values, return_inverse=True)
        return found, inverse
    there = np.zeros(span, dtype=bool)
    there[values - low] = True
    number = np.cumsum(there, dtype=np.intp) - 1
    return np.flatnonzero(there) + low, number[values - low]
