"""`python -m tests.benchmarks.truth`: the instrument's figures that no test can hold, since they
depend on the machine: its own lag near its ceiling, and a paused server in half a minute.

The ceiling is what the engine sends in open loop against the same server in the same run when far
more is due than it can send; every repeat asks for it anew, since on a shared machine it moves by
the minute. (In closed loop operations come in batches and cost less: that rate is no open loop's.)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from loadgen.contract.histogram import Histogram
from loadgen.contract.parts import parts_of, read_parts
from loadgen.contract.plan import Keyspace, Phase, Plan, Target
from loadgen.contract.window import Window
from tests.benchmarks.measure import MeasureFailed
from tests.benchmarks.throwaway import Etcd, Pki, Redis, serving
from tests.controls.stalls import Pausable, PausableTikv, analytic_p99_us, pause

__all__ = ["main"]

PREFIX, KEYS = "/bench/", 20_000
STALL_S, STALL_RUN_S = 1.4, 30
FIFO = 10

# Few operations, on few connections: those in flight when the server stops, and those that it
# answers while it catches up, must stay well below 1 % or be as fast as ever, or service P99 would
# rightly show them. 4 of 6,000 are in flight.
STALL_RATE_PER_S, STALL_CONNECTIONS = 200.0, 4

OVERLOAD = 1.3  # of the closed loop's rate: more than any open loop can send

GAPS = """
import time
now = time.monotonic_ns
began = last = now()
lost = 0
while last < began + 1_000_000_000:
    this = now()
    if this - last > 200_000:
        lost += this - last
    last = this
print(lost / (last - began))
"""

EXAMPLES = """\
examples:
  python -m tests.benchmarks.truth                       both figures, all targets: six minutes
  python -m tests.benchmarks.truth lag --targets redis_cluster --repeats 5
  python -m tests.benchmarks.truth lag --share 0.5 --arrivals constant
  python -m tests.benchmarks.truth lag --engine . --engine ../before   two trees in turn, one run
  python -m tests.benchmarks.truth sigstop --out truth.json

TiKV is the double of tests/tikv_double: its ceiling is the double's, some 4,000 calls a second, and
its lag the wait for that; what its SIGSTOP shows is the engine's own.

Server on one core, engine on another. --nice -15 is what the systemd unit gives the engine; with
sched_autogroup it counts within one session only, so the session gets it, too. --fifo is
chrt -f 10 instead: the kernel takes a real-time process that leaves others nothing off its core
for 50 ms of each second.

"lost" is what a loop that only looks at the clock loses in gaps above 200 us, under the same
conditions just before: where that is more than 1 %, no program's lag P99 can be under 200 us.
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, save. Exit 0, 2 when it cannot run."""
    asked = _parser().parse_args(arguments)
    asked.engine = asked.engine or [Path(__file__).resolve().parents[2]]
    result: dict[str, Any] = {"schema": 1, "machine": platform.platform()}
    result["under"] = "chrt -f 10" if asked.fifo else f"nice -n {asked.nice}"
    try:
        with tempfile.TemporaryDirectory(prefix="truth-") as folder, _preferred_session(asked.nice):
            pki = Pki.make(Path(folder) / "pki")
            for target in asked.targets:
                result[target] = _target(asked, target, Path(folder), pki)
    except (MeasureFailed, TimeoutError, OSError) as failure:
        print(f"truth: {failure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")
        print(f"saved: {asked.out}")
    return 0


def _target(asked: argparse.Namespace, target: Target, folder: Path, pki: Pki) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))
    made: dict[str, Any] = {}
    with serving(_server(target, folder / target, cores[-1], pki)) as server:
        _prefer(server.pid, asked)
        plan = Plan(
            run_id="truth", session="steady", target=target, endpoints=(server.endpoint,),
            keyspace=Keyspace(KEYS, PREFIX), phases=(), tls=pki.tls(),
            connections=asked.connections, pipeline=asked.pipeline,
        )  # fmt: skip
        run = _Engine(asked, folder, cores[0])
        run.to_end(replace(plan, phases=(Phase("fill", "fill", 120),)), asked.engine[0])
        if asked.figure in ("all", "lag"):
            made["lag"] = _lag(asked, plan, run)
        if asked.figure in ("all", "sigstop"):
            made["sigstop"] = _sigstop(asked, plan, run, server)
    return made


@contextmanager
def _preferred_session(nice: int) -> Iterator[None]:
    """With sched_autogroup, niceness counts within a session only; between them, the session's."""
    mine = Path("/proc/self/autogroup")
    before = mine.read_text().split()[-1] if mine.exists() else ""
    if before:
        mine.write_text(str(nice))
    try:
        yield
    finally:
        if before:
            mine.write_text(before)


