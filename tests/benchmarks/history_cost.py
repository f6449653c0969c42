"""`python -m tests.benchmarks.history_cost`: what recording 1 % of the keys costs the engine.

Pairs of runs against one server with TLS, with and without, in turn and the turn reversed each
time; told are the ratios of each pair: operations a second, and operations a second of CPU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loadgen.contract.history_files import read_histories
from tests.benchmarks import measure
from tests.benchmarks.cases import CASES, plan_of, server_of
from tests.benchmarks.compare import Figures
from tests.benchmarks.throwaway import Pki, serving

__all__ = ["main"]

SHARE = 0.01
EXAMPLES = """\
examples:
  python -m tests.benchmarks.history_cost --case redis-tls --pairs 10
  python -m tests.benchmarks.history_cost --case etcd --share 0.1
"""


def main(arguments: list[str] | None = None) -> int:
    """Run pairs and print what they say."""
    asked = _parser().parse_args(arguments)
    case = next(case for case in CASES if case.name == asked.case)
    client_core, server_core = sorted(os.sched_getaffinity(0))[:2]
    without: list[Figures] = []
    recording: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="history-cost-") as name:
        folder = Path(name)
        pki = Pki.make(folder / "pki")
        with serving(server_of(case, folder, server_core, pki)) as server:
            plan = plan_of(case, server)
            measure.fill(replace(plan, history_share=0.0), folder, client_core)
            for number in range(asked.pairs):
                for share in (0.0, asked.share) if number % 2 else (asked.share, 0.0):
                    for old in folder.glob("*.history"):
                        old.unlink()
                    pressed = replace(plan, history_share=share)
                    figures = measure.engine(pressed, folder, client_core, seconds=asked.seconds)
                    (recording if share else without).append(figures)
                    if share:
                        rows, size = _recorded(folder)
                print(_line(without[-1], recording[-1], rows, size), flush=True)
    print(_summary(without, recording))
    return 0


def _recorded(folder: Path) -> tuple[int, int]:
    """Rows and bytes of the history."""
    rows = sum(len(block) for block in read_histories(folder, 0))
    return rows, sum(path.stat().st_size for path in folder.glob("*.history"))


def _line(without: Figures, recording: Figures, rows: int, size: int) -> str:
    return (
        f"without {without.ops_per_s:8.0f}/s {without.per_cpu_s:8.0f} per CPU s   "
        f"recording {recording.ops_per_s:8.0f}/s {recording.per_cpu_s:8.0f} per CPU s   "
        f"{rows} rows, {size / max(rows, 1):.1f} bytes each"
    )


def _summary(without: Sequence[Figures], recording: Sequence[Figures]) -> str:
    told = []
    for name in ("ops_per_s", "per_cpu_s"):
        ratios = [
            getattr(one, name) / getattr(other, name)
            for one, other in zip(recording, without, strict=True)
        ]
        middle = statistics.median(ratios)
        error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else 0.0
        told.append(
            f"{name}: {middle:.4f} of without (mean {statistics.fmean(ratios):.4f} +- {error:.4f})"
        )
    return "\n".join(told)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.history_cost",
        description="What recording operations costs the engine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", choices=[case.name for case in CASES], default="redis-tls")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=2, help="of each run")
    parser.add_argument("--share", type=float, default=SHARE, help="of the keys recorded")
    return parser


if __name__ == "__main__":
    sys.exit(main())
