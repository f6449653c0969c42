"""One session of load on the load hosts: its folder, its units, what it shows while it runs.

Used by `stages.load`. Nothing is held here: every answer is read from the hosts, so that a
controller that was killed finds the session as it is (design.md D9).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loadgen.contract.plan import Plan
from soakbed.adapters.ssh import HostUnreachable, Shell
from soakbed.errors import LoadError
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.load_plan import ranks_by_host, session_id

__all__ = ["SESSIONS", "Glance", "LoadSession", "found_outcome"]

SESSIONS = "/var/lib/soakbed/sessions"
PYTHON = "/opt/soakbed/loadgen-venv/bin/python"
_LOOK = ["env", "-C", "/opt/soakbed", PYTHON, "-m", "loadgen.look"]
_STOP_TIMEOUT_S = 90
_USER = "soakbed"  # the system user that the role pki makes, and that the units run as
# Locust needs 3-6 s to start all workers on a small host; folders and units are laid and started
# host by host, in well under a second each.
_START_TOGETHER_S = 15
_START_PER_HOST_S = 1
_TUNNEL = "soakbed-load-tunnel.service"
# One command for everything that a look at a session needs.
_GLANCE = """cd "$1" && shift && { cat progress-*.json 2>/dev/null
printf '{"disk_free_bytes": %s, "boot": "%s"}\\n' \\
  "$(df -B1 --output=avail . | tail -n 1)" "$(cat /proc/sys/kernel/random/boot_id)"
systemctl show "$@"; }"""
# The file says that no engine, unit or boot may begin the session again; it comes before the units
# are stopped. A full disk may need some room for it, and without it the units are stopped all the
# same. Engines may have outlived their workers: they are ended last.
_STOP = """test ! -d "$1" || touch "$1/stop" || {
rm -f "$1"/progress-*.json; touch "$1/stop"; }"""
_END = f'test ! -d "$1" || {{ cd /opt/soakbed && {PYTHON} -m loadgen.engines "$1"; }}'
_ASKED = "--property=Id,ActiveState"


@dataclass(frozen=True, slots=True)
class Glance:
    """One look at a session. `progress`: the newest window of each worker, as it shows it.

    By host: `disk_free_bytes` where it spools, and `boots`, a word that changes when it restarts.
    """

    progress: tuple[Mapping[str, Any], ...]
    units: Mapping[str, Mapping[str, str]]
    disk_free_bytes: Mapping[str, int] = field(default_factory=dict)
    boots: Mapping[str, str] = field(default_factory=dict)

    def active(self, duty: str = "") -> bool:
        """Whether a unit runs; `duty` "master" or "worker" asks for those only."""
        return any(
            unit.get("ActiveState") in ("active", "activating", "deactivating", "reloading")
            for name, unit in self.units.items()
            if f"soakbed-load-{duty}" in name
        )


class LoadSession:
    """A plan on the load hosts of a testbed; the Locust master runs on the first of them.

    `web_port` 0 means no Locust page. Tunnels are the workers' own business: their units want them.
    """

    def __init__(self, plan: Plan, testbed: Testbed, *, shell: Shell, web_port: int = 0) -> None:
        self.plan = plan
        self.id = session_id(plan)
        self.folder = f"{SESSIONS}/{self.id}"
        self._shell = shell
        self._web_port = web_port
        self.ranks = ranks_by_host(testbed, plan.workers)
        self.hosts = [host for host in testbed.of_duty("load") if host.name in self.ranks]

    def begin(self) -> None:
        """Lay the session's folder and start its units; what an earlier try left is removed."""
        self.stop()
        for host in self.hosts:
            self._shell.run(host, ["rm", "-rf", self.folder])
            share = {
                "ranks": self.ranks[host.name],
                "web_port": self._web_port,
                "units": self._units(host),
            }
            self._shell.put_texts(host, self.folder, {"session.json": json.dumps(share) + "\n"})
        plan = json.dumps(self._timed_plan().to_json(), indent=1) + "\n"
        for host in self.hosts:
            # The plan last: where it is, the folder is whole.
            self._shell.put_texts(host, self.folder, {"plan.json": plan})
            self._shell.run(host, ["chown", "-R", f"{_USER}:", self.folder])
        self._start()

    def go_on(self) -> None:
        """Start the units of a session that broke off and has time left, whatever ended it."""
        for host in self.hosts:
            self._shell.run(host, ["rm", "-f", f"{self.folder}/stop"])
            # Units that died too often are not started before that is forgotten.
            self._shell.run(host, ["systemctl", "reset-failed", *self._units(host)], check=False)
        self._start()

    def _start(self) -> None:
        for host in self.hosts:
            self._shell.run(host, ["systemctl", "start", *self._units(host)])

    def glance(self) -> Glance:
        """How the session stands on all hosts. Raises HostUnreachable."""
        progress: list[Mapping[str, Any]] = []
        units: dict[str, Mapping[str, str]] = {}
        disks: dict[str, int] = {}
        boots: dict[str, str] = {}
        for host in self.hosts:
            asked = ["sh", "-c", _GLANCE, "glance", self.folder, _ASKED, *self._units(host)]
            out = self._shell.run(host, asked).out
            for told in _json_lines(out):
                if "boot" in told:
                    disks[host.name], boots[host.name] = told["disk_free_bytes"], told["boot"]
                else:
                    progress.append(told)
            units |= {f"{host.name}: {unit['Id']}": unit for unit in _unit_blocks(out)}
        return Glance(tuple(progress), units, disks, boots)

    def stop(self) -> None:
        """Stop the units, workers first so that their last totals still reach the master.

        The master's host comes last, and a host that is away keeps no other from stopping. Raises
        HostUnreachable after all were tried.
        """
        away: HostUnreachable | None = None
        for host in reversed(self.hosts):
            try:
                self._shell.run(host, ["sh", "-c", _STOP, "stop", self.folder], check=False)
                for unit in reversed(self._units(host)):
                    command = ["systemctl", "stop", unit]
                    self._shell.run(host, command, timeout_s=_STOP_TIMEOUT_S)
                self._shell.run(host, ["sh", "-c", _END, "end", self.folder], check=False)
            except HostUnreachable as error:
                away = error
        if away is not None:
            raise away

    def stop_master(self) -> None:
        """Stop a Locust master that has no worker left to wait for."""
        command = ["systemctl", "stop", self._master]
        self._shell.run(self.hosts[0], command, timeout_s=_STOP_TIMEOUT_S)

    def outcome_on_hosts(self) -> str:
        """What is there of this very plan, in a word of `found_outcome`."""
        return found_outcome(self.id, self.hosts, shell=self._shell, plan=self.plan)

    def journal(self) -> str:
        """The last lines of the units' journals, for an error that must say why."""
        lines = []
        for host in self.hosts:
            units = [f"--unit={unit}" for unit in (*self._units(host), _TUNNEL)]
            asked = ["journalctl", "--no-pager", "--output=cat", "--lines=8", *units]
            lines += self._shell.run(host, asked, check=False).out.strip().splitlines()
        return " / ".join(lines[-6:])

    def _timed_plan(self) -> Plan:
        """The plan with the moment at which several workers begin together, by the hosts' clock."""
        if self.plan.workers == 1:
            return self.plan
        now_s = int(self._shell.run(self.hosts[0], ["date", "+%s"]).out)
        ahead_s = _START_TOGETHER_S + _START_PER_HOST_S * (len(self.hosts) - 1)
        return replace(self.plan, start_at_s=float(now_s + ahead_s))

    @property
    def _master(self) -> str:
        return f"soakbed-load-master@{self.id}.service"

    def _units(self, host: Host) -> list[str]:
        """One worker per rank; before them, on the first host, the master of all."""
        ranks = self.ranks[host.name]
        workers = [f"soakbed-load-worker@{self.id}:{rank}.service" for rank in ranks]
        return [self._master, *workers] if host == self.hosts[0] else workers


