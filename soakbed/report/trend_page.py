"""A trend as one self-contained page: a drawing per figure, and the same as a table.

Plain SVG without a script: points over runs, levels as lines, changes marked and named. It opens
from a mail, prints, and follows the reader's light or dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from soakbed.records.comparison import Trend, TrendPoint
from soakbed.records.guarantees import LABELS
from soakbed.records.metrics import metric
from soakbed.report import formats

__all__ = ["trend_page"]

WIDTH, HEIGHT = 900, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 16, 18, 34


@dataclass(frozen=True, slots=True)
class _Dot:
    x: float
    y: float
    hollow: bool  # not counted
    told: str


@dataclass(frozen=True, slots=True)
class _Level:
    x1: float
    x2: float
    y: float


@dataclass(frozen=True, slots=True)
class _Mark:
    """A label on an axis, or a change: where, and what it says."""

    at: float
    told: str


@dataclass(frozen=True, slots=True)
class _Row:
    cells: tuple[str, ...]
    note: str
    counted: bool


@dataclass(frozen=True, slots=True)
class _Drawing:
    """One figure, ready to be drawn: the template does no arithmetic."""

    key: str
    name: str
    sentence: str
    direction: str
    method: str
    dots: tuple[_Dot, ...]
    levels: tuple[_Level, ...]
    changes: tuple[_Mark, ...]
    ticks: tuple[_Mark, ...]
    versions: tuple[_Mark, ...]
    rows: tuple[_Row, ...]


def trend_page(trends: Sequence[Trend]) -> str:
    """The page of some trends of one target."""
    environment = Environment(
        loader=PackageLoader("soakbed.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = (resources.files("soakbed.report") / "templates" / "page.css").read_text()
    names = {str(key): label for key, label in LABELS.items()}
    return environment.get_template("trend.html.j2").render(
        title=f"{names[trends[0].target]} from run to run",
        css=Markup(css),  # ours, not the user's
        drawings=[_drawing(trend, index) for index, trend in enumerate(trends)],
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        right=WIDTH - _RIGHT,
        top=_TOP,
        bottom=HEIGHT - _BOTTOM,
    )


def _drawing(trend: Trend, index: int) -> _Drawing:
    values = [one.value for one in trend.points if one.value is not None]
    ticks = _ticks(values)
    scale = _Scale(ticks[0], ticks[-1], len(trend.points))
    return _Drawing(
        key=f"trend-{index}",
        name=formats.metric_words(trend.metric, trend.operation),
        sentence=trend.sentence,
        direction=metric(trend.metric).direction,
        method=trend.method,
        dots=tuple(
            _Dot(scale.x(place), scale.y(one.value), bool(one.left_out), _told(trend, one))
            for place, one in enumerate(trend.points)
            if one.value is not None
        ),
        levels=_levels(trend, scale),
        changes=tuple(
            _Mark(scale.x(one.at - 0.5), formats.change(1 + one.change))
            for one in trend.change_points
        ),
        ticks=tuple(
            _Mark(scale.y(tick), formats.metric_value(trend.metric, tick)) for tick in ticks
        ),
        versions=_versions(trend, scale),
        rows=tuple(_row(trend, one) for one in trend.points),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    count: int

    def x(self, place: float) -> float:
        """Across: a run's place, with half a step free on either side."""
        step = (WIDTH - _LEFT - _RIGHT) / max(self.count, 1)
        return round(_LEFT + (place + 0.5) * step, 1)

    def y(self, value: float) -> float:
        """Down from the top."""
        share = (value - self.low) / ((self.high - self.low) or 1)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)


def _ticks(values: Sequence[float]) -> list[float]:
    """Round values from zero over the largest: a cut axis makes noise look like news."""
    most = max(values, default=1.0) or 1.0
    step = 10 ** math.floor(math.log10(most))
    step = next(step * by for by in (0.2, 0.5, 1.0, 2.0) if most / (step * by) <= 5)
    return [round(step * place, 9) for place in range(math.ceil(most / step) + 1)]


def _levels(trend: Trend, scale: _Scale) -> tuple[_Level, ...]:
    """A line per level between changes; none where no change was found."""
    if not trend.change_points:
        return ()
    edges = [0, *(one.at for one in trend.change_points), len(trend.points)]
    heights = [trend.change_points[0].before, *(one.after for one in trend.change_points)]
    return tuple(
        _Level(scale.x(left - 0.4), scale.x(right - 0.6), scale.y(height))
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True)
    )


def _versions(trend: Trend, scale: _Scale) -> tuple[_Mark, ...]:
    """Each version under the first run that has it."""
    told = [one.version for one in trend.points]
    return tuple(
        _Mark(scale.x(place), version)
        for place, version in enumerate(told)
        if place == 0 or version != told[place - 1]
    )


def _told(trend: Trend, one: TrendPoint) -> str:
    value = formats.metric_value(trend.metric, one.value)
    why = f"; not counted: {one.left_out}" if one.left_out else ""
    return f"{one.run_id}, {one.version}: {value}{why}"


def _row(trend: Trend, one: TrendPoint) -> _Row:
    value = formats.metric_value(trend.metric, one.value)
    cells = (one.run_id, formats.when(one.started_s), one.version, value, one.verdict)
    note = " ".join(part for part in (one.left_out, one.caveat) if part)
    return _Row(cells, note, counted=not one.left_out)
