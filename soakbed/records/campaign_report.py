"""What a campaign found: each cell with its verdicts, and what each factor does to each figure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.campaign import Campaign, Cell, CellState
from soakbed.records.comparison import Difference
from soakbed.records.frozen import Frozen
from soakbed.records.spec import TargetName
from soakbed.records.summary import MeasuredTarget, UnmeasuredTarget

__all__ = ["PROFILE", "CampaignReport", "CellResult", "Effect", "LevelFigure"]

PROFILE = "profile"  # a factor too, where a campaign has several


class CellResult(Frozen):
    """One cell as its run tells it; `targets` is empty until the run is judged."""

    cell: Cell
    state: CellState
    targets: dict[TargetName, MeasuredTarget | UnmeasuredTarget] = {}
    seconds: float = 0.0  # of all its attempts together

    def level(self, factor: str) -> str:
        """Its level of a factor, the profile included."""
        return self.cell.profile if factor == PROFILE else self.cell.levels[factor]

    def held(self, target: str) -> MeasuredTarget | UnmeasuredTarget | None:
        """What its run says of a target; None where it says nothing yet."""
        return next((one for name, one in self.targets.items() if name == target), None)

    def measured(self, target: str) -> MeasuredTarget | None:
        """What was measured of a target, whatever the verdict."""
        held = self.held(target)
        return held if isinstance(held, MeasuredTarget) else None

    def counts(self, target: str) -> bool:
        """Whether its figures count: measured, soundly, of a target that kept its word."""
        held = self.measured(target)
        return held is not None and held.verdict == "valid" and not held.broke_its_word


class LevelFigure(Frozen):
    """One figure at one level of a factor, over its cells of one target.

    `value` is of all of them together, in the metric's unit: rates as their geometric mean,
    latencies as the percentile of their merged histograms in which each cell has equal weight.
    It rests on `cells` of the `of` that were planned: on repeats of which every cell carries the
    figure, so that levels differ in nothing else; where there is no such repeat `balanced` is
    False, and it rests on what there is. `singles` has every valid cell by its key. `by_repeat` has
    the value of each whole repeat, `interval` (99 %) is over these and None with fewer than three.
    `at_least` counts the cells whose capacity is the generator's.
    """

    level: str
    value: float | None
    cells: int
    of: int
    balanced: bool
    singles: dict[str, float]
    at_least: int = 0
    by_repeat: dict[int, float] = {}
    interval: tuple[float, float] | None = None


class Effect(Frozen):
    """What one factor does to one figure of one target: its levels, and each against the first.

    `span` is the greatest level over the least; None with fewer than two, or where cells are
    missing that one level has and another has not.
    """

    factor: str
    target: TargetName
    metric: str
    phase: Literal["capacity", "steady"]
    operation: str = ""
    levels: tuple[LevelFigure, ...]
    against_first: tuple[Difference, ...]
    span: float | None


class CampaignReport(Frozen):
    """The whole report; `made_s` is when."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    campaign: Campaign
    cells: tuple[CellResult, ...]
    effects: tuple[Effect, ...]
    made_s: float

    @property
    def factors(self) -> tuple[str, ...]:
        """The campaign's factors, the profile last where it is one."""
        spec = self.campaign.spec
        return (*spec.factors, *((PROFILE,) if len(spec.profiles) > 1 else ()))
