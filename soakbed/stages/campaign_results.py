"""A campaign's cells as their run folders tell them, and what each factor does; no hosts needed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Literal

from soakbed.archive.campaign_folder import CampaignFolder
from soakbed.archive.data.collate import collate
from soakbed.archive.data.reading import TargetData
from soakbed.archive.run_folder import RunFolder
from soakbed.records.campaign import Campaign, Cell, CellState
from soakbed.records.campaign_report import (
    PROFILE,
    CampaignReport,
    CellResult,
    Effect,
    LevelFigure,
)
from soakbed.records.comparison import Difference
from soakbed.records.metrics import metric
from soakbed.records.spec import TargetName
from soakbed.records.summary import MeasuredTarget, Summary, UnmeasuredTarget
from soakbed.stages.campaign_cells import level_text
from soakbed.stats.mixtures import mixed_percentile_us
from soakbed.stats.percentiles import Counts
from soakbed.stats.repeats import LEAST_RUNS, repeated, repeats_ratio
from soakbed.stats.verdicts import compare, corrected

__all__ = ["FIGURES", "campaign_report_of", "effects_of", "results_of"]

_OPERATIONS = ("read", "write")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure whose effects are shown; `percentile` (0-100) is None for a rate."""

    metric: str
    phase: Literal["capacity", "steady"]
    operation: str = ""
    percentile: float | None = None


FIGURES: tuple[Figure, ...] = (
    Figure("capacity_per_s", "capacity"),
    *(
        Figure(f"response_p{percentile}_us", "steady", operation, float(percentile))
        for operation in _OPERATIONS
        for percentile in (50, 99)
    ),
)


@dataclass(frozen=True, slots=True)
class _Sample:
    """One target of one valid cell: its capacity, and its response times by operation."""

    result: CellResult
    capacity_per_s: float
    at_least: bool
    response: dict[str, Counts] = field(default_factory=dict)


def campaign_report_of(folder: CampaignFolder) -> CampaignReport:
    """Everything that a page of the campaign shows, from the archive alone."""
    campaign = folder.read()
    cells = results_of(folder, campaign)
    return CampaignReport(
        campaign=campaign,
        cells=cells,
        effects=effects_of(folder, campaign, cells),
        made_s=round(time.time(), 3),
    )


def results_of(folder: CampaignFolder, campaign: Campaign) -> tuple[CellResult, ...]:
    """Each cell with what its run's summary says, in the order of pressing."""
    return tuple(_result(folder, cell, state) for cell, state in campaign.pairs())


def _result(folder: CampaignFolder, cell: Cell, state: CellState) -> CellResult:
    seconds = sum(max(0.0, one.ended_s - one.started_s) for one in state.attempts if one.ended_s)
    run = RunFolder(folder.run_folder(state.run_id))
    targets: dict[str, MeasuredTarget | UnmeasuredTarget] = {}
    if state.settled == "done" and run.has("summary"):
        targets = run.read("summary", Summary).targets
    return CellResult.model_validate(
        {"cell": cell, "state": state, "targets": targets, "seconds": round(seconds, 1)}
    )


def effects_of(
    folder: CampaignFolder, campaign: Campaign, cells: Sequence[CellResult]
) -> tuple[Effect, ...]:
    """Every factor's effect on every figure of every target; words corrected for how many."""
    found: list[Effect] = []
    factors = _factors(campaign)
    for target in campaign.spec.targets:
        samples = [_sample(folder, one, target) for one in cells if one.counts(target)]
        for figure in FIGURES:
            held = [one for one in samples if _value([one], figure) is not None]
            if held:
                whole = _whole_repeats(held, cells)
                found += [
                    _effect(
                        figure,
                        factor,
                        target,
                        [_level(figure, factor, level, held, cells, whole) for level in levels],
                    )
                    for factor, levels in factors.items()
                ]
    words = iter(corrected([one for effect in found for one in effect.against_first]))
    return tuple(
        effect.model_copy(update={"against_first": tuple(next(words) for _ in effect.levels[1:])})
        for effect in found
    )


def _whole_repeats(held: Sequence[_Sample], cells: Sequence[CellResult]) -> list[int]:
    """Repeats of which every cell carries the figure: in these levels differ in nothing else."""
    planned = Counter(one.cell.repeat for one in cells)
    there = Counter(one.result.cell.repeat for one in held)
    return [repeat for repeat in sorted(planned) if there[repeat] == planned[repeat]]


