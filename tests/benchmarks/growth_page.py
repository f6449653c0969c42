"""Figures over the hours of a campaign as one HTML page: drawn lines, a table, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

__all__ = ["Fit", "Growth", "fitted", "page"]

_WIDTH, _HEIGHT, _LEFT, _FOOT = 420, 260, 56, 34
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
       color: #1c1c1c; background: #fff }
figure { display: inline-block; margin: 0 1rem 1rem 0 } figcaption { font-weight: 600 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ccc; text-align: right }
svg { font: 12px system-ui, sans-serif }
"""


@dataclass(frozen=True, slots=True)
class Growth:
    """One figure at each of `hours`; `limit` is what it may be at the last of them."""

    name: str
    unit: str
    hours: tuple[float, ...]
    values: tuple[float, ...]
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """`base` + `per_hour` * hours by least squares; `worst` is the greatest deviation of a value
    from the line, as a share of the last value of the line; `r2` the share of variance explained.
    """

    base: float
    per_hour: float
    worst: float
    r2: float


def fitted(growth: Growth) -> Fit | None:
    """The line through the values; None of fewer than three, which any line would fit."""
    if len(growth.hours) < 3:
        return None
    hours, values = np.array(growth.hours), np.array(growth.values)
    per_hour, base = np.polyfit(hours, values, 1)
    line = base + per_hour * hours
    spread = float(((values - values.mean()) ** 2).sum())
    left = float(((values - line) ** 2).sum())
    worst = float(np.abs(values - line).max() / abs(line[-1])) if line[-1] else 0.0
    return Fit(float(base), float(per_hour), worst, 1 - left / spread if spread else 1.0)


def page(title: str, conditions: str, growths: Sequence[Growth]) -> str:
    """The whole page."""
    drawn = "".join(
        f"<figure><figcaption>{escape(one.name)}</figcaption>{_drawn(one)}</figure>"
        for one in growths
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(conditions)}</p>{drawn}{_table(growths)}"
        "</body></html>\n"
    )


def _drawn(growth: Growth) -> str:
    furthest = max(growth.hours) * 1.05
    highest = max(*growth.values, growth.limit or 0.0) * 1.1 or 1.0

    def x(hours: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 10) * hours / furthest

    def y(value: float) -> float:
        return _HEIGHT - _FOOT - (_HEIGHT - _FOOT - 10) * value / highest

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(growth.name)} over hours; the table has the values">',
        f'<path d="M{x(0)} {y(highest)}V{y(0)}H{x(furthest)}" fill="none" stroke="#444"/>',
    ]
    parts += [_text(x(hours), _HEIGHT - 16, f"{hours:g} h") for hours in growth.hours]
    parts += [
        _text(_LEFT - 6, y(value) + 4, f"{value:,.0f}", "end")
        for value in (0, highest / 2, highest)
    ]
    if growth.limit is not None:
        parts.append(_line(0, growth.limit, furthest, growth.limit, x, y, "#b3362b", "6 4"))
        told = f"limit {growth.limit:,.0f} {growth.unit}"
        parts.append(_text(x(0) + 6, y(growth.limit) - 5, told, "start"))
    fit = fitted(growth)
    if fit is not None:
        end = fit.base + fit.per_hour * furthest
        parts.append(_line(0, fit.base, furthest, end, x, y, "#3b5ba5", "2 3"))
    parts += [
        f'<circle cx="{x(hours):.1f}" cy="{y(value):.1f}" r="4" fill="#0b6e4f"/>'
        for hours, value in zip(growth.hours, growth.values, strict=True)
    ]
    return "".join([*parts, "</svg>"])


def _text(x: float, y: float, said: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def _line(x1, y1, x2, y2, x, y, colour: str, dash: str) -> str:
    return (
        f'<path d="M{x(x1):.1f} {y(y1):.1f}L{x(x2):.1f} {y(y2):.1f}" fill="none" '
        f'stroke="{colour}" stroke-dasharray="{dash}"/>'
    )


def _table(growths: Sequence[Growth]) -> str:
    hours = growths[0].hours
    head = "".join(f"<th>{one:g} h</th>" for one in hours)
    rows = [f"<tr><th></th>{head}<th>limit</th><th>line (least squares)</th></tr>"]
    for one in growths:
        cells = "".join(f"<td>{value:,.1f}</td>" for value in one.values)
        limit = "" if one.limit is None else f"{one.limit:,.0f}"
        name = f"{escape(one.name)}, {escape(one.unit)}"
        rows.append(f"<tr><th>{name}</th>{cells}<td>{limit}</td><td>{_told(one)}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _told(growth: Growth) -> str:
    fit = fitted(growth)
    if fit is None:
        return "needs three or more"
    return (
        f"{fit.base:,.2f} + {fit.per_hour:,.3f} per h, off by at most {fit.worst:.1%} of its end, "
        f"R² {fit.r2:.4f}"
    )
