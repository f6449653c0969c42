"""Two failovers under load, on real servers with TLS, and what their clients can prove afterwards.

    python -m tests.benchmarks.failover_shows                # both, and both without a failover
    python -m tests.benchmarks.failover_shows --engine       # by the real engine and its histories
    python -m tests.benchmarks.failover_shows --only redis --json

Redis: a master whose replica is cut off acknowledges writes, is paused under load, and the replica
takes over: what only the master had is lost, found and named. The same without a failover: nothing
is lost. etcd: kill -9 of the leader of three members under load: the history is linearizable, and
the failover lasts from the last acknowledged write before it to the first that was sent after it.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from loadgen.engine.tls import client_context
from soakbed.histories.register import OK
from soakbed.histories.zones import check_zones
from tests.benchmarks.engine_load import EngineLoad, keys_of_slots
from tests.benchmarks.scripted_clients import EtcdClient, RedisClient, leader_of
from tests.benchmarks.scripted_load import Row, ScriptedLoad, history_of, waited
from tests.benchmarks.throwaway import Etcd, Pki, Redis, make_cluster, start_together

__all__ = [
    "Lost",
    "Shown",
    "caught_up",
    "etcd_show",
    "failover_s",
    "led_by",
    "lost_writes",
    "redis_show",
]

Load = ScriptedLoad | EngineLoad

# Acknowledged writes that a show waits for before, during and after what it does.
WRITES = 100
TOLD = 5


@dataclass(frozen=True, slots=True)
class Lost:
    """An acknowledged write that is not there any more: a later read found what was before it."""

    key: int
    value: int
    worker: int
    sent_ns: int
    acknowledged_ns: int
    read: int  # the older value, 0 for none
    read_by: int
    read_ns: int  # when that read was sent

    def told(self) -> str:
        """In words."""
        return (
            f"key {self.key}: value {self.value}, acknowledged to worker {self.worker} at "
            f"{_time_of(self.acknowledged_ns)}, is lost: worker {self.read_by} read "
            f"{self.read or 'nothing'} at {_time_of(self.read_ns)}"
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """What one show came to. `failover_s`: None where none was measured."""

    name: str
    linearizable: bool
    operations: int
    acknowledged: int
    violations: int
    lost: tuple[Lost, ...] = ()
    failover_s: float | None = None

    def told(self) -> str:
        """In words, a line each."""
        verdict = "linearizable" if self.linearizable else f"{self.violations} violations"
        lines = [
            f"{self.name}: {verdict}, {self.operations:,} operations, "
            f"{self.acknowledged:,} writes acknowledged, {len(self.lost):,} of them lost"
        ]
        if self.failover_s is not None:
            lines.append(f"  no write was acknowledged for {self.failover_s:.3f} s")
        lines += [f"  {lost.told()}" for lost in self.lost[:TOLD]]
        if len(self.lost) > TOLD:
            lines.append(f"  and {len(self.lost) - TOLD:,} more")
        return "\n".join(lines)


def lost_writes(rows: Sequence[Row]) -> list[Lost]:
    """Acknowledged writes after which somebody read what was there before them.

    A write is lost when a read that was sent after it was acknowledged finds nothing, or a value
    whose write was over before the lost one was sent; so it can be no matter of concurrency.
    """
    written = {(row.key, row.value): row for row in rows if row.is_write}
    over = [row for row in rows if row.outcome == OK]
    reads: dict[int, list[Row]] = {}
    for row in over:
        if not row.is_write:
            reads.setdefault(row.key, []).append(row)
    found = []
    for row in over:
        if row.is_write:
            of_key = reads.get(row.key, ())
            proof = next((read for read in of_key if _disproves(read, row, written)), None)
            if proof is not None:
                found.append(_lost(row, proof))
    return sorted(found, key=lambda lost: lost.acknowledged_ns)


def _disproves(read: Row, write: Row, written: dict[tuple[int, int], Row]) -> bool:
    if read.sent_ns <= write.done_ns:
        return False
    if read.value == 0:
        return True
    origin = written.get((read.key, read.value))
    return origin is not None and origin.outcome == OK and origin.done_ns < write.sent_ns


def _lost(write: Row, read: Row) -> Lost:
    return Lost(write.key, write.value, write.worker, write.sent_ns, write.done_ns, read.value,
                read.worker, read.sent_ns)  # fmt: skip


def _time_of(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns / 1e9, UTC).strftime("%H:%M:%S.%f") + "Z"


def redis_show(folder: Path, pki: Pki, *, failover: bool = True, engine: bool = False) -> Shown:
    """A paused master, with or without a takeover by its replica. Raises TimeoutError.

    `engine`: pressed by real engines, with two masters more, from whom they learn of the takeover.
    """
    context = client_context(pki.tls())
    with _redis_members(folder, pki, masters=3 if engine else 1) as (master, *others, replica):
        endpoints = [member.endpoint for member in (master, *others, replica)]
        # `make_cluster` gives the first master the first of equal parts of the slots.
        keys = keys_of_slots(0, -(-16384 // (1 + len(others))) - 1)
        load: Load
        if engine:
            load = EngineLoad(folder / "load", "redis_cluster", endpoints, pki)
        else:
            load = ScriptedLoad(lambda _rank: RedisClient(endpoints, context))
        with closing(load):
            with load.pressing():
                load.wait_for_writes(WRITES, keys=keys)
                caught_up(master, replica)
                _cut_off(master, replica)
                load.wait_for_writes(WRITES, sent_after_ns=time.time_ns(), keys=keys)
                master.signal(signal.SIGSTOP)
                replica.signal(signal.SIGCONT)
                if failover:
                    _take_over(replica)
                    load.wait_for_writes(WRITES, sent_after_ns=time.time_ns(), keys=keys)
                master.signal(signal.SIGCONT)
                behind = master if failover else replica
                behind.wait_for(["INFO", "replication"], "role:slave")
                load.wait_for_writes(WRITES, sent_after_ns=time.time_ns(), keys=keys)
            behind.wait_for(["INFO", "replication"], "master_link_status:up")
            load.read_back()
        name = "Redis, master paused, " + ("replica takes over" if failover else "no failover")
        return _judged(name, load.rows())


@contextmanager
def _redis_members(folder: Path, pki: Pki, *, masters: int) -> Iterator[list[Redis]]:
    """So many masters, then a replica of the first; nobody fails over unasked."""
    # A paused replica stays connected until we hang up, and a paused master a master.
    extra = ("--cluster-node-timeout", "600000", "--repl-timeout", "600")
    extra += ("--cluster-replica-no-failover", "yes")
    extra += ("--repl-diskless-sync-delay", "0")  # nobody else is to join
    with ExitStack() as started:
        members = []
        for number in range(masters + 1):
            member = Redis(folder / f"redis-{number}", pki=pki, extra=extra)
            started.callback(member.stop, kill=True)
            member.start()
            members.append(member)
        make_cluster(members[:-1], members[-1:])
        yield members


def caught_up(master: Redis, replica: Redis) -> None:
    """Until the replica has what the master had by now.

    A replica just made gets no writes before its first word of the second, although its link is up.
    """
    wanted = _offset(master, "master_repl_offset")
    waited(lambda: _offset(replica, "slave_repl_offset") >= wanted, "the replica catches up")


def _offset(member: Redis, name: str) -> int:
    lines = member.cli("INFO", "replication").splitlines()
    return next((int(line.split(":")[1]) for line in lines if line.startswith(f"{name}:")), -1)


def _cut_off(master: Redis, replica: Redis) -> None:
    """From here on the replica learns nothing: it is paused, and its connection is gone.

    Paused alone it would find in its socket what the master had sent meanwhile.
    """
    replica.signal(signal.SIGSTOP)
    master.cli("CLIENT", "KILL", "TYPE", "replica")
    master.wait_for(["INFO", "replication"], "connected_slaves:0")


def _take_over(replica: Redis) -> None:
    """Until it is a master; it may not yet know that its own one is gone."""
    replica.cli("CLUSTER", "FAILOVER", "TAKEOVER")
    replica.wait_for(["INFO", "replication"], "role:master")


def etcd_show(folder: Path, pki: Pki, *, failover: bool = True, engine: bool = False) -> Shown:
    """kill -9 of the leader of three members, or nothing of the kind. Raises TimeoutError.

    `engine`: pressed by real engines.
    """
    context = client_context(pki.tls(), protocols=("h2",))
    with _etcd_three(folder, pki) as members:
        leader = led_by(members, lambda endpoint: leader_of(endpoint, context))
        # Every client turns through all members, and each begins at another one.
        endpoints = [member.endpoint for member in members]
        turned = [endpoints[at:] + endpoints[:at] for at in range(len(endpoints))]
        load: Load
        if engine:
            load = EngineLoad(folder / "load", "etcd", endpoints, pki)
        else:
            load = ScriptedLoad(lambda rank: EtcdClient(turned[rank % len(turned)], context))
        with closing(load):
            with load.pressing():
                load.wait_for_writes(WRITES)
                killed_ns = time.time_ns()
                if failover:
                    leader.stop(kill=True)
                dead_ns = time.time_ns()
                load.wait_for_writes(WRITES, sent_after_ns=dead_ns)
            load.read_back()
        rows = load.rows()
        name = "etcd, " + ("kill -9 of the leader" if failover else "no failover")
        return _judged(name, rows, failover_s(rows, killed_ns, dead_ns) if failover else None)


@contextmanager
def _etcd_three(folder: Path, pki: Pki) -> Iterator[list[Etcd]]:
    members = [Etcd(folder / f"e{number}", pki=pki) for number in (1, 2, 3)]
    try:
        start_together(members)
        yield members
    finally:
        for member in members:
            member.stop(kill=True)


def led_by(members: Sequence[Etcd], ask: Callable[[str], tuple[int, int]]) -> Etcd:
    """The leader, once all members know it."""
    told: list[tuple[int, int]] = []

    def all_agree() -> bool:
        told[:] = [ask(member.endpoint) for member in members]
        leaders = {leader for _, leader in told}
        return len(leaders) == 1 and leaders <= {itself for itself, _ in told if itself}

    waited(all_agree, "a leader that all three members know")
    return next(member for member, (itself, leader) in zip(members, told, strict=True)
                if itself == leader)  # fmt: skip


def failover_s(rows: Sequence[Row], killed_ns: int, dead_ns: int) -> float:
    """From the last write acknowledged before the kill to the first acknowledged of those sent
    when the leader was surely dead: no other could have needed a new one.
    """
    writes = [row for row in rows if row.is_write and row.outcome == OK]
    last_ns = max(row.done_ns for row in writes if row.done_ns <= killed_ns)
    return (min(row.done_ns for row in writes if row.sent_ns >= dead_ns) - last_ns) / 1e9


def _judged(name: str, rows: Sequence[Row], failover_s: float | None = None) -> Shown:
    verdict = check_zones(history_of(rows))
    return Shown(
        name=name,
        linearizable=verdict.linearizable,
        operations=len(rows),
        acknowledged=sum(row.is_write and row.outcome == OK for row in rows),
        violations=verdict.violations,
        lost=tuple(lost_writes(rows)),
        failover_s=failover_s,
    )


SHOWS = {"redis": redis_show, "etcd": etcd_show}


def main() -> int:
    """Each show with its failover and without: 0 when all came out as they must."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=SHOWS, help="one of them")
    parser.add_argument("--engine", action="store_true", help="press with real engines")
    parser.add_argument("--json", action="store_true", help="one line of JSON each")
    asked = parser.parse_args()
    right = True
    with tempfile.TemporaryDirectory(prefix="failover-") as made:
        pki = Pki.make(Path(made) / "pki")
        for name in [asked.only] if asked.only else SHOWS:
            for failover in (True, False):
                folder = Path(made) / f"{name}-{failover}"
                shown = SHOWS[name](folder, pki, failover=failover, engine=asked.engine)
                print(json.dumps(asdict(shown)) if asked.json else shown.told(), flush=True)
                loses = name == "redis" and failover
                right &= shown.linearizable != loses and bool(shown.lost) == loses
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
