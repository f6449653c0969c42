"""A campaign in the terminal: its plan before anything runs, and how far it has come."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from soakbed.records.campaign import Campaign, CampaignPlan, CampaignSpec, Cost
from soakbed.records.campaign_report import CellResult
from soakbed.records.spec import TestbedSpec
from soakbed.records.summary import MeasuredTarget
from soakbed.report import formats
from soakbed.report.words import TARGET_WORDS

__all__ = [
    "cell_word",
    "cost_text",
    "left_s",
    "plan_json",
    "plan_text",
    "status_json",
    "status_text",
]

_STYLES = {"valid": "green", "invalid": "bold red", "incomplete": "yellow", "failed": "bold red"}
_BEGIN = "nothing was made; the same words with run in place of plan begin it"
_WIDTH = 30  # of the progress bar


def cost_text(cost: Cost) -> str:
    """An amount with its currency, or that nobody knows.

    >>> cost_text(Cost(amount=None, sentence="")), cost_text(Cost(amount=0.0, sentence=""))
    ('unknown', '0')
    >>> cost_text(Cost(amount=12.5, currency="EUR", sentence=""))
    '12.50 EUR'
    """
    if cost.amount is None:
        return "unknown"
    return f"{cost.amount:,.2f} {cost.currency}" if cost.currency else f"{cost.amount:g}"


def plan_text(
    spec: CampaignSpec, testbed: TestbedSpec, plan: CampaignPlan, *, only: bool
) -> RenderableType:
    """Design, what it hides, every cell in its order, time, cost, and what else to know.

    `only`: it is not about to begin.
    """
    targets = ", ".join(TARGET_WORDS[target].label for target in spec.targets)
    parts: list[RenderableType] = [
        Text(f"{spec.name} on testbed {testbed.name}: {targets}", style="bold"),
        Text(f"design: {plan.sentence}"),
        *(Text(f"  warning: {one.sentence}", style="yellow") for one in plan.hidden),
        Text(f"order: {plan.order}"),
        _cells_table(plan),
        *_time_lines(plan),
        Text(f"cost: {cost_text(plan.cost)} ({plan.cost.sentence})"),
        *(Text(f"note: {one}") for one in plan.notes),
        *([Text(_BEGIN, style="bold")] if only else []),
    ]
    return Group(*parts)


def _cells_table(plan: CampaignPlan) -> Table:
    table = Table(title=f"{len(plan.cells)} cells in their order", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("cell")
    table.add_column("levels")
    table.add_column("targets, in order")
    table.add_column("after", justify="right")
    table.add_column("takes", justify="right")
    at_s = 0.0
    for place, (cell, taken) in enumerate(zip(plan.cells, plan.times, strict=True), start=1):
        table.add_row(
            *(str(place), cell.key, Text(cell.told()), " ".join(cell.targets)),
            *(formats.duration(at_s), formats.duration(taken.seconds)),
        )
        at_s += taken.seconds + plan.cool_down_s
    return table


def _time_lines(plan: CampaignPlan) -> list[Text]:
    phases = sum(one.phases_s for one in plan.times)
    beside = sum(one.overhead_s for one in plan.times)
    pauses = plan.seconds - phases - beside
    told = (
        f"time: about {formats.duration(plan.seconds)}: {formats.duration(phases)} of load, "
        f"{formats.duration(beside)} beside it, {formats.duration(pauses)} of cooling down; "
        "cells that fail add to it"
    )
    return [Text(told), *(Text(f"  {one.subject}: {one.sentence}") for one in plan.basis)]


def plan_json(spec: CampaignSpec, testbed: TestbedSpec, plan: CampaignPlan) -> str:
    """The plan for scripts: records in their own names and units, with the sums."""
    told = {
        "schema": 1,
        "name": spec.name,
        "testbed": testbed.name,
        "seconds": round(plan.seconds, 1),
        **plan.model_dump(mode="json", by_alias=True),
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def cell_word(one: CellResult) -> str:
    """How far a cell is: done, failed, running (or cut off), left."""
    if one.state.settled != "left":
        return one.state.settled
    last = one.state.attempts[-1].outcome if one.state.attempts else ""
    words = {"running": "begun", "failed": "failed once", "invalid": "invalid once"}
    return words.get(last, "left")


def left_s(campaign: Campaign, cells: Sequence[CellResult]) -> float:
    """Seconds for the cells that are left: as planned, at the pace of those that are done."""
    held = list(zip(cells, campaign.plan.times, strict=True))
    planned = sum(time.seconds for one, time in held if one.state.settled == "done")
    taken = sum(one.seconds for one, _ in held if one.state.settled == "done")
    pace = taken / planned if planned and taken else 1.0
    left = [time.seconds for one, time in held if one.state.settled == "left"]
    return sum(left) * pace + len(left) * campaign.plan.cool_down_s


def status_text(campaign: Campaign, cells: Sequence[CellResult]) -> RenderableType:
    """A progress bar, and a row per cell with the verdict of each target."""
    words = Counter(one.state.settled for one in cells)
    settled = words["done"] + words["failed"]
    bar = "█" * round(_WIDTH * settled / len(cells))
    told = f"{bar:░<{_WIDTH}} {settled} of {len(cells)} cells"
    told += f", {words['failed']} failed" if words["failed"] else ""
    if words["left"]:
        told += f", about {formats.duration(left_s(campaign, cells))} left"
    table = Table(title=campaign.campaign_id, title_justify="left")
    for label in ("cell", "levels", "state", *campaign.spec.targets, "run"):
        table.add_column(label)
    for one in cells:
        word = cell_word(one)
        table.add_row(
            one.cell.key,
            Text(one.cell.told()),
            Text(word, style=_STYLES.get(word, "")),
            *(_verdict(one, target) for target in campaign.spec.targets),
            Text(one.state.run_id),
        )
    failed = [
        Text(f"{one.cell.key}: {one.state.attempts[-1].problem}", style="red")
        for one in cells
        if one.state.settled == "failed"
    ]
    return Group(Text(told), table, *failed)


def _verdict(one: CellResult, target: str) -> Text:
    held = one.held(target)
    if held is None:
        return Text("")
    word = held.verdict if isinstance(held, MeasuredTarget) else "not measured"
    return Text(word, style=_STYLES.get(word, "dim"))


def status_json(campaign: Campaign, cells: Sequence[CellResult]) -> str:
    """The same for scripts."""
    words = Counter(one.state.settled for one in cells)
    told: dict[str, Any] = {
        "schema": 1,
        "campaign_id": campaign.campaign_id,
        "finished": campaign.finished,
        "done": words["done"],
        "failed": words["failed"],
        "left": words["left"],
        "left_s": round(left_s(campaign, cells), 1),
        "cells": [
            {
                "key": one.cell.key,
                "levels": one.cell.levels,
                "profile": one.cell.profile,
                "repeat": one.cell.repeat,
                "state": cell_word(one),
                "run_id": one.state.run_id,
                "attempts": [held.model_dump(mode="json") for held in one.state.attempts],
                "targets": {
                    name: held.verdict if isinstance(held, MeasuredTarget) else held.status
                    for name, held in one.targets.items()
                },
            }
            for one in cells
        ],
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"
