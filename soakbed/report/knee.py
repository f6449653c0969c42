"""The knee on the page: what each rate of the ladder did, where the objective broke, and why.

Nothing is here for runs that asked for no knee. Every rate is a mark: filled where the objective
held, hollow where it broke, hollow with a dot where the load generator was at its own limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from soakbed.records.knee import JudgedStep, Knee, Step
from soakbed.records.metrics import metric
from soakbed.report import formats
from soakbed.report.contenders import Contender, Reported
from soakbed.report.figures import Plot, Shape, band, figure, horizontal, log_axis, vertical
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table
from soakbed.report.words import OPERATIONS

__all__ = ["Knees", "knee_plots", "knee_table", "knees"]

_GROUP = "knee"
_MODE = "open loop, one step per rate"
_FILLS = {"held": "", "broke": "-open", "generator": "-open-dot"}
_WORDS = {"held": "held", "broke": "broke", "generator": "generator at its limit"}
_READING = (
    "Filled: the objective held; hollow: it broke; hollow with a dot: it broke while the load "
    "generator was at a limit of its own. Band: where the knee lies, from the highest rate that "
    "held to the lowest that did not."
)
_COLUMNS = {
    "throughput_per_s": "Achieved, ops/s",
    "achieved_share": "Share of due",
    "not_ok_share": "Not ok",
}

Drawn = list[tuple[Contender, Knee]]


@dataclass(frozen=True, slots=True)
class Knees:
    """The section of the page."""

    plots: tuple[Plot, ...]
    table: Table


def knees(reported: Reported) -> Knees | None:
    """Plots and table of all knees; None where nobody asked for one."""
    table = knee_table(reported)
    return Knees(knee_plots(reported), table) if table else None


def _drawn(reported: Reported) -> Drawn:
    return [(one, one.one.knee) for one in reported.contenders if one.one.knee is not None]


def _rising(knee: Knee) -> list[JudgedStep]:
    """Steps by rate; tries of one rate in the order of time."""
    return sorted(knee.steps, key=lambda one: one.step.rate_per_s)


def knee_plots(reported: Reported) -> tuple[Plot, ...]:
    """P99 by offered rate, and achieved by offered rate; none where nobody asked for a knee."""
    drawn = _drawn(reported)
    if not any(knee.steps for _, knee in drawn):
        return ()
    rates = [one.step.rate_per_s for _, knee in drawn for one in knee.steps]
    return (_p99(drawn, rates), _achieved(drawn, rates))


def _p99(drawn: Drawn, rates: Sequence[float]) -> Plot:
    traces = [
        _trace(entry, knee, operation, _p99_ms(operation), f"{label} P99", "ms")
        for entry, knee in drawn
        for operation, label in OPERATIONS.items()
    ]
    goals = sorted({knee.asked.slo.p99_ms for _, knee in drawn})
    heights = [y for trace in traces for y in trace["y"] if y is not None]
    layout = {
        "shapes": [*_knees(drawn), *(horizontal("muted", goal, dash="dash") for goal in goals)],
        "annotations": [_goal(goal) for goal in goals],
    }
    return Plot(
        name="knee-p99",
        title="P99 by offered rate",
        mode=_MODE,
        reading=f"Response time of reads (solid) and writes (dotted). {_READING} Dashed across: "
        "the objective. Both axes are logarithmic.",
        figure=figure(
            [trace for trace in traces if trace["x"]],
            x=log_axis("ops/s offered", rates),
            y=log_axis("ms", [*heights, *goals]),
            layout=layout,
        ),
        group=_GROUP,
    )


def _achieved(drawn: Drawn, rates: Sequence[float]) -> Plot:
    traces = [
        _trace(entry, knee, "", lambda step: step.achieved_per_s, "achieved", "ops/s")
        for entry, knee in drawn
    ]
    diagonal = {
        **vertical("muted", min(rates), dash="dot"),
        **{"x1": max(rates), "yref": "y", "y0": min(rates), "y1": max(rates)},
    }
    heights = [y for trace in traces for y in trace["y"] if y]
    return Plot(
        name="knee-achieved",
        title="Achieved by offered rate",
        mode=_MODE,
        reading="Ok operations inside the step, what a backlog brought later left out; dotted: all "
        f"of what was offered. {_READING} Both axes are logarithmic.",
        figure=figure(
            traces,
            x=log_axis("ops/s offered", rates),
            y=log_axis("ops/s", [*heights, *rates]),
            layout={"shapes": [diagonal, *_knees(drawn)]},
        ),
        group=_GROUP,
    )


def _p99_ms(operation: str) -> Callable[[Step], float | None]:
    def value(step: Step) -> float | None:
        us = step.response_p99_us.get(operation)
        return None if us is None else us / 1000

    return value


def _trace(
    entry: Contender,
    knee: Knee,
    operation: str,
    value: Callable[[Step], float | None],
    what: str,
    unit: str,
) -> dict[str, Any]:
    held = [(one, y) for one in _rising(knee) if (y := value(one.step)) is not None]
    return {
        "type": "scatter",
        "x": [one.step.rate_per_s for one, _ in held],
        "y": [round(y, 3) for _, y in held],
        "name": f"{entry.label} {what}",
        "mode": "lines+markers",
        "line": {"width": 2, "dash": "dot" if operation == "write" else "solid"},
        "marker": {"symbol": [f"{entry.symbol}{_FILLS[one.word]}" for one, _ in held], "size": 9},
        "text": [f"{formats.rate(one.step.rate_per_s)}/s, {_WORDS[one.word]}" for one, _ in held],
        "hovertemplate": f"{entry.label} {what} %{{y:,.3~f}} {unit}<br>%{{text}}<extra></extra>",
        "meta": {"key": entry.key, "role": operation or "ok", "unit": unit},
    }


def _knees(drawn: Drawn) -> Iterator[Shape]:
    """Where each knee lies; a line alone where nothing above it broke."""
    for entry, knee in drawn:
        if knee.held_per_s and knee.broke_per_s:
            yield band(entry.key, (knee.held_per_s, knee.broke_per_s), shade=0.2)
        if knee.held_per_s:
            yield vertical(entry.key, knee.held_per_s)


def _goal(goal_ms: float) -> dict[str, Any]:
    # Annotations, unlike shapes, take logarithms on a logarithmic axis.
    return {
        **{"x": 0.0, "xref": "paper", "xanchor": "left", "y": math.log10(goal_ms), "yref": "y"},
        **{"yanchor": "bottom", "showarrow": False, "text": f"objective {goal_ms:g} ms"},
    }


def knee_table(reported: Reported) -> Table | None:
    """Every step, by rate, and above each target's what came of it; None where nobody asked."""
    drawn = _drawn(reported)
    if not drawn:
        return None
    p99 = metric("response_p99_us")
    return Table(
        name="knee",
        caption="Open loop. Each step's settle time is in no figure; achieved is what ended ok "
        "inside the step. A step that broke was tried again before it was believed. Engine: CPU of "
        "the busiest load engine, and its limits where it was at one; then a step that broke says "
        "nothing about the target.",
        corner="Offered",
        columns=(
            *(Column(label, meaning=metric(key).meaning) for key, label in _COLUMNS.items()),
            *(
                Column(f"{label} P99", unit="ms", meaning=p99.meaning)
                for label in OPERATIONS.values()
            ),
            Column("Engine", unit="CPU", meaning=metric("cpu_share").meaning),
            Column("Objective"),
        ),
        sections=tuple(_section(entry, knee) for entry, knee in drawn),
    )


