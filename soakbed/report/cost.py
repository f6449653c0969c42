"""What a run cost, on the page; what one is going to cost, in the terminal.

Prices stand where they are shown with their date and source, so that nobody has to guess of which
day and of whom they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table as TextTable
from rich.text import Text

from soakbed.records.cost import HourCost, PlannedCost, RunCost
from soakbed.records.metrics import metric
from soakbed.report import formats
from soakbed.report.contenders import Contender, Reported
from soakbed.report.reading import ReportedRun
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table

__all__ = [
    "cost_in_words",
    "cost_of_billion",
    "cost_row",
    "costs_table",
    "planned_text",
    "still_costs",
]

_UNKNOWN = "not known"
_COLUMNS = ("an hour", "this run", "reckoned", "date of the price", "source")


def cost_of_billion(entry: Contender) -> tuple[float, str] | None:
    """What a billion ok operations cost at the steady rate, and in what; None: not known."""
    cost, steady = entry.run.cost, entry.one.steady
    if cost is None or cost.hour.is_free or steady is None:
        return None
    amount = cost.hour.of_billion(steady.throughput_per_s)
    return None if amount is None else (amount, cost.hour.currency)


def cost_row(reported: Reported) -> Row:
    """A billion operations of each contender, for the table of what one operation takes."""
    known = metric("cost_per_billion")
    cells = []
    for entry in reported.contenders:
        found = cost_of_billion(entry)
        key = f"{entry.stem}.{known.key}"
        if found is None:
            cells.append(Cell(_UNKNOWN, key=key, word="empty"))
            continue
        least = "≤ " if entry.run.cost and entry.run.cost.hour.at_most else ""
        # Hundredths are what is paid in; of less than one of them, digits that still say something.
        amount = f"{found[0]:,.2f}" if found[0] >= 0.1 else f"{found[0]:.3g}"
        cells.append(Cell(f"{least}{amount} {found[1]}", raw=str(found[0]), key=key))
    return Row(Head(known.label, known.direction, meaning=known.meaning), tuple(cells))


def cost_in_words(run: ReportedRun) -> tuple[str, str]:
    """What a run cost, and how that was reckoned, for its identity."""
    cost = run.cost
    if cost is None or cost.hour.is_free or cost.hour.per_hour is None:
        basis = cost.hour.basis if cost else "no price was kept with it (hour_price)"
        return _UNKNOWN, basis
    note = f"{_per_hour(cost.hour)} for {formats.duration(_seconds(cost))}; {cost.hour.basis}"
    note += f", prices of {cost.hour.dated}" if cost.hour.dated else ""
    if cost.budget is not None:
        note += f"; budget {cost.budget.amount:,.2f} {cost.budget.currency}"
    return _amount(cost.hour, cost.hour.of(_seconds(cost))), note


def costs_table(reported: Reported) -> Table | None:
    """Everything that is paid for, with price, date and source; None where nothing is."""
    sections = []
    for tag, run in zip(reported.tags, reported.runs, strict=True):
        cost = run.cost
        if cost is None or cost.hour.is_free or cost.hour.per_hour is None:
            continue
        rows = tuple(_rows(tag, cost))
        title = f"{tag} · {run.run_id}" if tag else ""
        sections.append(Section(rows, title=title, note=" ".join(cost.hour.notes)))
    if not sections:
        return None
    return Table(
        name="costs",
        caption="What all hosts of the testbed cost while the run lasted, from its first stage to "
        "the last that needed them; hosts that stay on afterwards cost on. Prices are those that "
        "were known when the run began."
        + (" ≤: at most, since spot machines cost less." if _any_spot(reported) else ""),
        corner="Paid for",
        columns=tuple(Column(label) for label in _COLUMNS),
        sections=tuple(sections),
    )


def _any_spot(reported: Reported) -> bool:
    return any(run.cost is not None and run.cost.hour.at_most for run in reported.runs)


def _rows(tag: str, cost: RunCost) -> Iterator[Row]:
    seconds, hour = _seconds(cost), cost.hour
    for row in hour.rows:
        each = row.per_hour or 0.0
        yield Row(
            Head(row.what),
            (
                Cell(f"{each:,.4f}"),
                Cell(f"{each * seconds / 3600:,.2f}"),
                Cell(row.told, word="prose"),
                Cell(row.dated if row.verified else f"{row.dated}, not verified"),
                Cell(row.source, word="prose"),
            ),
        )
    stem = f"{tag}.cost" if tag else "cost"
    total = hour.of(seconds)
    yield Row(
        Head("all of it"),
        (
            Cell(_amount(hour, hour.per_hour, digits=4), str(hour.per_hour), f"{stem}.per_hour"),
            Cell(_amount(hour, total), str(total), f"{stem}.amount"),
            Cell(f"for {formats.duration(seconds)}", word="prose"),
            Cell(f"{hour.dated or 'by the user'}"),
            Cell(hour.basis, word="prose"),
        ),
    )


def _seconds(cost: RunCost) -> float:
    """Of a run that never came to its end: nothing, rather than until the page was written."""
    return cost.seconds(cost.began_s)


def _amount(hour: HourCost, amount: float | None, *, digits: int = 2) -> str:
    if amount is None:
        return _UNKNOWN
    return f"{'≤ ' if hour.at_most else ''}{amount:,.{digits}f} {hour.currency}".rstrip()


def _per_hour(hour: HourCost) -> str:
    return f"{_amount(hour, hour.per_hour, digits=4)} an hour"


def planned_text(planned: PlannedCost, *, title: str) -> RenderableType:
    """What it is going to cost, before anything is made: rows per hour, then sums."""
    hour = planned.hour
    if hour.per_hour is None:
        return Text(f"cost: not known: {hour.basis}", style="yellow")
    parts: list[RenderableType] = []
    if hour.rows:
        table = TextTable(title=title, title_justify="left")
        for label in ("paid for", f"{hour.currency} an hour", "reckoned", "price of"):
            table.add_column(label, justify="right" if "hour" in label else "left")
        for row in hour.rows:
            dated = row.dated if row.verified else f"{row.dated}, not verified"
            table.add_row(row.what, f"{row.per_hour or 0.0:.4f}", row.told, dated)
        parts.append(table)
    parts += [Text(line) for line in _sums(planned)]
    sources = dict.fromkeys(row.source for row in hour.rows)
    parts += [Text(f"  price: {source}", style="dim") for source in sources]
    return Group(*parts)


def _sums(planned: PlannedCost) -> Iterator[str]:
    hour = planned.hour
    told = f"cost: {_per_hour(hour)} ({hour.basis})"
    if planned.seconds:
        told += (
            f"; about {_amount(hour, planned.amount)} for {formats.duration(planned.seconds)}"
            + (f", {formats.duration(planned.load_s)} of it load" if planned.load_s else "")
        )
    if planned.margin_s:
        told += (
            f"; {_amount(hour, planned.with_margin)} if the hosts stay for the lease's margin of "
            f"{formats.duration(planned.margin_s)}"
        )
    yield told
    if planned.budget is not None:
        spent = f", {planned.spent:,.2f} spent by these hosts so far" if planned.spent else ""
        yield f"budget: {planned.budget.amount:,.2f} {planned.budget.currency}{spent}"
    yield from hour.notes


def still_costs(hour: HourCost, testbed: str) -> str:
    """What to say after a run, while its hosts are still there; "" where they cost nothing."""
    if hour.is_free or not hour.per_hour:
        return ""
    return f"the hosts of {testbed} cost {_per_hour(hour)} until: soakbed teardown"
