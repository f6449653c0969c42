"""A page of its own for a broken promise: who did what when, and why it cannot be; opens from disk.

Everything on it comes from `consistency.json`: each contradiction as a timeline of the processes
around it, a bar for each operation from being sent to being done, and the same as a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soakbed.archive.run_folder import write_whole
from soakbed.records.consistency import Check, Consistency, Witness, WitnessRow
from soakbed.report.consistency import consistency_of, page_name
from soakbed.report.contenders import Contender, Reported
from soakbed.report.figures import Plot, figure
from soakbed.report.printing import printed
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table
from soakbed.report.words import KEPT
from soakbed.units import US_PER_S, us_to_ms

__all__ = ["ShownCheck", "ShownWitness", "ViolationPage", "composed", "write_violations"]

# Of each check; the record holds more, and `violations` counts all.
_MOST_SHOWN = 5
_RANK = 10**14


@dataclass(frozen=True, slots=True)
class ShownWitness:
    """One contradiction, ready to print."""

    sentence: str
    when: str
    plot: Plot
    table: Table


@dataclass(frozen=True, slots=True)
class ShownCheck:
    """One question whose answer is against the target."""

    check: Check
    heading: str
    word: str
    witnesses: tuple[ShownWitness, ...]
    left: int  # contradictions that are not shown


@dataclass(frozen=True, slots=True)
class ViolationPage:
    """Everything on the page."""

    title: str
    lede: str
    label: str
    key: str
    run_id: str
    promise: str
    held: Consistency
    checks: tuple[ShownCheck, ...]


def write_violations(folder: Path, shown: Reported) -> list[Path]:
    """Write into `folder` the page of each target of one run that has something against it; their
    paths. Pages of an earlier judgement that found more are removed.
    """
    written = []
    for entry in shown.contenders:
        path = folder / page_name(entry.one.name)
        page = composed(entry)
        if page is None:
            path.unlink(missing_ok=True)
            continue
        write_whole(path, printed("violation.html.j2", page, [entry]))
        written.append(path)
    return written


def composed(entry: Contender) -> ViolationPage | None:
    """What the page shows; None where there is nothing against the target."""
    held = consistency_of(entry)
    checks = tuple(_check(one) for one in held.violations if one.witnesses)
    if not checks:
        return None
    broken = held.verdict == "violation"
    return ViolationPage(
        title=f"{entry.label} {'did not keep its word' if broken else 'kept no such word'}",
        lede="Operations as their clients saw them. Each bar runs from the moment an operation was "
        "sent to the moment it was answered; whatever a target does with it happens in between. "
        "Marked operations contradict each other: no order of them explains all answers.",
        label=entry.label,
        key=entry.key,
        run_id=entry.run.run_id,
        promise=entry.words.short_promise,
        held=held,
        checks=checks,
    )


def _check(check: Check) -> ShownCheck:
    shown = check.witnesses[:_MOST_SHOWN]
    return ShownCheck(
        check=check,
        heading=check.name.replace("_", " "),
        word=KEPT[check.verdict],
        witnesses=tuple(_witness(check, one, place) for place, one in enumerate(shown, start=1)),
        left=max(check.violations - len(shown), 0),
    )


def _witness(check: Check, witness: Witness, place: int) -> ShownWitness:
    rows = sorted((*witness.rows, *witness.around), key=lambda row: (row.sent_us, row.done_us))
    name = f"{check.name.replace('_', '-')}-{place}"
    stale = ""
    if witness.staleness_us:
        stale = f" Clocks would have to be wrong by {_ms(witness.staleness_us)} ms to excuse it."
    when = f"{_at(witness.from_us)} to {_at(witness.until_us)}.{stale}"
    return ShownWitness(
        sentence=witness.sentence,
        when=when,
        plot=_timeline(name, witness, rows),
        table=_table(name, witness, rows),
    )


def _timeline(name: str, witness: Witness, rows: Sequence[WitnessRow]) -> Plot:
    processes = list(dict.fromkeys(_process(row) for row in rows))
    traces = list(_traces(witness, rows))
    y = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": processes[::-1],
        "title": {"text": ""},
    }
    x = {"title": {"text": f"ms since {_at(witness.from_us)}"}}
    return Plot(
        name=name,
        title=f"Processes around key {witness.key}",
        mode="bars from sent to done",
        reading="Squares: writes; circles: reads, each where it was sent. Red and thick: part of "
        "the contradiction. An operation without a reply ends where its client gave up.",
        figure=figure(traces, x=x, y=y, layout={"meta": {"table": "y"}}),
        rows=len(processes),
    )


def _traces(witness: Witness, rows: Sequence[WitnessRow]) -> Iterator[dict[str, Any]]:
    """One trace per kind of mark: marked or not, read or write."""
    for marked in (False, True):
        for action in ("read", "write"):
            held = [row for row in rows if row.marked == marked and row.action == action]
            if held:
                yield _trace(witness, held, marked=marked, action=action)


def _trace(
    witness: Witness, held: Sequence[WitnessRow], *, marked: bool, action: str
) -> dict[str, Any]:
    name = f"{action}, part of the contradiction" if marked else action
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [us_to_ms(row.sent_us - witness.from_us) for row in held],
        "y": [_process(row) for row in held],
        "text": [_hover(row) for row in held],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {},
        "marker": {"symbol": "square" if action == "write" else "circle", "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [us_to_ms(row.done_us - row.sent_us) for row in held],
            "arrayminus": [0 for _ in held],
            "thickness": 5 if marked else 2,
            "width": 0,
        },
        "meta": {
            "key": "muted",
            "role": "marked" if marked else "around",
            "unit": "ms",
            **({"word": "worse"} if marked else {}),
        },
    }


def _hover(row: WitnessRow) -> str:
    revision = f", revision {row.revision}" if row.revision else ""
    words = f" — {row.words}" if row.words else ""
    took = f"{_ms(row.done_us - row.sent_us)} ms"
    return f"{row.action} {_value(row.value)}{revision}, {row.outcome}, {took}{words}"


def _table(name: str, witness: Witness, rows: Sequence[WitnessRow]) -> Table:
    columns = (
        Column("operation"),
        Column("value", meaning="writer and the number of its write"),
        Column("sent", unit="ms"),
        Column("done", unit="ms", meaning="of one without a reply: when its client gave up"),
        Column("outcome"),
        Column("revision", meaning="what etcd said; empty where the target says none"),
        Column("its part"),
    )
    return Table(
        name=f"{name}-rows",
        caption=f"Operations on key {witness.key} in order of being sent; times in milliseconds "
        f"since {_at(witness.from_us)}. Rows with a part are the contradiction.",
        corner="Process",
        columns=columns,
        sections=(Section(tuple(_row(witness, row) for row in rows)),),
    )


def _row(witness: Witness, row: WitnessRow) -> Row:
    cells = (
        Cell(row.action),
        Cell(_value(row.value), raw=str(row.value)),
        Cell(_ms(row.sent_us - witness.from_us), raw=str(row.sent_us)),
        Cell(_ms(row.done_us - witness.from_us), raw=str(row.done_us)),
        Cell(row.outcome),
        Cell(str(row.revision) if row.revision else ""),
        Cell(row.words, word="prose"),
    )
    return Row(Head(_process(row)), cells, kind="witness" if row.marked else "near")


def _process(row: WitnessRow) -> str:
    return f"process {row.process}"


def _value(value: int) -> str:
    """Who wrote it, and which of its writes it was.

    >>> _value(3 * 10**14 + 17), _value(0), _value(-1)
    ('3:17', 'nothing', 'none of ours')
    """
    if value <= 0:
        return "nothing" if value == 0 else "none of ours"
    return f"{value // _RANK}:{value % _RANK}"


def _ms(value_us: int) -> str:
    return f"{us_to_ms(value_us):,.3f}"


def _at(value_us: int) -> str:
    """A moment to the microsecond, UTC."""
    seconds, rest = divmod(value_us, US_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest:06d} UTC"
