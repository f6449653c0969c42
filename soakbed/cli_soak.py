"""`soakbed soak`, `attach`, `stop`, `status`, `resume`: runs that outlive whoever started them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from soakbed import commands_soak
from soakbed.cli_options import ProfileOption, TestbedOption, WorkloadOption
from soakbed.commands import Session
from soakbed.environment import PROJECT, archive_of_runs, places_of
from soakbed.stages.specs import load_run_spec, load_testbed_spec

__all__ = ["attach", "resume", "soak", "status", "stop"]

TESTBED = PROJECT / "infra" / "testbeds" / "local-4x.json"
WORKLOAD = PROJECT / "loadgen" / "workloads" / "soak-72h.yaml"

RunArgument = Annotated[str, typer.Argument(help="A run id; the unfinished run if left out.")]
DetachOption = Annotated[
    bool,
    typer.Option("--detach", help="In the background; returns after the first look at the load."),
]
TargetsOption = Annotated[
    str, typer.Option("--targets", help="Which databases, one after the other.")
]
AppendfsyncOption = Annotated[
    str, typer.Option(help="Durability of Redis: `always`, `everysec` or `no`.")
]
UnavailableOption = Annotated[
    str, typer.Option(help="A target that cannot be had: `not_measured` or `fail`.")
]
SubstituteOption = Annotated[
    bool,
    typer.Option(help="Use another version where the pinned one cannot be had."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]


def _session(testbed_file: Path, *, to_stderr: bool = False) -> Session:
    spec = load_testbed_spec(testbed_file)
    console = Console(stderr=to_stderr)
    return Session.begin(spec, places_of(spec.name), console, command=_command())


def _command() -> list[str]:
    return ["soakbed", *sys.argv[1:]]


def soak(
    testbed: TestbedOption = TESTBED,
    workload: WorkloadOption = WORKLOAD,
    targets: TargetsOption = "etcd redis_cluster tikv",
    profile: ProfileOption = "tuned",
    appendfsync: AppendfsyncOption = "everysec",
    allow_substitute: SubstituteOption = True,
    on_unavailable: UnavailableOption = "not_measured",
    detach: DetachOption = False,
) -> None:
    """Press each target for days: `bench` that waits for its hosts however long they are away.

    The load runs on the load hosts by a plan and needs nobody. Meanwhile the evidence is fetched
    every few minutes and finished hours are read. Ctrl-C ends the load in an orderly way, and what
    there is is judged. A controller that was killed leaves everything: `soakbed resume` goes on
    with the same clock.

    Examples: `soakbed soak --detach`

    `soakbed soak --targets etcd --workload loadgen/workloads/quick.yaml`
    """
    spec = load_run_spec(
        testbed,
        workload,
        targets.split(),
        profile=profile,
        appendfsync=appendfsync,
        allow_substitute=allow_substitute,
        on_unavailable=on_unavailable,
    )
    commands_soak.soak(_session(testbed), spec, detach=detach)


def attach(run: RunArgument = "current") -> None:
    """Look on live until the run is finished. Ctrl-C only detaches: the load goes on.

    Without a controller the load hosts are asked themselves.

    Example: `soakbed attach`
    """
    commands_soak.attach(run, archive_of_runs(), places_of, Console())


def stop(run: RunArgument = "current") -> None:
    """End the load in an orderly way: evidence fetched, the run judged over what there is.

    By its controller if that lives, else from here. Targets that have not begun are not measured,
    and the page says so.

    Example: `soakbed stop`
    """
    commands_soak.stop(run, archive_of_runs(), places_of, Console(), _command())


def resume(run: RunArgument = "current", detach: DetachOption = False) -> None:
    """Go on with an interrupted run, at its first missing record; load that is on is adopted.

    A soak keeps its clock: what its load hosts did meanwhile is fetched, not done again.

    Examples: `soakbed resume`

    `soakbed resume 20260102T030405Z-quick-local-4x --detach`
    """
    places = (archive_of_runs(), places_of)
    commands_soak.resume(run, *places, Console(), _command(), detach=detach)


def status(
    testbed: TestbedOption = TESTBED,
    asks_hosts: Annotated[
        bool, typer.Option("--look", help="Ask the load hosts, not what the controller saw last.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which hosts are up, how the unfinished run stands, and which runs have finished.

    Progress, rate, P99, errors, verdict so far, gaps, disk left and cost of the load that is on;
    whether its controller lives or not.

    Examples: `soakbed status`

    `soakbed status --look --json`
    """
    commands_soak.status(
        _session(testbed, to_stderr=as_json), asks_hosts=asks_hosts, as_json=as_json
    )
