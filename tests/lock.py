"""Renew `requirements/*.lock` from pyproject.toml: versions and hashes, no index addresses."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
BUILD = ["setuptools>=80"]  # so that `pip install -e .` needs no index of its own


def wanted(name: str) -> list[str]:
    """The requirements that pyproject.toml names for one lock file."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    if name == "loadgen":  # the load hosts get nothing of the controller's
        return list(extras["loadgen"])
    run = BUILD + project["dependencies"]
    return run if name == "controller" else run + extras["loadgen"] + extras["dev"]


def renew(name: str) -> None:
    """Resolve one lock file."""
    lock = PROJECT / "requirements" / f"{name}.lock"
    lock.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "piptools", "compile", "-q", "--generate-hashes"]
    command += ["--strip-extras", "--allow-unsafe", "--no-emit-index-url", "--no-header"]
    command += ["--no-emit-find-links", "--no-emit-trusted-host", "--no-annotate"]
    command += ["-o", str(lock), "-"]
    print(lock.relative_to(PROJECT))
    subprocess.run(command, check=True, cwd=PROJECT, input="\n".join(wanted(name)), text=True)


def main() -> None:
    """Renew them all."""
    for name in ("controller", "loadgen", "dev"):
        renew(name)


if __name__ == "__main__":
    main()
