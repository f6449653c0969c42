"""The figures of `engine_bench` as one HTML page that asks the network for nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

from tests.benchmarks.compare import METRICS, CaseResult, Judged, Ratio, judge, ratios

__all__ = ["page"]

_COLOURS = {
    "engine": "#0b6e4f",
    "redis-benchmark": "#b3362b",
    "grpcio asyncio": "#3b5ba5",
    "Locust, redis-py": "#8a6d1a",
    "Locust, grpcio": "#8a6d1a",
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem;
       padding: 0 1rem; color: #1c1c1c; background: #fff }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ccc; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.reached { color: #0b6e4f } .missed { color: #b3362b; font-weight: 600 } .open { color: #666 }
"""


def page(results: Mapping[str, CaseResult], *, script: str | None = None) -> str:
    """The whole page. `script` stands in for plotly's own where a test wants a short file."""
    library = get_plotlyjs() if script is None else script
    body = [
        "<h1>The engine beside other clients</h1>",
        "<p>Server on one core, client on the other, closed loop, contenders in turn. A ratio is "
        "the engine's figure over the other's, taken for each repeat; the dot is the median, the "
        "bar reaches from the least to the greatest. Percentiles are those that each contender "
        "itself reports; Locust rounds to whole milliseconds and more.</p>",
        "<h2>To reach</h2>",
        _targets(judge(results.values())),
        "<h2>Ratios</h2>",
        _drawn(_ratio_figure([one for result in results.values() for one in ratios(result)])),
        "<h2>Latency that each reports</h2>",
        _drawn(_latency_figure(list(results.values()))),
        "<h2>All figures</h2>",
        *(_case(result) for result in results.values()),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>engine-bench</title><style>{_STYLE}</style><script>{library}</script></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _targets(judged: Iterable[Judged]) -> str:
    classes = {"reached": "reached", "NOT reached": "missed", "not measured": "open"}
    rows = []
    for one in judged:
        ratio = one.ratio
        found = "" if ratio is None else f"{ratio.median:.2f}"
        spread = "" if ratio is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
        rows.append(
            f"<tr><td>{escape(one.target.says)}</td><td class=number>{one.target.wanted()}</td>"
            f"<td class=number>{found}</td><td class=number>{spread}</td>"
            f'<td class="{classes[one.verdict]}">{one.verdict}</td></tr>'
        )
    head = "<th>what</th><th>wanted</th><th>ratio</th><th>spread</th><th></th>"
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _case(result: CaseResult) -> str:
    held = result.conditions
    told = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in held.items())
    by_metric = {(one.contender, one.metric): one for one in ratios(result)}
    rows = []
    for contender in result.contenders():
        cells = [f"<td>{escape(contender)}</td>"]
        for metric in METRICS:
            digits = 1 if "in_flight" in metric else 0
            median = statistics.median(result.values(contender, metric))
            ratio = by_metric.get((contender, metric))
            over = "" if ratio is None else f"<br>{ratio.median:.2f} ({ratio.low:.2f} to "
            over += "" if ratio is None else f"{ratio.high:.2f})"
            cells.append(f"<td class=number>{median:,.{digits}f}{over}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{escape(label)}</th>" for label in METRICS.values())
    return (
        f"<h3>{escape(result.name)}</h3><table><tr><th>median; engine over it (spread)</th>{head}"
        f"</tr>{''.join(rows)}</table><p><small>{escape(told)}</small></p>"
    )


def _ratio_figure(made: Sequence[Ratio]) -> go.Figure:
    """Dots with bars on a logarithmic axis, so that half and twice are equally far from 1."""
    figure = go.Figure()
    for metric in METRICS:
        held = [one for one in made if one.metric == metric]
        figure.add_trace(
            go.Scatter(
                name=METRICS[metric],
                x=[one.median for one in held],
                y=[f"{one.case} over {one.contender}" for one in held],
                mode="markers",
                visible=True if metric == "per_cpu_s" else "legendonly",
                marker={"size": 10},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [one.high - one.median for one in held],
                    "arrayminus": [one.median - one.low for one in held],
                },
            )
        )
    figure.add_vline(x=1, line_dash="dot")
    figure.update_xaxes(type="log", title="engine over the other")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _laid_out(figure, rows=len({(one.case, one.contender) for one in made}))


def _latency_figure(results: Sequence[CaseResult]) -> go.Figure:
    """P50 as a dot and P99 as a diamond, a line between them."""
    figure = go.Figure()
    told: set[str] = set()
    for result in results:
        for contender in result.contenders():
            p50, p99 = (
                statistics.median(result.values(contender, metric))
                for metric in ("p50_us", "p99_us")
            )
            figure.add_trace(
                go.Scatter(
                    name=contender,
                    legendgroup=contender,
                    showlegend=contender not in told,
                    x=[p50, p99],
                    y=[f"{result.name}, {contender}"] * 2,
                    mode="lines+markers",
                    marker={"size": 9, "symbol": ["circle", "diamond"]},
                    line={"color": _COLOURS.get(contender, "#444")},
                )
            )
            told.add(contender)
    figure.update_xaxes(type="log", title="us: dot P50, diamond P99")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _laid_out(figure, rows=sum(len(result.contenders()) for result in results))


def _laid_out(figure: go.Figure, *, rows: int) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=180 + 34 * rows,
        margin={"l": 20, "r": 20, "t": 40, "b": 50},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )
    return figure


def _drawn(figure: go.Figure) -> str:
    options: dict[str, Any] = {"displaylogo": False, "responsive": True}
    drawn: str = plotly.io.to_html(figure, full_html=False, include_plotlyjs=False, config=options)
    return drawn
