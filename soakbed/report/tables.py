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
    word: str = ""  # a class for the page's style


@dataclass(frozen=True, slots=True)
class Column:
    """One column; neighbours of one `group` share a heading above them."""

    label: str
    group: str = ""
    group_note: str = ""
    unit: str = ""
    meaning: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a row."""

    text: str
    sub: str = ""
    target: str = ""
    meaning: str = ""
    word: str = ""  # a verdict, shown as a badge


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


_STEPS = (("p50", "P50"), ("p99", "P99"), ("p99_9", "P99.9"))
_KINDS = ("response", "service")


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
        caption="Capacity: closed loop. All else: open loop, steady phase; latencies of ok "
        "operations in milliseconds, “–” where the sample is too small for the percentile. ≥ reads "
        "at least: the load generator, not the target, was the limit. The targets do not promise "
        "the same (see each row), so a smaller figure in a column is not by itself a better "
        "target.",
        corner="Target and its promise",
        columns=tuple(_columns()),
        sections=(Section(tuple(rows)),),
    )


def _columns() -> Iterable[Column]:
    closed = "Closed loop, ops/s, higher is better"
    loop = "Open loop, ops/s, achieved: higher is better"
    yield _column("capacity_per_s", closed, MODES["closed"])
    yield _column("offered_per_s", loop, MODES["open"])
    yield _column("throughput_per_s", loop, MODES["open"], label="Achieved")
    for label in OPERATIONS.values():
        for kind in _KINDS:
            group = f"{label} {kind}, open loop, ms, lower is better"
            for step, text in _STEPS:
                yield _column(f"{kind}_{step}_us", group, MODES["open"], label=text)
    for key in ("failed", "unknown"):
        yield _column(key, "Errors, open loop, should be zero", MODES["open"])


def _column(key: str, group: str, group_note: str, *, label: str = "") -> Column:
    known = metric(key)
    return Column(
        label=label or known.label,
        group=group,
        group_note=group_note,
        meaning=f"{known.meaning} ({known.direction})",
    )


def _measured(one: MeasuredRun) -> Row:
    words, held = TARGET_WORDS[one.name], one.summary
    least = held.capacity_is_at_least
    cells = [
        Cell(
            f"{'≥ ' if least else ''}{formats.rate(held.capacity_per_s)}",
            raw=str(held.capacity_per_s),
            key=f"{one.name}.capacity_per_s",
            note="at least" if least else "",
        ),
        _rate(one.name, "offered_per_s", held.offered_per_s),
        _rate(one.name, "throughput_per_s", held.throughput_per_s),
    ]
    for operation in OPERATIONS:
        summary: OperationSummary = getattr(held, operation)
        cells += [
            _latency(f"{one.name}.{operation}", f"{kind}_{step}_us", summary)
            for kind in _KINDS
            for step, _ in _STEPS
        ]
    for key in ("failed", "unknown"):
        total = getattr(held.read, key) + getattr(held.write, key)
        cells.append(Cell(formats.count(total), raw=str(total), key=f"{one.name}.{key}"))
    name = f"{words.label} {held.version}{' (substituted)' if held.substituted else ''}"
    return Row(Head(name, words.short_promise, one.name, word=held.verdict), tuple(cells))


def _rate(target: str, key: str, value: float) -> Cell:
    return Cell(formats.rate(value), raw=str(value), key=f"{target}.{key}")


def _latency(stem: str, key: str, summary: OperationSummary) -> Cell:
    value: int | None = getattr(summary, key)
    if value is None:
        return Cell("–", key=f"{stem}.{key}", word="empty")
    return Cell(formats.ms(value), raw=str(value), key=f"{stem}.{key}")


def _absent(name: str, held: UnmeasuredTarget) -> Row:
    words = TARGET_WORDS[name]
    remedy = f"Remedy: {held.remedy}" if held.remedy else ""
    reason = Cell(
        held.reason,
        raw=held.reason,
        key=f"{name}.reason",
        note=remedy,
        span=len(tuple(_columns())),
        word="reason",
    )
    head = Head(words.label, words.short_promise, name, word="not_measured")
    return Row(head, (reason,), kind="absent")


def _claimed(name: str, claim: Claim) -> Row:
    """What was claimed: throughput, and a P99 that does not say which time it means."""
    empty = Cell("", word="empty")
    width = len(_STEPS)
    rate = Cell(
        formats.rate(claim.throughput_per_s),
        raw=str(claim.throughput_per_s),
        key=f"{name}.claimed.throughput_per_s",
    )
    cells = [empty, empty, rate]
    for operation, value in (("read", claim.read_p99_us), ("write", claim.write_p99_us)):
        key = f"{name}.claimed.{operation}_p99_us"
        told = Cell(formats.ms(value), raw=str(value), key=key)
        cells += [empty, told, empty, *(empty,) * width]
    cells += [empty, empty]
    head = Head(f"{TARGET_WORDS[name].label} {claim.version}", CLAIMED, name)
    return Row(head, tuple(cells), kind="claimed")
