"""The plots of the page as plotly figures: pure data, the page's script draws them.

Every plot gives a target the same colour, and an axis that starts at zero or says that it is
logarithmic. Percentile curves use a log axis of 1 - q, so that the tail gets the room it needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from soakbed.records.numbers import Latency, LatencyPoint, PhaseNumbers, Point
from soakbed.report.reading import ReportedRun
from soakbed.report.tables_marks import Stretch, stretches
from soakbed.report.words import OPERATIONS, TARGET_WORDS

__all__ = ["Plot", "curves", "over_time"]

# Where targets differ by more than this, a linear axis would press one of them flat.
_LOG_ABOVE = 8.0
_TICKS = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)


_Phases = Mapping[str, PhaseNumbers]


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure: `figure` is plotly's JSON, `reading` says in words what it shows."""

    name: str
    title: str
    mode: str
    reading: str
    figure: str


@dataclass(frozen=True, slots=True)
class _Line:
    target: str
    label: str
    x: list[float]
    y: list[float | None]
    dash: str = "solid"
    shown: str = "%{y:.3~f} ms"


def curves(run: ReportedRun) -> list[Plot]:
    """Latency by percentile, response and service, one plot per operation."""
    made = []
    for operation, label in OPERATIONS.items():
        lines = []
        for one in run.measured:
            held = one.steady.operations.get(operation) if one.steady else None
            if held is None:
                continue
            name = TARGET_WORDS[one.name].label
            lines.append(_curve(one.name, f"{name} response", held.response, "solid"))
            lines.append(_curve(one.name, f"{name} service", held.service, "dot"))
        made.append(
            Plot(
                name=f"curve-{operation}",
                title=f"{label} latency",
                mode="open loop, steady phase",
                reading="Solid: response time, from when an operation was due. Dotted: service "
                "time, from when it was sent. Both axes are logarithmic; a curve ends where the "
                "sample no longer carries it.",
                figure=_figure(
                    lines, x=_percentile_axis(lines), y=_log_axis("ms", _heights(lines))
                ),
            )
        )
    return made


def _curve(target: str, label: str, latency: Latency, dash: str) -> _Line:
    # Without the single fastest value: it would bend the beginning of every curve.
    points = [(percentile, us) for percentile, us in latency.curve if percentile > 0]
    tails = [100.0 / (100.0 - percentile) for percentile, _ in points]
    return _Line(target, label, tails, [us / 1000 for _, us in points], dash)


def _percentile_axis(lines: list[_Line]) -> dict[str, Any]:
    furthest = max((x for line in lines for x in line.x), default=100.0)
    ticks = [tick for tick in _TICKS if 100.0 / (100.0 - tick) <= furthest * 1.2]
    return {
        "type": "log",
        "title": {"text": "percentile"},
        "tickvals": [100.0 / (100.0 - tick) for tick in ticks],
        "ticktext": [f"P{tick:g}" for tick in ticks],
    }


