"""The only doubles. `FakeEngine`: windows by the contract, from a seed, without a target."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from loadgen.contract.plan import Phase, Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import GeneratorState, OperationWindow, SessionEnd, Window


class FakeEngine:
    """`python -m tests.fakes PLAN --rank N --spool FILE` stands in for `loadgen.engine`.

    Each phase gives one window per planned second, `pace_s` apart (FAKE_ENGINE_PACE_S).
    """

    def __init__(self, plan: Plan, rank: int, spool: Path, *, pace_s: float = 0.05) -> None:
        self.plan, self.rank, self.pace_s = plan, rank, pace_s
        self.spool = SpoolWriter(spool)
        self.random = random.Random(plan.seed + rank)
        self.sums = {"sent": 0, "ok": 0, "failed": 0, "unknown": 0}
        self.seq = 0
        self.asked_to_stop = False

    def window(self, phase: Phase, start_s: int) -> Window:
        """One window with a few hundred operations of each kind, some of them not ok."""
        window = Window(
            worker=self.rank,
            seq=self.seq,
            phase=phase.name,
            mode=phase.mode,
            start_s=start_s,
            length_s=self.plan.window_s,
            operations={name: self.operation() for name in ("read", "write")},
            generator=GeneratorState(cpu_share=0.5),
        )
        self.seq += 1
        return window

    def operation(self) -> OperationWindow:
        """Latencies between 80 us and 30 ms."""
        made = OperationWindow(ok=self.random.randint(100, 300))
        made.failed, made.unknown = self.random.choice([(0, 0), (0, 0), (2, 1)])
        made.due = made.sent = made.ok + made.failed + made.unknown
        made.causes = {"busy": 2, "timeout": 1} if made.failed else {}
        for _ in range(made.ok):
            latency_us = int(self.random.lognormvariate(6, 1)) + 80
            made.response.record(latency_us)
            made.service.record(latency_us)
            made.lag.record(0)
        for name in self.sums:
            self.sums[name] += getattr(made, name)
        return made

    def run(self) -> None:
        """All phases, then the end; a SIGTERM ends it early but properly."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "asked_to_stop", True))
        start_s = int(time.time())
        for phase in self.plan.phases:
            for _ in range(0, phase.duration_s, self.plan.window_s):
                if not self.asked_to_stop:
                    self.spool.append(self.window(phase, start_s).to_json())
                    start_s += self.plan.window_s
                    time.sleep(self.pace_s)
        outcome = "stopped" if self.asked_to_stop else "finished"
        end = SessionEnd(worker=self.rank, outcome=outcome, reason="", notes={}, **self.sums)
        self.spool.append(end.to_json())
        self.spool.close()


if __name__ == "__main__":
    FakeEngine(
        Plan.read(Path(sys.argv[1])),
        int(sys.argv[sys.argv.index("--rank") + 1]),
        Path(sys.argv[sys.argv.index("--spool") + 1]),
        pace_s=float(os.environ.get("FAKE_ENGINE_PACE_S", "0.05")),
    ).run()
