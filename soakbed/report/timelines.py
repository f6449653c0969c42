"""Plots over time, all on one axis: time since the steady phase began, so that they zoom together.

Rates, P99, what was achieved of what was offered, and what hosts used meanwhile; behind them the
warm-up, seconds in which the generator was the limit, and events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from soakbed.records.events import Event
from soakbed.records.numbers import LatencyPoint, PhaseNumbers, Point
from soakbed.report.contenders import Contender, Reported
from soakbed.report.coverage import gap_bands, gaps_in_plots
from soakbed.report.figures import Line, Plot, Shape, band, figure, value_axis, vertical
from soakbed.report.tables_marks import stretches
from soakbed.report.words import OPERATIONS

__all__ = ["Clock", "achieved", "capacity", "over_time"]

TIME = "time"  # the group that zooms together
_OPEN = "open loop, steady phase"
_MOST_FLAGS = 60  # of one contender; the table and `soakbed query` have all


@dataclass(frozen=True, slots=True)
class Clock:
    """The shared time axis: seconds since each contender's steady phase, in a unit that fits."""

    unit: str
    unit_s: float
    from_s: float
    to_s: float

    @classmethod
    def of(cls, reported: Reported) -> Clock:
        """From the earliest warm-up to the end of the longest steady phase."""
        held = [one.one.steady for one in reported.contenders if one.one.steady]
        to_s = max((_lasted_s(phase) for phase in held), default=1.0)
        from_s = min((_warmup_s(one) for one in reported.contenders), default=0.0)
        for unit, unit_s, least_s in (("hours", 3600.0, 3 * 3600), ("minutes", 60.0, 15 * 60)):
            if to_s >= least_s:
                return cls(unit, unit_s, from_s, to_s)
        return cls("seconds", 1.0, from_s, to_s)

    def axis(self) -> dict[str, Any]:
        """As plotly has it."""
        return {
            "title": {"text": f"{self.unit} since the steady phase began"},
            "range": [self.at(self.from_s), self.at(self.to_s)],
        }

    def at(self, seconds: float) -> float:
        """A moment on the axis."""
        return round(seconds / self.unit_s, 6)


def _lasted_s(phase: PhaseNumbers) -> float:
    """From its first window to its last, with what its rates leave out."""
    return phase.seconds + phase.left_out.seconds + phase.uncovered_s


def _warmup_s(entry: Contender) -> float:
    """When the session of the steady phase began, as seconds before that phase: 0 or less."""
    session = entry.one.numbers.sessions.get("steady")
    began = [phase.started_s for phase in session.phases.values()] if session else []
    return min(began) - entry.began_s if began and entry.began_s else 0.0


def over_time(reported: Reported, clock: Clock) -> list[Plot]:
    """Throughput and P99 with everything that happened meanwhile."""
    shown = [one for one in reported.contenders if one.one.steady]
    rates = [line for one in shown for line in _rates(one, clock)]
    made = [
        _plot(
            "time-throughput",
            "Throughput",
            f"Ok operations; each point merges {_steps(shown, 'series')} of all workers. Dotted: "
            "what was offered.",
            (rates, "ops/s"),
            (shown, clock),
        )
    ]
    for operation, label in OPERATIONS.items():
        lines = [_p99(operation, one, clock) for one in shown]
        made.append(
            _plot(
                f"time-p99-{operation}",
                f"{label} P99",
                "The response time that 99 % did not exceed; each point merges "
                f"{_steps(shown, 'latency_series')} of all workers, long enough to carry it.",
                (lines, "ms"),
                (shown, clock),
            )
        )
    return made


def achieved(reported: Reported, clock: Clock) -> Plot:
    """Ok and sent operations as a share of those offered."""
    shown = [one for one in reported.contenders if one.one.steady and one.one.steady.offered_per_s]
    lines = [line for one in shown for line in _shares(one, clock)]
    return _plot(
        "time-achieved",
        "Achieved, of offered",
        "Solid: ok operations, dotted: sent ones, each as percent of what the schedule asked for; "
        f"each point merges {_steps(shown, 'series')}. Poisson arrivals scatter around 100 %.",
        (lines, "%"),
        (shown, clock),
    )


