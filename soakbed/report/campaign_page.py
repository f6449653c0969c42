"""A campaign as one page that opens from disk, and the same as Markdown.

Everything is composed here as data; the template only prints it. Tables, plots and style are those
of the page of a run.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from soakbed.records.campaign_report import CampaignReport, CellResult, Effect
from soakbed.records.metrics import Metric, metric
from soakbed.records.summary import MeasuredTarget
from soakbed.report import formats
from soakbed.report.campaign_plots import EffectPlots, ShownTarget, effect_plots, shown_targets
from soakbed.report.campaign_tables import cells_table, effects_table, factors_table
from soakbed.report.campaign_text import cost_text
from soakbed.report.identity import Fact
from soakbed.report.markdown import plain, table_lines
from soakbed.report.printing import printed
from soakbed.report.tables import Table
from soakbed.report.words import TARGET_WORDS

__all__ = ["CampaignPage", "campaign_markdown", "campaign_page", "compose_campaign"]

_METRICS = ("capacity_per_s", "response_p50_us", "response_p99_us")
RUNS = "../.."  # from results/campaigns/<id>/ to the run folders


@dataclass(frozen=True, slots=True)
class Gap:
    """What is not in the effects: which cell and target, in a word, and why."""

    subject: str
    about: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class CampaignPage:
    """Everything on the page, ready to print, in the order of the page."""

    title: str
    lede: str
    identity: tuple[Fact, ...]
    in_short: tuple[str, ...]
    contenders: tuple[ShownTarget, ...]
    design: tuple[Fact, ...]
    hidden: tuple[str, ...]
    factors: Table
    effect_plots: tuple[EffectPlots, ...]
    effects: Table | None
    cells: Table
    gaps: tuple[Gap, ...]
    repeat: tuple[Fact, ...]
    metrics: tuple[Metric, ...]


def campaign_page(report: CampaignReport, *, runs: str = RUNS, script: str | None = None) -> str:
    """The page as HTML. `runs` leads from it to the run folders, `script` is as for `render`."""
    page = compose_campaign(report, runs=runs)
    return printed("campaign.html.j2", page, page.contenders, script=script)


def compose_campaign(report: CampaignReport, *, runs: str = RUNS) -> CampaignPage:
    """A campaign as a page."""
    plan = report.campaign.plan
    return CampaignPage(
        title=_title(report),
        lede=_lede(report),
        identity=tuple(_identity(report)),
        in_short=tuple(_in_short(report)),
        contenders=shown_targets(report),
        design=(
            Fact("Design", plan.sentence),
            Fact("Order", plan.order),
            *_offered(report),
            *(Fact("Note", note) for note in plan.notes),
        ),
        hidden=tuple(one.sentence for one in plan.hidden),
        factors=factors_table(report),
        effect_plots=effect_plots(report),
        effects=effects_table(report),
        cells=cells_table(report, runs=runs),
        gaps=tuple(_gaps(report)),
        repeat=tuple(_repeat(report)),
        metrics=tuple(metric(key) for key in _METRICS),
    )


def _offered(report: CampaignReport) -> Iterator[Fact]:
    """Response times are those at each cell's own rate; how far these lie apart."""
    told = []
    for target in report.campaign.spec.targets:
        rates = [held.offered_per_s for one in report.cells if (held := one.measured(target))]
        if rates:
            low, high = formats.rate(min(rates)), formats.rate(max(rates))
            span = low if low == high else f"{low} to {high}"
            told.append(f"{TARGET_WORDS[target].label} {span}/s")
    if told:
        yield Fact(
            "Offered",
            f"In the steady phase, over the cells: {', '.join(told)}. Response times are those at "
            "each cell's own rate.",
        )


def _title(report: CampaignReport) -> str:
    names = [TARGET_WORDS[target].label for target in report.campaign.spec.targets]
    together = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{together} over {len(report.cells)} cells"


def _lede(report: CampaignReport) -> str:
    spec = report.campaign.spec
    *most, last = report.factors
    factors = f"{', '.join(most)} and {last}" if most else last
    design = report.campaign.plan.design
    design = design if design == "full factorial" else f"orthogonal array {design}"
    repeats = f", {spec.repeats} times each" if spec.repeats > 1 else ""
    return (
        f"What {factors} do to each target. Design: {design}{repeats}. Targets ran "
        "one after another, each alone on the hosts, wiped in between; mutual TLS on every "
        "connection."
    )


def _identity(report: CampaignReport) -> Iterator[Fact]:
    campaign = report.campaign
    states = [one.state.settled for one in report.cells]
    attempts = [held for one in report.cells for held in one.state.attempts]
    counted = sum(one.counts(target) for one in report.cells for target in one.cell.targets)
    yield Fact("Campaign", campaign.campaign_id)
    ended = max((one.ended_s for one in attempts), default=0.0)
    taken = sum(one.seconds for one in report.cells)
    yield Fact(
        "Began",
        formats.when(campaign.created_s),
        f"last cell ended {formats.when(ended)}" if ended else "no cell has ended",
    )
    left = f", {states.count('left')} left" if "left" in states else ""
    yield Fact(
        "Cells",
        f"{states.count('done')} of {len(states)} done{left}",
        f"{states.count('failed')} failed; {counted} of "
        f"{len(states) * len(campaign.spec.targets)} measurements count",
    )
    planned = formats.duration(campaign.plan.seconds)
    yield Fact("Time", formats.duration(taken), f"in cells; planned {planned} with pauses")
    yield Fact("Cost, as planned", cost_text(campaign.plan.cost), campaign.plan.cost.sentence)
    provider = campaign.testbed.provider
    together = ", all on one machine" if provider == "local" else ""
    yield Fact("Testbed", campaign.testbed.name, f"{provider} hosts{together}")
    yield Fact("Profile", ", ".join(campaign.spec.profiles))
    yield Fact("soakbed", f"commit {campaign.commit[:12]}" if campaign.commit else "not recorded")


