"""Linearizability by any model, by trying every order: no memory, no list, nothing clever."""

from __future__ import annotations

from collections.abc import Sequence

from soakbed.histories.models import IMPOSSIBLE, Model
from soakbed.histories.operation import OK, UNKNOWN, Operation

__all__ = ["has_order", "has_order_of_processes"]


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


def has_order_of_processes(operations: Sequence[Operation], model: Model) -> bool:
    """Whether one order of all keys keeps that of each process, by trying every one."""
    held = [
        one
        for one in operations
        if one.outcome == OK or (one.outcome == UNKNOWN and one.action in model.changes)
    ]
    states = {(model.by_key and one.key): model.initial() for one in held}
    return _goes_on_by_process(held, model, states)


def _goes_on_by_process(left: list[Operation], model: Model, states: dict[object, object]) -> bool:
    if all(one.outcome != OK for one in left):
        return True
    for at, one in enumerate(left):
        if any(
            other.process == one.process and other.outcome == OK and other.finish < one.start
            for other in left
        ):
            continue
        key = model.by_key and one.key
        follows = model.step(states[key], one)
        rest = left[:at] + left[at + 1 :]
        if follows is not IMPOSSIBLE and _goes_on_by_process(rest, model, states | {key: follows}):
            return True
    return False
