"""Words of the command line that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ProfileOption", "TestbedOption", "WorkloadOption"]

TestbedOption = Annotated[
    Path, typer.Option("--testbed", help="Cluster shape, a file in infra/testbeds/.")
]
WorkloadOption = Annotated[
    Path, typer.Option("--workload", help="What is sent, a file in loadgen/workloads/.")
]
ProfileOption = Annotated[
    str, typer.Option("--profile", help="Tuning: `stock` (as installed) or `tuned`.")
]
