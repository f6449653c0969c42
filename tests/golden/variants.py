"""Copies of a recorded run with a few values of its records changed: cheap other runs for tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.golden.recorded import RECORDED

Edits = Mapping[str, Mapping[str, Any]]  # files (a glob) -> dotted key -> value; DROPPED removes

DROPPED = object()


def variant(
    folder: Path, edits: Edits | None = None, *, of: Path = RECORDED, spools: bool = True
) -> Path:
    """A copy of the recorded run `of` in `folder`, with every edit made."""
    left_out = shutil.ignore_patterns("report", *(() if spools else ("*.spool",)))
    shutil.copytree(of, folder, ignore=left_out)
    for pattern, changes in (edits or {}).items():
        files = sorted(folder.glob(pattern))
        assert files, f"{pattern}: no such file in {of}"
        for file in files:
            data = json.loads(file.read_text())
            for key, value in changes.items():
                _set(data, key.split("."), value)
            file.write_text(json.dumps(data))
    return folder


def _set(data: Any, path: list[str], value: Any) -> None:
    for step in path[:-1]:
        data = data[step.replace("/", ".")]
    last = path[-1].replace("/", ".")  # a key that holds dots is written with slashes
    if value is DROPPED:
        del data[last]
    else:
        data[last] = value


def p99_us(value: int) -> dict[str, int]:
    """Edits of numbers.json for another P99 of reads."""
    return {"sessions.steady.phases.steady.operations.read.response.p99_us": value}


def began_s(value: int) -> dict[str, int]:
    """Edits of numbers.json for another beginning."""
    phases = {"capacity": ("fill", "warmup", "capacity"), "steady": ("warmup", "steady")}
    return {
        f"sessions.{session}.phases.{phase}.started_s": value
        for session, names in phases.items()
        for phase in names
    }
