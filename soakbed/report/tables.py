"""The tables of the page as data. Each cell knows its raw value and its metric, so that templates
only print and tests can compare; labels, units and meanings come from `records.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from soakbed.records.claims import Claim
from soakbed.records.metrics import metric
from soakbed.records.numbers import Latency
from soakbed.report import formats
from soakbed.report.consistency import consistency_of, page_of
from soakbed.report.contenders import Absent, Contender, Reported
from soakbed.report.words import MODES, OPERATIONS, TARGET_WORDS

__all__ = [
    "Cell",
    "Column",
    "Head",
    "Row",
    "Section",
    "Table",
    "columns_of",
    "glance",
    "latency_cell",
    "printed_us",
]

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
    badge: str = ""  # a word of a verdict or difference, shown before the text
    href: str = ""  # where its badge leads


@dataclass(frozen=True, slots=True)
class Column:
    """One column; neighbours of one `group` share a heading above them."""

    label: str
    group: str = ""
    group_note: str = ""
    unit: str = ""
    meaning: str = ""
    key: str = ""  # of the contender whose colour it takes


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a row."""

    text: str
    sub: str = ""
    key: str = ""  # of the contender whose colour it takes
    meaning: str = ""
    word: str = ""  # a verdict, shown as a badge
    href: str = ""  # of another page, beside this one


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `kind` (measured, claimed, absent, or a word of a difference) is its style."""

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
_WIDTH = 3 + len(OPERATIONS) * len(_STEPS) + 3


def columns_of(reported: Reported) -> tuple[Column, ...]:
    """A column per contender, for tables that are read downwards."""
    return tuple(
        Column(label=one.label, meaning=one.words.short_promise, key=one.key)
        for one in reported.contenders
    )


def printed_us(latency: Latency, kind: str, step: str) -> int | None:
    """A percentile as far as its sample carries it: the metric says how many values it needs."""
    value: int | None = getattr(latency, f"{step}_us")
    return value if metric(f"{kind}_{step}_us").carried_by(latency.count) else None


def latency_cell(latency: Latency, kind: str, step: str, *, stem: str) -> Cell:
    """One percentile with its raw value; under the P99 of the response time its interval."""
    key = f"{stem}.{kind}_{step}_us"
    value = printed_us(latency, kind, step)
    if value is None:
        return Cell("–", key=key, word="empty")
    note = ""
    if kind == "response" and step == "p99" and latency.p99_interval:
        note = formats.interval_ms(latency.p99_interval.low_us, latency.p99_interval.high_us)
    return Cell(formats.ms(value), raw=str(value), key=key, note=note)


def glance(reported: Reported) -> Table:
    """The headline: one row per contender, and what was claimed of its target elsewhere."""
    rows: list[Row] = []
    claims = reported.claims.targets if reported.claims else {}
    alone = len(reported.runs) == 1
    for entry in reported.entries:
        rows.append(_absent(entry) if isinstance(entry, Absent) else _measured(entry))
        target = entry.target if isinstance(entry, Absent) else entry.one.name
        if alone and target in claims:
            rows.append(_claimed(target, claims[target]))
    sections = [Section(tuple(rows))]
    if not alone:
        shown = dict.fromkeys(one.one.name for one in reported.contenders)
        told = tuple(_claimed(name, claims[name]) for name in shown if name in claims)
        sections += [Section(told, title="Claimed elsewhere")] if told else []
    return Table(
        name="glance",
        caption="Capacity: closed loop. All else: open loop, steady phase; response times of ok "
        "operations in milliseconds, under each P99 its 99 % interval within the run; “–” where "
        "the sample is too small for the percentile. ≥ reads at least: the load generator, not "
        "the target, was the limit. The targets do not promise the same (see each row), so a "
        "smaller figure in a column is not by itself a better target.",
        corner="Target and its promise",
        columns=tuple(_columns()),
        sections=tuple(sections),
    )


def _columns() -> Iterable[Column]:
    closed = "Closed loop, ops/s, higher is better"
    loop = "Open loop, ops/s, achieved: higher is better"
    yield _column("capacity_per_s", closed, MODES["closed"])
    yield _column("offered_per_s", loop, MODES["open"])
    yield _column("throughput_per_s", loop, MODES["open"], label="Achieved")
    for label in OPERATIONS.values():
        group = f"{label} response time, open loop, ms, lower is better"
        for step, text in _STEPS:
            yield _column(f"response_{step}_us", group, MODES["open"], label=text)
    yield _column("violations", "Did it keep its word? Should be ok", "", label="Consistency")
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


def _measured(entry: Contender) -> Row:
    held, stem = entry.one.summary, entry.stem
    least = held.capacity_is_at_least
    cells = [
        Cell(
            f"{'≥ ' if least else ''}{formats.rate(held.capacity_per_s)}",
            raw=str(held.capacity_per_s),
            key=f"{stem}.capacity_per_s",
            note="at least" if least else "",
        ),
        _rate(stem, "offered_per_s", held.offered_per_s),
        _rate(stem, "throughput_per_s", held.throughput_per_s),
    ]
    steady = entry.one.steady
    for operation in OPERATIONS:
        found = steady.operations.get(operation) if steady else None
        cells += [
            latency_cell(found.response, "response", step, stem=f"{stem}.{operation}")
            if found
            else Cell("–", key=f"{stem}.{operation}.response_{step}_us", word="empty")
            for step, _ in _STEPS
        ]
    cells.append(_kept(entry))
    for key in ("failed", "unknown"):
        total = getattr(held.read, key) + getattr(held.write, key)
        cells.append(Cell(formats.count(total), raw=str(total), key=f"{stem}.{key}"))
    name = f"{entry.label}{' (substituted)' if held.substituted else ''}"
    head = Head(name, entry.words.short_promise, entry.key, word=held.verdict)
    return Row(head, tuple(cells))


def _kept(entry: Contender) -> Cell:
    """Its word beside its latency: the verdict, on how much it rests, and the level that holds."""
    held = consistency_of(entry)
    recorded = held.recorded
    rests = [held.level] if held.level else []
    if recorded.operations:
        operations, keys = formats.count(recorded.operations), formats.count(recorded.keys)
        rests.append(f"{operations} operations on {keys} keys")
    return Cell(
        "",
        raw=str(sum(one.violations for one in held.violations)),
        key=f"{entry.stem}.violations",
        note=", ".join(rests) or held.sentence,
        word="kept",
        badge=held.verdict,
        href=page_of(entry),
    )


def _rate(stem: str, key: str, value: float) -> Cell:
    return Cell(formats.rate(value), raw=str(value), key=f"{stem}.{key}")


def _absent(entry: Absent) -> Row:
    remedy = f"Remedy: {entry.held.remedy}" if entry.held.remedy else ""
    reason = Cell(
        entry.held.reason,
        raw=entry.held.reason,
        key=f"{entry.stem}.reason",
        note=remedy,
        span=_WIDTH,
        word="reason",
    )
    head = Head(entry.label, entry.words.short_promise, word="not_measured")
    return Row(head, (reason,), kind="absent")


def _claimed(name: str, claim: Claim) -> Row:
    """What was claimed: throughput, and a P99 that does not say which time it means."""
    empty = Cell("", word="empty")
    rate = Cell(
        formats.rate(claim.throughput_per_s),
        raw=str(claim.throughput_per_s),
        key=f"{name}.claimed.throughput_per_s",
    )
    cells = [empty, empty, rate]
    for operation, value in (("read", claim.read_p99_us), ("write", claim.write_p99_us)):
        key = f"{name}.claimed.{operation}_p99_us"
        cells += [empty, Cell(formats.ms(value), raw=str(value), key=key), empty]
    cells += [empty, empty, empty]
    head = Head(f"{TARGET_WORDS[name].label} {claim.version}", CLAIMED)
    return Row(head, tuple(cells), kind="claimed")
