"""The same verdicts and headline in the terminal, after a bench."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from soakbed.records.summary import MeasuredTarget, OperationSummary, Summary
from soakbed.report import formats
from soakbed.report.words import TARGET_WORDS

__all__ = ["summary_text"]

_STYLES = {"valid": "green", "invalid": "bold red", "incomplete": "yellow", "not_measured": "dim"}
_ROWS = (
    "verdict",
    "capacity/s",
    "offered/s",
    "ok/s",
    "read P50",
    "read P99",
    "write P50",
    "write P99",
    "errors",
)


def summary_text(summary: Summary) -> RenderableType:
    """Headline, a column per target so that it fits 80 characters; then the reasons."""
    table = Table(title=f"{summary.run_id}: latency in ms, open loop", title_justify="left")
    table.add_column("")
    columns: list[list[Text]] = []
    reasons = Text()
    for name, held in summary.targets.items():
        label = TARGET_WORDS[name].label
        if isinstance(held, MeasuredTarget):
            table.add_column(f"{label} {held.version}", justify="right")
            columns.append([_word(held.verdict), *_figures(held)])
            told = held.reasons if held.verdict != "valid" else ()
        else:
            table.add_column(label, justify="right")
            columns.append([_word("not_measured"), *[Text()] * (len(_ROWS) - 1)])
            told = (held.reason, *((f"remedy: {held.remedy}",) if held.remedy else ()))
        for reason in told:
            reasons.append(f"{label}: {reason}\n")
    for row in zip(_ROWS, *columns, strict=True):
        table.add_row(*row)
    return Group(table, reasons)


def _word(word: str) -> Text:
    return Text(word.replace("_", " "), style=_STYLES[word])


def _figures(held: MeasuredTarget) -> list[Text]:
    least = "≥ " if held.capacity_is_at_least else ""
    latencies = [text for one in (held.read, held.write) for text in _latency(one)]
    broken = sum(one.failed + one.unknown for one in (held.read, held.write))
    figures = [
        least + formats.rate(held.capacity_per_s),
        formats.rate(held.offered_per_s),
        formats.rate(held.throughput_per_s),
        *latencies,
        formats.count(broken),
    ]
    return [Text(figure) for figure in figures]


def _latency(one: OperationSummary) -> list[str]:
    return [formats.ms(one.response_p50_us), formats.ms(one.response_p99_us)]
