"""`soakbed reap`: what testbeds have left in a cloud, shown, and removed when that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from soakbed import commands_reap
from soakbed.environment import folder_of_states
from soakbed.stages.specs import load_testbed_spec

__all__ = ["reap"]


def reap(
    testbed: Annotated[
        str, typer.Option("--testbed", help="One testbed: its name, or its file.")
    ] = "",
    all_expired: Annotated[
        bool, typer.Option("--all-expired", help="Every lease that has ended, whoever began it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, only look.")] = False,
    region: Annotated[
        list[str] | None,
        typer.Option("--region", help="Look there alone; again for several regions."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Find what testbeds have left on AWS, and remove what should be gone.

    By exact tags and the intent log, and nothing else: `--testbed` chooses what was begun from
    here and what has ended, `--all-expired` only what has ended. Nothing goes without `--yes`. It
    looks again afterwards; exit code 3 when something is left, or when it cannot see.

    Examples: `soakbed reap`

    `soakbed reap --testbed aws-4x --yes`

    `soakbed reap --all-expired --yes --json`
    """
    name = load_testbed_spec(Path(testbed)).name if testbed.endswith(".json") else testbed
    asked = commands_reap.Asked(name, all_expired, yes, as_json, tuple(region or ()))
    commands_reap.reap_clouds(asked, folder_of_states(), Console(stderr=as_json))
