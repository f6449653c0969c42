"""`soakbed check`: is a history, whoever wrote it, what a model promises?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from soakbed.errors import Mistake, SpecError
from soakbed.histories.judging import Judged, judge
from soakbed.histories.models import MODELS
from soakbed.histories.readers.events import HistoryMistake, Mistaken
from soakbed.histories.readers.files import read_history

__all__ = ["EXIT_CODES", "check"]

EXIT_CODES = {"ok": 0, "violation": 1, "unknown": 3}
_MOST_SHOWN = 12
_KNOWN = "EDN maps with :process :type :f :value, or Jepsen's log lines"


def check(
    file: Annotated[Path, typer.Argument(help="A history: Jepsen, Knossos, Maelstrom, Porcupine.")],
    model: Annotated[str, typer.Option("--model", help=f"One of {', '.join(MODELS)}.")],
    time_limit_s: Annotated[
        float, typer.Option("--time-limit", min=0.1, help="Seconds of search; then `unknown`.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Say whether some order of its operations explains a history, and if not, show where.

    Exit code 0: linearizable; 1: a violation; 3: the time ran out; 2: the file is no history.

    Examples: `soakbed check etcd_000.log --model cas-register`

    `soakbed check c50-ok.txt --model kv --time-limit 10 --json`
    """
    if model not in MODELS:
        known = f"use one of {', '.join(MODELS)}"
        raise SpecError([Mistake("command line", "--model", model, "no such model", known)])
    console = Console(stderr=True)
    with console.status(f"checking {file.name}"):
        judged = _judged(file, model, time_limit_s)
    if as_json:
        print(json.dumps(_plain(judged), ensure_ascii=False, default=str))
    else:
        _show(judged, Console())
    raise typer.Exit(EXIT_CODES[judged.answer])


def _judged(file: Path, model: str, time_limit_s: float) -> Judged:
    try:
        operations = read_history(file)
        return judge(operations, MODELS[model](), time_limit_s=time_limit_s)
    except Mistaken as mistaken:
        raise SpecError([_mistake(file, one) for one in mistaken.mistakes]) from None
    except OSError as error:
        problem = error.strerror or "cannot be read"
        told = Mistake(str(file), "file", file.name, problem, "name a file that is there")
        raise SpecError([told]) from None
    except ValueError as error:
        told = Mistake(str(file), "--model", model, str(error), "choose the model of its actions")
        raise SpecError([told]) from None


def _mistake(file: Path, one: HistoryMistake) -> Mistake:
    return Mistake(str(file), f"line {one.line}", one.stood, "no history", f"write {one.expected}")


def _plain(judged: Judged) -> dict[str, object]:
    told = asdict(judged)
    return told | {"seconds": round(judged.seconds, 6)}


def _show(judged: Judged, console: Console) -> None:
    word = {"ok": "linearizable", "violation": "violation", "unknown": "unknown"}[judged.answer]
    colour = {"ok": "green", "violation": "red", "unknown": "yellow"}[judged.answer]
    console.print(f"[{colour}]{word}[/]: {judged.model}, {judged.operations:,} operations on "
                  f"{judged.keys:,} keys, {judged.method}, {judged.seconds:.3f} s")  # fmt: skip
    if judged.why:
        at = "" if judged.key is None else f"key {judged.key}: "
        console.print(f"{at}{judged.why}", markup=False)
    if not judged.witness:
        return
    table = Table("line", "from", "until", "operation")
    for one in judged.witness[:_MOST_SHOWN]:
        until = "?" if one.outcome else str(one.finish)
        table.add_row(str(one.line), str(one.start), until, one.told.replace("[", "\\["))
    console.print(table)
    if len(judged.witness) > _MOST_SHOWN:
        console.print(f"and {len(judged.witness) - _MOST_SHOWN} more; --json has them all")
