"""The only doubles: `FakeEngine` stands in for the load engine, `FakeLoadHost` for a load host,
`FakeHosts` for hosts that only listen, `FakeAnsible` for playbooks, `FakeArtifacts` for what is
fetched.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadgen.contract.plan import Phase, Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import (
    GeneratorState,
    OperationWindow,
    SessionBegin,
    SessionEnd,
    Window,
)
from loadgen.engine.past import past_of
from loadgen.engines import Lock
from loadgen.look import look
from loadgen.session import SessionFolder


class FakeEngine:
    """`python -m tests.fakes PLAN --rank N --spool FILE` stands in for `loadgen.engine`.

    Each phase gives one window per planned second, `pace_s` apart (FAKE_ENGINE_PACE_S).
    """

    def __init__(self, plan: Plan, rank: int, spool: Path, *, pace_s: float = 0.05) -> None:
        self.plan, self.rank, self.pace_s = plan, rank, pace_s
        # As the engine: in the place of another it goes on, here with the windows that lack.
        self.past = past_of(spool, spool.with_suffix(".clock"), rank=rank, attempts=0)
        self.spool = SpoolWriter(spool)
        self.random = random.Random(plan.seed + rank)
        self.sums = {"sent": 0, "ok": 0, "failed": 0, "unknown": 0}
        self.seq = self.past.seq
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
        if self.past.outcome:
            return
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "asked_to_stop", True))
        if self.past.attempt:
            begin = SessionBegin(self.rank, self.past.attempt, time.time(), self.seq, "engine_died")
            self.spool.append(begin.to_json())
        start_s, seq = int(time.time()), 0
        for phase in self.plan.phases:
            for _ in range(0, phase.duration_s, self.plan.window_s):
                seq += 1
                if not self.asked_to_stop and seq > self.past.seq:
                    self.spool.append(self.window(phase, start_s).to_json())
                    start_s += self.plan.window_s
                    time.sleep(self.pace_s)
        outcome = "stopped" if self.asked_to_stop else "finished"
        end = SessionEnd(worker=self.rank, outcome=outcome, reason="", notes={}, **self.sums)
        self.spool.append(end.to_json())
        self.spool.close()


class FakeLoadHost:
    """A Shell for one load host: units are a set of names, sessions are folders below `root`.

    A session runs when its units start and is over after `looks` looks. `leaves` says what it
    leaves: "all" of its spool, a spool "cut" before its end, or "nothing".
    """

    def __init__(self, root: Path, *, looks: int = 1, leaves: str = "all") -> None:
        self.root, self.looks, self.leaves = root, looks, leaves
        self.active: set[str] = set()
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.raises: list[BaseException | None] = []  # one per look, before it
        self.line_breaks: list[BaseException] = []  # one per part of a file that is asked for
        self.stop_raises: list[BaseException] = []  # one per unit that is to stop, before it
        self.removed: list[str] = []
        self.on_start: Callable[[Sequence[str]], None] = lambda _units: None
        self.shown: dict[str, Any] = {"phase": "capacity", "start_s": 1}
        self.boots: list[str] = []  # one per look; the last stays
        self.checked: list[list[str]] = []
        self.promise = ""  # what the check of TiKV says is wrong

    def run(self, host, command: Sequence[str], *, timeout_s: float = 60, check: bool = True):
        from soakbed.adapters.ssh import Result

        match list(command):
            case [*_, "loadgen.look", folder]:
                return Result(0, json.dumps(look(self.local(folder))), "")
            case ["systemctl", "list-units", *_]:
                return Result(0, "\n".join(u for u in self.active if "worker" in u), "")
            case ["systemctl", "start", *units]:
                self.start(units)
            case ["systemctl", "stop", *units]:
                if self.stop_raises:
                    raise self.stop_raises.pop(0)
                self.stopped += [unit for unit in units if unit in self.active]
                self.active -= set(units)
            case ["sh", "-c", _, "glance", folder, _, *units]:
                return Result(0, self.glance(self.local(folder), units), "")
            case ["find", folder, *_]:
                return Result(0, self.listed(self.local(folder)), "")
            case ["sh", "-c", _, "stop" | "end", folder]:
                pass
            case ["rm", "-rf", folder]:
                self.removed.append(folder)
                shutil.rmtree(self.local(folder), ignore_errors=True)
            case ["chown", *_] | ["rm", "-f", _] | ["systemctl", "reset-failed", *_]:
                pass
            case ["date", "+%s"]:
                return Result(0, f"{int(time.time())}\n", "")
            case [*_, "loadgen.clients.tikv_check", _, _, _, _, "--pd", endpoint]:
                self.checked.append(["--pd", endpoint])
                return Result(1 if self.promise else 0, "{}", self.promise)
            case ["journalctl", *_]:
                return Result(0, "the unit said why\n", "")
            case _:
                raise AssertionError(f"a load host is not asked for {command}")
        return Result(0, "", "")

    def start(self, units: Sequence[str]) -> None:
        self.started += units
        self.active |= set(units)
        self.on_start(units)
        if self.leaves == "nothing":
            return
        folder = self.root / units[0].partition("@")[2].removesuffix(".service")
        plan = Plan.read(folder / "plan.json")
        for rank in range(plan.workers):
            spool = folder / f"worker-{rank}.spool"
            FakeEngine(plan, rank, spool, pace_s=0).run()
            if self.leaves == "cut":
                spool.write_bytes(spool.read_bytes()[:-20])

    def glance(self, folder: Path, units: Sequence[str]) -> str:
        if self.raises and (error := self.raises.pop(0)):
            raise error
        self.looks -= 1
        if self.looks < 0:
            self.active.clear()
        shown = {**self.shown, "per_s": 5.0, "not_ok_per_s": 0.0}
        lines = (
            [json.dumps({**shown, "response_p99_us": 1500})] if any(folder.glob("*.spool")) else []
        )
        if self.boots:
            boot = self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]
            lines.append(json.dumps({"disk_free_bytes": 10**9, "boot": boot}))
        states = {unit: "active" if unit in self.active else "inactive" for unit in units}
        blocks = [f"Id={unit}\nActiveState={state}\n" for unit, state in states.items()]
        return "".join(line + "\n" for line in lines) + "\n".join(blocks)

    def put_texts(self, host, folder: str, texts: Mapping[str, str]) -> None:
        self.local(folder).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (self.local(folder) / name).write_text(text)

    def get_tree(self, host, folder: str, into: Path, *, timeout_s: float = 600) -> None:
        shutil.copytree(self.local(folder), into, dirs_exist_ok=True)

    def read_part(self, host, path: str, offset: int, most_bytes: int) -> bytes:
        from soakbed.adapters.ssh import CommandFailed

        if self.line_breaks:
            raise self.line_breaks.pop(0)
        try:
            with self.local(path).open("rb") as file:
                file.seek(offset)
                return file.read(most_bytes)
        except FileNotFoundError as error:
            raise CommandFailed(str(error), remedy="look") from error

    def listed(self, folder: Path) -> str:
        lines = []
        for path in sorted(folder.glob("*")):
            with contextlib.suppress(FileNotFoundError):  # whoever writes there renames and removes
                kind = "d" if path.is_dir() else "f"
                lines.append(f"{kind}\t{path.stat().st_size}\t{path.name}\n")
        return "".join(lines)

    def local(self, folder: str) -> Path:
        return self.root / folder.rpartition("/sessions/")[2]


class FakeHosts:
    """A Shell that keeps what each host was asked and given, and raises for hosts in `away`.

    `codes`: first word of a command -> how it ends; `trees`: what any folder of a host holds.
    """

    def __init__(self, *, trees: Mapping[str, bytes] | None = None, **codes: int) -> None:
        self.trees, self.codes = trees or {}, codes
        self.away: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.given: dict[str, dict[str, str]] = {}

    def run(self, host, command: Sequence[str], *, timeout_s: float = 60, check: bool = True):
        from soakbed.adapters.ssh import HostUnreachable, Result

        self.asked.append((host.name, " ".join(command)))
        if host.name in self.away:
            raise HostUnreachable(f"{host.name} is away", remedy="wait")
        return Result(self.codes.get(command[0], 0), "", "")

    def put_texts(self, host, folder: str, texts: Mapping[str, str]) -> None:
        self.given.setdefault(host.name, {}).update(texts)

    def get_tree(self, host, folder: str, into: Path, *, timeout_s: float = 600) -> None:
        into.mkdir(parents=True, exist_ok=True)
        for name, content in self.trees.items():
            (into / name).write_bytes(content)

    def read_part(self, host, path: str, offset: int, most_bytes: int) -> bytes:
        return self.trees[Path(path).name][offset : offset + most_bytes]


class FakeAnsible:
    """Plays nothing: keeps what it was asked, and hands back what it was given by playbook."""

    def __init__(self, returned: Mapping[str, Mapping[str, Any]] | None = None, changed: int = 0):
        self.returned, self.changed = returned or {}, changed
        self.played: list[tuple[str, dict[str, Any]]] = []

    def play(self, playbook, inventory, variables, *, log, on_event=None):
        from soakbed.adapters.ansible import PlayOutcome

        self.played.append((playbook, dict(variables)))
        return PlayOutcome(self.changed, 0.1, (), self.returned.get(playbook, {}))


class FakeArtifacts:
    """Has one bundle for every target; keeps what it was asked."""

    def __init__(self, bundle) -> None:
        self.made = bundle
        self.asked: list[tuple[str, bool, str]] = []

    def bundle(self, target, *, allow_substitute, arch=""):
        self.asked.append((target, allow_substitute, arch))
        return self.made


if __name__ == "__main__":
    the_rank = int(sys.argv[sys.argv.index("--rank") + 1])
    the_spool = Path(sys.argv[sys.argv.index("--spool") + 1])
    lock = Lock(SessionFolder(the_spool.parent).lock(the_rank))
    lock.take(lock.attempts)
    FakeEngine(
        Plan.read(Path(sys.argv[1])),
        the_rank,
        the_spool,
        pace_s=float(os.environ.get("FAKE_ENGINE_PACE_S", "0.05")),
    ).run()
