"""`soakbed check`: is a history, whoever wrote it, what a model promises?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from soakbed.errors import Mistake, SpecError
from soakbed.histories.judging import Judged, judge
from soakbed.histories.levels import LEVELS, LevelName
from soakbed.histories.models import MODELS
from soakbed.histories.operation import Operation
from soakbed.histories.readers.events import HistoryMistake, Mistaken
from soakbed.histories.readers.files import read_history
from soakbed.histories.search import Answer

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
    level: Annotated[
        str, typer.Option("--level", help=f"What has to hold: {', '.join(LEVELS)}.")
    ] = LEVELS[0],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Say whether some order of its operations explains a history, and if not, show where.

    If not, the strongest level of consistency that does hold is named: each below linearizable for
    `register` where no value is written to a key twice, sequential for the other models.

    Exit code 0: the level holds; 1: a violation; 3: the time ran out; 2: the file is no history.

    Examples: `soakbed check etcd_000.log --model cas-register`

    `soakbed check c50-ok.txt --model kv --time-limit 10 --json`

    `soakbed check stale.edn --model register --level sequential`
    """
    asked = _asked(model, level)
    console = Console(stderr=True)
    with console.status(f"checking {file.name}"):
        judged = _judged(file, model, time_limit_s)
    answer = _answer(judged, asked)
    if as_json:
        told = _plain(judged) | {"asked": {"level": level, "answer": answer}}
        print(json.dumps(told, ensure_ascii=False, default=str))
    else:
        _show(judged, Console())
        if asked != LEVELS[0]:
            print(f"asked for {asked}: {answer}")
    raise typer.Exit(EXIT_CODES[answer])


def _asked(model: str, level: str) -> LevelName:
    mistakes = []
    if model not in MODELS:
        known = f"use one of {', '.join(MODELS)}"
        mistakes.append(Mistake("command line", "--model", model, "no such model", known))
    asked = next((one for one in LEVELS if one == level), None)
    if asked is None:
        known = f"use one of {', '.join(LEVELS)}"
        mistakes.append(Mistake("command line", "--level", level, "no such level", known))
    if asked is None or mistakes:
        raise SpecError(mistakes)
    return asked


def _answer(judged: Judged, level: LevelName) -> Answer:
    answer = judged.answer_at(level)
    if answer is None and judged.answer == "violation":
        known = "linearizable or sequential, or the model register with values that are unique"
        problem = f"cannot be tested for this history by {judged.model}"
        raise SpecError([Mistake("command line", "--level", level, problem, known)])
    return answer or judged.answer


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
    if judged.witness:
        _show_operations(judged.witness, console)
    if judged.method == "search" and judged.answer == "violation":
        console.print(f"the model then holds {judged.held!r}", markup=False)
    if judged.strongest and judged.answer == "violation":
        console.print(f"strongest level that holds: {judged.strongest}", markup=False)
        for one in judged.levels[1:]:
            if one.answer != "ok":
                console.print(f"  {one.name}: {one.answer}: {one.why}", markup=False)
            if one.witness and one.witness != judged.witness:
                _show_operations(one.witness, console)


def _show_operations(witness: Sequence[Operation], console: Console) -> None:
    table = Table("line", "from", "until", "operation")
    for one in witness[:_MOST_SHOWN]:
        until = "?" if one.outcome else str(one.finish)
        table.add_row(str(one.line), str(one.start), until, one.told.replace("[", "\\["))
    console.print(table)
    if len(witness) > _MOST_SHOWN:
        console.print(f"and {len(witness) - _MOST_SHOWN} more; --json has them all")
