"""Whether a contender kept its word, for tables and cards; its own page is `violation_page`."""

from __future__ import annotations

from soakbed.records.consistency import Consistency
from soakbed.report.contenders import Contender

__all__ = ["consistency_of", "page_name", "page_of"]


def consistency_of(entry: Contender) -> Consistency:
    """What was found; of a run that was judged before anybody asked, that nobody knows."""
    return entry.one.kept or Consistency.not_recorded(entry.one.name)


def page_name(target: str) -> str:
    """The file beside the report of its run."""
    return f"violation-{target}.html"


def page_of(entry: Contender) -> str:
    """Where its violations are shown, beside the page of its run; "" where there are none.

    A page of several runs may lie anywhere, so it names no file of theirs.
    """
    shown = any(one.witnesses for one in consistency_of(entry).violations)
    return page_name(entry.one.name) if shown and not entry.tag else ""