def _in_short(report: CampaignReport) -> Iterator[str]:
    """The factor with the widest span, per target and figure; a figure, not yet a finding."""
    for target in report.campaign.spec.targets:
        for key, operation in (("capacity_per_s", ""), ("response_p99_us", "write")):
            asked = (target, key, operation)
            held = [
                one for one in report.effects if (one.target, one.metric, one.operation) == asked
            ]
            balanced = [one for one in held if one.span is not None]
            if balanced:
                yield _widest(max(balanced, key=lambda one: one.span or 0.0))
            elif held:
                yield (
                    f"{TARGET_WORDS[target].label}, {formats.metric_words(key, operation)}: no "
                    f"effect can be read; {_valid(report, target)} of {len(report.cells)} cells "
                    "are valid, and no repeat is whole."
                )


def _valid(report: CampaignReport, target: str) -> int:
    return sum(one.counts(target) for one in report.cells)


def _widest(effect: Effect) -> str:
    held = [one for one in effect.levels if one.value is not None]
    low = min(held, key=lambda one: one.value or 0.0)
    high = max(held, key=lambda one: one.value or 0.0)
    told = [formats.metric_value(effect.metric, one.value) for one in (low, high)]
    measured = any(one.interval for one in effect.levels)
    return (
        f"{TARGET_WORDS[effect.target].label}, "
        f"{formats.metric_words(effect.metric, effect.operation)}: {effect.factor} moves it most, "
        f"from {told[0]} at {low.level} to {told[1]} at {high.level} "
        f"({formats.ratio(effect.span)}{'' if measured else ', without an interval'})."
    )


def _gaps(report: CampaignReport) -> Iterator[Gap]:
    """Every target of every cell that counts in no effect, and why."""
    for one in report.cells:
        subject = f"{one.cell.key}: {one.cell.told()}"
        if one.state.settled == "failed":
            last = one.state.attempts[-1]
            yield Gap(subject, "failed twice", last.problem, last.remedy)
        elif one.state.settled == "left":
            yield Gap(subject, "not yet pressed", _left(one))
        for held in one.state.attempts:
            if held.outcome == "invalid":
                told = f"{held.run_id} was {held.problem}; the run after it stands in its place"
                yield Gap(subject, "pressed twice", told)
        yield from _uncounted(one, subject)


def _left(one: CellResult) -> str:
    if not one.state.attempts:
        return "its turn has not come"
    last = one.state.attempts[-1]
    return f"tried once: {last.problem}" if last.problem else f"begun as {last.run_id}"


def _uncounted(one: CellResult, subject: str) -> Iterator[Gap]:
    for target, held in one.targets.items():
        label = TARGET_WORDS[target].label
        if not isinstance(held, MeasuredTarget):
            yield Gap(subject, f"{label}: not measured", held.reason, held.remedy)
        elif held.broke_its_word and held.consistency is not None:
            told = held.consistency.sentence
            yield Gap(subject, f"{label}: did not keep its word, counts in no effect", told)
        elif held.verdict != "valid":
            told = "; ".join(held.reasons)
            yield Gap(subject, f"{label}: {held.verdict}, counts in no effect", told)


def _repeat(report: CampaignReport) -> Iterator[Fact]:
    campaign = report.campaign
    spec = campaign.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    text = yaml.safe_dump(spec, sort_keys=False, default_flow_style=None, allow_unicode=True)
    name = f"{campaign.spec.name}.yaml"
    yield Fact("The campaign's file", text.rstrip(), f"as {name}; defaults are written out")
    yield Fact("What was typed", campaign.command, "")
    words = ["soakbed", "campaign", "report", campaign.campaign_id]
    yield Fact("This page again, from the archive alone", shlex.join(words), "needs no hosts")


def campaign_markdown(report: CampaignReport) -> str:
    """The page as Markdown: the same tables, without the plots."""
    return "\n".join(_lines(compose_campaign(report))) + "\n"


def _lines(page: CampaignPage) -> Iterator[str]:
    yield from (f"# {plain(page.title)}", "", plain(page.lede), "")
    for fact in page.identity:
        note = f" ({plain(fact.note)})" if fact.note else ""
        yield f"- **{plain(fact.name)}**: {plain(fact.value)}{note}"
    yield from ("", *(f"- {plain(told)}" for told in page.in_short), "")
    yield from ("## What was asked", "")
    yield from (f"- **{plain(fact.name)}**: {plain(fact.value)}" for fact in page.design)
    yield from (f"- **Hidden**: {plain(told)}" for told in page.hidden)
    yield ""
    yield from table_lines(page.factors)
    if page.effects is not None:
        yield from ("## Main effects", "")
        yield from table_lines(page.effects)
    yield from ("## Every cell", "")
    yield from table_lines(page.cells)
    yield from ("## What was not measured, or does not count", "")
    for gap in page.gaps:
        remedy = f" {plain(gap.remedy)}" if gap.remedy else ""
        yield f"- **{plain(gap.subject)}** ({plain(gap.about)}): {plain(gap.sentence)}{remedy}"
    yield from (*([] if page.gaps else ["Nothing: every cell is valid on every target."]), "")
    yield from ("## How to repeat it", "")
    for fact in page.repeat:
        yield from (f"{plain(fact.name)}:", "")
        yield from (f"    {line}" for line in fact.value.splitlines())
        yield ""
