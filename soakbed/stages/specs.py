"""The first arrow: files and words that the user wrote -> one frozen RunSpec, or every mistake."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from soakbed.errors import Mistake, SpecError
from soakbed.records.spec import TARGETS, RunSpec, TestbedSpec, WorkloadSpec

__all__ = [
    "load_run_spec",
    "load_testbed_spec",
    "load_workload_spec",
    "mistake_of",
    "parsed",
    "read_spec",
]

Model = TypeVar("Model", bound=BaseModel)

# How to mend what pydantic complains of; {name} comes from the complaint's own context.
_REMEDIES = {
    "missing": "add this key",
    "extra_forbidden": "delete this key, or mend its spelling",
    "literal_error": "use {expected}",
    "greater_than": "use more than {gt}",
    "greater_than_equal": "use at least {ge}",
    "less_than": "use less than {lt}",
    "less_than_equal": "use at most {le}",
    "int_parsing": "write a whole number",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "float_parsing": "write a number",
    "float_type": "write a number",
    "string_type": "write text, in quotes",
    "too_short": "give at least {min_length}",
    "model_type": "write a mapping of keys and values here",
    "dict_type": "write a mapping of keys and values here",
}


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _known_keys(kind: type[BaseModel], where: Sequence[object]) -> list[str]:
    """Keys that are allowed beside the unknown one at `where`, for a spelling hint."""
    model: Any = kind
    for step in where[:-1]:
        field = model.model_fields.get(step) if hasattr(model, "model_fields") else None
        if field is None:
            return []
        # An optional part, `KneeSpec | None`, is the part.
        parts = [one for one in get_args(field.annotation) if one is not type(None)]
        model = parts[0] if len(parts) == 1 else field.annotation
    fields = getattr(model, "model_fields", {})
    return [field.alias or name for name, field in fields.items()]


def mistake_of(file: Path, kind: type[BaseModel], detail: ErrorDetails) -> Mistake:
    """One complaint of pydantic about `kind` as a user reads it, with the way out."""
    where = [step for step in detail["loc"] if not str(step).startswith("function-")]
    problem = detail["msg"].removeprefix("Value error, ")
    remedy = _REMEDIES.get(detail["type"], "").format(**detail.get("ctx", {}))
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(where[-1]), _known_keys(kind, where), n=1)
        problem = "this key does not exist"
        remedy = f"write {close[0]}" if close else remedy
    if "; " in problem:  # our own validators say "problem; remedy"
        problem, _, remedy = problem.rpartition("; ")
    value = "(not there)" if detail["type"] == "missing" else _short(detail["input"])
    return Mistake(
        file=str(file),
        key=".".join(str(step) for step in where) or "(whole file)",
        value=value,
        problem=problem,
        remedy=remedy or "give a value that fits",
    )


def parsed(file: Path) -> Mapping[str, Any] | Mistake:
    """The file's content as a mapping, or what is wrong with it."""

    def wrong(problem: str, remedy: str) -> Mistake:
        return Mistake(file=str(file), key="(file)", value="", problem=problem, remedy=remedy)

    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        beside = sorted(p.name for p in file.parent.glob(f"*{file.suffix}"))
        return wrong(error.strerror or str(error), f"name one of: {', '.join(beside) or 'none'}")
    except UnicodeDecodeError:
        return wrong("not a text file in UTF-8", "write it as UTF-8 text")
    try:
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        return wrong(f"line {error.lineno}: {error.msg}", "mend the JSON there")
    except yaml.YAMLError as error:
        return wrong(" ".join(str(error).split()), "mend the YAML there")
    if not isinstance(content, dict):
        return wrong("holds no mapping", 'begin with `schema: 1` or {"schema": 1, ...}')
    return content


def read_spec(file: Path, kind: type[Model], mistakes: list[Mistake]) -> Model | None:
    """The file as a record; None where it is wrong, and `mistakes` says how."""
    content = parsed(file)
    if isinstance(content, Mistake):
        mistakes.append(content)
        return None
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        mistakes.extend(mistake_of(file, kind, detail) for detail in error.errors())
        return None


def load_testbed_spec(file: Path) -> TestbedSpec:
    """Read one testbed file. Raises SpecError with every mistake in it."""
    mistakes: list[Mistake] = []
    spec = read_spec(file, TestbedSpec, mistakes)
    if spec is None:
        raise SpecError(mistakes)
    return spec


def load_workload_spec(file: Path) -> WorkloadSpec:
    """Read one workload file. Raises SpecError with every mistake in it."""
    mistakes: list[Mistake] = []
    spec = read_spec(file, WorkloadSpec, mistakes)
    if spec is None:
        raise SpecError(mistakes)
    return spec


def _unknown_targets(targets: Sequence[str]) -> list[Mistake]:
    found = []
    for name in targets:
        if name in TARGETS:
            continue
        close = difflib.get_close_matches(name, TARGETS, n=1)
        remedy = f"write {close[0]}" if close else f"use some of: {' '.join(TARGETS)}"
        found.append(Mistake("command line", "--targets", name, "no such target", remedy))
    if not targets:
        remedy = f"name some of: {' '.join(TARGETS)}"
        found.append(Mistake("command line", "--targets", "", "no target named", remedy))
    return found


def load_run_spec(
    testbed_file: Path, workload_file: Path, targets: Sequence[str], **choices: object
) -> RunSpec:
    """Read and check everything a run is made from.

    `choices` are the further fields of RunSpec (profile, appendfsync, allow_substitute,
    on_unavailable). Raises SpecError with the mistakes of all files and words at once.
    """
    mistakes: list[Mistake] = []
    testbed = read_spec(testbed_file, TestbedSpec, mistakes)
    workload = read_spec(workload_file, WorkloadSpec, mistakes)
    mistakes += _unknown_targets(targets)
    try:
        RunSpec.model_validate(
            {"testbed": testbed, "workload": workload, "targets": tuple(targets), **choices}
        )
    except ValidationError as error:
        named = [d for d in error.errors() if d["loc"][0] in choices]
        mistakes += [mistake_of(Path("command line"), RunSpec, detail) for detail in named]
    if mistakes or testbed is None or workload is None:
        raise SpecError(mistakes)
    unique = tuple(dict.fromkeys(targets))
    return RunSpec.model_validate(
        {"testbed": testbed, "workload": workload, "targets": unique, **choices}
    )
