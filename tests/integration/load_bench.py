"""Hosts with a Redis Cluster, and the load stage pressing it: for tests of sessions."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadgen.contract.plan import Plan
from soakbed.adapters.ssh import Result, Ssh
from soakbed.records.places import Places
from soakbed.records.run import LoadOutcome, ReadyTarget
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Testbed
from soakbed.stages.load import Care, drive, plan_session
from soakbed.stages.load_plan import session_id

PROJECT = Path(__file__).resolve().parents[2]
HOSTS = {
    "d1": {"duty": "data", "address": "10.83.60.11"},
    "d2": {"duty": "data", "address": "10.83.60.12"},
    "d3": {"duty": "data", "address": "10.83.60.13"},
    "l1": {"duty": "load", "address": "10.83.60.21"},
    "l2": {"duty": "load", "address": "10.83.60.22"},
}
SPEC = RunSpec.model_validate(
    {
        "testbed": {
            "name": "t-load",
            "provider": "local",
            "network_cidr": "10.83.60.0/24",
            "hosts": HOSTS,
        },
        "workload": {"name": "short", "keys": 500, "phases": {"warmup_s": 1, "capacity_s": 10}},
        "targets": ["redis_cluster"],
        "profile": "stock",
    }
)


class Bench:
    """Hosts with a Redis Cluster, and the load stage pressing it from l1, or from l2 too."""

    def __init__(self, places: Places, whole: Testbed, ready: ReadyTarget) -> None:
        alone = {name: host for name, host in whole.hosts.items() if name != "l2"}
        testbed = whole.model_copy(update={"hosts": alone})
        self.places, self.testbed, self.ready = places, testbed, ready
        # Two engines on each load host, as where each has two cores.
        twice = {
            name: host.model_copy(update={"cpus": (0, 1)}) if host.duty == "load" else host
            for name, host in whole.hosts.items()
        }
        self.whole = whole.model_copy(update={"hosts": twice})
        self.l1 = testbed.hosts["l1"]
        self.shell = Ssh(whole)
        self.said: list[str] = []

    def plan(self, run_id: str, on: Testbed | None = None) -> Plan:
        return plan_session(
            SPEC,
            self.ready,
            run_id=run_id,
            session="capacity",
            capacity_per_s=0.0,
            testbed=on or self.testbed,
        )

    def press(
        self,
        run_id: str,
        folder: Path,
        *,
        on: Testbed | None = None,
        web_port: int = 0,
        **changed: Any,
    ) -> LoadOutcome:
        self.said = []
        with Ssh(on or self.testbed) as shell:
            return drive(
                replace(self.plan(run_id, on), **changed),
                on or self.testbed,
                shell=shell,
                folder=folder,
                progress=self.said.append,
                care=Care(web_port=web_port),
            )

    def press_and(
        self, run_id: str, folder: Path, then: Callable[[], Any], **changed: Any
    ) -> LoadOutcome:
        """Press, and do something to it once windows are coming."""
        with ThreadPoolExecutor(1) as pool:
            meddling = pool.submit(lambda: (self.wait_for_windows(run_id), then()))
            outcome = self.press(run_id, folder, **changed)
            meddling.result()
        return outcome

    def press_elsewhere(self, run_id: str, folder: Path) -> subprocess.Popen[str]:
        """The same in a process of its own, so that it can be killed."""
        state = self.places.state
        code = f"""
            from pathlib import Path
            from soakbed.adapters.ssh import CommandFailed, HostUnreachable, Ssh
            from soakbed.records.testbed import Testbed
            from loadgen.contract.plan import Plan
            from soakbed.stages.load import drive
            testbed = Testbed.model_validate_json(Path({str(state / "testbed.json")!r}).read_text())
            plan = Plan.read(Path({str(state / f"{run_id}.json")!r}))
            with Ssh(testbed) as shell:
                drive(plan, testbed, shell=shell, folder=Path({str(folder)!r}), progress=print)
        """
        self.plan(run_id).write(state / f"{run_id}.json")
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=PROJECT)

    def wait_for_samplers(self, name: str, count: int) -> None:
        """Until so many have begun to write on l1."""
        asked = ["grep", "-c", "schema", f"/var/lib/soakbed/samples/{name}/samples.jsonl"]
        deadline = time.monotonic() + 240
        while self.on_l1(*asked).strip() != str(count):
            assert time.monotonic() < deadline
            time.sleep(0.5)

    def wait_for_windows(self, run_id: str) -> None:
        """Until the session has pressed for a second or two."""
        folder = f"/var/lib/soakbed/sessions/{session_id(self.plan(run_id))}"
        ends_s = time.monotonic() + 240
        asked = ["sh", "-c", f'grep -c \'"phase": "capacity"\' {folder}/progress-0.json']
        while self.shell.run(self.l1, asked, check=False).out.strip() != "1":
            assert time.monotonic() < ends_s, "no window came"
            time.sleep(0.3)

    def on_l1(self, *command: str) -> str:
        return self.shell.run(self.l1, command, check=False).out

    def on_l2(self, *command: str) -> str:
        return self.shell.run(self.whole.hosts["l2"], command, check=False).out

    def tunnel(self) -> dict[str, str]:
        """How the unit of l2's tunnel stands."""
        asked = "--property=ActiveState,MainPID,NRestarts"
        shown = self.on_l2("systemctl", "show", asked, "soakbed-load-tunnel.service")
        return dict(line.split("=", 1) for line in shown.split())

    def tunnel_restarts(self) -> int:
        """How often systemd has started it again."""
        return int(self.tunnel()["NRestarts"])

    def through_tunnel(self, *words: str, to: str = "") -> Result:
        """ssh from l2 as its tunnel's unit calls it, but for what is asked."""
        unit = self.on_l2("systemctl", "show", "-P", "ExecStart", "soakbed-load-tunnel.service")
        command = unit.partition("argv[]=")[2].partition(" ;")[0].split()
        known = command[: command.index("-N")]
        asked = [*("timeout", "20", "runuser", "-u", "soakbed-tunnel", "--"), *known, *words]
        return self.shell.run(
            self.whole.hosts["l2"], [*asked, command[-1], *to.split()], check=False
        )

    def unit(self, duty: str, run_id: str, rank: int = 0) -> str:
        at = f":{rank}" if duty == "worker" else ""
        return f"soakbed-load-{duty}@{session_id(self.plan(run_id))}{at}.service"

    def kill_engine(self, run_id: str, rank: int = 0) -> None:
        unit = self.unit("worker", run_id, rank)
        group = self.on_l1("systemctl", "show", "-P", "ControlGroup", unit).strip()
        pids = self.on_l1("cat", f"/sys/fs/cgroup/systemd{group}/cgroup.procs").split()
        assert pids, f"{unit} has no process"
        for pid in pids:
            if "loadgen.engine" in self.on_l1("cat", f"/proc/{pid}/cmdline"):
                self.on_l1("kill", "-KILL", pid)
