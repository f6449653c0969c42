"""`python -m tests.benchmarks.quiet_runs`: how often a sound run reads `generator_bound`.

Short open-loop runs against a Redis master on the other core, nothing else of ours running. Each
is judged as a run is: windows by `loadgen.contract.limits`, the phase by the judge's own rule.
Both figures should be 0; a busy machine shows in the wait share, and is then no false alarm.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.spool import read_spool
from loadgen.contract.window import Window
from soakbed.records.numbers import PhaseNumbers
from soakbed.stages.judge_load import generator_bound
from soakbed.stats.windows import merge_windows
from tests.benchmarks.measure import fill
from tests.benchmarks.throwaway import Pki, Redis, make_cluster

__all__ = ["main", "open_loop_numbers"]

SERVER_CORE, ENGINE_CORE = 0, 1


@dataclass(frozen=True, slots=True)
class Quiet:
    """One run: seconds judged, seconds bound, and the rule's sentence."""

    judged_s: int
    bound_s: int
    verdict: str
    sentence: str
    wait_share_max: float


def main(arguments: list[str] | None = None) -> int:
    """Run them and print the figures; exit code 1 if any run was judged bound."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soakbed-quiet-") as scratch:
        folder = Path(scratch)
        pki = Pki.make(folder / "pki")
        server = Redis(folder / "redis", core=SERVER_CORE, pki=pki)
        server.start()
        try:
            make_cluster([server])
            plan = _plan(server, asked.rate, asked.seconds)
            fill(plan, folder, ENGINE_CORE)
            runs = [_quiet(plan, folder) for _ in range(asked.runs)]
        finally:
            server.stop()
    for number, run in enumerate(runs, 1):
        print(f"{number:3} {run.verdict:8} wait {run.wait_share_max:.1%} at most; {run.sentence}")
    false_s, judged_s = (
        sum(getattr(run, name) for run in runs) for name in ("bound_s", "judged_s")
    )
    verdicts = sum(run.verdict != "valid" for run in runs)
    print(
        f"{len(runs)} quiet runs of {asked.seconds} s at {asked.rate:,.0f}/s: {false_s} of "
        f"{judged_s} seconds bound, {verdicts} verdicts generator_bound"
    )
    return 1 if verdicts else 0


def _quiet(plan: Plan, folder: Path) -> Quiet:
    numbers = open_loop_numbers(plan, folder)
    finding = generator_bound(numbers)
    state = numbers.generator
    return Quiet(
        state.judged_s,
        state.bound_s,
        finding.verdict,
        finding.sentence,
        state.wait_share_max or 0.0,
    )


def open_loop_numbers(plan: Plan, folder: Path) -> PhaseNumbers:
    """Run one engine on its core; the numbers of its open phase as the report would have them."""
    path, spool = folder / "plan.json", folder / "worker-0.spool"
    spool.unlink(missing_ok=True)
    plan.write(path)
    words = [sys.executable, "-m", "loadgen.engine", str(path), "--spool", str(spool)]
    subprocess.run(["taskset", "-c", str(ENGINE_CORE), *words], check=True, capture_output=True)
    frames = [frame for frame in read_spool(spool) if frame["kind"] == "window"]
    phase = plan.phases[-1]
    return merge_windows(Window.from_json(frame) for frame in frames)[phase.name].numbers(
        planned_s=phase.duration_s, offered_per_s=phase.rate_per_s, arrivals=phase.arrivals
    )


def _plan(server: Redis, rate: float, seconds: int) -> Plan:
    assert server.pki is not None
    return Plan(
        run_id="quiet",
        session="steady",
        target="redis_cluster",
        endpoints=(server.endpoint,),
        keyspace=Keyspace(20_000, "bench:"),
        phases=(
            Phase("warmup", "open", 1, rate_per_s=rate),
            Phase("steady", "open", seconds, rate_per_s=rate),
        ),
        tls=server.pki.tls(),
        connections=48,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.quiet_runs", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=12, help="of each run's measured phase")
    parser.add_argument("--rate", type=float, default=3000.0, help="operations per second")
    return parser


if __name__ == "__main__":
    sys.exit(main())
