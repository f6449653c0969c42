"""A history of registers whose writes bear unique values, as arrays: what the zone checker reads.

One row per operation. Times are integers of any one unit (the engine's are microseconds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAILED", "INITIAL", "OK", "UNKNOWN", "RegisterHistory"]

# Outcomes, as design D7 has them.
OK, FAILED, UNKNOWN = 0, 1, 2

# The value that every key holds before its first write.
INITIAL = 0


@dataclass(frozen=True, slots=True)
class RegisterHistory:
    """`n` operations on registers, in any order.

    `key`: int from 0, which register. `value`: int64, above 0 and written to a key once at most
    (fastest if it is so in the whole history); a read of INITIAL (0) found nothing. `start`,
    `finish`: int64, when the client sent the operation and had its reply; `finish` of an unknown
    one means nothing. `is_write`: bool.
    `outcome`: OK, FAILED (surely not applied) or UNKNOWN. `process`: int, the client, for words
    alone; empty where nobody knows.

    Raises ValueError if arrays differ in length, a key or value is below 0, a write writes INITIAL,
    or an operation that is over finishes before it starts.
    """

    key: NDArray[np.int64]
    value: NDArray[np.int64]
    start: NDArray[np.int64]
    finish: NDArray[np.int64]
    is_write: NDArray[np.bool_]
    outcome: NDArray[np.uint8]
    process: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what no client could have seen."""
        columns = (self.value, self.start, self.finish, self.is_write, self.outcome)
        if any(len(column) != len(self.key) for column in columns):
            raise ValueError("the columns of a history differ in length")
        if len(self.process) not in (0, len(self.key)):
            raise ValueError("processes are told of all operations or of none")
        if not len(self.key):
            return
        if self.key.min() < 0:
            raise ValueError(f"keys are numbers from 0; one is {self.key.min()}")
        if self.value.min() < INITIAL:
            raise ValueError(f"values are numbers from {INITIAL}; one is {self.value.min()}")
        if (self.value[self.is_write] == INITIAL).any():
            raise ValueError(f"a write of {INITIAL}, the value that stands for nothing written")
        backwards = np.flatnonzero((self.finish < self.start) & (self.outcome == OK))
        if len(backwards):
            raise ValueError(f"operation {backwards[0]} finishes before it starts")

    def __len__(self) -> int:
        """How many operations."""
        return len(self.key)

    def only(self, rows: NDArray[np.int64]) -> RegisterHistory:
        """The operations of these rows."""
        return RegisterHistory(
            self.key[rows],
            self.value[rows],
            self.start[rows],
            self.finish[rows],
            self.is_write[rows],
            self.outcome[rows],
            self.process[rows] if len(self.process) else self.process,
        )

    def widened(self, bound: int) -> RegisterHistory:
        """Every interval longer by `bound` at both ends: the clocks that took the times differ by
        that much at most. It accuses nobody wrongly, and hides what is shorter than 2 `bound`.
        """
        return RegisterHistory(
            self.key,
            self.value,
            self.start - bound,
            self.finish + bound,
            self.is_write,
            self.outcome,
            self.process,
        )
