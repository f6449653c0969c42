"""Records of one run or of several -> one HTML file that opens from disk.

Everything on the page is composed here as data; templates only print it. The comparison comes
from outside (`stages.compare`): the page shows differences, it makes none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from soakbed.archive.run_folder import write_whole
from soakbed.records.claims import Claims
from soakbed.records.comparison import Comparison
from soakbed.records.metrics import METRICS, Metric
from soakbed.report.cards import Card, Note, Promise, cards, caveats, promises
from soakbed.report.contenders import Contender, Reported, reported
from soakbed.report.cost import costs_table
from soakbed.report.coverage import gaps_table
from soakbed.report.differences import (
    differences,
    in_short,
    manifest,
    repeats,
    settled,
    settled_words,
)
from soakbed.report.figures import Plot
from soakbed.report.identity import Fact, identity, lede, repeat, runs_table, title
from soakbed.report.knee import Knees, knees
from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.plots import beside, curves, forests
from soakbed.report.printing import printed
from soakbed.report.reading import load_claims, read_run
from soakbed.report.resources import host_plots, per_host, per_operation
from soakbed.report.tables import Table, glance
from soakbed.report.tables_detail import errors, hosts, instrument, offered, percentiles
from soakbed.report.tables_marks import events, marked
from soakbed.report.throttling import throttling_table
from soakbed.report.timelines import Clock, achieved, capacity, over_time
from soakbed.report.violation_page import write_violations

__all__ = ["Page", "compose", "render", "write_report"]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page, ready to print, in the order of the page."""

    title: str
    lede: str
    runs: int
    identity: tuple[Fact, ...]
    runs_table: Table | None
    cards: tuple[Card, ...]
    in_short: tuple[str, ...]
    contenders: tuple[Contender, ...]
    glance: Table
    claims: Claims | None
    promises: tuple[Promise, ...]
    forests: tuple[Plot, ...]
    differences: Table | None
    repeats: Table | None
    knee: Knees | None
    curves: tuple[Plot, ...]
    over_time: tuple[Plot, ...]
    events: Table | None
    gaps: Table | None
    settled: Table | None
    settled_words: str
    achieved: Plot
    offered: Table
    beside: tuple[Plot, ...]
    percentiles: Table
    host_plots: tuple[Plot, ...]
    per_operation: Table
    costs: Table | None
    per_host: Table
    throttling: Table | None
    errors: Table
    instrument: Table
    marked: Table
    hosts: Table
    caveats: tuple[Note, ...]
    unlike: Table | None
    alike: Table | None
    repeat: tuple[Fact, ...]
    metrics: ClassVar[tuple[Metric, ...]] = METRICS


def write_report(
    run_folder: Path, *, comparison: Comparison | None = None, claims: Claims | None = None
) -> Path:
    """Write `report/index.html` and `report/numbers.csv` of a judged run; the page's path. Beside
    them `violation-<target>.html` for each target that something was found against.

    `claims` are published figures to show beside ours; None shows those that come with soakbed.
    Raises ArchiveError when a record is missing.
    """
    shown = reported(
        [read_run(run_folder)],
        comparison=comparison,
        claims=claims if claims is not None else load_claims(),
    )
    page = run_folder / "report" / "index.html"
    write_whole(page, render(compose(shown)))
    write_whole(run_folder / "report" / "numbers.csv", numbers_csv(shown))
    write_violations(page.parent, shown)
    return page


def compose(shown: Reported) -> Page:
    """One run, or several, as a page."""
    clock = Clock.of(shown)
    return Page(
        title=title(shown),
        lede=lede(shown),
        runs=len(shown.runs),
        identity=tuple(identity(shown.runs[0])),
        runs_table=runs_table(shown),
        cards=tuple(cards(shown)),
        in_short=in_short(shown.comparison),
        contenders=shown.contenders,
        glance=glance(shown),
        claims=shown.claims,
        promises=tuple(promises(shown)),
        forests=tuple(forests(shown.comparison)),
        differences=differences(shown),
        repeats=repeats(shown),
        knee=knees(shown),
        curves=tuple(curves(shown)),
        over_time=(*over_time(shown, clock), capacity(shown)),
        events=events(shown),
        gaps=gaps_table(shown),
        settled=settled(shown),
        settled_words=settled_words(shown.comparison),
        achieved=achieved(shown, clock),
        offered=offered(shown),
        beside=tuple(beside(shown)),
        percentiles=percentiles(shown),
        errors=errors(shown),
        instrument=instrument(shown),
        marked=marked(shown),
        hosts=hosts(shown),
        caveats=tuple(caveats(shown)),
        **_took(shown, clock),
        **_asked(shown),
        repeat=tuple(repeat(shown)),
    )


def _took(shown: Reported, clock: Clock) -> dict[str, Any]:
    """What it took of the hosts, and what those cost."""
    return {
        "host_plots": tuple(host_plots(shown, clock)),
        "per_operation": per_operation(shown),
        "costs": costs_table(shown),
        "per_host": per_host(shown),
        "throttling": throttling_table(shown),
    }


def _asked(shown: Reported) -> dict[str, Any]:
    """What was asked of the runs: what differs, and what does not."""
    return dict(zip(("unlike", "alike"), manifest(shown), strict=True))


def render(page: Page, *, script: str | None = None) -> str:
    """The page as HTML. `script` stands in for plotly's own where a test wants a short file."""
    return printed("page.html.j2", page, page.contenders, script=script)
