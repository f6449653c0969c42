"""What all plots are made of: lines, axes and bands as plotly's JSON; the page's script draws them.

A contender has one colour and one mark on every plot; the dash of a line says what of it is shown.
An axis starts at zero or says that it is logarithmic. Colours are named, not written: the script
takes them from the page, so that light, dark and print each have their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from soakbed.report.contenders import Contender

__all__ = ["Line", "Plot", "band", "figure", "horizontal", "log_axis", "value_axis", "vertical"]

# Where contenders differ by more than this, a linear axis would press one of them flat.
_LOG_ABOVE = 8.0
_MOST_MARKS = 9  # on one line; enough to follow it, few enough to see it

Axis = dict[str, Any]
Shape = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure: `figure` is plotly's JSON, `reading` says in words what it shows.

    Plots of one `group` have the same x axis and zoom together. `rows`: of a plot whose y axis
    lists things, how many, for its height; 0 for any other.
    """

    name: str
    title: str
    mode: str
    reading: str
    figure: str
    group: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one contender; `role` names what is shown of it, for the legend's switches."""

    entry: Contender
    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    role: str
    unit: str
    dash: str = "solid"
    digits: str = ",.3~f"
    marked: bool = True
    texts: Sequence[str] = field(default=())  # in place of x where a reader would not know it

    def trace(self) -> dict[str, Any]:
        """As plotly draws it."""
        made: dict[str, Any] = {
            "type": "scatter",
            "x": list(self.x),
            "y": list(self.y),
            "name": self.label,
            "mode": "lines+markers" if self.marked else "lines",
            "line": {"width": 2, "dash": self.dash},
            "hovertemplate": f"{self.label} %{{y:{self.digits}}} {self.unit}<extra></extra>",
            "meta": {"key": self.entry.key, "role": self.role, "unit": self.unit},
        }
        if self.marked:
            made["marker"] = {"symbol": self.entry.symbol, "size": 7, "maxdisplayed": _MOST_MARKS}
        if self.texts:
            made["text"] = list(self.texts)
        return made


def log_axis(title: str, values: Iterable[float]) -> Axis:
    """A log axis labelled at 1, 2 and 5 of each decade, in full and not in powers."""
    positive = [value for value in values if value > 0] or [1.0, 10.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    factors = (1, 2, 5) if high - low <= 3 else (1,)
    ticks = [
        factor * 10.0**decade for decade in range(low, max(high, low + 1)) for factor in factors
    ]
    ticks.append(10.0 ** max(high, low + 1))
    return {
        "type": "log",
        "title": {"text": f"{title} (log)"},
        "tickvals": ticks,
        "ticktext": [f"{tick:,.0f}" if tick >= 1 else f"{tick:g}" for tick in ticks],
    }


def value_axis(lines: Sequence[Line], unit: str) -> Axis:
    """From zero, or logarithmic where one of the lines would lie flat on the floor."""
    peaks = [max((y for y in line.y if y), default=0.0) for line in lines]
    peaks = [peak for peak in peaks if peak > 0]
    if peaks and max(peaks) > _LOG_ABOVE * min(peaks):
        return log_axis(unit, (y for line in lines for y in line.y if y))
    return {"title": {"text": unit}, "rangemode": "tozero", "tickformat": ",~f"}


def band(name: str, span: tuple[float, float], *, top: float = 1.0, shade: float = 0.1) -> Shape:
    """A stretch of the x axis; `name` is the contender or colour that it takes."""
    return {
        "type": "rect",
        "name": name,
        "xref": "x",
        "yref": "paper",
        "x0": span[0],
        "x1": span[1],
        "y0": 0.0,
        "y1": top,
        "layer": "below",
        "opacity": shade,
        # A line, so that one second in 72 hours is still seen.
        "line": {"width": 1},
    }


def vertical(name: str, x: float, *, dash: str = "solid") -> Shape:
    """One place on the x axis, from floor to ceiling."""
    return {
        "type": "line",
        "name": name,
        "xref": "x",
        "yref": "paper",
        "x0": x,
        "x1": x,
        "y0": 0.0,
        "y1": 1.0,
        "layer": "below",
        "line": {"width": 1, "dash": dash},
    }


def horizontal(name: str, y: float, *, dash: str = "solid") -> Shape:
    """One height of the y axis, from edge to edge."""
    return {
        "type": "line",
        "name": name,
        "xref": "paper",
        "yref": "y",
        "x0": 0.0,
        "x1": 1.0,
        "y0": y,
        "y1": y,
        "layer": "below",
        "line": {"width": 1, "dash": dash},
    }


def figure(
    traces: Sequence[dict[str, Any]],
    *,
    x: Axis,
    y: Axis,
    layout: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """A figure as JSON, without a colour in it. `layout`: shapes, annotations, meta."""
    plain = {"showlegend": False, "hovermode": "closest", "xaxis": x, "yaxis": y}
    kept = {key: value for key, value in layout.items() if value}
    return json.dumps({"data": list(traces), "layout": plain | kept}, allow_nan=False)
