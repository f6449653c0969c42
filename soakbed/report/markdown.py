"""The page as Markdown, for a pull request or a chat: the same tables, without the plots."""

from __future__ import annotations

import re
from collections.abc import Iterator

from soakbed.report.page import Page
from soakbed.report.tables import Cell, Table
from soakbed.report.words import CONSEQUENCES, DIFFERENCES, KEPT, VERDICTS

__all__ = ["markdown", "plain", "table_lines"]

_WORDS = DIFFERENCES | CONSEQUENCES | VERDICTS | KEPT


def markdown(page: Page) -> str:
    """Identity, verdicts, headline, differences, detail, caveats, how to repeat: in that order."""
    return "\n".join(_lines(page)) + "\n"


def _lines(page: Page) -> Iterator[str]:
    yield from (f"# {plain(page.title)}", "", plain(page.lede), "")
    if page.runs_table is None:
        for fact in page.identity:
            note = f" ({plain(fact.note)})" if fact.note else ""
            yield f"- **{plain(fact.name)}**: {plain(fact.value)}{note}"
        yield ""
    else:
        yield from table_lines(page.runs_table)
    yield from ("## Was the measurement sound?", "")
    for card in page.cards:
        told = "; ".join(f"{why.sentence} {why.remedy}".strip() for why in card.reasons)
        yield f"- **{plain(card.label)}**: {card.word.replace('_', ' ')}. {plain(told)}"
        if card.kept is not None:
            word = KEPT[card.kept.verdict]
            yield f"  Consistency: {word}. {plain(card.kept.sentence)}"
    yield ""
    yield from (f"- {plain(told)}" for told in page.in_short)
    yield ""
    for heading, held in _tables(page):
        if held is not None:
            yield from (f"## {heading}", "")
            yield from table_lines(held)
    yield from ("## What limits the meaning", "")
    for one in page.caveats:
        yield f"- **{plain(one.subject)}** ({plain(one.about)}): {plain(one.sentence)}"
    yield from ("", "## How to repeat it", "")
    for fact in page.repeat:
        yield from (f"{plain(fact.name)}, {plain(fact.note)}:", "", f"    {fact.value}", "")


def _tables(page: Page) -> Iterator[tuple[str, Table | None]]:
    yield "At a glance", page.glance
    yield "Differences", page.differences
    yield "Repeats", page.repeats
    yield (
        "The knee: the highest rate that kept the objective",
        page.knee.table if page.knee else None,
    )
    yield "Steady state and drift", page.settled
    yield "Events", page.events
    yield "Offered against achieved", page.offered
    yield "Response beside service", page.percentiles
    yield "Per operation", page.per_operation
    yield "What the hosts cost", page.costs
    yield "Per host", page.per_host
    yield "What hosts did not get", page.throttling
    yield "What failed, and why", page.errors
    yield "What is not alike", page.unlike


def table_lines(held: Table) -> Iterator[str]:
    """A table of a page, with its caption below it."""
    yield _row([held.corner, *(_heading(held, i) for i in range(len(held.columns)))])
    yield _row(["---"] * (len(held.columns) + 1))
    for section in held.sections:
        if section.title:
            note = f" ({section.note})" if section.note else ""
            yield _row([f"**{plain(section.title)}**{plain(note)}", *[""] * len(held.columns)])
        for row in section.rows:
            sub = f" ({plain(row.head.sub)})" if row.head.sub else ""
            word = f" [{row.head.word.replace('_', ' ')}]" if row.head.word else ""
            cells = [text for cell in row.cells for text in _cell(cell)]
            yield _row([f"{plain(row.head.text)}{word}{sub}", *cells])
    yield from ("", plain(held.caption), "")


def _heading(held: Table, index: int) -> str:
    column = held.columns[index]
    parts = (column.group.split(",")[0], column.label, f"({column.unit})" if column.unit else "")
    return plain(" ".join(part for part in parts if part))


def _cell(cell: Cell) -> list[str]:
    word = _WORDS.get(cell.badge, cell.badge.replace("_", " ")) if cell.badge else ""
    text = " ".join(part for part in (word, cell.text) if part)
    note = f" ({cell.note})" if cell.note else ""
    return [plain(f"{text}{note}"), *[""] * (cell.span - 1)]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """Text from outside cannot become a table, a heading or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))
