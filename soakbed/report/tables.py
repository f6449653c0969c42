"""The tables of the page as data. Each cell knows its raw value and its metric, so that templates
only print and tests can compare; labels, units and meanings come from `records.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from soakbed.records.claims import Claim, Claims
from soakbed.records.metrics import metric
from soakbed.records.summary import OperationSummary, UnmeasuredTarget
from soakbed.report import formats
from soakbed.report.reading import MeasuredRun, ReportedRun
from soakbed.report.words import MODES, OPERATIONS, TARGET_WORDS

__all__ = ["Cell", "Column", "Head", "Row", "Section", "Table", "glance"]

CLAIMED = "claimed, not measured by us"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: what is printed, and the raw value under its key for machines and tests."""

    text: str
    raw: str = ""
    key: str = ""
    note: str = ""
    span: int = 1
    word: str = ""  # a class for the page's style: a verdict, or "empty"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; neighbours of one `group` share a heading above them."""

    label: str
    group: str = ""
    group_note: str = ""
    unit: str = ""
    direction: str = ""
    meaning: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a row."""

    text: str
    sub: str = ""
    target: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `kind` is measured, claimed or absent."""

    head: Head
    cells: tuple[Cell, ...]
    kind: str = "measured"


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one heading inside a table."""

    rows: tuple[Row, ...]
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table with its caption."""

    name: str
    caption: str
    corner: str
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]

    @property
    def groups(self) -> list[tuple[Column, int]]:
        """Neighbouring columns by group: the first of each, and how many."""
        found: list[tuple[Column, int]] = []
        for column in self.columns:
            if found and found[-1][0].group == column.group:
                found[-1] = (found[-1][0], found[-1][1] + 1)
            else:
                found.append((column, 1))
        return found


_OPEN = "open loop"
_CLOSED = "closed loop"
# Which figures of an operation are on the headline table: (key in summary.json, metric key).
_LATENCIES = (
    ("response_p50_us", "response P50"),
    ("response_p99_us", "response P99"),
    ("response_p99_9_us", "response P99.9"),
    ("service_p99_us", "service P99"),
)


def glance(run: ReportedRun, claims: Claims | None) -> Table:
    """The headline: one row per target, and what was claimed of it elsewhere right below."""
    measured = {one.name: one for one in run.measured}
    rows: list[Row] = []
    for name, held in run.summary.targets.items():
        claim = claims.targets.get(name) if claims else None
        if isinstance(held, UnmeasuredTarget):
            rows.append(_absent(name, held))
        else:
            rows.append(_measured(measured[name]))
        if claim is not None:
            rows.append(_claimed(name, claim))
    return Table(
        name="glance",
        caption="Latencies are those of the steady phase and labelled with their loop. The targets "
        "do not promise the same (see each row), so a smaller figure is not a better target by "
        "itself.",
        corner="Target and its promise",
        columns=tuple(_columns()),
        sections=(Section(tuple(rows)),),
    )


def _columns() -> Iterable[Column]:
    yield Column("Verdict", group="Judged")
    yield _column("capacity_per_s", f"Throughput, {_CLOSED}", MODES["closed"])
    for key in ("offered_per_s", "throughput_per_s"):
        yield _column(key, f"Load, {_OPEN}", MODES["open"])
    for operation, label in OPERATIONS.items():
        group = f"{label} latency, {_OPEN}"
        for key, text in _LATENCIES:
            known = metric(key)
            yield Column(
                label=text,
                group=group,
                group_note=MODES["open"],
                unit="ms",
                direction=known.direction,
                meaning=known.meaning,
                target=operation,
            )
    for key in ("failed", "unknown"):
        yield _column(key, f"Errors, {_OPEN}", "", unit="")


def _column(key: str, group: str, group_note: str, *, unit: str | None = None) -> Column:
    known = metric(key)
    return Column(
        label=known.label,
        group=group,
        group_note=group_note,
        unit=known.unit if unit is None else unit,
        direction=known.direction,
        meaning=known.meaning,
    )


def _measured(one: MeasuredRun) -> Row:
    words, held = TARGET_WORDS[one.name], one.summary
    stands_in = " (substituted)" if held.substituted else ""
    prefix = "≥ " if held.capacity_is_at_least else ""
    cells = [
        Cell(held.verdict, raw=held.verdict, key=f"{one.name}.verdict", word=held.verdict),
        Cell(
            prefix + formats.rate(held.capacity_per_s),
            raw=str(held.capacity_per_s),
            key=f"{one.name}.capacity_per_s",
            note="at least: the generator was the limit" if held.capacity_is_at_least else "",
        ),
        _rate(one.name, "offered_per_s", held.offered_per_s),
        _rate(one.name, "throughput_per_s", held.throughput_per_s),
    ]
    for operation in OPERATIONS:
        summary: OperationSummary = getattr(held, operation)
        cells += [_latency(f"{one.name}.{operation}", key, summary) for key, _ in _LATENCIES]
    for key in ("failed", "unknown"):
        total = getattr(held.read, key) + getattr(held.write, key)
        cells.append(Cell(formats.count(total), raw=str(total), key=f"{one.name}.{key}"))
    head = Head(f"{words.label} {held.version}{stands_in}", words.short_promise, one.name)
    return Row(head, tuple(cells))


def _rate(target: str, key: str, value: float) -> Cell:
    return Cell(formats.rate(value), raw=str(value), key=f"{target}.{key}")


def _latency(stem: str, key: str, summary: OperationSummary) -> Cell:
    value: int | None = getattr(summary, key)
    if value is None:
        return Cell("–", raw="", key=f"{stem}.{key}", note="too few values", word="empty")
    return Cell(formats.ms(value), raw=str(value), key=f"{stem}.{key}")


def _absent(name: str, held: UnmeasuredTarget) -> Row:
    words = TARGET_WORDS[name]
    width = len(tuple(_columns()))
    remedy = f"To measure it: {held.remedy}" if held.remedy else ""
    cells = (
        Cell("not measured", raw="not_measured", key=f"{name}.status", word="not_measured"),
        Cell(held.reason, key=f"{name}.reason", note=remedy, span=width - 1, word="reason"),
    )
    return Row(Head(words.label, words.short_promise, name), cells, kind="absent")


def _claimed(name: str, claim: Claim) -> Row:
    words = TARGET_WORDS[name]
    empty = Cell("", word="empty")
    read, write = (
        [
            empty,
            Cell(formats.ms(value), raw=str(value), key=f"{name}.claimed.{operation}_p99_us"),
            empty,
            empty,
        ]
        for operation, value in (("read", claim.read_p99_us), ("write", claim.write_p99_us))
    )
    rate = Cell(
        formats.rate(claim.throughput_per_s),
        raw=str(claim.throughput_per_s),
        key=f"{name}.claimed.throughput_per_s",
    )
    cells = (Cell("claimed", word="claimed"), empty, empty, rate, *read, *write, empty, empty)
    return Row(Head(f"{words.label} {claim.version}", CLAIMED, name), cells, kind="claimed")
