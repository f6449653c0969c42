"""A campaign: many cells of one matrix. What was asked, what is planned, and what came of it.

`results/campaigns/<id>/campaign.json` is a `Campaign`; each cell is an ordinary run folder, which
it names. A cell holds every target, so that targets stand beside each other in one run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from soakbed.records.frozen import Frozen
from soakbed.records.spec import RunSpec, TargetName
from soakbed.records.testbed_spec import HourPrice, PlainName, TestbedSpec

__all__ = [
    "Attempt",
    "Campaign",
    "CampaignPlan",
    "CampaignSpec",
    "Cell",
    "CellState",
    "CellTime",
    "Cost",
    "Hidden",
    "Settled",
    "TimeBasis",
]

# A cell's workload is called <campaign>-<number>, and such a name has 20 characters at most.
_LONGEST_NAME = 16
_MOST_CELLS = 999
Profile = Literal["stock", "tuned"]
# The arrays are those of `stats.designs.OFFERED`; a test keeps both lists alike.
Design = Literal[
    "full",
    "orthogonal",
    "L4",
    "L8",
    "L9",
    "L12",
    "L16",
    "L18",
    "L25",
    "L27",
    "L32",
    "L36",
    "L50",
    "L54",
    "L64",
    "L81",
]
Settled = Literal["done", "failed", "left"]


class CampaignSpec(Frozen):
    """What the user asked: a file in `loadgen/campaigns/`.

    `workload` is what all cells share, as in a file of `loadgen/workloads/`; `factors` are keys of
    a workload ("read_share", "phases.steady_s") and the levels that each takes. `design`: every
    combination, an orthogonal array by name, or the smallest that holds the factors.
    `retry_invalid`: a cell with an invalid verdict is pressed once more, and the second counts.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    name: PlainName
    targets: Annotated[tuple[TargetName, ...], Field(min_length=1)]
    profiles: Annotated[tuple[Profile, ...], Field(min_length=1)] = ("tuned",)
    workload: dict[str, Any]
    factors: Annotated[dict[str, tuple[Any, ...]], Field(min_length=1)]
    design: Design = "full"
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    seed: Annotated[int, Field(ge=0)] = 1
    cool_down_s: Annotated[int, Field(ge=0, le=3600)] = 10
    retry_invalid: bool = False
    appendfsync: Literal["always", "everysec", "no"] = "everysec"
    allow_substitute: bool = True
    on_unavailable: Literal["not_measured", "fail"] = "not_measured"
    hour_price: HourPrice | None = None  # in place of the testbed's own

    @field_validator("name")
    @classmethod
    def _room_for_a_number(cls, value: str) -> str:
        if len(value) > _LONGEST_NAME:
            raise ValueError(
                f"{len(value)} characters, and each cell adds a number; use at most {_LONGEST_NAME}"
            )
        return value

    @field_validator("targets", "profiles")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({one for one in value if value.count(one) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named twice; name each once")
        return value

    @field_validator("factors")
    @classmethod
    def _levels_differ(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, levels in value.items():
            if len(levels) < 2:
                raise ValueError(
                    f"{key} has {len(levels)} levels, so it is no factor; "
                    "give it two or more, or move it to workload"
                )
            if any(one in levels[:place] for place, one in enumerate(levels)):
                raise ValueError(f"{key} has one level twice; name each once (repeats: repeats)")
        return value

    @model_validator(mode="after")
    def _not_endless(self) -> CampaignSpec:
        combinations = 1
        for levels in self.factors.values():
            combinations *= len(levels)
        if self.design == "full" and combinations > _MOST_CELLS:
            raise ValueError(
                f"{combinations} combinations in full, {_MOST_CELLS} are the most; "
                "use design: orthogonal, or fewer levels"
            )
        return self


class Cell(Frozen):
    """One cell: a combination of levels under a profile, pressed once on every target.

    `number` counts combinations from 1 in the order of the design; `repeat` counts from 1.
    `spec` is the run that is made of it; its targets stand in the order of pressing.
    """

    key: str
    number: int
    profile: Profile
    repeat: int
    levels: dict[str, str]  # factor -> level, as it is shown
    spec: RunSpec

    @property
    def targets(self) -> tuple[TargetName, ...]:
        """In the order of pressing."""
        return self.spec.targets

    def told(self) -> str:
        """Its levels in one line."""
        return ", ".join(f"{factor} {level}" for factor, level in self.levels.items())


class CellTime(Frozen):
    """How long a cell will take, in seconds: planned phases, and what comes on top."""

    phases_s: float
    overhead_s: float

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.phases_s + self.overhead_s


class TimeBasis(Frozen):
    """What an estimate of overhead rests on: earlier runs, or an assumption that is named."""

    subject: str  # a target, or "run" for what each run has once
    seconds: float
    sentence: str


class Cost(Frozen):
    """What the testbed costs for the campaign; `amount` None is unknown."""

    amount: float | None
    currency: str = ""
    sentence: str


class Hidden(Frozen):
    """An effect that this design cannot tell from an interaction; `share` (0-1) of it, 1 wholly."""

    factor: str
    between: tuple[str, str]
    share: float
    sentence: str


class CampaignPlan(Frozen):
    """Everything that is known before anything runs. `cells` stand in the order of pressing."""

    design: str  # "full factorial", "L8"
    sentence: str  # what the design is, and what it leaves out
    order: str  # how cells and targets are ordered, and why
    cells: tuple[Cell, ...]
    times: tuple[CellTime, ...]
    cool_down_s: int
    basis: tuple[TimeBasis, ...]
    cost: Cost
    hidden: tuple[Hidden, ...] = ()
    notes: tuple[str, ...] = ()  # what a reader must know besides

    @property
    def seconds(self) -> float:
        """All cells with the cool-downs between them."""
        between = max(0, len(self.cells) - 1) * self.cool_down_s
        return sum(one.seconds for one in self.times) + between


class Attempt(Frozen):
    """One try at a cell; `running` until it ends, also where a kill ended it unseen.

    "invalid": finished, and pressed once more because of its verdict, as the campaign asked.
    """

    run_id: str
    started_s: float
    ended_s: float = 0.0
    outcome: Literal["running", "finished", "failed", "invalid"] = "running"
    problem: str = ""
    remedy: str = ""


class CellState(Frozen):
    """What came of a cell so far; `given_up` after the second failure.

    Only failures from attempt `tries_from` on count: earlier ones were forgiven by the user.
    """

    key: str
    attempts: tuple[Attempt, ...] = ()
    given_up: bool = False
    tries_from: int = 0

    @property
    def settled(self) -> Settled:
        """Whether it needs no more pressing, and why."""
        if self.attempts and self.attempts[-1].outcome == "finished":
            return "done"
        return "failed" if self.given_up else "left"

    @property
    def run_id(self) -> str:
        """The run that counts: the newest; "" before the first."""
        return self.attempts[-1].run_id if self.attempts else ""


class Campaign(Frozen):
    """The whole file: asked, planned, done. Written whole at each change."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    campaign_id: str
    created_s: float
    command: str
    commit: str = ""
    spec: CampaignSpec
    testbed: TestbedSpec
    plan: CampaignPlan
    states: tuple[CellState, ...]

    def pairs(self) -> Iterator[tuple[Cell, CellState]]:
        """Each cell with its state, in the order of pressing."""
        yield from zip(self.plan.cells, self.states, strict=True)

    @property
    def finished(self) -> bool:
        """Whether no cell is left to press."""
        return all(state.settled != "left" for state in self.states)