def found_outcome(
    name: str, hosts: Sequence[Host], *, shell: Shell, plan: Plan | None = None
) -> str:
    """What became of the session `name` on all its hosts, in a word; "" when it is not there.

    "running"; "broken" when a part of it neither runs nor has ended; else how it ended, the worst
    of its workers: "failed", "stopped" or "finished". With `plan`, a session of another plan
    counts as not there.
    """
    states: set[str] = set()
    for asked, host in enumerate(hosts, 1):
        found, workers = _found_on(name, host, shell=shell, plan=plan)
        states |= found
        if 0 < workers <= asked:
            break  # ranks go to hosts in turn: none is on those that follow
    for state in ("running", "broken", "failed", "stopped", "finished"):
        if state in states:
            return "broken" if "" in states and state != "running" else state
    return ""


def _found_on(name: str, host: Host, *, shell: Shell, plan: Plan | None) -> tuple[set[str], int]:
    """What became of a host's workers, {""} when nothing of the session is there; and how many the
    session has on all hosts, 0 when nothing tells.
    """
    looked = shell.run(host, [*_LOOK, f"{SESSIONS}/{name}"], check=False)
    if looked.code:
        return {""}, 0  # nothing installed yet, or nothing that this version could read
    found: dict[str, Any] = json.loads(looked.out)
    if not found or (plan is not None and not _same(Plan.from_json(found["plan"]), plan)):
        return {""}, 0
    workers = int(found["plan"]["workers"])
    pattern = f"soakbed-load-worker@{name}:*.service"
    states = "--state=active,activating,deactivating"
    listed = shell.run(host, ["systemctl", "list-units", "--plain", "--no-legend", states, pattern])
    if listed.out.strip():
        return {"running"}, workers
    return {outcome or "broken" for outcome in found["outcomes"].values()}, workers


def _same(one: Plan, other: Plan) -> bool:
    """Whether two plans ask for the same load, begun at whatever time."""
    return replace(one, start_at_s=0.0) == replace(other, start_at_s=0.0)


def _json_lines(out: str) -> Iterator[Mapping[str, Any]]:
    for line in out.splitlines():
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise LoadError(
                    f"a worker shows its progress in words we do not know: {line[:80]}",
                    remedy="prepare the hosts again, so that both sides have one version",
                ) from error


def _unit_blocks(out: str) -> Iterator[Mapping[str, str]]:
    """`systemctl show` of several units: blocks of KEY=VALUE, an empty line between."""
    for block in out.split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines() if "=" in line)
        unit = {key: value for key, _, value in pairs if not key.startswith("{")}
        if "Id" in unit:
            yield unit
