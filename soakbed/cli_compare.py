"""`soakbed compare` and `soakbed trend`: what archived runs say beside each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.environment import archive_of_runs
from soakbed.errors import Mistake, SpecError
from soakbed.records.comparison import Trend
from soakbed.records.spec import TARGETS, TargetName
from soakbed.report.comparison_text import comparison_text
from soakbed.report.trend_page import trend_page
from soakbed.report.trend_text import trend_csv, trend_json, trend_text
from soakbed.stages.compare import compare_runs
from soakbed.stages.trend import DEFAULT_METRICS, Order, trends_of

__all__ = ["compare", "trend"]

CompareForm = Literal["table", "json"]
TrendForm = Literal["table", "json", "csv", "html"]
ResultsOption = Annotated[
    Path | None, typer.Option("--results", help="The folder of run folders, if another.")
]


def compare(
    runs: Annotated[
        list[str], typer.Argument(help="Run ids, or `latest`; the first is compared with.")
    ],
    targets: Annotated[
        str, typer.Option("--targets", help="Some of the targets, separated by spaces.")
    ] = "",
    form: Annotated[CompareForm, typer.Option("--format", help="`json` is for scripts.")] = "table",
    results: ResultsOption = None,
) -> None:
    """Say what differs between judged runs, and between targets inside one; needs no hosts.

    Each figure with the interval of its ratio and a word: better, worse, same within noise,
    cannot tell, not comparable. What is unlike in hosts, workload, durability or TLS refuses a
    word or is named. `soakbed report RUN RUN` writes the same as a page.

    Examples: `soakbed compare latest`

    `soakbed compare 20260102T030405Z-quick-local-4x latest --targets etcd --format json`
    """
    asked = tuple(_target(name) for name in targets.split())
    folder = results or archive_of_runs()
    held = compare_runs([RunFolder.open(folder, run).path for run in runs], targets=asked)
    if form == "json":
        told = held.model_dump(mode="json", by_alias=True)
        print(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        Console().print(comparison_text(held))


def trend(
    target: Annotated[str, typer.Argument(help="etcd, redis_cluster or tikv.")],
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help=f"A figure; may be given again. {', '.join(DEFAULT_METRICS)}"
        ),
    ] = None,
    order: Annotated[
        Order, typer.Option("--by", help="`time`, or `version` and then time.")
    ] = "time",
    form: Annotated[TrendForm, typer.Option("--format", help="`html` draws it.")] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", help="A file; else standard output.")
    ] = None,
    results: ResultsOption = None,
) -> None:
    """Follow a target over all archived runs and say from which run or version on it moved.

    Runs that are invalid, or not comparable with the newest, are shown and not counted. Eight
    runs at least are needed before a change can be told from noise.

    Examples: `soakbed trend etcd`

    `soakbed trend tikv --metric response_p99_us --by version --format html --output trend.html`
    """
    named = _target(target)
    folder = results or archive_of_runs()
    found = trends_of(folder, named, metrics=metrics or (), order=order)
    if form == "table":
        text = _shown(found, to_file=output is not None)
    else:
        text = {"json": trend_json, "csv": trend_csv, "html": trend_page}[form](found)
    if output is None:
        print(text, end="")
    else:
        write_whole(output, text)


def _shown(found: Sequence[Trend], *, to_file: bool) -> str:
    """The table as text: with the terminal's colours and width, or plain for a file."""
    console = Console(color_system=None, width=160) if to_file else Console()
    with console.capture() as caught:
        console.print(trend_text(found))
    return caught.get()


def _target(name: str) -> TargetName:
    for known in TARGETS:
        if name == known:
            return known
    remedy = f"use one of: {', '.join(TARGETS)}"
    raise SpecError([Mistake("command line", "TARGET", name, "no such target", remedy)])
