"""Coverage on the page: how much of what was planned is there, and each gap with its cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from soakbed.records.gaps import Coverage, Gap
from soakbed.report import formats
from soakbed.report.contenders import Contender, Reported
from soakbed.report.figures import Shape, band
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table

__all__ = ["coverage_in_words", "gap_bands", "gaps_in_plots", "gaps_table"]

MOST_ROWS = 40


def coverage_in_words(held: Coverage | None) -> str:
    """One line for a contender's card; "" where a run has no record of it."""
    if held is None:
        return ""
    told = f"{_percent(held)} of the planned steady seconds are in the archive"
    if not held.gaps:
        return f"{told}, without a gap"
    return f"{told}; {len(held.gaps)} gap{'s' * (len(held.gaps) > 1)}"


def gaps_table(reported: Reported) -> Table | None:
    """Each gap of each steady phase; None where no run has a record of its coverage."""
    sections = []
    for entry in reported.contenders:
        if (held := _steady(entry)) is not None:
            rows = tuple(_row(entry, gap) for gap in held.gaps[:MOST_ROWS])
            left_out = len(held.gaps) - len(rows)
            more = f"; {left_out} further gaps are not shown" if left_out else ""
            note = (
                f"{_percent(held)}: {formats.count(held.held_s)} of "
                f"{formats.count(held.expected_s)} planned worker-seconds{more}"
            )
            sections.append(Section(rows, title=entry.label, note=note))
    if not sections:
        return None
    return Table(
        name="gaps",
        caption="Planned seconds of the steady phase of which the archive has no window, by worker "
        "of the load. The time is that since the steady phase began. A time in which no controller "
        "looked on is no gap: load goes by its plan, and its windows are fetched later.",
        corner="When",
        columns=tuple(Column(label) for label in ("lasted", "workers", "cause", "in words")),
        sections=tuple(sections),
    )


def gap_bands(entry: Contender, unit_s: float) -> Iterator[Shape]:
    """Gaps behind a plot over time: the whole height, darker than what else is there."""
    held = _steady(entry)
    for gap in held.gaps[:MOST_ROWS] if held else ():
        span = ((gap.from_s - entry.began_s) / unit_s, (gap.until_s - entry.began_s) / unit_s)
        yield band("muted", span, shade=0.35)


def gaps_in_plots(shown: Sequence[Contender]) -> str:
    """What a reader of a plot is told of them; "" where there is none."""
    held = [one for one in map(_steady, shown) if one and one.gaps]
    return " Grey: seconds of which a worker left no window." if held else ""


def _steady(entry: Contender) -> Coverage | None:
    held = entry.one.coverage
    return held.of("steady", "steady") if held else None


def _row(entry: Contender, gap: Gap) -> Row:
    since_s = gap.from_s - entry.began_s
    return Row(
        Head(formats.duration(max(0.0, since_s)), key=entry.key),
        (
            Cell(formats.duration(gap.seconds)),
            Cell(", ".join(map(str, gap.workers))),
            Cell(gap.cause.replace("_", " ")),
            Cell(gap.told, word="prose"),
        ),
    )


def _percent(held: Coverage) -> str:
    """Never 100 where anything is missing.

    >>> whole = Coverage(session="s", phase="p", began_s=0, expected_s=10**6, held_s=10**6)
    >>> _percent(whole), _percent(whole.model_copy(update={"held_s": 10**6 - 1}))
    ('100 %', '99.9999 %')
    """
    digits = 2 if held.percent < 99.99 else 4
    return f"{held.percent:.{digits}f}".rstrip("0").rstrip(".") + " %"
