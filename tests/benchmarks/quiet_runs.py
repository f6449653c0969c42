"""`python -m tests.benchmarks.quiet_runs`: how often a sound run reads `generator_bound`.

Short open-loop runs against a Redis master on the other core. Each is judged as a run is: windows
by `loadgen.contract.limits`, the phase by the judge's own rule. Whether a second was quiet is known
from /proc/stat: where others had more than 5 % of the engine's core, a flag is no false one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadgen.contract.limits import limits_broken
from loadgen.contract.parts import parts_of, read_parts
from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.window import Window
from soakbed.stages.judge_load import generator_bound
from soakbed.stats.phase_data import of_windows
from soakbed.stats.windows import phase_numbers
from tests.benchmarks.core_watch import CoreWatch
from tests.benchmarks.measure import MeasureFailed, fill
from tests.benchmarks.throwaway import Pki, Redis, make_cluster

__all__ = ["main"]

SERVER_CORE, ENGINE_CORE = 0, 1
MOST_OTHERS = 0.05


@dataclass(frozen=True, slots=True)
class Quiet:
    """One run: its quiet seconds, those flagged among them, and what the judge's rule said."""

    quiet_s: int
    false_s: int
    disturbed_s: int
    flagged_s: int
    verdict: str
    sentence: str

    @property
    def quiet(self) -> bool:
        """Whether nobody else had the engine's core in any second of it."""
        return not self.disturbed_s

    @property
    def false_verdict(self) -> bool:
        """Judged bound, although no second of it was disturbed."""
        return self.verdict != "valid" and self.quiet


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
            os.sched_setaffinity(0, {SERVER_CORE})  # what watches must not disturb
            runs: list[Quiet] = []
            while len(runs) < asked.tries and sum(run.quiet for run in runs) < asked.runs:
                runs.append(_quiet(plan, folder))
        finally:
            server.stop()
    for number, run in enumerate(runs, 1):
        told = f"{run.false_s} of {run.quiet_s} quiet seconds flagged"
        if run.disturbed_s:
            told += f", {run.flagged_s} of {run.disturbed_s} in which others had the core"
        print(f"{number:3} {run.verdict:8} {told}; {run.sentence}")
    sums = {name: sum(getattr(run, name) for run in runs) for name in ("false_s", "quiet_s")}
    wrong = sum(run.false_verdict for run in runs)
    still = sum(run.quiet for run in runs)
    print(
        f"{len(runs)} runs of {asked.seconds} s at {asked.rate:,.0f}/s, {still} without any "
        f"disturbed second: {sums['false_s']} of {sums['quiet_s']} quiet seconds flagged, "
        f"{wrong} false verdicts"
    )
    return 1 if wrong or sums["false_s"] else 0


def _quiet(plan: Plan, folder: Path) -> Quiet:
    windows, others = _run(plan, folder)
    phase = plan.phases[-1]
    numbers = phase_numbers(
        of_windows(windows)[phase.name],
        planned_s=phase.duration_s,
        offered_per_s=phase.rate_per_s,
        arrivals=phase.arrivals,
    )
    finding = generator_bound(numbers)
    judged = [window for window in windows if window.phase == phase.name and window.complete]
    quiet = {w.start_s for w in judged if others.get(w.start_s, 1.0) <= MOST_OTHERS}
    flagged = {window.start_s for window in judged if limits_broken(window)}
    return Quiet(
        quiet_s=len(quiet),
        false_s=len(flagged & quiet),
        disturbed_s=len(judged) - len(quiet),
        flagged_s=len(flagged - quiet),
        verdict=finding.verdict,
        sentence=finding.sentence,
    )


def _run(plan: Plan, folder: Path) -> tuple[list[Window], dict[int, float]]:
    """One engine on its core: its windows, and who else had the core in each second."""
    path, spool = folder / "plan.json", folder / "worker-0.spool"
    for old in parts_of(folder, 0):
        old.unlink()
    plan.write(path)
    words = [sys.executable, "-m", "loadgen.engine", str(path), "--spool", str(spool)]
    engine = subprocess.Popen(["taskset", "-c", str(ENGINE_CORE), *words], stderr=subprocess.PIPE)
    with CoreWatch(ENGINE_CORE, engine.pid) as watch:
        _, said = engine.communicate(timeout=600)
    if engine.returncode:
        raise MeasureFailed(f"the engine ended with {engine.returncode}: {said[-2000:]!r}")
    frames = [frame for frame in read_parts(folder, 0) if frame["kind"] == "window"]
    return [Window.from_json(frame) for frame in frames], watch.others


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
    parser.add_argument("--runs", type=int, default=10, help="quiet runs wanted")
    parser.add_argument("--tries", type=int, default=15, help="runs at most, disturbed ones too")
    parser.add_argument("--seconds", type=int, default=12, help="of each run's measured phase")
    parser.add_argument("--rate", type=float, default=3000.0, help="operations per second")
    return parser


if __name__ == "__main__":
    sys.exit(main())
