"""What a campaign will do, before anything runs: cells, order, time, cost, and what it hides."""

from __future__ import annotations

from math import prod

from soakbed.records.campaign import CampaignPlan, CampaignSpec, Cell, CellTime, Cost, Hidden
from soakbed.records.cost import HourCost
from soakbed.records.prices import PriceTable
from soakbed.records.spec import TestbedSpec
from soakbed.stages.campaign_cells import cells_of, design_name, design_rows
from soakbed.stages.campaign_times import Overheads, planned_s
from soakbed.stages.cost import hour_cost
from soakbed.stats.designs import confounded
from soakbed.stats.repeats import LEAST_RUNS

__all__ = ["cost_of", "plan_campaign"]

_FAILED = (
    "A cell that fails is tried once more in a new run, then reported, and the campaign goes on."
)
_INVALID = (
    "A cell that is judged invalid is a result: it is not tried again, since picking runs by their "
    "verdict may be picking figures; it counts in no effect."
)
_INVALID_AGAIN = (
    "A cell that is judged invalid is pressed once more (retry_invalid), whatever the reason; the "
    "second verdict stands, and the first is named."
)


def plan_campaign(
    spec: CampaignSpec,
    testbed: TestbedSpec,
    *,
    overheads: Overheads,
    prices: PriceTable | None = None,
) -> CampaignPlan:
    """Everything that can be known beforehand; nothing is made. `spec` must have been checked."""
    cells = cells_of(spec, testbed)
    times = tuple(_time(cells, place, overheads) for place in range(len(cells)))
    name = _design(spec)
    plan = CampaignPlan(
        design="full factorial" if name == "full" else name,
        sentence=_design_sentence(spec, name),
        order=_order_sentence(spec),
        cells=cells,
        times=times,
        cool_down_s=spec.cool_down_s,
        basis=overheads.basis,
        cost=Cost(amount=None, sentence=""),
        hidden=_hidden(spec),
        notes=_notes(spec),
    )
    hour = hour_cost(testbed, prices, instead=spec.hour_price)
    notes = (*plan.notes, *hour.notes)
    return plan.model_copy(update={"cost": cost_of(hour, seconds=plan.seconds), "notes": notes})


def cost_of(hour: HourCost, *, seconds: float) -> Cost:
    """What the hosts cost for so long, and what that rests on."""
    if hour.per_hour is None or hour.is_free:
        return Cost(amount=hour.of(seconds), sentence=hour.basis)
    told = f"{seconds / 3600:.2f} h at {hour.per_hour:g} {hour.currency} an hour ({hour.basis}"
    if hour.rows:
        parts = ", ".join(f"{row.what} {row.per_hour:.4f}" for row in hour.rows)
        told += f", {hour.dated}: {parts}"
    least = "at most: " if hour.at_most else ""
    return Cost(amount=hour.of(seconds), currency=hour.currency, sentence=f"{least}{told})")


def _design(spec: CampaignSpec) -> str:
    return design_name(spec.design, [len(levels) for levels in spec.factors.values()])


def _time(cells: tuple[Cell, ...], place: int, overheads: Overheads) -> CellTime:
    """The first cell of each stretch under a profile prepares the hosts for it."""
    cell = cells[place]
    prepares = not place or cells[place - 1].profile != cell.profile
    return CellTime(
        phases_s=len(cell.targets) * planned_s(cell.spec.workload),
        overhead_s=overheads.of(cell.spec) + (overheads.prepare_s if prepares else 0.0),
    )


def _design_sentence(spec: CampaignSpec, name: str) -> str:
    every = prod(len(levels) for levels in spec.factors.values())
    rows = len(design_rows(spec))
    of = " × ".join(f"{len(levels)}" for levels in spec.factors.values())
    if name == "full":
        return f"every combination of {len(spec.factors)} factors: {of} = {rows} cells"
    if rows >= every:
        return f"orthogonal array {name}, {rows} cells: as many as the {every} of all combinations"
    return (
        f"orthogonal array {name}: {rows} of the {every} combinations ({of}). Every level meets "
        "every level of each other factor equally often, so effects of single factors can be told "
        "from each other; how factors act together cannot be seen"
    )


def _order_sentence(spec: CampaignSpec) -> str:
    drawn = f"Cells in an order drawn with seed {spec.seed}"
    mirrored = (
        "the second of each two repeats runs backwards (A B, B A), so a steady drift of the "
        "machine cancels out of every effect"
        if spec.repeats > 1
        else "each once, so a drift of the machine is spread by chance over the levels"
    )
    targets = (
        "; targets change places from cell to cell (A B, B A), so that none of them always goes "
        "first"
        if len(spec.targets) > 1
        else ""
    )
    return f"{drawn}; {mirrored}{targets}"


def _hidden(spec: CampaignSpec) -> tuple[Hidden, ...]:
    names = list(spec.factors)
    made = []
    for one in confounded(design_rows(spec)):
        effect, between = names[one.effect], (names[one.between[0]], names[one.between[1]])
        part = "wholly" if one.wholly else f"by {one.share:.0%}"
        told = (
            f"the effect of {effect} is {part} that of {between[0]} and {between[1]} acting "
            "together: this array cannot tell them apart"
        )
        made.append(Hidden(factor=effect, between=between, share=one.share, sentence=told))
    return tuple(made)


def _notes(spec: CampaignSpec) -> tuple[str, ...]:
    notes = [f"{_FAILED} {_INVALID_AGAIN if spec.retry_invalid else _INVALID}"]
    if spec.repeats < LEAST_RUNS:
        notes.append(
            f"{spec.repeats} repeat{'s' if spec.repeats > 1 else ''}: effects are shown without an "
            f"interval, which needs at least {LEAST_RUNS} repeats."
        )
    if len(spec.profiles) > 1:
        notes.append(
            "Hosts are prepared for one profile at a time: each repeat is one stretch of time for "
            "each profile"
            + (
                ", so with one repeat a profile and the time of day are one and the same."
                if spec.repeats == 1
                else "; stretches are mirrored over each two repeats."
            )
        )
    return tuple(notes)
