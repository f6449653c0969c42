"""The knee of one target, and every step that led to it: `<target>/knee.json`.

Steps are what was measured; words are what the objective says of them. The record is whole after
each session, so that the curve so far can be looked at, and a run that was killed goes on.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen
from soakbed.records.ladder import KneeSpec

__all__ = ["JudgedStep", "Knee", "KneeWord", "Step", "StepWord"]

StepWord = Literal["held", "broke", "generator"]
KneeWord = Literal["searching", "found", "at_least", "none", "unsettled"]


class Step(Frozen):
    """One rate, pressed open loop, its settle time left out. Latencies are whole microseconds, by
    operation; null where the sample does not carry the percentile.

    `due_per_s` and `achieved_per_s` are of the windows that lie wholly inside the step, so that
    what a backlog still brought after its end does not count as achieved; counts and latencies
    are of all operations that were due in it.
    """

    session: str
    phase: str
    rate_per_s: float  # as planned
    started_s: int
    seconds: float
    due: int
    ok: int
    failed: int
    unknown: int
    dropped: int
    due_per_s: float
    achieved_per_s: float
    response_p50_us: dict[str, int | None]
    response_p99_us: dict[str, int | None]
    service_p99_us: dict[str, int | None]
    cpu_share: float  # of the busiest engine
    late_p99_us: int | None = None  # the engines' own delay
    limits: tuple[str, ...] = ()  # of the generator, that it broke; with the numbers

    @property
    def achieved_share(self) -> float:
        """Of what was due inside the step; 0 where nothing was."""
        return self.achieved_per_s / self.due_per_s if self.due_per_s else 0.0

    @property
    def error_share(self) -> float:
        """Not ok, of what ended or was dropped."""
        bad = self.failed + self.unknown + self.dropped
        return bad / (self.ok + bad) if self.ok + bad else 0.0

    @property
    def worst_p99_us(self) -> int | None:
        """The higher P99 of reads and writes, as far as they carry one."""
        return max((us for us in self.response_p99_us.values() if us is not None), default=None)


class JudgedStep(Frozen):
    """A step and what the objective says of it: `reasons` are the parts that it missed.

    "generator": it missed some while the load generator was at a limit of its own, which says
    nothing about the target.
    """

    step: Step
    word: StepWord
    reasons: tuple[str, ...] = ()


class Knee(Frozen):
    """Where the knee lies: between the highest rate that held and the lowest that broke.

    `word`: "found"; "at_least", where no step broke by the target's fault; "none", where none
    held; "unsettled", where answers contradicted each other until the sessions were used up;
    "searching", before the last of them.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: str
    asked: KneeSpec
    capacity_per_s: float
    word: KneeWord
    held_per_s: float | None
    broke_per_s: float | None
    sentence: str
    steps: tuple[JudgedStep, ...]  # in the order in which they were pressed

    @property
    def settled(self) -> bool:
        """Whether nothing is left to press."""
        return self.word != "searching"
