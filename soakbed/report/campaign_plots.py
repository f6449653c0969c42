"""Main effects as plots: a line per target over the levels of a factor, single cells as dots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from soakbed.records.campaign_report import CampaignReport, Effect, LevelFigure
from soakbed.records.metrics import metric
from soakbed.report import formats
from soakbed.report.figures import Axis, Plot, figure, log_axis
from soakbed.report.words import INKS, SYMBOLS, TARGET_WORDS, Ink

__all__ = ["EffectPlots", "ShownTarget", "effect_plots", "shown_targets"]

# Figures that are drawn; the table has P50 besides.
_DRAWN = (
    ("capacity_per_s", ""),
    ("response_p99_us", "read"),
    ("response_p99_us", "write"),
)
_LOG_ABOVE = 8.0  # as `figures.value_axis`
_ASIDE = 0.07  # dots of one target stand this far from those of the next


@dataclass(frozen=True, slots=True)
class ShownTarget:
    """A target with its colour and mark, as on every page."""

    key: str
    label: str
    ink: Ink
    symbol: str


@dataclass(frozen=True, slots=True)
class EffectPlots:
    """One figure: a plot per factor, all on one scale."""

    name: str
    mode: str
    plots: tuple[Plot, ...]


def shown_targets(report: CampaignReport) -> tuple[ShownTarget, ...]:
    """The campaign's targets in the order of its spec."""
    made = []
    for target in report.campaign.spec.targets:
        words = TARGET_WORDS[target]
        made.append(ShownTarget(target, words.label, INKS[words.ink], SYMBOLS[words.ink]))
    return tuple(made)


def effect_plots(report: CampaignReport) -> tuple[EffectPlots, ...]:
    """A group of plots per figure that any valid cell carries."""
    made = []
    for key, operation in _DRAWN:
        held = [one for one in report.effects if (one.metric, one.operation) == (key, operation)]
        if not held:
            continue
        axis = _axis(key, [value for one in held for value in _values(one)])
        plots = [
            _plot(report, factor, [one for one in held if one.factor == factor], axis)
            for factor in report.factors
        ]
        name = formats.metric_words(key, operation)
        made.append(EffectPlots(name, _mode(report, key), tuple(plots)))
    return tuple(made)


def _mode(report: CampaignReport, key: str) -> str:
    if key == "capacity_per_s":
        return f"closed loop, {metric(key).direction}"
    return f"open loop, steady phase, {metric(key).direction}"


def _values(effect: Effect) -> list[float]:
    found = []
    for level in effect.levels:
        found += [level.value, *level.singles.values(), *(level.interval or ())]
    return [value for value in found if value]


def _scaled(key: str, value: float) -> float:
    """As the plot shows it: microseconds as milliseconds."""
    return value / 1000 if metric(key).unit == "µs" else value


def _unit(key: str) -> str:
    return "ms" if metric(key).unit == "µs" else "ops/s"


def _axis(key: str, values: Sequence[float]) -> Axis:
    """One scale for all factors, or an effect would look large where its axis is short."""
    held = [_scaled(key, value) for value in values]
    low, high = min(held), max(held)
    if high > _LOG_ABOVE * low:
        span = [math.log10(low * 0.8), math.log10(high * 1.25)]
        return {**log_axis(_unit(key), held), "range": span}
    return {"title": {"text": _unit(key)}, "range": [0, high * 1.08], "tickformat": ",~f"}


def _plot(report: CampaignReport, factor: str, effects: Sequence[Effect], axis: Axis) -> Plot:
    first = effects[0]
    levels = [one.level for one in first.levels]
    traces: list[dict[str, Any]] = []
    targets = shown_targets(report)
    for place, target in enumerate(targets):
        for effect in effects:
            if effect.target == target.key:
                aside = (place - (len(targets) - 1) / 2) * _ASIDE
                traces += [_dots(effect, target, aside), _line(effect, target)]
    name = formats.metric_words(first.metric, first.operation)
    return Plot(
        name=f"effect-{first.metric}-{first.operation or 'all'}-{factor}".replace(".", "-"),
        title=f"{name} by {factor}",
        mode=_mode(report, first.metric),
        reading=_reading(report, first),
        figure=figure(
            traces,
            x={
                "title": {"text": factor},
                "tickvals": list(range(len(levels))),
                "ticktext": levels,
                "range": [-0.4, len(levels) - 0.6],
            },
            y=axis,
        ),
        group=f"effect-{first.metric}-{first.operation}-{factor}",
    )


def _reading(report: CampaignReport, effect: Effect) -> str:
    together = (
        "the geometric mean of its cells"
        if effect.phase == "capacity"
        else "of the merged histograms of its cells, each with equal weight"
    )
    missing = (
        ""
        if all(one.balanced for one in effect.levels)
        else " Cells are missing, so levels differ in other factors too: faint, and without a line."
    )
    bars = (
        "Bars: 99 % interval over repeats."
        if any(level.interval for one in report.effects for level in one.levels)
        else "No interval: too few repeats."
    )
    return f"Filled: the level, {together}. Hollow: its single cells. {bars}{missing}"


def _line(effect: Effect, target: ShownTarget) -> dict[str, Any]:
    held = [(place, one) for place, one in enumerate(effect.levels) if one.value]
    made: dict[str, Any] = {
        "type": "scatter",
        "x": [place for place, _ in held],
        "y": [_scaled(effect.metric, one.value or 0.0) for _, one in held],
        "text": [one.level for _, one in held],
        "name": target.label,
        "mode": "lines+markers",
        "line": {"width": 2},
        "marker": {"symbol": target.symbol, "size": 10},
        "hovertemplate": f"{target.label} %{{text}}: %{{y:,.3~f}} {_unit(effect.metric)}"
        "<extra></extra>",
        "meta": {"key": target.key, "role": "level", "unit": _unit(effect.metric)},
    }
    if not all(one.balanced for _, one in held):
        made |= {"mode": "markers", "opacity": 0.4}
    if all(one.interval for _, one in held):
        made["error_y"] = _bars(effect.metric, [one for _, one in held])
    return made


def _bars(key: str, held: Sequence[LevelFigure]) -> dict[str, Any]:
    ends = [(one.value or 0.0, *(one.interval or (0.0, 0.0))) for one in held]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, _scaled(key, high - value)) for value, _, high in ends],
        "arrayminus": [max(0.0, _scaled(key, value - low)) for value, low, _ in ends],
        "thickness": 2,
        "width": 5,
    }


def _dots(effect: Effect, target: ShownTarget, aside: float) -> dict[str, Any]:
    dots = [
        (place + aside, value, key)
        for place, level in enumerate(effect.levels)
        for key, value in level.singles.items()
    ]
    return {
        "type": "scatter",
        "x": [x for x, _, _ in dots],
        "y": [_scaled(effect.metric, value) for _, value, _ in dots],
        "text": [key for _, _, key in dots],
        "name": f"{target.label}, single cells",
        "mode": "markers",
        "line": {},
        "marker": {"symbol": f"{target.symbol}-open", "size": 6, "opacity": 0.75},
        "hovertemplate": f"{target.label}, cell %{{text}}: %{{y:,.3~f}} {_unit(effect.metric)}"
        "<extra></extra>",
        "meta": {"key": target.key, "role": "cell", "unit": _unit(effect.metric)},
    }
