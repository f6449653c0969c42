"""Words on the command line -> pipeline; errors -> exit codes.

Exit codes: 0 done; 2 what you wrote is wrong; 3 provision; 4 configure; 5 load; 6 archive;
7 finished, but a run was judged invalid; 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from soakbed import (
    cli_archive,
    cli_artifacts,
    cli_campaign,
    cli_check,
    cli_compare,
    cli_reap,
    cli_soak,
    commands,
)
from soakbed.cli_options import ProfileOption, TestbedOption, WorkloadOption
from soakbed.commands import Session
from soakbed.environment import PROJECT, archive_of_runs, places_of
from soakbed.errors import SoakbedError
from soakbed.reporting import Format
from soakbed.stages.specs import load_run_spec, load_testbed_spec, load_workload_spec

__all__ = ["app", "main"]

TESTBED = PROJECT / "infra" / "testbeds" / "local-4x.json"
WORKLOAD = PROJECT / "loadgen" / "workloads" / "quick.yaml"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "Which of etcd, Redis Cluster and TiKV holds a load, how fast, for how long, and what it "
        "promises meanwhile.\n\n"
        "**Examples**\n\n"
        "- `soakbed provision` makes four local hosts and prepares them\n"
        "- `soakbed bench --targets etcd` presses one target and writes its page\n"
        "- `soakbed soak --detach` does the same for days; `attach`, `status`, `stop` come back\n"
        "- `soakbed resume` goes on after an interruption\n"
        "- `soakbed teardown` unmakes the hosts; `results/` stays"
    ),
)

app.add_typer(cli_artifacts.app, name="artifacts")
app.add_typer(cli_campaign.app, name="campaign")

TargetsOption = Annotated[
    str, typer.Option("--targets", help="Which databases, in this order, separated by spaces.")
]
SubstituteOption = cli_artifacts.SubstituteOption
RunArgument = Annotated[str, typer.Argument(help="A run id, or `latest`.")]


def _session(testbed_file: Path, *, to_stderr: bool = False) -> Session:
    """`to_stderr`: progress goes there, so that what scripts read stands alone."""
    spec = load_testbed_spec(testbed_file)
    command = ["soakbed", *sys.argv[1:]]
    console = Console(stderr=to_stderr)
    return Session.begin(spec, places_of(spec.name), console, command=command)


@app.command()
def setup(
    testbed: TestbedOption = TESTBED,
    targets: TargetsOption = "etcd redis_cluster tikv",
    allow_substitute: SubstituteOption = True,
) -> None:
    """Build the host image and fetch the artifacts; later commands then need no network.

    Example: `soakbed setup`
    """
    commands.setup(_session(testbed), targets.split(), allow_substitute=allow_substitute)


@app.command()
def provision(testbed: TestbedOption = TESTBED, profile: ProfileOption = "tuned") -> None:
    """Make the hosts, tune them, hand out certificates, install the load generator.

    A second call changes nothing; a host that died is made again.

    Example: `soakbed provision --testbed infra/testbeds/local-4x.json`
    """
    commands.provision(_session(testbed), profile)


@app.command()
def configure(
    target: Annotated[str, typer.Argument(help="etcd, redis_cluster or tikv.")],
    testbed: TestbedOption = TESTBED,
    profile: ProfileOption = "tuned",
    allow_substitute: SubstituteOption = True,
) -> None:
    """Start one target on the hosts, to look at it; `bench` does this by itself.

    Example: `soakbed configure etcd`
    """
    choices = {"profile": profile, "allow_substitute": allow_substitute}
    spec = load_run_spec(testbed, WORKLOAD, [target], **choices)
    commands.configure(_session(testbed), spec)


@app.command()
def calibrate(
    testbed: TestbedOption = TESTBED,
    workload: WorkloadOption = WORKLOAD,
    profile: ProfileOption = "tuned",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Measure what the load hosts can do at most, against a server that answers from memory.

    RESP, etcd's and TiKV's gRPC, closed loop, with TLS and the value size, reads and connections
    of the workload; some 20 s each. TiKV is called as the workload calls it, `batch` and
    `batched_stream` included; ceilings of other ways stay beside it. The result is kept with the
    testbed and in every run after it: a run that asks for more than 70 % of it is warned of.
    Provisions what is missing; a second call measures again.

    Examples: `soakbed calibrate`

    `soakbed calibrate --testbed my.json --workload loadgen/workloads/soak-72h.yaml --json`
    """
    session = _session(testbed, to_stderr=as_json)
    commands.calibrate(session, load_workload_spec(workload), profile, as_json=as_json)


