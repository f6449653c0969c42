"""One engine as its own process against a real server, and what its spool says afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.contract.parts import read_parts
from loadgen.contract.plan import Keyspace, Phase, Plan, Tls
from loadgen.contract.window import OperationWindow, SessionBegin, SessionEnd, Window

PROJECT = Path(__file__).resolve().parents[2]

FILL = Phase("fill", "fill", 30)
WITHIN_S = 120.0  # far beyond what any condition takes


def closed(seconds: int) -> Phase:
    return Phase("capacity", "closed", seconds)


def open_loop(seconds: int, rate: float, arrivals: str = "poisson") -> Phase:
    return Phase("steady", "open", seconds, rate_per_s=rate, arrivals=arrivals)


def plan_for(target: str, endpoints: list[str], tls: Tls, *phases: Phase, **changes) -> Plan:
    values = {
        "run_id": "test",
        "session": "capacity",
        "target": target,
        "endpoints": tuple(endpoints),
        "keyspace": Keyspace(500, "/bench/"),
        "phases": phases,
        "tls": tls,
        "value_bytes": 256,
        "connections": 12,
        "timeout_ms": 10_000,  # what takes so long is broken, and not a busy machine
        **changes,
    }
    return Plan(**values)


@dataclass
class Spooled:
    """What one engine left behind."""

    exit_code: int
    said: str
    printed: str
    windows: list[Window] = field(default_factory=list)
    begins: list[SessionBegin] = field(default_factory=list)
    end: SessionEnd | None = None

    def whole(self, phase: str = "") -> dict[str, OperationWindow]:
        """All windows of a phase, or of the session, added up."""
        made = {"read": OperationWindow(), "write": OperationWindow()}
        for window in self.windows:
            if phase in ("", window.phase):
                for name, operation in window.operations.items():
                    made[name].add(operation)
        return made

    def causes(self, phase: str = "") -> dict[str, int]:
        causes: dict[str, int] = {}
        for operation in self.whole(phase).values():
            for cause, count in operation.causes.items():
                causes[cause] = causes.get(cause, 0) + count
        return causes

    def count(self, name: str, phase: str = "") -> int:
        return sum(getattr(operation, name) for operation in self.whole(phase).values())

    def last_complete(self) -> Window:
        return [window for window in self.windows if window.complete][-1]

    def moved(self) -> int:
        return sum(window.generator.moved for window in self.windows)


class EngineRun:
    """Starts at once; `finish` waits and reads the spool."""

    def __init__(self, folder: Path, plan: Plan, *, rank: int = 0, windows: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.spool = folder / f"worker-{rank}.spool"
        self.rank = rank
        path = folder / "plan.json"
        plan.write(path)
        words = ["-m", "loadgen.engine", str(path), "--rank", str(rank), "--spool", str(self.spool)]
        self.popen = subprocess.Popen(
            [sys.executable, *words, *(["--windows"] if windows else [])],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_window(self, phase: str) -> None:
        """Until the first window of the phase is on disk, so a second or two into it."""
        self.wait_for(lambda window: window.phase == phase, f"a window of {phase}")

    def wait_for_answers(self, since_s: float) -> None:
        """Until a window that began after `since_s`, unix time, has operations that ended ok."""
        self.wait_for(
            lambda window: (
                window.start_s >= since_s and sum(it.ok for it in window.operations.values()) > 0
            ),
            "an operation that ended ok",
        )

    def wait_for(self, true: Callable[[Window], bool], what: str) -> None:
        """Until a window of which that is true is on disk."""
        ends_s = time.monotonic() + WITHIN_S
        while not any(true(window) for window in self.windows()):
            assert self.popen.poll() is None, f"the engine ended before {what}"
            assert time.monotonic() < ends_s, f"not within {WITHIN_S:.0f} s: {what}"
            time.sleep(0.1)

    def shows(self, phase: str) -> bool:
        """Whether a window of the phase is on disk."""
        return phase in {window.phase for window in self.windows()}

    def windows(self) -> list[Window]:
        """Those that are on disk so far."""
        return [Window.from_json(one) for one in self.frames() if one["kind"] == "window"]

    def frames(self) -> Iterator[dict[str, Any]]:
        return read_parts(self.spool.parent, self.rank)

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    def finish(self, timeout: float = 120) -> Spooled:
        try:
            printed, said = self.popen.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.communicate()
            raise
        made = Spooled(self.popen.returncode, said, printed)
        for frame in self.frames():
            if frame["kind"] == "end":
                made.end = SessionEnd.from_json(frame)
            elif frame["kind"] == "begin":
                made.begins.append(SessionBegin.from_json(frame))
            else:
                made.windows.append(Window.from_json(frame))
        return made


def until(condition: Callable[[], bool], what: str, *, within_s: float = WITHIN_S) -> None:
    """Wait for something to be so."""
    ends_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends_s, f"within {within_s:.0f} s never: {what}"
        time.sleep(0.01)


def run_engine(folder: Path, plan: Plan, **how) -> Spooled:
    return EngineRun(folder, plan, **how).finish()


def assert_the_sum_is_right(spooled: Spooled) -> None:
    """sent = ok + failed + unknown, and the windows say the same as the last frame."""
    end = spooled.end
    assert end is not None, spooled.said
    assert end.sent == end.ok + end.failed + end.unknown
    for name in ("sent", "ok", "failed", "unknown"):
        assert spooled.count(name) == getattr(end, name), name
    assert sum(spooled.causes().values()) == end.failed + end.unknown
    for operation in spooled.whole().values():
        assert operation.response.total == operation.ok
        assert operation.service.total == operation.ok
        assert operation.lag.total == operation.ok
