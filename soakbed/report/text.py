"""The same verdicts and headline in the terminal, after a bench."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.contract.limits import MOST_WAIT_SHARE
from soakbed.records.calibration import MOST_OFFERED_SHARE, Calibration
from soakbed.records.summary import (
    CostSummary,
    MeasuredTarget,
    OperationSummary,
    Summary,
    UnmeasuredTarget,
)
from soakbed.report import formats
from soakbed.report.words import TARGET_WORDS

__all__ = ["calibration_text", "summary_text"]

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
    if any(isinstance(one, MeasuredTarget) and one.knee for one in summary.targets.values()):
        table.add_row("knee/s", *(_knee(one) for one in summary.targets.values()))
    return Group(table, *_cost(summary.cost), reasons)


def _cost(held: CostSummary | None) -> list[Text]:
    """One line where the run has a sum."""
    if held is None or held.amount is None or not held.currency:
        return []
    least = "at most " if held.at_most else ""
    return [Text(f"cost: {least}{held.amount:,.2f} {held.currency} for {held.hours:.2f} h")]


def calibration_text(held: Calibration) -> RenderableType:
    """The ceiling of each load host by protocol; how busy the null servers were beside it."""
    title = f"{held.testbed}: the load hosts against a server that answers from memory"
    table = Table(title=title, title_justify="left")
    for label in ("protocol", "load host", "ops/s", "P50 ms", "engine CPU", "null server CPU"):
        table.add_column(label, justify="left" if label in ("protocol", "load host") else "right")
    for ceiling in held.ceilings.values():
        servers = ", ".join(f"{name} {formats.share(cpu)}" for name, cpu in ceiling.servers.items())
        for name, host in ceiling.hosts.items():
            table.add_row(
                ceiling.named,
                name if host.workers == 1 else f"{name} ({host.workers} workers)",
                ("≥ " if ceiling.at_least else "") + formats.rate(host.ops_per_s),
                formats.ms(host.p50_us),
                formats.share(host.cpu_share),
                servers,
            )
    shape = held.shape
    told = (
        f"closed loop, TLS, {shape.value_bytes:,}-byte values, {formats.share(shape.read_share)} "
        f"reads, {shape.connections} connections, pipeline {shape.pipeline}; a run that offers "
        f"more than {MOST_OFFERED_SHARE:.0%} of it is warned of"
    )
    if any(ceiling.at_least for ceiling in held.ceilings.values()):
        told += ". ≥: the engine had CPU time to spare, so its ceiling lies higher"
    hosts = [(name, h) for c in held.ceilings.values() for name, h in c.hosts.items()]
    taken = {name for name, host in hosts if (host.wait_share or 0.0) > MOST_WAIT_SHARE}
    if taken:
        told += (
            f". Others had the engine's core of {', '.join(sorted(taken))} for more than "
            f"{MOST_WAIT_SHARE:.0%} of a second: measure again when the machine is quiet"
        )
    return Group(table, Text(told))


def _word(word: str) -> Text:
    return Text(word.replace("_", " "), style=_STYLES[word])


def _knee(held: MeasuredTarget | UnmeasuredTarget) -> str:
    """The highest rate that kept the objective, and how the search ended where not as asked."""
    if not isinstance(held, MeasuredTarget) or held.knee is None:
        return ""
    if held.knee.knee_per_s is None:
        return "none"
    least = {"found": "", "at_least": "≥ "}.get(held.knee.word, "? ")
    return least + formats.rate(held.knee.knee_per_s)


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
