"""Where in the plan an engine is: which phases are over, and at which second to enter the next.

Phases begin and end at whole seconds of unix time. An engine that was there all the time begins
each when the one before is drained; one that comes in the place of another goes by what that one
noted, and by the plan for what would have begun meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadgen.contract.plan import Phase, Plan
from loadgen.engine.past import Past

__all__ = ["Entry", "Timetable"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Press phase `number` from `from_s` of its seconds on; it began at `start_s`, unix time."""

    number: int
    phase: Phase
    start_s: int
    from_s: int = 0

    @property
    def entered_s(self) -> int:
        """Unix time at which pressing begins."""
        return self.start_s + self.from_s


class Timetable:
    """The phases of one session on their way through."""

    def __init__(self, plan: Plan, past: Past) -> None:
        self._phases: Sequence[Phase] = plan.phases
        self._window_s = plan.window_s
        self._began_s = dict(past.began_s)
        # When the next phase begins, where plan or clock say so. The first engine of a rank presses
        # all of its first phase, late or not.
        self._next_s = math.ceil(plan.start_at_s)
        self._first = not past.attempt

    def over(self, at_s: int) -> bool:
        """Whether nothing of the plan is left to press, as far as the clock tells."""
        last = self._phases[-1]
        began_s = self._began_s.get(last.name)
        return began_s is not None and last.mode != "fill" and began_s + last.duration_s <= at_s

    def entry(self, number: int, at_s: int) -> Entry | None:
        """How to enter phase `number` at `at_s`, the next boundary of windows; None: it is over.

        Ask for one phase after the other. A fill is begun anew, for nothing says which of its keys
        are written; and it is over when what follows it has begun.
        """
        phase = self._phases[number]
        if phase.mode == "fill":
            if any(later.name in self._began_s for later in self._phases[number + 1 :]):
                return None
            start_s = max(at_s, self._next_s)
        else:
            start_s = self._began_s.get(phase.name, self._next_s) or at_s
        self._next_s = 0
        if start_s >= at_s or self._first:
            start_s = max(start_s, at_s)
            return Entry(number, phase, self._boundary(start_s))
        if start_s + phase.duration_s <= at_s:
            # The one after it begins as soon as what was in flight has ended: a window later.
            self._next_s = start_s + phase.duration_s + self._window_s
            return None
        return Entry(number, phase, start_s, at_s - start_s)

    def _boundary(self, at_s: int) -> int:
        return -(-at_s // self._window_s) * self._window_s
