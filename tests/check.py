"""`make check`: format, lint, types, import layers, limits, roles, Terraform; all of them, always.

Runs every check even when one fails, so that one call shows all there is to mend. They run side by
side: the two that take long have one thread each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from soakbed.adapters.terraform_root import plugin_missing
from soakbed.records.places import Places

PROJECT = Path(__file__).resolve().parent.parent
BIN = PROJECT / ".venv" / "bin"


def run(*words: str, cwd: Path = PROJECT) -> str:
    """Run one tool; what it printed if it failed, "" if all is well."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def terraform() -> str:
    """`fmt -check`, `validate` and `test` of infra/, with the engine that comes with soakbed.

    Of infra/aws too, where Terraform's AWS provider is at hand; where it is not, `main` says so.
    """
    code = (
        "import tempfile, pathlib\n"
        "from soakbed.adapters.terraform import Terraform\n"
        "from soakbed.adapters.terraform_root import plugin_missing\n"
        "from soakbed.records.places import Places\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    tmp = pathlib.Path(folder)\n"
        f"    plugins = {os.environ.get('SOAKBED_TERRAFORM_PLUGINS', '')!r}\n"
        f"    places = Places(project=pathlib.Path({str(PROJECT)!r}), state=tmp, cache=tmp,\n"
        "                    terraform_plugins=plugins)\n"
        "    engine = Terraform(places)\n"
        "    engine.fmt_check(); engine.validate(); print(engine.test())\n"
        "    if not plugin_missing(places):\n"
        "        engine.validate('aws'); print(engine.test('aws'))\n"
    )
    return run(sys.executable, "-c", code)


def ansible_lint() -> str:
    """The production profile, over every playbook and role; offline, since nothing is fetched."""
    return run("ansible-lint", "--offline", "--profile", "production", cwd=PROJECT / "playbooks")


CHECKS: dict[str, Callable[[], str]] = {
    "format": lambda: run("ruff", "format", "--check", "."),
    "lint": lambda: run("ruff", "check", "."),
    "types": lambda: run("mypy"),
    "import layers": lambda: run("lint-imports"),
    "roles": ansible_lint,
    "terraform fmt, validate, test": terraform,
}


def timed(check: Callable[[], str]) -> tuple[str, float]:
    """What a check says, and how many seconds it took."""
    started = time.monotonic()
    return check(), time.monotonic() - started


def main() -> None:
    """Run every check; exit 1 if one found something."""
    places = Places(
        project=PROJECT,
        state=PROJECT,
        cache=PROJECT,
        terraform_plugins=os.environ.get("SOAKBED_TERRAFORM_PLUGINS", ""),
    )
    if lacking := plugin_missing(places):
        print(f"left out: validate and test of infra/aws: {lacking}")
    failed = []
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        for name, (complaint, seconds) in zip(
            CHECKS, pool.map(timed, CHECKS.values()), strict=True
        ):
            print(f"{'FAILED' if complaint else 'ok':7} {name}  {seconds:.1f} s")
            if complaint:
                failed.append(name)
                print(complaint)
    if failed:
        sys.exit(f"to mend: {', '.join(failed)}")


if __name__ == "__main__":
    main()