def _prefer(pid: int, asked: argparse.Namespace) -> None:
    """What the engine gets, for every thread of the server."""
    for path in Path(f"/proc/{pid}/task").iterdir():
        thread = int(path.name)
        if asked.fifo:
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(FIFO))
        else:
            os.setpriority(os.PRIO_PROCESS, thread, asked.nice)


def _server(target: Target, folder: Path, core: int, pki: Pki) -> Pausable:
    if target == "tikv":
        return PausableTikv(pki, prefix=PREFIX, keys=KEYS, core=core)
    kind = Redis if target == "redis_cluster" else Etcd
    return kind(folder, core=core, pki=pki)


class _Engine:
    """Runs engines of one or several trees, on one core."""

    def __init__(self, asked: argparse.Namespace, folder: Path, core: int) -> None:
        first = ["chrt", "-f", str(FIFO)] if asked.fifo else ["nice", "-n", str(asked.nice)]
        self._before = [*first, "taskset", "-c", str(core)]
        self._folder = folder

    def start(self, plan: Plan, tree: Path) -> subprocess.Popen[str]:
        path, spool = self._folder / "plan.json", self._folder / "worker-0.spool"
        for old in parts_of(self._folder, 0):
            old.unlink()
        plan.write(path)
        words = [sys.executable, "-m", "loadgen.engine", str(path), "--spool", str(spool)]
        # The tree goes first on the path: the project is installed in the environment, too.
        environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
        return subprocess.Popen(
            [*self._before, *words], cwd=tree, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def finish(self, popen: subprocess.Popen[str], phase: str) -> list[Window]:
        """Complete windows of `phase`."""
        _, said = popen.communicate(timeout=300)
        if popen.returncode:
            raise MeasureFailed(f"the engine ended with {popen.returncode}: {said[-2000:]}")
        frames = read_parts(self._folder, 0)
        windows = [Window.from_json(frame) for frame in frames if frame["kind"] == "window"]
        return [window for window in windows if window.phase == phase and window.complete]

    def lost_share(self) -> float:
        """Share of a second that the engine's core is not ours, in gaps above 200 us."""
        done = subprocess.run(
            [*self._before, sys.executable, "-c", GAPS], capture_output=True, text=True, timeout=60
        )
        return float(done.stdout)

    def to_end(self, plan: Plan, tree: Path) -> list[Window]:
        """The windows of the plan's last phase."""
        return self.finish(self.start(plan, tree), plan.phases[-1].name)


def _whole(windows: list[Window], kind: str) -> Histogram:
    parts = (operation for window in windows for operation in window.operations.values())
    return Histogram.merged(getattr(part, kind) for part in parts)


def _lag(asked: argparse.Namespace, plan: Plan, run: _Engine) -> list[dict[str, Any]]:
    print(f"\n{plan.target}: at {asked.share:.0%} of the open-loop ceiling, {asked.seconds} s each")
    print(f"{'tree':<10}{'arrivals':<10}{'ceiling/s':>10}{'rate/s':>9}{'sent':>7}{'lag P50':>9}"
          f"{'lag P99':>9}{'late P99':>10}{'median s':>10}{'CPU':>6}{'lost':>7}")  # fmt: skip
    made = []
    for arrivals in asked.arrivals:
        for _ in range(asked.repeats):
            ceiling = _ceiling(plan, run, asked.engine[0])
            for tree in asked.engine:
                one = _lag_once(asked, plan, run, tree, ceiling, arrivals)
                made.append(one)
                print(f"{tree.resolve().name[:9]:<10}{arrivals:<10}{ceiling:>10,.0f}"
                      f"{one['rate_per_s']:>9,.0f}{one['sent_share']:>7.1%}{one['lag_p50_us']:>9,}"
                      f"{one['lag_p99_us']:>9,}{one['late_p99_us']:>10,}"
                      f"{one['lag_p99_us_median_second']:>10,.0f}{one['cpu_share']:>6.2f}"
                      f"{one['lost_share']:>7.1%}",
                      flush=True)  # fmt: skip
    return made


def _ceiling(plan: Plan, run: _Engine, tree: Path) -> float:
    """Operations per second in open loop with too much due: the median second of four."""
    closed = _ok_per_s(plan, run, tree, Phase("capacity", "closed", 2))
    return _ok_per_s(plan, run, tree, Phase("capacity", "open", 4, OVERLOAD * closed))


def _ok_per_s(plan: Plan, run: _Engine, tree: Path, phase: Phase) -> float:
    phases = (replace(phase, name="warmup", duration_s=1), phase)
    windows = run.to_end(replace(plan, phases=phases), tree)
    return median(sum(one.ok for one in window.operations.values()) for window in windows)


def _lag_once(
    asked: argparse.Namespace, plan: Plan, run: _Engine, tree: Path, ceiling: float, arrivals: Any
) -> dict[str, Any]:
    rate = asked.share * ceiling
    phases = tuple(
        Phase(name, "open", seconds, rate, arrivals)
        for name, seconds in (("warmup", 1), ("steady", asked.seconds))
    )
    lost_share = run.lost_share()
    windows = run.to_end(replace(plan, phases=phases), tree)
    lag, late = _whole(windows, "lag"), Histogram.merged(window.late for window in windows)
    return {
        "tree": tree.resolve().name,
        "arrivals": arrivals,
        "lost_share": lost_share,
        "ceiling_per_s": ceiling,
        "rate_per_s": rate,
        "sent_share": lag.total / len(windows) / rate,
        "lag_p50_us": lag.percentile_us(50),
        "lag_p99_us": lag.percentile_us(99),
        "late_p50_us": late.percentile_us(50),
        "late_p99_us": late.percentile_us(99),
        # A machine that takes the core away for a moment spoils one second, not the median.
        "lag_p99_us_median_second": median(_whole([w], "lag").percentile_us(99) for w in windows),
        "lag_p99_us_by_second": [_whole([w], "lag").percentile_us(99) for w in windows],
        "service_p50_us": _whole(windows, "service").percentile_us(50),
        "cpu_share": median(window.generator.cpu_share for window in windows),
        "loop_lag_max_us": max(window.generator.loop_lag_max_us for window in windows),
    }


def _sigstop(
    asked: argparse.Namespace, plan: Plan, run: _Engine, server: Pausable
) -> dict[str, Any]:
    rate = STALL_RATE_PER_S
    steady = Phase("steady", "open", STALL_RUN_S, rate, "constant")
    few = replace(plan, phases=(steady,), connections=STALL_CONNECTIONS, pipeline=1)
    popen = run.start(few, asked.engine[0])
    time.sleep(STALL_RUN_S / 2)
    began_unix_s = time.time()
    (held,) = pause([server], STALL_S)
    stalled_s = held.paused_s
    windows = run.finish(popen, "steady")
    quiet = [w for w in windows if not began_unix_s - 1 < w.start_s < began_unix_s + STALL_S + 1]
    response, service = _whole(windows, "response"), _whole(windows, "service")
    analytic_us = analytic_p99_us(stalled_s, STALL_RUN_S)
    made = {
        "rate_per_s": rate,
        "stalled_s": stalled_s,
        "unanswered_s": held.unanswered_s,
        "analytic_p99_us": analytic_us,
        "response_p99_us": response.percentile_us(99),
        "response_off": response.percentile_us(99) / analytic_us - 1,
        "service_p99_us": service.percentile_us(99),
        "service_p99_us_without_the_stall": _whole(quiet, "service").percentile_us(99),
    }
    print(f"\n{plan.target}: stopped for {stalled_s:.3f} s in {STALL_RUN_S} s at {rate:,.0f}/s\n"
          f"  response P99 {made['response_p99_us']:,} us, analytic {analytic_us:,.0f} us "
          f"({made['response_off']:+.1%}); it answered again after {held.unanswered_s:.3f} s\n"
          f"  service P99 {made['service_p99_us']:,} us; of the seconds without the stall "
          f"{made['service_p99_us_without_the_stall']:,} us", flush=True)  # fmt: skip
    return made


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.truth",
        description="The engine's lag near its ceiling, and a server that is paused.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("figure", nargs="?", choices=("all", "lag", "sigstop"), default="all")
    parser.add_argument("--targets", nargs="+", choices=("redis_cluster", "etcd", "tikv"),
                        default=["redis_cluster", "etcd", "tikv"])  # fmt: skip
    parser.add_argument("--repeats", type=int, default=3, help="per kind of arrivals (3)")
    parser.add_argument("--seconds", type=int, default=6, help="of open loop (6)")
    parser.add_argument("--share", type=float, default=0.8, help="of the ceiling (0.8)")
    parser.add_argument("--arrivals", nargs="+", choices=("constant", "poisson"),
                        default=["constant", "poisson"])  # fmt: skip
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--pipeline", type=int, default=1)
    parser.add_argument("--nice", type=int, default=-15, help="of engine and server (-15)")
    parser.add_argument("--fifo", action="store_true", help="SCHED_FIFO instead of nice")
    parser.add_argument("--engine", type=Path, action="append", help="a source tree; again for two")
    parser.add_argument("--out", type=Path, help="save the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
