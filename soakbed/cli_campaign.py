"""`soakbed campaign`: many cells of one matrix, planned, pressed, followed and reported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from soakbed import commands_campaign
from soakbed.commands import Session
from soakbed.commands_campaign import CampaignForm
from soakbed.environment import PROJECT, archive_of_runs, places_of
from soakbed.stages.campaign_spec import load_campaign_spec

__all__ = ["app"]

TESTBED = PROJECT / "infra" / "testbeds" / "local-4x.json"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Targets x profiles x levels of workload keys x repeats: each cell an ordinary run, in an "
        "order that favours nobody.\n\n"
        "**Examples**\n\n"
        "- `soakbed campaign plan loadgen/campaigns/l8-short.yaml` says what it will do and cost\n"
        "- `soakbed campaign run loadgen/campaigns/l8-short.yaml` does it, or goes on with it\n"
        "- `soakbed campaign report` writes its page again"
    ),
)

FileArgument = Annotated[Path, typer.Argument(help="A file in loadgen/campaigns/.")]
CampaignArgument = Annotated[str, typer.Argument(help="A campaign id, or `latest`.")]
TestbedOption = Annotated[
    Path, typer.Option("--testbed", help="Cluster shape, a file in infra/testbeds/.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]


@app.command()
def plan(file: FileArgument, testbed: TestbedOption = TESTBED, as_json: JsonOption = False) -> None:
    """Print cells, order, time and cost, and what the design cannot tell; nothing is made.

    Time rests on earlier runs on this testbed where there are any, else on stated assumptions.

    Example: `soakbed campaign plan loadgen/campaigns/claims-60.yaml`
    """
    spec, shape = load_campaign_spec(file, testbed)
    commands_campaign.plan(spec, shape, places_of(shape.name), Console(), as_json=as_json)


@app.command()
def run(
    file: FileArgument,
    testbed: TestbedOption = TESTBED,
    anew: Annotated[
        bool, typer.Option("--new", help="Begin another one although one is unfinished.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try cells again that failed twice.")
    ] = False,
) -> None:
    """Press every cell, judge it, write its page and that of the campaign.

    After Ctrl-C or a kill the same command goes on at the stage that was cut off. A cell that
    fails is tried once more, then reported, and the campaign goes on.

    Example: `soakbed campaign run loadgen/campaigns/l8-short.yaml`
    """
    spec, shape = load_campaign_spec(file, testbed)
    command = ["soakbed", *sys.argv[1:]]
    session = Session.begin(shape, places_of(shape.name), Console(), command=command)
    commands_campaign.run(session, spec, anew=anew, retry_failed=retry_failed)


@app.command()
def status(campaign: CampaignArgument = "latest", as_json: JsonOption = False) -> None:
    """Say how far a campaign is, with the verdict of each cell; needs no hosts.

    Example: `soakbed campaign status --json`
    """
    commands_campaign.status(campaign, archive_of_runs(), Console(), as_json=as_json)


@app.command()
def report(
    campaign: CampaignArgument = "latest",
    form: Annotated[
        CampaignForm, typer.Option("--format", help="A page, or text; csv has a row per cell.")
    ] = "html",
    output: Annotated[
        Path | None, typer.Option("--output", help="A file; text goes to standard output else.")
    ] = None,
) -> None:
    """Write the page of a campaign: effects of each factor, every cell with its verdicts.

    Needs no hosts; also of a campaign that is not finished.

    Example: `soakbed campaign report latest --format md`
    """
    console = Console(stderr=form != "html" and output is None)
    commands_campaign.report(campaign, archive_of_runs(), console, form=form, output=output)
