"""The failover shows on a local testbed: a run of soakbed, a fault while it presses, its verdict.

    python -m tests.benchmarks.failover_on_testbed redis_cluster
    python -m tests.benchmarks.failover_on_testbed etcd

Makes four hosts in namespaces, configures the target, presses it, and does to it what
`failover_shows` does; then prints what the run itself says (`consistency.json`, `quiesced.json`),
and what its recorded histories show: lost writes by name, or how long no write was acknowledged.
Needs root, and some minutes. Everything is taken down at the end, whatever happens.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import yaml

from loadgen.clients.redis_call import RedisCalls
from loadgen.clients.redis_members import members_of
from loadgen.contract.history_files import history_ranks
from loadgen.contract.plan import Tls
from loadgen.engine.tls import client_context
from tests.benchmarks.engine_load import rows_of
from tests.benchmarks.failover_shows import TOLD, failover_s, lost_writes
from tests.benchmarks.scripted_clients import leader_of
from tests.benchmarks.scripted_load import Row, waited
from tests.disturbances.local_host import LocalHost
from tests.disturbances.soak import Soak
from tests.end_to_end.conftest import Soakbed, make_soakbed

TESTBED, NETWORK = "t-failover", "10.83.94"
WORKLOAD = {"keys": 2000, "history_share": 0.1}
PHASES = {"warmup_s": 1, "capacity_s": 5, "settle_s": 1, "steady_s": 60}
# Of the replication stream: so much is written around each step, with some writes of sampled keys.
STREAM_BYTES = 2_000_000
PORTS = {"etcd": 2379, "redis_cluster": 6379}


def admin_tls(soakbed: Soakbed) -> Tls:
    """The administrator's certificate, as the controller keeps it."""
    (ca,) = (soakbed.folder / "state").rglob("pki/ca.crt")
    folder = ca.parent
    return Tls(str(ca), str(folder / "root.crt"), str(folder / "root.key"))


class Members:
    """Members of Redis Cluster on the hosts, asked as their administrator."""

    def __init__(self, soakbed: Soakbed, hosts: dict[str, LocalHost]) -> None:
        (secrets,) = (soakbed.folder / "state").rglob("secrets/redis.json")
        self._password = json.loads(secrets.read_text())["admin"].encode()
        self._context = client_context(admin_tls(soakbed))
        self._hosts = hosts

    def ask(self, endpoint: str, *words: bytes) -> Any:
        with closing(RedisCalls(endpoint, self._context, (b"admin", self._password))) as calls:
            return calls.one(*words, until=monotonic() + 30)

    def told(self, endpoint: str, section: bytes, name: str) -> str:
        """A line of INFO."""
        lines = self.ask(endpoint, b"INFO", section).decode().splitlines()
        return next((line.partition(":")[2] for line in lines if line.startswith(f"{name}:")), "")

    def first_pair(self, any_endpoint: str) -> tuple[str, str]:
        """A master and its replica."""
        with closing(RedisCalls(any_endpoint, self._context, (b"admin", self._password))) as calls:
            members = members_of(calls, monotonic() + 30)
        master = next(one for one in members if not one.of and one.slots)
        return master.endpoint, next(one.endpoint for one in members if one.of == master.id)

    def pid(self, endpoint: str) -> int:
        """Of the process, by the machine's numbers."""
        inside = self.told(endpoint, b"server", "process_id")
        host = self._hosts[endpoint.rpartition(":")[0]]
        for pid in host.pids():
            status = Path(f"/proc/{pid}/status").read_text()
            if any(line.split()[-1] == inside for line in status.splitlines() if "NSpid" in line):
                return pid
        raise LookupError(f"no process of {endpoint}")

    def offset(self, endpoint: str) -> int:
        return int(self.told(endpoint, b"replication", "master_repl_offset"))

    def wait_for_stream(self, endpoint: str) -> None:
        """Until the member has written more of its replication stream."""
        wanted = self.offset(endpoint) + STREAM_BYTES
        waited(lambda: self.offset(endpoint) >= wanted, f"{endpoint} takes writes")

    def wait_for(self, endpoint: str, name: str, value: str) -> None:
        waited(
            lambda: self.told(endpoint, b"replication", name) == value,
            f"{endpoint} says {name}:{value}",
        )


@contextmanager
def halted(pid: int) -> Iterator[Callable[[], None]]:
    """SIGSTOP for the block, or until what it yields is called; with a pidfd, so no stranger."""
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGSTOP)
        yield lambda: signal.pidfd_send_signal(handle, signal.SIGCONT)
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGCONT)
        os.close(handle)


