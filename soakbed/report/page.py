"""Records of a run -> one HTML file that opens from disk, and the same numbers as CSV.

Everything on the page is composed here as data; templates only print it. `compose` takes one run;
a comparison of several will compose the same parts from several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from soakbed.archive.run_folder import write_whole
from soakbed.records.claims import Claims
from soakbed.records.metrics import METRICS, Metric
from soakbed.records.summary import UnmeasuredTarget
from soakbed.records.verdict import Finding, Verdict
from soakbed.report.identity import Fact, identity, lede, repeat, title
from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.plots import Plot, curves, over_time
from soakbed.report.reading import ReportedRun, load_claims, read_run
from soakbed.report.tables import Table, glance
from soakbed.report.tables_detail import errors, hosts, instrument, percentiles
from soakbed.report.tables_marks import marked
from soakbed.report.words import TARGET_WORDS, TargetWords, promise

__all__ = ["Page", "compose", "render", "write_report"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is what it is, and what to do about it."""

    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TargetCard:
    """One target among the verdicts: judged, or why it was not measured."""

    name: str
    words: TargetWords
    version: str
    word: str
    reasons: tuple[Reason, ...]
    findings: tuple[Finding, ...]
    promise: str
    settings: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A caveat: whom it concerns, in a word what, and the sentence."""

    about: str
    subject: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page, ready to print."""

    title: str
    lede: str
    identity: tuple[Fact, ...]
    targets: tuple[TargetCard, ...]
    glance: Table
    claims: Claims | None
    curves: tuple[Plot, ...]
    over_time: tuple[Plot, ...]
    percentiles: Table
    errors: Table
    instrument: Table
    marked: Table
    hosts: Table
    caveats: tuple[Note, ...]
    repeat: tuple[Fact, ...]
    metrics: tuple[Metric, ...]


def write_report(run_folder: Path, *, claims: Claims | None = None) -> Path:
    """Write `report/index.html` and `report/numbers.csv` of a judged run; the page's path.

    `claims` are published figures to show beside ours; None shows those that come with soakbed.
    Raises ArchiveError when a record is missing.
    """
    run = read_run(run_folder)
    page = run_folder / "report" / "index.html"
    write_whole(page, render(compose(run, claims if claims is not None else load_claims())))
    write_whole(run_folder / "report" / "numbers.csv", numbers_csv(run))
    return page


def compose(run: ReportedRun, claims: Claims | None) -> Page:
    """One run as a page."""
    return Page(
        title=title(run),
        lede=lede(run),
        identity=tuple(identity(run)),
        targets=tuple(_cards(run)),
        glance=glance(run, claims),
        claims=claims,
        curves=tuple(curves(run)),
        over_time=tuple(over_time(run)),
        percentiles=percentiles(run),
        errors=errors(run),
        instrument=instrument(run),
        marked=marked(run),
        hosts=hosts(run),
        caveats=tuple(_caveats(run)),
        repeat=tuple(repeat(run)),
        metrics=METRICS,
    )


def render(page: Page, *, script: str | None = None) -> str:
    """The page as HTML. `script` stands in for plotly's own where a test wants a short file."""
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
    template = environment.get_template("page.html.j2")
    return template.render(page=page, plotly=library, colours=_colours(page)) + "\n"


def _colours(page: Page) -> Mapping[str, TargetWords]:
    return {card.name: card.words for card in page.targets}


def _cards(run: ReportedRun) -> list[TargetCard]:
    measured = {one.name: one for one in run.measured}
    made = []
    for name, held in run.summary.targets.items():
        plain: dict[str, Any] = {
            "name": name,
            "words": TARGET_WORDS[name],
            "promise": promise(name, run.spec),
        }
        if isinstance(held, UnmeasuredTarget):
            remedy = f"Remedy: {held.remedy}" if held.remedy else ""
            plain |= {"version": "", "word": "not_measured", "findings": (), "settings": ()}
            made.append(TargetCard(**plain, reasons=(Reason(held.reason, remedy),)))
            continue
        one = measured[name]
        made.append(
            TargetCard(
                **plain,
                version=held.version,
                word=held.verdict,
                reasons=tuple(_reasons(one.verdict)),
                findings=one.verdict.findings,
                settings=tuple(_settings(one.ready.effective)),
            )
        )
    return made


def _reasons(verdict: Verdict) -> list[Reason]:
    """Findings against the run, each with its remedy; or that all is well."""
    against = [one for one in verdict.findings if one.verdict in ("invalid", "incomplete")]
    if against:
        return [Reason(one.sentence, one.remedy) for one in against]
    return [Reason(sentence) for sentence in verdict.reasons]


def _settings(effective: Mapping[str, Mapping[str, str]]) -> list[Fact]:
    """Settings read back from the members; where members differ, each value with its members.

    Members of another kind (of PD, beside TiKV) that none has the setting are not asked for it.
    """
    keys = sorted({key for held in effective.values() for key in held})
    made = []
    for key in keys:
        by_value: dict[str, list[str]] = {}
        kinds = {_kind_of(member) for member, held in effective.items() if key in held}
        for member in sorted(one for one in effective if _kind_of(one) in kinds):
            by_value.setdefault(effective[member].get(key, "not set"), []).append(member)
        if len(by_value) == 1:
            made.append(Fact(key, next(iter(by_value))))
        else:
            told = "; ".join(f"{value} ({', '.join(held)})" for value, held in by_value.items())
            made.append(Fact(key, told))
    return made


def _kind_of(member: str) -> str:
    """Which program a member runs, where a target has several: "d1-pd" and "d1-tikv"."""
    return next((kind for kind in ("pd", "tikv") if member.endswith(f"-{kind}")), "")


def _caveats(run: ReportedRun) -> list[Note]:
    """Caveats of all targets; one that they share is told once."""
    about: dict[tuple[str, str], list[str]] = {}
    for one in run.measured:
        for caveat in one.verdict.caveats:
            label = TARGET_WORDS[one.name].label
            about.setdefault((caveat.subject, caveat.sentence), []).append(label)
    notes = [
        Note("every target" if len(who) == len(run.measured) > 1 else ", ".join(who), *told)
        for told, who in about.items()
    ]
    notes.append(
        Note(
            "every target",
            "one run",
            "Each target was measured once. Intervals speak of this run alone; how much another "
            "run would differ is not known from it.",
        )
    )
    return notes
