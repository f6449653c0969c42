"""One engine against one scripted server, and both accounts of what happened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadgen.contract.histogram import Histogram
from loadgen.contract.plan import Auth, Plan, Target
from tests.benchmarks.throwaway import Pki
from tests.controls.happenings import CAUSE_OF
from tests.controls.script import Script
from tests.controls.truth import Truth
from tests.integration.engine_runs import EngineRun, Spooled, assert_the_sum_is_right, plan_for

__all__ = ["Control", "Scripted", "assert_counts_are_exact", "whole"]

PROJECT = Path(__file__).resolve().parents[2]
TARGET: dict[str, Target] = {"resp": "redis_cluster", "grpc": "etcd", "tikv": "tikv"}
PASSWORD = "a password of the controls"


class Scripted:
    """The server's process. `truth` ends it and gives its account."""

    def __init__(self, folder: Path, script: Script, pki: Pki | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if pki is not None:
            script = replace(script, ca=pki.path("ca.crt"), cert=pki.path("host.crt"),
                             key=pki.path("host.key"))  # fmt: skip
        self.script = script
        self._truth = folder / "truth.json"
        self._pki = pki
        self._password = folder / "password"
        self._password.write_text(script.password)
        script.write_file(folder / "script.json")
        words = [str(folder / "script.json"), "--truth", str(self._truth)]
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tests.controls.scripted_server", *words],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.popen.stdout is not None
        self.ports: list[int] = json.loads(self.popen.stdout.readline())["ports"]

    def plan(self, *phases: Any, **changes: Any) -> Plan:
        """A plan for it; plain where the server is plain."""
        made = plan_for(
            TARGET[self.script.protocol],
            [f"127.0.0.1:{port}" for port in self.ports],
            self._pki.tls() if self._pki is not None else None,
            *phases,
            **changes,
        )
        if self.script.password:
            made = replace(made, auth=Auth("bench", str(self._password)))
        return made

    def truth(self) -> Truth:
        """End it; its account."""
        self.stop()
        return Truth.read_file(self._truth)

    def stop(self) -> None:
        """End it; a second call is fine. Raises CalledProcessError if it failed meanwhile."""
        assert self.popen.stdin is not None and self.popen.stdout is not None
        self.popen.stdin.close()
        try:
            code = self.popen.wait(120)
        finally:
            self.popen.kill()
            self.popen.wait()
            self.popen.stdout.close()
        if code:
            raise subprocess.CalledProcessError(code, "the scripted server")


@dataclass
class Control:
    """What the engine says, and what is true."""

    protocol: str
    spooled: Spooled
    truth: Truth

    @classmethod
    def run(cls, folder: Path, server: Scripted, *phases: Any, **changes: Any) -> Control:
        """The engine against the server, to the end of both."""
        spooled = EngineRun(folder / "engine", server.plan(*phases, **changes)).finish()
        return cls(server.script.protocol, spooled, server.truth())


def whole(spooled: Spooled, kind: str, phase: str) -> Histogram:
    """Reads and writes of a phase together: "response", "service" or "lag"."""
    return Histogram.merged(getattr(one, kind) for one in spooled.whole(phase).values())


def assert_counts_are_exact(control: Control) -> None:
    """Every operation that the server saw is one that the engine counted, by the same name."""
    spooled, truth = control.spooled, control.truth
    assert spooled.exit_code == 0, spooled.said
    assert_the_sum_is_right(spooled)
    redirected = truth.count("moved", "ask")
    assert spooled.count("sent") == len(truth.rows) - redirected
    for word, operation in spooled.whole().items():
        assert operation.ok == truth.count("ok", word=word)
        outcomes: Counter[str] = Counter()
        causes: Counter[str] = Counter()
        for happening in CAUSE_OF[control.protocol]:
            outcome, cause = CAUSE_OF[control.protocol][happening]
            outcomes[outcome] += truth.count(happening, word=word)
            causes[cause] += truth.count(happening, word=word)
        assert operation.causes == {cause: n for cause, n in causes.items() if n}
        assert (operation.failed, operation.unknown) == (outcomes["failed"], outcomes["unknown"])