def _log_axis(title: str, values: Iterable[float]) -> dict[str, Any]:
    """A log axis labelled at 1, 2 and 5 of each decade, in full and not in powers."""
    positive = [value for value in values if value > 0] or [1.0, 10.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    ticks = [
        factor * 10.0**decade for decade in range(low, max(high, low + 1)) for factor in (1, 2, 5)
    ]
    ticks.append(10.0 ** max(high, low + 1))
    return {
        "type": "log",
        "title": {"text": f"{title} (log)"},
        "tickvals": ticks,
        "ticktext": [f"{tick:,.0f}" if tick >= 1 else f"{tick:g}" for tick in ticks],
    }


def _heights(lines: Iterable[_Line]) -> list[float]:
    return [y for line in lines for y in line.y if y]


def over_time(run: ReportedRun) -> list[Plot]:
    """Throughput and P99 over the measured phases, on one relative time axis."""
    steady = {one.name: one.steady for one in run.measured if one.steady}
    capacity = {one.name: one.capacity for one in run.measured if one.capacity}
    made = [_rates("time-throughput", "Throughput", steady)]
    made += [_p99(operation, label, steady) for operation, label in OPERATIONS.items()]
    return [*made, _rates("time-capacity", "Throughput at capacity", capacity)]


def _time_axis(phases: _Phases) -> dict[str, Any]:
    longest_s = max((phase.seconds for phase in phases.values()), default=1.0)
    return {"title": {"text": "seconds since the phase began"}, "range": [0, longest_s]}


def _bands(phases: _Phases) -> list[dict[str, Any]]:
    """Seconds at the generator's limit, the whole height; those with drops, at the foot."""
    made = []
    for target, phase in phases.items():
        for one in stretches(phase.generator.marked):
            for found, top, shade in ((one.broken, 1.0, 0.14), (one.dropped, 0.05, 0.9)):
                if found:
                    made.append(_band(target, one, top=top, shade=shade))
    return made


def _band(target: str, one: Stretch, *, top: float, shade: float) -> dict[str, Any]:
    colour = TARGET_WORDS[target].light
    return {
        "type": "rect",
        "name": target,  # the page's script colours by it
        "xref": "x",
        "yref": "paper",
        "x0": one.from_s,
        "x1": one.to_s,
        "y0": 0.0,
        "y1": top,
        "layer": "below",
        "opacity": shade,
        "fillcolor": colour,
        # A line, so that one second in 72 hours is still seen.
        "line": {"width": 1, "color": colour},
    }


def _marks_in_words(phases: _Phases) -> str:
    states = [phase.generator for phase in phases.values()]
    told = ""
    if any(state.bound_s for state in states):
        told += " Shaded: seconds in which the generator itself was the limit."
    if any(state.dropping_s for state in states):
        told += " Bar at the foot: seconds in which requests were dropped."
    if told and any(state.marked_left_out for state in states):
        told += " Only the first such seconds are marked."
    return told


def _steps(phases: _Phases, series: str) -> str:
    """How much time one point merges, in words."""
    told = {
        name: max((point.seconds for point in getattr(phase, series)), default=0)
        for name, phase in phases.items()
    }
    if len(set(told.values())) == 1:
        return f"{next(iter(told.values()))} s"
    return " and ".join(f"{step} s ({TARGET_WORDS[name].label})" for name, step in told.items())


def _rates(name: str, title: str, phases: _Phases) -> Plot:
    lines = [line for target, phase in phases.items() for line in _rate_lines(target, phase)]
    reading = f"Ok operations; each point merges {_steps(phases, 'series')} of all workers."
    is_open = any(phase.mode == "open" for phase in phases.values())
    return Plot(
        name=name,
        title=title,
        mode="open loop, steady phase" if is_open else "closed loop, capacity phase",
        reading=f"{reading}{' Dotted: what was offered.' if is_open else ''}"
        f"{_marks_in_words(phases)}",
        figure=_figure(
            lines, x=_time_axis(phases), y=_value_axis(lines, "ops/s"), bands=_bands(phases)
        ),
    )


def _p99(operation: str, label: str, phases: _Phases) -> Plot:
    lines = [_p99_line(operation, target, phase) for target, phase in phases.items()]
    return Plot(
        name=f"time-p99-{operation}",
        title=f"{label} P99",
        mode="open loop, steady phase",
        reading="The response time that 99 % did not exceed; each point merges "
        f"{_steps(phases, 'latency_series')} of all workers, long enough to carry it."
        f"{_marks_in_words(phases)}",
        figure=_figure(
            lines, x=_time_axis(phases), y=_value_axis(lines, "ms"), bands=_bands(phases)
        ),
    )


def _value_axis(lines: list[_Line], unit: str) -> dict[str, Any]:
    peaks = [max((y for y in line.y if y), default=0.0) for line in lines]
    peaks = [peak for peak in peaks if peak > 0]
    if peaks and max(peaks) > _LOG_ABOVE * min(peaks):
        return _log_axis(unit, _heights(lines))
    return {"title": {"text": unit}, "rangemode": "tozero", "tickformat": ",~f"}


def _middle(point: Point | LatencyPoint) -> float:
    return point.at_s + point.seconds / 2


def _rate_lines(target: str, phase: PhaseNumbers) -> Iterable[_Line]:
    label = TARGET_WORDS[target].label
    # The last step holds only a part of a second, and would read as a fall.
    whole = [point for point in phase.series if point.complete]
    yield _Line(
        target,
        f"{label} ok",
        [_middle(point) for point in whole],
        [round(sum(point.ok_per_s.values()), 1) for point in whole],
        shown="%{y:,.0f} ops/s",
    )
    if phase.mode == "open":
        offered = f"{label} offered"
        flat: list[float | None] = [phase.offered_per_s] * 2
        yield _Line(target, offered, [0.0, phase.seconds], flat, "dot", "%{y:,.0f} ops/s")


def _p99_line(operation: str, target: str, phase: PhaseNumbers) -> _Line:
    values = [point.p99_us.get(operation) for point in phase.latency_series]
    return _Line(
        target,
        f"{TARGET_WORDS[target].label} {operation} P99",
        [_middle(point) for point in phase.latency_series],
        [None if value is None else value / 1000 for value in values],
    )


def _figure(
    lines: list[_Line],
    *,
    x: dict[str, Any],
    y: dict[str, Any],
    bands: Sequence[dict[str, Any]] = (),
) -> str:
    figure = go.Figure(
        [
            go.Scatter(
                x=line.x,
                y=line.y,
                name=line.label,
                mode="lines",
                line={"color": TARGET_WORDS[line.target].light, "width": 2, "dash": line.dash},
                hovertemplate=f"{line.label} {line.shown}<extra></extra>",
                meta=line.target,
            )
            for line in lines
        ]
    )
    figure.update_layout(template="none", showlegend=False, xaxis=x, yaxis=y, hovermode="closest")
    if bands:
        figure.update_layout(shapes=bands)
    made: str = figure.to_json()
    return made