def _factors(campaign: Campaign) -> dict[str, list[str]]:
    """Factor -> its levels as they are shown, in the order of the spec."""
    spec = campaign.spec
    held: dict[str, list[str]] = {}
    for factor, levels in spec.factors.items():
        shown = {cell.levels[factor] for cell in campaign.plan.cells}
        held[factor] = [text for level in levels if (text := level_text(level)) in shown]
    if len(spec.profiles) > 1:
        held[PROFILE] = list(spec.profiles)
    return held


def _sample(folder: CampaignFolder, result: CellResult, target: TargetName) -> _Sample:
    measured = result.measured(target)
    path = folder.run_folder(result.state.run_id) / target
    phase = TargetData(path, collate(path)).phase("steady", "steady")
    response = {}
    if phase is not None:
        response = {
            operation: counts
            for operation in _OPERATIONS
            if (counts := phase.total(operation, "response")).total
        }
    return _Sample(
        result,
        capacity_per_s=measured.capacity_per_s if measured else 0.0,
        at_least=bool(measured and measured.capacity_is_at_least),
        response=response,
    )


def _level(
    figure: Figure,
    factor: str,
    level: str,
    samples: Sequence[_Sample],
    cells: Sequence[CellResult],
    whole: Sequence[int],
) -> LevelFigure:
    held = [one for one in samples if one.result.level(factor) == level]
    by_repeat = {
        repeat: value
        for repeat in whole
        if (value := _value([one for one in held if one.result.cell.repeat == repeat], figure))
    }
    used = [one for one in held if one.result.cell.repeat in whole] if whole else held
    return LevelFigure(
        level=level,
        value=_value(used, figure),
        cells=len(used),
        of=sum(one.level(factor) == level for one in cells),
        balanced=bool(whole),
        singles={one.result.cell.key: _value([one], figure) or 0.0 for one in held},
        at_least=sum(one.at_least for one in used) if figure.percentile is None else 0,
        by_repeat=by_repeat,
        interval=_interval(list(by_repeat.values())),
    )


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Over repeats, with the repeat as the unit."""
    if len(values) < LEAST_RUNS:
        return None
    held = repeated(values)
    return None if held.low is None or held.high is None else (held.low, held.high)


def _value(held: Sequence[_Sample], figure: Figure) -> float | None:
    """The figure over some cells together; None where there is none, or one does not carry it."""
    if figure.percentile is None:
        return _geometric_mean(one.capacity_per_s for one in held)
    if any(figure.operation not in one.response for one in held):
        return None
    return mixed_percentile_us([one.response[figure.operation] for one in held], figure.percentile)


def _geometric_mean(rates: Iterable[float]) -> float | None:
    held = list(rates)
    if not held or min(held) <= 0:
        return None
    return exp(sum(log(rate) for rate in held) / len(held))


def _effect(
    figure: Figure, factor: str, target: TargetName, levels: Sequence[LevelFigure]
) -> Effect:
    first = levels[0]
    values = [one.value for one in levels if one.value]
    return Effect(
        factor=factor,
        target=target,
        metric=figure.metric,
        phase=figure.phase,
        operation=figure.operation,
        levels=tuple(levels),
        against_first=tuple(_against(figure, factor, first, one) for one in levels[1:]),
        span=max(values) / min(values) if len(values) > 1 and first.balanced else None,
    )


def _against(figure: Figure, factor: str, first: LevelFigure, one: LevelFigure) -> Difference:
    """One level against the first: the repeat is the unit, pairs stand in the same repeat."""
    both = sorted(set(first.by_repeat) & set(one.by_repeat))
    ratio = None
    if len(both) >= LEAST_RUNS:
        values = [[level.by_repeat[repeat] for repeat in both] for level in (one, first)]
        ratio = repeats_ratio(values[0], values[1], paired=True)
    told = (
        f"{len(both)} repeat{'' if len(both) == 1 else 's'} with every cell valid; "
        f"an interval needs at least {LEAST_RUNS}"
    )
    judged = compare(ratio, better=metric(figure.metric).better, without=told)
    return judged.model_copy(
        update={
            "metric": figure.metric,
            "phase": figure.phase,
            "operation": figure.operation,
            "baseline": f"{factor} {first.level}",
            "contender": f"{factor} {one.level}",
            "baseline_value": first.value,
            "contender_value": one.value,
        }
    )
