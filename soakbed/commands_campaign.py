"""What `soakbed campaign` does, in the words of its stages; `cli_campaign` only parses."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from rich.console import Console

from soakbed.archive.campaign_folder import CampaignFolder
from soakbed.archive.manifest import commit_of
from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.commands import Session
from soakbed.errors import BudgetSpent, InvalidRun, LoadError
from soakbed.pipeline import Bench, Stopwatch
from soakbed.records.campaign import Campaign, CampaignPlan, CampaignSpec, Cell, CellState
from soakbed.records.campaign_report import CampaignReport
from soakbed.records.cost import PlannedCost
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec
from soakbed.records.summary import MeasuredTarget, UnmeasuredTarget
from soakbed.records.testbed import Testbed
from soakbed.records.testbed_spec import HourPrice
from soakbed.report.campaign_csv import campaign_csv
from soakbed.report.campaign_page import campaign_markdown, campaign_page
from soakbed.report.campaign_text import plan_json, plan_text, status_json, status_text
from soakbed.stages.campaign_plan import plan_campaign
from soakbed.stages.campaign_results import campaign_report_of, results_of
from soakbed.stages.campaign_run import CellRunner
from soakbed.stages.campaign_times import overheads_of
from soakbed.stages.configure import wipe_target
from soakbed.stages.cost import mistakes_of_budget, require_budget, why_spent
from soakbed.stages.cost_plan import counted_hosts, plan_of_time, price_table
from soakbed.stages.hardware import require_hardware

__all__ = ["CampaignForm", "plan", "report", "run", "status"]

CampaignForm = Literal["html", "md", "csv", "json"]


def plan(
    spec: CampaignSpec, testbed: TestbedSpec, places: Places, console: Console, *, as_json: bool
) -> None:
    """Print what would be done; nothing is made."""
    made, results = _planned(spec, testbed, places), places.results
    if as_json:
        print(plan_json(spec, testbed, made), end="")
        return
    console.print(plan_text(spec, testbed, made, only=True))
    for mistake in mistakes_of_budget(_cost(spec, testbed, places, made), name=testbed.name):
        console.print(f"warning: {mistake}", style="yellow", markup=False, soft_wrap=True)
    if unfinished := CampaignFolder.unfinished(results, spec, testbed):
        done = sum(one.settled == "done" for one in unfinished.read().states)
        console.print(
            f"unfinished: {unfinished.campaign_id}, {done} of {len(made.cells)} cells done; run "
            "goes on with it",
            highlight=False,
        )


def _planned(spec: CampaignSpec, testbed: TestbedSpec, places: Places) -> CampaignPlan:
    return plan_campaign(
        spec,
        testbed,
        overheads=overheads_of(places.results, testbed, spec.targets),
        prices=price_table(places.infra, testbed.provider),
    )


def _cost(
    spec: CampaignSpec, testbed: TestbedSpec, places: Places, planned: CampaignPlan
) -> PlannedCost:
    load_s = sum(one.phases_s for one in planned.times)
    beside_s = planned.seconds - load_s
    return plan_of_time(testbed, places, load_s=load_s, beside_s=beside_s, instead=spec.hour_price)


def run(session: Session, spec: CampaignSpec, *, anew: bool, retry_failed: bool) -> None:
    """Press every cell that is left, write the page, and say what became of it.

    `anew`: begin another campaign although one of the same words is unfinished. `retry_failed`:
    cells that were given up are tried again.
    """
    folder = _folder(session, spec, anew=anew, retry_failed=retry_failed)
    with session.alone():
        runner = CellRunner(
            folder,
            press=_presser(session, spec.hour_price),
            wipe=lambda: _wipe(session),
            tell=session.display,
        )
        if retry_failed:
            runner.retry_failed()
        runner()
        with session.watch.stage("campaign report"):
            made = campaign_report_of(folder)
            write_whole(folder.page, campaign_page(made))
    _conclude(session.console, folder, made)


def _folder(
    session: Session, spec: CampaignSpec, *, anew: bool, retry_failed: bool
) -> CampaignFolder:
    """The campaign to go on with, or a new one."""
    results, testbed = session.places.results, session.spec
    found = None
    if not anew:
        found = CampaignFolder.unfinished(results, spec, testbed, or_failed=retry_failed)
    if found is not None:
        session.console.print(f"campaign {found.campaign_id}, resumed", highlight=False)
        return found
    require_hardware(testbed, spec.targets, session.places)
    planned = _planned(spec, testbed, session.places)
    session.console.print(plan_text(spec, testbed, planned, only=False))
    require_budget(_cost(spec, testbed, session.places, planned), name=testbed.name)

    def make(campaign_id: str) -> Campaign:
        return Campaign(
            campaign_id=campaign_id,
            created_s=round(time.time(), 3),
            command=" ".join(session.command),
            commit=str(commit_of(session.places.project)["commit"]),
            spec=spec,
            testbed=testbed,
            plan=planned,
            states=tuple(CellState(key=cell.key) for cell in planned.cells),
        )

    made = CampaignFolder.begin(results, make, name=f"{spec.name}-{testbed.name}")
    session.console.print(f"campaign {made.campaign_id}", highlight=False)
    return made


def _presser(session: Session, price: HourPrice | None) -> Callable[[Cell, RunFolder], list[str]]:
    """One cell as an ordinary run; its stages are timed in it, here only the whole."""

    def press(cell: Cell, run_folder: RunFolder) -> list[str]:
        _require_money(session, price)
        watch = Stopwatch(session.display, note=run_folder.note_time)
        bench = Bench(cell.spec, run_folder, session.places, session.tools, watch)
        with session.watch.stage(cell.key):
            summary = bench(session.command)
        return [name for name, held in summary.targets.items() if _invalid([held])]

    return press


def _require_money(session: Session, price: HourPrice | None) -> None:
    """No cell is begun on a budget that is spent: it would end at once and hold nothing."""
    counted = counted_hosts(session.spec, session.places, instead=price)
    if counted and (why := why_spent(counted, time.time())):
        raise BudgetSpent(
            f"{why}; cells that are done are kept",
            remedy="raise the budget of the testbed, or make its hosts anew (soakbed teardown); "
            f"then: {shlex.join(session.command)}",
        )


def _wipe(session: Session) -> None:
    """Every target stopped and its disks emptied, where there are hosts to do it on."""
    described = session.places.state / "testbed.json"
    if described.is_file():
        testbed = Testbed.model_validate_json(described.read_bytes())
        wipe_target(testbed, "", ansible=session.tools.ansible, places=session.places)


def _conclude(console: Console, folder: CampaignFolder, made: CampaignReport) -> None:
    """The table; then exit code 5 where cells failed, or 7 where verdicts are invalid."""
    console.print(status_text(made.campaign, made.cells))
    console.print(f"page: {folder.page}", highlight=False, soft_wrap=True)
    failed = [one.cell.key for one in made.cells if one.state.settled == "failed"]
    if failed:
        raise LoadError(
            f"{len(failed)} of {len(made.cells)} cells failed twice: {', '.join(failed)}",
            remedy="mend the causes above; the same command with --retry-failed tries them again",
        )
    invalid = [one.cell.key for one in made.cells if _invalid(one.targets.values())]
    if invalid:
        raise InvalidRun(
            f"finished, but {len(invalid)} of {len(made.cells)} cells have a measurement that was "
            f"judged invalid: {', '.join(invalid)}",
            remedy="read the reasons on the cells' own pages; they count in no effect",
        )


def _invalid(targets: Iterable[MeasuredTarget | UnmeasuredTarget]) -> bool:
    """Whether the measurement of any of them was judged invalid."""
    return any(isinstance(one, MeasuredTarget) and one.verdict == "invalid" for one in targets)


def status(campaign_id: str, results: Path, console: Console, *, as_json: bool) -> None:
    """How far a campaign has come, from its record and its runs alone."""
    folder = CampaignFolder.open(results, campaign_id)
    campaign = folder.read()
    cells = results_of(folder, campaign)
    if as_json:
        print(status_json(campaign, cells), end="")
    else:
        console.print(status_text(campaign, cells))


def report(
    campaign_id: str, results: Path, console: Console, *, form: CampaignForm, output: Path | None
) -> None:
    """The page of a campaign, or the same as text; also of one that has cells left."""
    folder = CampaignFolder.open(results, campaign_id)
    made = campaign_report_of(folder)
    if form == "html":
        output = output or folder.page
        text = campaign_page(made, runs=os.path.relpath(results, output.absolute().parent))
    else:
        text = _TEXTS[form](made)
    if output is None:
        print(text, end="")
        return
    write_whole(output, text)
    console.print(f"{form}: {output}", highlight=False, soft_wrap=True)


def _json(made: CampaignReport) -> str:
    return made.model_dump_json(by_alias=True, indent=1) + "\n"


_TEXTS: dict[CampaignForm, Callable[[CampaignReport], str]] = {
    "md": campaign_markdown,
    "csv": campaign_csv,
    "json": _json,
}
