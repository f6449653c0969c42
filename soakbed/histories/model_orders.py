"""Is there one order by any model that keeps the order of each process, whatever real time was?

Sequential consistency, by search: it is not local, so all keys are searched together. The state is
how far each process has come, and what each key holds; none is entered twice. An operation that
changes nothing is placed as soon as it fits, and that is never taken back. Fit for some hundreds
of operations; `unknown` where the time runs out.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence

from soakbed.histories.models import IMPOSSIBLE, Model
from soakbed.histories.operation import OK, UNKNOWN, Operation
from soakbed.histories.search import Answer

__all__ = ["sequential_by"]

_MOST_REMEMBERED = 20_000_000  # numbers and states, of all that led nowhere
_LOOK_AT_CLOCK_EVERY = 256
_State = tuple[tuple[int, ...], tuple[Hashable, ...]]


class _Lane:
    """Operations of one process that follow each other; an unknown one stands in one of its own,
    behind the first `behind` operations of lane `of`.
    """

    __slots__ = ("behind", "of", "operations")

    def __init__(self, of: int = -1, behind: int = 0) -> None:
        self.of, self.behind = of, behind
        self.operations: list[Operation] = []


def sequential_by(operations: Sequence[Operation], model: Model, until_s: float) -> Answer:
    """Whether `operations` are sequentially consistent by `model`, until then by time.monotonic.

    FAILED ones are left out. Operations of one process must not overlap.
    """
    lanes = _lanes(operations, model)
    keys = sorted({model.by_key and one.key for one in operations}, key=repr)
    place = {key: at for at, key in enumerate(keys)}
    must = [at for at, lane in enumerate(lanes) if lane.of < 0]
    state: _State = ((0,) * len(lanes), (model.initial(),) * len(keys))
    stack, seen, steps = [state], {state}, 0
    while stack:
        steps += 1
        over = not steps % _LOOK_AT_CLOCK_EVERY and time.monotonic() > until_s
        if over or len(seen) * (len(lanes) + len(keys)) > _MOST_REMEMBERED:
            return "unknown"
        counts, held = stack.pop()
        if all(counts[at] == len(lanes[at].operations) for at in must):
            return "ok"
        for follows in _next(lanes, place, model, counts, held):
            if follows not in seen:
                seen.add(follows)
                stack.append(follows)
    return "violation"


def _lanes(operations: Sequence[Operation], model: Model) -> list[_Lane]:
    lanes: list[_Lane] = []
    own: dict[Hashable, int] = {}
    for one in sorted(operations, key=lambda each: each.start):
        if one.outcome == OK or (one.outcome == UNKNOWN and one.action in model.changes):
            if one.process not in own:
                own[one.process] = len(lanes)
                lanes.append(_Lane())
            mine = own[one.process]
            if one.outcome == OK:
                lanes[mine].operations.append(one)
            else:
                lanes.append(_Lane(mine, len(lanes[mine].operations)))
                lanes[-1].operations.append(one)
    return lanes


def _next(
    lanes: list[_Lane],
    place: dict[Hashable, int],
    model: Model,
    counts: tuple[int, ...],
    held: tuple[Hashable, ...],
) -> list[_State]:
    """The states that can follow, the earliest operation's last; one alone if nothing changes."""
    found: list[tuple[int, _State]] = []
    for at, lane in enumerate(lanes):
        if counts[at] == len(lane.operations):
            continue
        if lane.of >= 0 and counts[lane.of] < lane.behind:
            continue
        one = lane.operations[counts[at]]
        key = place[model.by_key and one.key]
        follows = model.step(held[key], one)
        if follows is IMPOSSIBLE:
            continue
        state = (
            (*counts[:at], counts[at] + 1, *counts[at + 1 :]),
            (*held[:key], follows, *held[key + 1 :]),
        )
        if one.outcome == OK and (one.action not in model.changes or one.result is False):
            return [state]
        found.append((one.start, state))
    return [state for _, state in sorted(found, key=lambda pair: -pair[0])]
