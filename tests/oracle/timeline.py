"""A phase as steps over time, in bounded memory however long it lasted and in whatever order
its windows come: when there are too many steps, neighbours are merged and the step doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from loadgen.contract.window import Window
from soakbed.stats.percentiles import Counts, smallest_sample_for

__all__ = ["MAX_STEPS", "Step", "Timeline", "steps_that_carry"]

# Enough for a pixel each on a wide screen; two operations take 40 MB at most.
MAX_STEPS = 1024


@dataclass(slots=True)
class Step:
    """Everything that ended in one stretch of time, all workers merged."""

    start_s: int
    end_s: int
    windows: int = 0
    complete: bool = True
    sent: int = 0
    errors: int = 0
    ok: dict[str, int] = field(default_factory=dict)
    response: dict[str, Counts] = field(default_factory=dict)

    @property
    def seconds(self) -> int:
        """Length of the stretch."""
        return self.end_s - self.start_s

    def take(self, window: Window) -> None:
        """Add one window of one worker."""
        self.windows += window.length_s
        self.complete = self.complete and window.complete
        for name, operation in window.operations.items():
            self.sent += operation.sent
            self.errors += operation.failed + operation.unknown
            self.ok[name] = self.ok.get(name, 0) + operation.ok
            self.response.setdefault(name, Counts()).add(Counts.of(operation.response))

    def add(self, other: Step) -> None:
        """Merge another stretch into this one; exact."""
        self.start_s = min(self.start_s, other.start_s)
        self.end_s = max(self.end_s, other.end_s)
        self.windows += other.windows
        self.complete = self.complete and other.complete
        self.sent += other.sent
        self.errors += other.errors
        for name, count in other.ok.items():
            self.ok[name] = self.ok.get(name, 0) + count
        for name, counts in other.response.items():
            self.response.setdefault(name, Counts()).add(counts)


class Timeline:
    """Steps of equal length, at most MAX_STEPS of them."""

    def __init__(self, *, max_steps: int = MAX_STEPS) -> None:
        self._max_steps = max_steps
        self._step_s = 1
        self._steps: dict[int, Step] = {}

    def take(self, window: Window) -> None:
        """Add one window; the order of calls does not matter."""
        self._step_s = max(self._step_s, window.length_s)
        key = window.start_s // self._step_s
        end_s = window.start_s + window.length_s
        part = Step(window.start_s, end_s)
        part.take(window)
        held = self._steps.get(key)
        if held is None:
            self._steps[key] = part
        else:
            held.add(part)
        while max(self._steps) - min(self._steps) >= self._max_steps:
            self._double()

    def steps(self) -> list[Step]:
        """The steps in order of time; stretches without a window are absent, not zero."""
        return [self._steps[key] for key in sorted(self._steps)]

    def _double(self) -> None:
        """Merge neighbours."""
        self._step_s *= 2
        merged: dict[int, Step] = {}
        for step in self._steps.values():
            held = merged.get(step.start_s // self._step_s)
            if held is None:
                merged[step.start_s // self._step_s] = step
            else:
                held.add(step)
        self._steps = merged


def steps_that_carry(steps: Sequence[Step], percentile: float) -> list[Step]:
    """The same stretch of time in fewer steps, each long enough to carry `percentile`.

    Judged by the rarest operation of a thin step (one in ten is thinner), so that a curve has few
    gaps; when even a third of the phase would not carry it, the steps stay as they are.
    """
    rarest = sorted(min(step.ok.values(), default=0) for step in steps)
    thin = rarest[len(rarest) // 10] if rarest else 0
    needed = -(-smallest_sample_for(percentile) // thin) if thin else 0
    if needed <= 1 or needed * 3 > len(steps):
        return list(steps)
    joined: list[Step] = []
    for index, step in enumerate(steps):
        if index % needed == 0:
            whole = Step(step.start_s, step.end_s)
            joined.append(whole)
        joined[-1].add(step)
    return joined