@app.command()
def bench(
    testbed: TestbedOption = TESTBED,
    workload: WorkloadOption = WORKLOAD,
    targets: TargetsOption = "etcd redis_cluster tikv",
    profile: ProfileOption = "tuned",
    appendfsync: Annotated[
        str, typer.Option(help="Durability of Redis: `always`, `everysec` or `no`.")
    ] = "everysec",
    allow_substitute: SubstituteOption = True,
    on_unavailable: Annotated[
        str, typer.Option(help="A target that cannot be had: `not_measured` or `fail`.")
    ] = "not_measured",
) -> None:
    """Press each target, judge the measurement, write the page; provisions what is missing.

    An interrupted run of the same spec is resumed at its first missing record.

    Example: `soakbed bench --targets "etcd redis_cluster" --workload loadgen/workloads/quick.yaml`
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
    commands.bench(_session(testbed), spec)


# Beside `bench`, in the order of a soak's life.
for beside in (cli_soak.soak, cli_soak.status, cli_soak.attach, cli_soak.stop, cli_soak.resume):
    app.command()(beside)


@app.command()
def collect(testbed: TestbedOption = TESTBED) -> None:
    """Fetch journals, configurations and facts from live hosts again, into the unfinished run.

    Example: `soakbed collect`
    """
    commands.collect_again(_session(testbed))


@app.command()
def judge(run: RunArgument = "latest") -> None:
    """Judge an archived run again; needs no hosts. Exit code 7 when a verdict is invalid.

    Example: `soakbed judge latest`
    """
    commands.judge(run, archive_of_runs(), Console())


@app.command()
def report(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run ids, or `latest` (the default).")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="A page, or text for programs and chats.")
    ] = "html",
    output: Annotated[
        Path | None, typer.Option("--output", help="A file; text goes to standard output else.")
    ] = None,
) -> None:
    """Judge archived runs again and write their page again; needs no hosts.

    One run: its targets beside each other, in `report/index.html` of its folder. Several: each
    against the first, in `results/comparisons/`.

    Examples: `soakbed report latest`

    `soakbed report 20260102T030405Z-quick-local-4x latest --format md`
    """
    console = Console(stderr=form != "html" and output is None)
    commands.report(runs or ["latest"], archive_of_runs(), console, form=form, output=output)


# Beside `report` in the list of commands: what else is made from the archive.
for made in (
    cli_check.check,
    cli_compare.compare,
    cli_compare.trend,
    cli_archive.query,
    cli_archive.collate,
):
    app.command()(made)


@app.command()
def teardown(testbed: TestbedOption = TESTBED) -> None:
    """Unmake the hosts and prove that nothing is left; `results/` stays. A second call is fine.

    Example: `soakbed teardown`
    """
    commands.teardown(_session(testbed))


# After `teardown`: what that, or a machine that died before it, has left in a cloud.
app.command()(cli_reap.reap)


def _fail(error: SoakbedError) -> NoReturn:
    console = Console(stderr=True)
    console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(error.exit_code)


def main() -> None:
    """Run the command; every deliberate error becomes its text and its exit code."""
    try:
        app(standalone_mode=True)
    except SoakbedError as error:
        _fail(error)