def redis_fault(soakbed: Soakbed, hosts: dict[str, LocalHost]) -> Callable[[list[Row]], str]:
    """The replica cut off, the master paused, the replica forced to take over, all resumed."""
    members = Members(soakbed, hosts)
    master, replica = members.first_pair(f"{next(iter(hosts))}:{PORTS['redis_cluster']}")
    pids = members.pid(master), members.pid(replica)
    print(f"{master} is cut off from {replica}, then paused", flush=True)
    with halted(pids[1]) as resume_replica:
        members.ask(master, b"CLIENT", b"KILL", b"TYPE", b"replica")
        members.wait_for(master, "connected_slaves", "0")
        members.wait_for_stream(master)
        with halted(pids[0]) as resume_master:
            resume_replica()
            members.ask(replica, b"CLUSTER", b"FAILOVER", b"TAKEOVER")
            members.wait_for(replica, "role", "master")
            members.wait_for_stream(replica)
            resume_master()
    members.wait_for(master, "role", "slave")
    members.wait_for(master, "master_link_status", "up")
    print(f"{replica} has taken over", flush=True)

    def told(rows: list[Row]) -> str:
        lost = lost_writes(rows)
        lines = [f"{len(lost):,} acknowledged writes to sampled keys are lost"]
        return "\n  ".join(lines + [one.told() for one in lost[:TOLD]])

    return told


def etcd_fault(soakbed: Soakbed, hosts: dict[str, LocalHost]) -> Callable[[list[Row]], str]:
    """kill -9 of the leader."""
    context = client_context(admin_tls(soakbed), protocols=("h2",))
    known = {address: leader_of(f"{address}:{PORTS['etcd']}", context) for address in hosts}
    address = next(one for one, (itself, leader) in known.items() if itself and itself == leader)
    (pid,) = (
        pid
        for pid in hosts[address].pids()
        if Path(f"/proc/{pid}/comm").read_text().strip() == "etcd"
    )
    handle = os.pidfd_open(pid)
    killed_ns = time.time_ns()
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    waited(lambda: pid not in hosts[address].pids(), "the leader is gone")
    dead_ns = time.time_ns()
    os.close(handle)
    print(f"the leader, {address}, was killed", flush=True)

    def told(rows: list[Row]) -> str:
        gap_s = failover_s(rows, killed_ns, dead_ns)
        lost = lost_writes(rows)
        return f"no write was acknowledged for {gap_s:.3f} s; {len(lost)} acknowledged ones lost"

    return told


FAULTS = {"redis_cluster": redis_fault, "etcd": etcd_fault}


def show(target: str, folder: Path) -> None:
    """The whole of it. Raises what goes wrong; the hosts are taken down all the same."""
    soakbed = make_soakbed(folder, TESTBED, NETWORK)
    asked = yaml.safe_load(soakbed.workload.read_text())
    soakbed.workload.write_text(yaml.safe_dump({**asked, **WORKLOAD, "phases": PHASES}))
    spec = json.loads(soakbed.testbed.read_text())["hosts"]
    hosts = {
        one["address"]: LocalHost(TESTBED, name, one["address"])
        for name, one in spec.items()
        if one["duty"] == "data"
    }
    load_host = LocalHost(TESTBED, "l1", spec["l1"]["address"])
    soak = Soak(soakbed.testbed, soakbed.workload, soakbed.environment, load_host,
                folder / "log", target)  # fmt: skip
    try:
        soakbed.run("provision")
        with soak.ended_whatever_happens():
            soak.controller("bench", "--testbed", str(soakbed.testbed), "--workload",
                            str(soakbed.workload), "--targets", target)  # fmt: skip
            soak.wait_for_steady()
            told = FAULTS[target](soakbed, hosts)
            code = soak.wait_for_controller(within_s=900)
        run = soak.run() / target
        print(f"soakbed ended with {code}")
        _say(run)
        steady = run / "load" / "steady"
        rows = [row for rank in history_ranks(steady) for row in rows_of(steady, rank)]
        print(f"{len(rows):,} recorded operations: {told(sorted(rows, key=lambda r: r.sent_ns))}")
    except BaseException:
        print(soak.said()[-3000:], file=sys.stderr)
        raise
    finally:
        soakbed.run("teardown")


def _say(run: Path) -> None:
    """What the run itself says."""
    found = json.loads((run / "consistency.json").read_text())
    print(f"{found['verdict']}: {found['sentence']}")
    for check in found["checks"]:
        print(f"  {check['name']}: {check['verdict']}: {check['sentence']}")
        for witness in check["witnesses"][:2]:
            print(f"    {witness['sentence']}")
    for group in json.loads((run / "quiesced.json").read_text())["groups"]:
        print(f"  copies of {group['name']}: {group['verdict']} {group['why']}")


def main() -> int:
    """One target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("target", choices=FAULTS)
    with tempfile.TemporaryDirectory(prefix="failover-") as made:
        show(parser.parse_args().target, Path(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