def capacity(reported: Reported) -> Plot:
    """The closed loop that capacity comes from, on its own axis."""
    shown = [(one, one.one.capacity) for one in reported.contenders if one.one.capacity]
    held = [(one, phase) for one, phase in shown if phase is not None]
    lines = [_ok(one, phase, 0.0, 1.0) for one, phase in held]
    longest_s = max((phase.seconds for _, phase in held), default=1.0)
    shapes = [shape for one, phase in held for shape in _marks(one, phase, 1.0)]
    step = _steps([one for one, _ in held], "series", name="capacity")
    return Plot(
        name="time-capacity",
        title="Throughput at capacity",
        mode="closed loop, capacity phase",
        reading=f"Ok operations; each point merges {step} of all workers."
        f"{_marks_in_words([phase for _, phase in held])}",
        figure=figure(
            [line.trace() for line in lines],
            x={"title": {"text": "seconds since the phase began"}, "range": [0, longest_s]},
            y=value_axis(lines, "ops/s"),
            layout={"shapes": shapes},
        ),
        group="capacity",
    )


def _plot(
    name: str,
    title: str,
    reading: str,
    drawn: tuple[Sequence[Line], str],
    behind: tuple[Sequence[Contender], Clock],
) -> Plot:
    """Lines in a unit, with what happened to these contenders behind them."""
    (lines, unit), (shown, clock) = drawn, behind
    phases = [one.one.steady for one in shown if one.one.steady]
    events = [trace for one in shown for trace in event_traces(one, clock)]
    layout = ground(shown, clock)
    layout["shapes"] += [
        shape
        for one in shown
        if one.one.steady
        for shape in _marks(one, one.one.steady, clock.unit_s)
    ]
    told = gaps_in_plots(shown) + (" Flags: events, listed below." if events else "")
    return Plot(
        name=name,
        title=title,
        mode=_OPEN,
        reading=f"{reading}{_marks_in_words(phases)}{told}",
        figure=figure(
            [line.trace() for line in lines] + events,
            x=clock.axis(),
            y=value_axis(lines, unit),
            layout=layout,
        ),
        group=TIME,
    )


def ground(shown: Sequence[Contender], clock: Clock) -> dict[str, Any]:
    """What every plot over time stands on: the warm-up, where steady begins, and events."""
    shapes: list[Shape] = []
    notes: list[dict[str, Any]] = []
    if clock.from_s < 0:
        shapes += [
            band("muted", (clock.at(clock.from_s), 0.0), shade=0.1),
            vertical("muted", 0.0),
        ]
        notes.append({"x": clock.at(clock.from_s / 2), "text": "warm-up"})
        notes.append({"x": 0.0, "text": "steady", "xanchor": "left", "xshift": 4})
    for one in shown:
        shapes += gap_bands(one, clock.unit_s)
        for event in _events(one, clock):
            from_s, to_s = event.at_s - one.began_s, event.until_s - one.began_s
            if to_s > from_s:
                shapes.append(band(one.key, (clock.at(from_s), clock.at(to_s)), shade=0.18))
            shapes.append(vertical(one.key, clock.at(from_s), dash="dash"))
    plain = {"y": 1.0, "yref": "paper", "yanchor": "bottom", "showarrow": False}
    return {"shapes": shapes, "annotations": [plain | note for note in notes]}


def event_traces(entry: Contender, clock: Clock) -> Iterator[dict[str, Any]]:
    """Flags at the top of a plot that say what happened; they have an axis of their own."""
    held = _events(entry, clock)
    if held:
        yield {
            "type": "scatter",
            "x": [clock.at(event.at_s - entry.began_s) for event in held],
            "y": [0.96] * len(held),
            "yaxis": "y2",
            "name": f"{entry.label} events",
            "mode": "markers",
            "line": {},
            "marker": {"symbol": "triangle-down", "size": 11},
            "text": [f"{event.kind.replace('_', ' ')}: {event.text}" for event in held],
            "hovertemplate": f"{entry.label}<br>%{{text}}<extra></extra>",
            "meta": {"key": entry.key, "role": "event", "unit": ""},
        }


def _events(entry: Contender, clock: Clock) -> list[Event]:
    """The gravest events inside the axis, in order of time."""
    held = [
        one for one in entry.one.events if clock.from_s <= one.at_s - entry.began_s <= clock.to_s
    ]
    grave = sorted(held, key=lambda one: one.severity == "note")[:_MOST_FLAGS]
    return sorted(grave, key=lambda one: one.at_s)


