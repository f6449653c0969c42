"""Is there an order that explains a history? By search, for any model, within a time limit.

Wing and Gong (1993) with the memory of Lowe ("Testing for linearizability", 2017): a stretch of
operations that was put in order leads nowhere twice from the same state. Calls and returns stand in
one list; an operation that is put next is lifted out, one that led nowhere is put back. By locality
(Herlihy and Wing 1990) keys are searched apart, the smallest first, and the first without an order
ends the search.

An operation that changes nothing is put next as soon as it fits, and that is never taken back: from
wherever it would stand later it could be moved here. So only changes are choices.

Unknown operations may be put anywhere after their call, or left out.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from soakbed.histories.models import IMPOSSIBLE, Model
from soakbed.histories.operation import OK, UNKNOWN, Operation

__all__ = ["Answer", "Searched", "by_key", "search"]

Answer = Literal["ok", "violation", "unknown"]

_LOOK_AT_CLOCK_EVERY = 2048
_EXPLAINS_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Searched:
    """What the search found. `ok`: every key has an order; `unknown`: the time ran out first.

    For a violation: `key`, the longest order that was found for it, what the model `held` after
    it, and the operations of which none can come next, though one that has returned must. `steps`:
    how often an operation was tried; `seconds`: how long it took.
    """

    answer: Answer
    operations: int
    keys: int
    seconds: float
    steps: int
    key: Hashable = None
    order: tuple[Operation, ...] = ()
    stuck: tuple[Operation, ...] = ()
    held: Hashable = None


def by_key(operations: Sequence[Operation], model: Model) -> list[list[Operation]]:
    """Operations that are searched together, the smallest part first."""
    parts: dict[Any, list[Operation]] = {}
    for one in operations:
        parts.setdefault(one.key if model.by_key else None, []).append(one)
    return sorted(parts.values(), key=len)


def search(
    operations: Sequence[Operation], model: Model, *, time_limit_s: float = 60.0
) -> Searched:
    """Whether `operations` (any order; FAILED ones are left out) are linearizable by `model`.

    Raises ValueError for an action that the model does not know.
    """
    began = time.monotonic()
    strange = {one.action for one in operations} - model.actions
    if strange:
        known = ", ".join(sorted(model.actions))
        raise ValueError(f"{model.name} does not know {', '.join(sorted(strange))}; only {known}")
    parts = by_key([one for one in operations if _tells(one, model)], model)
    steps = 0
    for part in parts:
        found = _Search(part, model, began + time_limit_s)
        answer = found.run()
        steps += found.steps
        if answer != "ok":
            took = time.monotonic() - began
            told = Searched(answer, len(operations), len(parts), took, steps, part[0].key)
            if answer == "unknown":
                return told
            order, stuck = _explained(part, model)
            return replace(told, order=order, stuck=stuck, held=_held_after(order, model))
    return Searched("ok", len(operations), len(parts), time.monotonic() - began, steps)


def _tells(one: Operation, model: Model) -> bool:
    """A read without an answer says nothing, and neither does what surely did not happen."""
    return one.outcome == OK or (one.outcome == UNKNOWN and one.action in model.changes)


def _explained(
    part: list[Operation], model: Model
) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
    """How far orders go if nothing is foreseen: whoever reads it wants to see where they break."""
    plain = _Search(part, model, time.monotonic() + _EXPLAINS_WITHIN_S, foresees=False)
    plain.run()
    return plain.longest()


def _held_after(order: Sequence[Operation], model: Model) -> Hashable:
    state = model.initial()
    for one in order:
        follows = model.step(state, one)
        assert not isinstance(follows, type(IMPOSSIBLE))
        state = follows
    return state


class _Search:
    """One part of a history. Entries 1..2n of the list are calls and returns; 0 is its head."""

    def __init__(
        self, part: list[Operation], model: Model, until_s: float, *, foresees: bool = True
    ) -> None:
        self._part = sorted(part, key=lambda one: one.start)
        self._model = model
        self._until_s = until_s
        self.steps = 0
        self._foresees = foresees
        self._placed: list[tuple[int, Hashable, int, int, int]] = []
        self._changes = [
            one.action in model.changes and one.result is not False for one in self._part
        ]
        self._reads = [one.action not in model.changes for one in self._part]
        events = []
        for number, one in enumerate(self._part):
            finish = one.finish if one.outcome == OK else float("inf")
            # At equal times calls come first: touching intervals are concurrent.
            events += [(one.start, 0, number), (finish, 1, number)]
        events.sort(key=lambda event: event[:2])
        size = len(events) + 1
        self._number = [-1] + [number for _, _, number in events]
        self._is_call = [False] + [kind == 0 for _, kind, _ in events]
        self._next = [*range(1, size), 0]
        self._before = [size - 1, *range(size - 1)]
        self._return_of = [0] * len(self._part)
        for at, (_, kind, number) in enumerate(events, 1):
            if kind:
                self._return_of[number] = at
        self._longest: tuple[list[int], int] = ([], self._next[0])

    def run(self) -> Answer:
        """Search."""
        part, step = self._part, self._model.step
        after, number, is_call = self._next, self._number, self._is_call
        left = sum(one.outcome == OK for one in part)
        # Operations before `base` are all placed: what is remembered stays small.
        state, done, base = self._model.initial(), 0, 0
        tried: set[tuple[int, int, Hashable]] = set()
        at = after[0]
        while left:
            self.steps += 1
            if not self.steps % _LOOK_AT_CLOCK_EVERY and time.monotonic() > self._until_s:
                return "unknown"
            if not is_call[at]:
                # It has returned and cannot be passed: the last choice was wrong.
                if (last := self._last_choice(at)) is None:
                    return "violation"
                at, state, done, base, left = last
                at = after[at]
                continue
            one = number[at]
            follows = step(state, part[one])
            if follows is not IMPOSSIBLE:
                bits, low = done | 1 << one - base, base
                while bits & 1:
                    bits, low = bits >> 1, low + 1
                here = (low, bits, follows)
                if here not in tried:
                    tried.add(here)
                    if self._changes[one] and not self._may_lead(follows, at):
                        at = after[at]
                        continue
                    self._placed.append((at, state, done, base, left))
                    state, done, base = follows, bits, low
                    left -= part[one].outcome == OK
                    self._lift(at)
                    at = after[0]
                    continue
            at = after[at]
        return "ok"

    def _may_lead(self, state: Hashable, skipped: int) -> bool:
        """Whether the read that returns next may have its result once `skipped` is placed."""
        at = self._next[0] if self._foresees else 0
        between = []
        while at:
            one = self._number[at]
            if self._changes[one]:
                if self._is_call[at] and at != skipped:
                    between.append(self._part[one])
            elif not self._is_call[at] and self._reads[one]:
                return self._model.may_lead(state, self._part[one], between)
            at = self._next[at]
        return True

    def _last_choice(self, stuck: int) -> tuple[int, Hashable, int, int, int] | None:
        """Take back what was placed, down to the last operation that is a choice."""
        placed = self._placed
        if len(placed) >= len(self._longest[0]):
            self._longest = ([self._number[entry] for entry, *_ in placed], stuck)
        while placed:
            last = placed.pop()
            self._put_back(last[0])
            if self._changes[self._number[last[0]]]:
                return last
        return None

    def longest(self) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        """The longest order, and the calls before the return that nobody could pass."""
        numbers, at = self._longest
        placed = set(numbers)
        # The list is whole again: whatever was called before that return, and is not placed.
        ends = self._part[self._number[at]].finish
        stuck = [
            one
            for number, one in enumerate(self._part)
            if number not in placed and one.start <= ends
        ]
        return tuple(self._part[number] for number in numbers), tuple(stuck)

    def _lift(self, call: int) -> None:
        for entry in (call, self._return_of[self._number[call]]):
            before, after = self._before[entry], self._next[entry]
            self._next[before], self._before[after] = after, before

    def _put_back(self, call: int) -> None:
        for entry in (self._return_of[self._number[call]], call):
            before, after = self._before[entry], self._next[entry]
            self._next[before] = self._before[after] = entry
