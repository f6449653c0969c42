"""Linearizability by any model, by trying every order: no memory, no list, nothing clever."""

from __future__ import annotations

from collections.abc import Sequence

from soakbed.histories.models import IMPOSSIBLE, Model
from soakbed.histories.operation import OK, UNKNOWN, Operation

__all__ = ["has_order"]


def has_order(operations: Sequence[Operation], model: Model) -> bool:
    """Whether all that is OK, and any of the unknown ones, can stand in one order."""
    held = [
        one
        for one in operations
        if one.outcome == OK or (one.outcome == UNKNOWN and one.action in model.changes)
    ]
    keys = {one.key for one in held} if model.by_key else {None}
    parts = [[one for one in held if not model.by_key or one.key == key] for key in keys]
    return all(_goes_on(part, model, model.initial()) for part in parts)


def _goes_on(left: list[Operation], model: Model, state: object) -> bool:
    over = [one.finish for one in left if one.outcome == OK]
    if not over:
        return True
    for at, one in enumerate(left):
        if one.start > min(over):
            continue
        follows = model.step(state, one)
        rest = left[:at] + left[at + 1 :]
        if follows is not IMPOSSIBLE and _goes_on(rest, model, follows):
            return True
    return False