def _marks(entry: Contender, phase: PhaseNumbers, unit_s: float) -> Iterator[Shape]:
    """Seconds at the generator's limit, the whole height; those with drops, at the foot."""
    for one in stretches(phase.generator.marked):
        span = (one.from_s / unit_s, one.to_s / unit_s)
        if one.broken:
            yield band(entry.key, span)
        if one.dropped:
            yield band(entry.key, span, top=0.05, shade=0.9)


def _marks_in_words(phases: Iterable[PhaseNumbers]) -> str:
    states = [phase.generator for phase in phases]
    told = ""
    if any(state.bound_s for state in states):
        told += " Shaded: seconds in which the generator itself was the limit."
    if any(state.dropping_s for state in states):
        told += " Bar at the foot: seconds in which requests were dropped."
    if told and any(state.marked_left_out for state in states):
        told += " Only the first such seconds are marked."
    return told


def _steps(shown: Sequence[Contender], series: str, *, name: str = "steady") -> str:
    """How much time one point merges, in words."""
    told = {}
    for one in shown:
        phase = getattr(one.one, name)
        told[one.label] = max((point.seconds for point in getattr(phase, series)), default=0)
    if len(set(told.values())) <= 1:
        return f"{next(iter(told.values()), 0)} s"
    return " and ".join(f"{step} s ({label})" for label, step in told.items())


def _middle(point: Point | LatencyPoint) -> float:
    return point.at_s + point.seconds / 2


def _session(entry: Contender) -> list[PhaseNumbers]:
    """The warm-up of the steady phase, and that phase."""
    session = entry.one.numbers.sessions.get("steady")
    return list(session.phases.values()) if session else []


def _ok(entry: Contender, phase: PhaseNumbers, began_s: float, unit_s: float) -> Line:
    # The last step holds only a part of a second, and would read as a fall.
    whole = [point for point in phase.series if point.complete]
    return Line(
        entry,
        f"{entry.label} ok",
        [round((began_s + _middle(point)) / unit_s, 6) for point in whole],
        [round(sum(point.ok_per_s.values()), 1) for point in whole],
        role="ok",
        unit="ops/s",
        digits=",.0f",
    )


def _rates(entry: Contender, clock: Clock) -> Iterator[Line]:
    parts = [
        _ok(entry, phase, phase.started_s - entry.began_s, clock.unit_s)
        for phase in _session(entry)
        if phase.phase in ("warmup", "steady")
    ]
    x = [x for part in parts for x in part.x]
    y = [y for part in parts for y in part.y]
    yield Line(entry, f"{entry.label} ok", x, y, role="ok", unit="ops/s", digits=",.0f")
    steady = entry.one.steady
    if steady and steady.mode == "open":
        yield Line(
            entry,
            f"{entry.label} offered",
            [0.0, clock.at(steady.seconds)],
            [steady.offered_per_s] * 2,
            role="offered",
            unit="ops/s",
            dash="dot",
            digits=",.0f",
            marked=False,
        )


def _shares(entry: Contender, clock: Clock) -> Iterator[Line]:
    steady = entry.one.steady
    if steady is None:
        return
    whole = [point for point in steady.series if point.complete]
    x = [clock.at(_middle(point)) for point in whole]
    for role, values in (
        ("ok", [sum(point.ok_per_s.values()) for point in whole]),
        ("sent", [point.sent_per_s for point in whole]),
    ):
        shares: list[float | None] = [
            round(100 * value / steady.offered_per_s, 2) for value in values
        ]
        dash = "solid" if role == "ok" else "dot"
        yield Line(entry, f"{entry.label} {role}", x, shares, role=role, unit="%", dash=dash)


def _p99(operation: str, entry: Contender, clock: Clock) -> Line:
    x: list[float] = []
    y: list[float | None] = []
    for phase in _session(entry):
        if phase.phase in ("warmup", "steady"):
            for point in phase.latency_series:
                value = point.p99_us.get(operation)
                x.append(clock.at(phase.started_s - entry.began_s + _middle(point)))
                y.append(None if value is None else value / 1000)
    return Line(entry, f"{entry.label} {operation} P99", x, y, role="response", unit="ms")
