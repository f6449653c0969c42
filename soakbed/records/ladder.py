"""How the knee is asked for, and how the steady rate is found: parts of a workload.

The knee is the highest rate at which a target still keeps an objective. A ladder of rising rates,
open loop, is climbed until it breaks; bisection narrows what lies between.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from soakbed.records.frozen import Frozen

__all__ = [
    "FIRST_SHARE",
    "MOST_RUNGS",
    "TOP_OF_CAPACITY",
    "KneeSpec",
    "Ladder",
    "Objective",
    "SteadySpec",
]

# An open loop over the same connections cannot do much more than the closed one did; a tenth above
# it something breaks, unless the closed loop was limited by the generator.
TOP_OF_CAPACITY = 1.1
FIRST_SHARE = 0.25
# Rates in one session; 24 steps of 15 s are six minutes.
MOST_RUNGS = 24


class Objective(Frozen):
    """The service-level objective. A step that misses any part of it is broken.

    `p99_ms`: response time of reads and of writes, each; `error_share`: operations that were not
    ok, of all that were due and ended or were dropped; `achieved_share`: ok operations inside the
    step over those due in it.
    """

    p99_ms: Annotated[float, Field(gt=0, le=60_000)] = 50.0
    error_share: Annotated[float, Field(ge=0, lt=1)] = 0.001
    achieved_share: Annotated[float, Field(ge=0.5, le=1)] = 0.98

    @property
    def words(self) -> str:
        """As a reader says it.

        >>> Objective(p99_ms=20).words
        'P99 at most 20 ms, at most 0.1 % not ok, at least 98 % achieved'
        """
        return (
            f"P99 at most {self.p99_ms:g} ms, at most {100 * self.error_share:g} % not ok, "
            f"at least {100 * self.achieved_share:g} % achieved"
        )


class Ladder(Frozen):
    """Rising rates: `first`, `first` x `factor`, and so on to a little above capacity.

    The first is a share of what the closed loop did, so that one file fits every target, or a rate.
    A step lasts `settle_s`, which no figure counts, and then `step_s`, or longer where the rate is
    so low that P99 would rest on too few operations.
    """

    first_share_of_capacity: Annotated[float, Field(gt=0, le=1)] | None = None  # 0.25 if neither
    first_per_s: Annotated[float, Field(gt=0)] | None = None
    factor: Annotated[float, Field(gt=1, le=4)] = 1.25
    step_s: Annotated[int, Field(ge=3, le=3600)] = 10
    settle_s: Annotated[int, Field(ge=0, le=600)] = 3

    @model_validator(mode="after")
    def _one_beginning_and_an_end(self) -> Ladder:
        if self.first_per_s is not None:
            if self.first_share_of_capacity is not None:
                raise ValueError(
                    f"first_per_s={self.first_per_s:g} and first_share_of_capacity="
                    f"{self.first_share_of_capacity:g}; leave one of them out"
                )
            return self
        span = TOP_OF_CAPACITY / self.first_of(1.0)
        rungs = math.ceil(math.log(span) / math.log(self.factor)) + 1
        if rungs > MOST_RUNGS:
            least = math.ceil(100 * span ** (1 / (MOST_RUNGS - 1))) / 100
            raise ValueError(
                f"factor={self.factor:g} makes {rungs} steps from {self.first_of(1.0):g} of "
                f"capacity, {MOST_RUNGS} are the most; "
                f"use factor {least:g} or more, or begin higher"
            )
        return self

    def first_of(self, capacity_per_s: float) -> float:
        """The first rate for a target of this capacity."""
        if self.first_per_s is not None:
            return self.first_per_s
        share = self.first_share_of_capacity
        return capacity_per_s * (FIRST_SHARE if share is None else share)


class KneeSpec(Frozen):
    """What the knee is asked for by, and how closely.

    `bisect` halvings of what lies between two steps of the ladder: the answer is an interval whose
    ends differ by factor^(1 / 2^bisect). `pause_s`: after a step that broke, before the next.
    """

    slo: Objective = Objective()
    ladder: Ladder = Ladder()
    bisect: Annotated[int, Field(ge=0, le=8)] = 3
    pause_s: Annotated[int, Field(ge=0, le=600)] = 5

    @property
    def words(self) -> str:
        """As a reader says it.

        >>> KneeSpec().words.removeprefix(Objective().words)
        '; from 25 % of capacity in steps of ×1.25, 10 s each, 3 halvings'
        """
        ladder = self.ladder
        first = f"{100 * ladder.first_of(1.0):g} % of capacity"
        if ladder.first_per_s is not None:
            first = f"{ladder.first_per_s:g}/s"
        return (
            f"{self.slo.words}; from {first} in steps of ×{ladder.factor:g}, "
            f"{ladder.step_s} s each, {self.bisect} halvings"
        )

    @property
    def resolution(self) -> float:
        """How much higher the rate that broke may be than the one that held, in the end.

        >>> round(KneeSpec(bisect=2, ladder=Ladder(factor=1.5)).resolution, 4)
        1.1067
        """
        return float(self.ladder.factor ** (0.5**self.bisect))


class SteadySpec(Frozen):
    """The steady rate: a share of the target's own capacity or knee, or one rate for all."""

    share_of_capacity: Annotated[float, Field(gt=0, le=1)] | None = None
    share_of_knee: Annotated[float, Field(gt=0, le=1)] | None = None
    rate_per_s: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> SteadySpec:
        named = [name for name in SteadySpec.model_fields if getattr(self, name) is not None]
        if len(named) != 1:
            said = " and ".join(named) or "nothing"
            raise ValueError(
                f"{said} named; name exactly one of: {', '.join(SteadySpec.model_fields)}"
            )
        return self

    @property
    def words(self) -> str:
        """As a reader says it.

        >>> SteadySpec(share_of_knee=0.7).words, SteadySpec(rate_per_s=2000).words
        ('70 % of the knee', '2,000/s for every target')
        """
        for share, of in ((self.share_of_capacity, "capacity"), (self.share_of_knee, "the knee")):
            if share is not None:
                return f"{100 * share:g} % of {of}"
        return f"{self.rate_per_s:,g}/s for every target"
