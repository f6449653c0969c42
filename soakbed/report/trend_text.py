"""A trend for the terminal and for programs: a sparkline, a row per run, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from soakbed.records.comparison import Trend, TrendPoint
from soakbed.report import formats

__all__ = ["sparkline", "trend_csv", "trend_json", "trend_text"]

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = ("run", "began", "version", "value", "verdict", "note")


def sparkline(points: Sequence[TrendPoint]) -> str:
    """A character per run, higher for more; × where a run is not counted.

    >>> sparkline([])
    ''
    """
    counted = [one.value for one in points if one.value is not None and not one.left_out]
    low, high = min(counted, default=0.0), max(counted, default=0.0)
    return "".join(_bar(one, low, high) for one in points)


def _bar(one: TrendPoint, low: float, high: float) -> str:
    if one.value is None or one.left_out:
        return "×"
    if high == low:
        return _BARS[3]
    return _BARS[round((one.value - low) / (high - low) * (len(_BARS) - 1))]


def trend_text(trends: Sequence[Trend]) -> RenderableType:
    """Each figure with its sparkline, what moved, and every run."""
    parts: list[RenderableType] = []
    for trend in trends:
        name = formats.metric_words(trend.metric, trend.operation)
        parts.append(Text(f"{name}  {sparkline(trend.points)}", style="bold"))
        parts.append(Text(trend.sentence))
        table = Table()
        for label in _COLUMNS:
            table.add_column(label, justify="right" if label == "value" else "left")
        moved = {one.at: one.change for one in trend.change_points}
        for place, point in enumerate(trend.points):
            change = f"{formats.change(1 + moved[place])} from here on" if place in moved else ""
            note = "; ".join(one for one in (change, point.left_out, point.caveat) if one)
            value = formats.metric_value(trend.metric, point.value)
            began = formats.when(point.started_s)
            cells = (point.run_id, began, point.version, value, point.verdict, note)
            table.add_row(*map(Text, cells), style="dim" if point.left_out else "")
        parts += [table, Text(f"Changes by {trend.method}.", style="dim"), Text()]
    return Group(*parts)


def trend_json(trends: Sequence[Trend]) -> str:
    """Records as they are, in their own names and units."""
    held = [trend.model_dump(mode="json", by_alias=True) for trend in trends]
    return json.dumps({"schema": 1, "trends": held}, indent=1, ensure_ascii=False) + "\n"


def trend_csv(trends: Sequence[Trend]) -> str:
    """One row per figure and run; `change` stands where a new level begins."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        (
            *("target", "metric", "operation", "run_id", "started_s", "version"),
            *("value", "verdict", "left_out", "caveat", "change"),
        )
    )
    for trend in trends:
        moved = {one.at: one.change for one in trend.change_points}
        for place, one in enumerate(trend.points):
            value = "" if one.value is None else one.value
            change = moved.get(place, "")
            rows.writerow(
                (
                    *(trend.target, trend.metric, trend.operation, one.run_id, one.started_s),
                    *(one.version, value, one.verdict, one.left_out, one.caveat, change),
                )
            )
    return text.getvalue()
