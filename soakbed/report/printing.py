"""A page as HTML: its template, the colours and marks of who is on it, and the drawing library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from soakbed.report.words import CONSEQUENCES, DIFFERENCES, KEPT, MARK_PATHS, VERDICTS, Ink

__all__ = ["Inked", "printed"]


class Inked(Protocol):
    """What has a colour and a mark on a page: a contender, or a target of a campaign."""

    @property
    def key(self) -> str:
        """Its name in HTML ids and classes."""

    @property
    def ink(self) -> Ink:
        """Its colour."""

    @property
    def symbol(self) -> str:
        """Its mark, by plotly's name."""


def printed(
    template: str, page: object, contenders: Sequence[Inked], *, script: str | None = None
) -> str:
    """A page by its template, with a colour and a mark for each of `contenders`."""
    environment = Environment(
        loader=PackageLoader("soakbed.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Both are ours, not the user's; a figure's "<" is escaped so that no tag ends the script.
    environment.filters["figure"] = lambda text: Markup(text.replace("<", "\\u003c"))
    library = Markup(get_plotlyjs() if script is None else script)
    # Page-wide words, so that macros need no argument for them.
    environment.globals["by_key"] = {one.key: one for one in contenders}
    environment.globals["mark_paths"] = MARK_PATHS
    environment.globals["words_of"] = {**CONSEQUENCES, **DIFFERENCES, **VERDICTS, **KEPT}
    return environment.get_template(template).render(page=page, plotly=library) + "\n"
