"""Linearizability of registers by trying every order: slow, and plain enough to be believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from soakbed.histories.register import FAILED, INITIAL, OK, UNKNOWN, RegisterHistory

__all__ = ["Operation", "explained", "history_of"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on one register. `process`: below 0 where it is not told."""

    key: int
    value: int
    start: int
    finish: int
    is_write: bool
    outcome: int = OK
    process: int = -1


def history_of(operations: Iterable[Operation]) -> RegisterHistory:
    """The same, as arrays."""
    held = list(operations)
    return RegisterHistory(
        key=np.array([one.key for one in held], dtype=np.int64),
        value=np.array([one.value for one in held], dtype=np.int64),
        start=np.array([one.start for one in held], dtype=np.int64),
        finish=np.array([one.finish for one in held], dtype=np.int64),
        is_write=np.array([one.is_write for one in held], dtype=np.bool_),
        outcome=np.array([one.outcome for one in held], dtype=np.uint8),
        process=np.array([one.process for one in held if one.process >= 0], dtype=np.int64),
    )


def explained(operations: Sequence[Operation]) -> bool:
    """Whether an order exists, by the definition of Herlihy and Wing (1990), key by key."""
    return all(
        _one_register([one for one in operations if one.key == key])
        for key in {one.key for one in operations}
    )


def _one_register(operations: list[Operation]) -> bool:
    # An operation that surely did nothing has no place; neither has a read without an answer.
    held = [
        one for one in operations if one.outcome == OK or (one.is_write and one.outcome == UNKNOWN)
    ]
    ends = [one.finish if one.outcome == OK else float("inf") for one in held]
    must = sum(1 << at for at, one in enumerate(held) if one.outcome == OK)
    tried: set[tuple[int, int]] = set()

    def goes_on(done: int, value: int) -> bool:
        if done & must == must:
            return True
        if (done, value) in tried:
            return False
        tried.add((done, value))
        left = [at for at in range(len(held)) if not done >> at & 1]
        # Whoever is next must have begun before any that is left was over.
        latest = min(ends[at] for at in left)
        for at in left:
            one = held[at]
            if one.start > latest:
                continue
            if one.is_write:
                if goes_on(done | 1 << at, one.value):
                    return True
            elif one.value == value and goes_on(done | 1 << at, value):
                return True
        return False

    assert FAILED not in {one.outcome for one in held}
    return goes_on(0, INITIAL)
