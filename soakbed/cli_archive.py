"""`soakbed collate` and `soakbed query`: the archive as tables, made and asked."""

from __future__ import annotations

import csv
import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from soakbed.archive.data.collate import collate as collated
from soakbed.archive.query import Answer, ask
from soakbed.archive.run_folder import RunFolder
from soakbed.environment import archive_of_runs
from soakbed.errors import Mistake, SpecError
from soakbed.progress import Display
from soakbed.records.testbed import Testbed

__all__ = ["collate", "query"]

RunArgument = Annotated[str, typer.Argument(help="A run id, `latest` or `current`.")]
FORMATS = ("table", "csv", "json")


def collate(run: RunArgument = "latest") -> None:
    """Make the tables of a run from its spools, or bring them up to what was fetched since.

    `judge` and `report` do this by themselves; hours that did not change are not done again.

    Example: `soakbed collate latest`
    """
    folder = RunFolder.open(archive_of_runs(), run)
    console = Console()
    duties = _duties(folder)
    with Display(console).shown() as display:
        for target in folder.spec().targets:
            if not any((folder.path / target).glob("load/*/plan.json")):
                continue

            def told(done: int, whole: int, target: str = target) -> None:
                display(f"{target}: {done:,} of {whole:,} frames")

            made = collated(folder.path / target, duties=duties, progress=told)
            hours = {chunk.hour for one in made.sessions.values() for chunk in one.chunks}
            console.print(f"{target}: {len(hours)} hours", highlight=False)
            for damage in made.damages:
                said = f"  {damage.kind}: {damage.session}: {damage.sentence}"
                console.print(said, markup=False, highlight=False, soft_wrap=True)


def _duties(folder: RunFolder) -> dict[str, str]:
    if not folder.has("testbed"):
        return {}
    testbed = folder.read("testbed", Testbed)
    return {name: str(host.duty) for name, host in testbed.hosts.items()}


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT.", metavar="SQL")],
    form: Annotated[str, typer.Option("--format", help="`table`, `csv` or `json`.")] = "table",
) -> None:
    """Ask the tables of all runs with SQL (DuckDB); nothing can be changed.

    Views: runs, targets, damages, windows, workers, counters, generator, events, hosts, units;
    their columns stand in `results/README.md`. Each has `run` and, but for runs, `target`.

    Examples: `soakbed query "SELECT run, target, verdict, read_response_p99_us FROM targets"`

    `soakbed query --format csv "SELECT target, kind, text FROM events ORDER BY at_s"`
    """
    if form not in FORMATS:
        problem, remedy = "is no format", f"write one of: {', '.join(FORMATS)}"
        raise SpecError([Mistake("query", "--format", form, problem, remedy)])
    answer = ask(archive_of_runs(), sql)
    {"table": _as_table, "csv": _as_csv, "json": _as_json}[form](answer)


def _as_table(answer: Answer) -> None:
    table = Table()
    for name in answer.columns:
        table.add_column(escape(name), overflow="fold")
    for row in answer.rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row))
    Console().print(table)


def _as_csv(answer: Answer) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)


def _as_json(answer: Answer) -> None:
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    print(json.dumps(rows, indent=1, default=str))