def _section(entry: Contender, knee: Knee) -> Section:
    rows = tuple(_row(entry, one, at) for at, one in enumerate(_rising(knee)))
    return Section(
        rows, title=f"{entry.label}: {knee.sentence}", note=f"objective: {knee.asked.slo.words}"
    )


def _row(entry: Contender, one: JudgedStep, at: int) -> Row:
    step, stem = one.step, f"{entry.stem}.knee.{at}"
    latencies = [
        Cell(formats.ms(us), raw="" if us is None else str(us), key=f"{stem}.{name}_p99_us")
        for name in OPERATIONS
        for us in [step.response_p99_us.get(name)]
    ]
    cells = (
        Cell(
            formats.rate(step.achieved_per_s),
            raw=str(step.achieved_per_s),
            key=f"{stem}.achieved_per_s",
        ),
        Cell(formats.share(step.achieved_share)),
        Cell(formats.share(step.error_share)),
        *latencies,
        Cell(formats.share(step.cpu_share), note="; ".join(step.limits)),
        Cell(_WORDS[one.word], raw=one.word, key=f"{stem}.word", note="; ".join(one.reasons)),
    )
    where = f"{step.session} {step.phase}, {step.seconds:g} s"
    return Row(Head(f"{formats.rate(step.rate_per_s)}/s", where, entry.key), cells)
