"""Plots of whole phases: latency by percentile, response beside service, and differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from soakbed.records.comparison import Comparison, Difference
from soakbed.records.numbers import Latency
from soakbed.report import formats
from soakbed.report.contenders import Contender, Reported
from soakbed.report.figures import Line, Plot, band, figure, log_axis, vertical
from soakbed.report.tables import printed_us
from soakbed.report.words import DIFFERENCES, OPERATIONS

__all__ = ["beside", "curves", "forests", "subject"]

_TICKS = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_OPEN = "open loop, steady phase"
# Shape and fill say the word too, not colour alone.
_MARKS = {
    "better": "circle",
    "worse": "x",
    "same": "circle-open",
    "cannot_tell": "diamond-open",
    "not_comparable": "square-open",
}


def curves(reported: Reported) -> list[Plot]:
    """Latency by percentile, response and service, one plot per operation."""
    made = []
    for operation, label in OPERATIONS.items():
        lines = []
        for entry in reported.contenders:
            steady = entry.one.steady
            held = steady.operations.get(operation) if steady else None
            if held is not None:
                lines.append(_curve(entry, "response", held.response))
                lines.append(_curve(entry, "service", held.service))
        made.append(
            Plot(
                name=f"curve-{operation}",
                title=f"{label} latency",
                mode=_OPEN,
                reading="Solid: response time, from when an operation was due. Dotted: service "
                "time, from when it was sent. Both axes are logarithmic; a curve ends where the "
                "sample no longer carries it.",
                figure=figure(
                    [line.trace() for line in lines],
                    x=_percentile_axis(lines),
                    y=log_axis("ms", (y for line in lines for y in line.y if y)),
                ),
                group="percentiles",
            )
        )
    return made


def _curve(entry: Contender, kind: str, latency: Latency) -> Line:
    # Without the single fastest value: it would bend the beginning of every curve.
    points = [(percentile, us) for percentile, us in latency.curve if percentile > 0]
    return Line(
        entry,
        f"{entry.label} {kind}",
        [100.0 / (100.0 - percentile) for percentile, _ in points],
        [us / 1000 for _, us in points],
        role=kind,
        unit="ms",
        dash="solid" if kind == "response" else "dot",
        texts=[f"P{percentile:.6g}" for percentile, _ in points],
    )


def _percentile_axis(lines: Sequence[Line]) -> dict[str, Any]:
    furthest = max((x for line in lines for x in line.x), default=100.0)
    ticks = [tick for tick in _TICKS if 100.0 / (100.0 - tick) <= furthest * 1.2]
    return {
        "type": "log",
        "title": {"text": "percentile"},
        "tickvals": [100.0 / (100.0 - tick) for tick in ticks],
        "ticktext": [f"P{tick:g}" for tick in ticks],
    }


def beside(reported: Reported) -> list[Plot]:
    """P99 of the service time and of the response time, the wait between them as a line."""
    made = []
    for operation, label in OPERATIONS.items():
        traces, values = [], []
        for entry in reported.contenders:
            steady = entry.one.steady
            held = steady.operations.get(operation) if steady else None
            both = (
                [printed_us(getattr(held, kind), kind, "p99") for kind in ("service", "response")]
                if held
                else []
            )
            if not both or None in both:
                continue
            found = [us / 1000 for us in both if us is not None]
            values += found
            traces.append(_dumbbell(entry, found))
        made.append(
            Plot(
                name=f"beside-{operation}",
                title=f"{label} P99: service and response",
                mode=_OPEN,
                reading="Hollow: service time, what the target took once it was asked. Filled: "
                "response time, what a user waits who comes when due. The line between them is "
                "waiting that a closed loop would not show.",
                figure=figure(
                    traces,
                    x=log_axis("ms", values),
                    y={"type": "category", "autorange": "reversed"},
                    layout={"meta": {"table": "y"}},
                ),
                group=f"beside-{operation}",
                rows=len(traces),
            )
        )
    return made


def _dumbbell(entry: Contender, both_ms: list[float]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": both_ms,
        "y": [entry.label] * 2,
        "name": entry.label,
        "mode": "lines+markers",
        "line": {"width": 3},
        "marker": {"symbol": [f"{entry.symbol}-open", entry.symbol], "size": 12},
        "text": ["service P99", "response P99"],
        "hovertemplate": f"{entry.label} %{{text}} %{{x:,.3~f}} ms<extra></extra>",
        "meta": {"key": entry.key, "role": "both", "unit": "ms"},
    }


def subject(one: Difference) -> str:
    """What a difference is about, in a few words."""
    return formats.metric_words(one.metric, one.operation)


def _named_rows(held: Sequence[Difference]) -> dict[str, Any]:
    return {
        "type": "category",
        "autorange": "reversed",
        "categoryorder": "array",
        "categoryarray": [subject(one) for one in held],
    }


def forests(comparison: Comparison | None) -> list[Plot]:
    """Every ratio with its interval, a plot per pair; the words as marks and colours."""
    made: list[Plot] = []
    if comparison is None:
        return made
    for index, (baseline, contender) in enumerate(comparison.pairs):
        held = [one for one in comparison.of_pair(contender, baseline) if one.ratio]
        if not held:
            continue
        margin = max(one.margin for one in held)
        made.append(
            Plot(
                name=f"forest-{index}",
                title=f"{contender} against {baseline}",
                mode="ratio with its interval",
                reading=f"Each mark is {contender} over {baseline}; the bar is its interval. "
                f"Shaded: within {formats.share(margin)} of alike, which counts as the same. "
                "Filled circle: better; cross: worse; hollow circle: same within noise; hollow "
                "diamond: cannot tell; hollow square: not comparable.",
                figure=figure(
                    _ratios(held),
                    x=_ratio_axis(held),
                    y=_named_rows(held),
                    layout={
                        "shapes": [
                            band("muted", (1 / (1 + margin), 1 + margin), shade=0.2),
                            vertical("muted", 1.0),
                        ],
                        "meta": {"table": "y"},
                    },
                ),
                group=f"forest-{index}",
                rows=len(held),
            )
        )
    return made


def _ratios(held: Sequence[Difference]) -> list[dict[str, Any]]:
    """A trace per word, so that each has one mark and one colour."""
    made = []
    for word, symbol in _MARKS.items():
        said = [(one, one.ratio) for one in held if one.word == word and one.ratio]
        if not said:
            continue
        made.append(
            {
                "type": "scatter",
                "x": [ratio.ratio for _, ratio in said],
                "y": [subject(one) for one, _ in said],
                "name": DIFFERENCES[word],
                "mode": "markers",
                "marker": {"symbol": symbol, "size": 11},
                "line": {},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [max(0.0, ratio.high - ratio.ratio) for _, ratio in said],
                    "arrayminus": [max(0.0, ratio.ratio - ratio.low) for _, ratio in said],
                    "thickness": 2,
                    "width": 5,
                },
                "hovertemplate": f"%{{y}}: %{{x:.3~f}}, {DIFFERENCES[word]}<extra></extra>",
                "meta": {"word": word, "role": word, "unit": "×"},
            }
        )
    return made


def _ratio_axis(held: Sequence[Difference]) -> dict[str, Any]:
    edges = [edge for one in held if one.ratio for edge in (one.ratio.low, one.ratio.high)]
    low, high = min([*edges, 0.8]), max([*edges, 1.25])
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0, 1.25, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
    ticks = [step for step in steps if low / 1.3 <= step <= high * 1.3]
    if high / low > 10:
        ticks = [step for step in ticks if step not in (0.8, 1.25)]
    if high / low > 60:
        ticks = [step for step in ticks if step in (0.01, 0.1, 1.0, 10.0, 100.0)]
    return {
        "type": "log",
        "title": {"text": "contender over baseline (log)"},
        "tickvals": ticks,
        "ticktext": [f"×{tick:g}" for tick in ticks],
    }
