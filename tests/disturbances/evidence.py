"""What a soak left, told by three who do not know each other: load host, archive and target."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from soakbed.archive.query import ask
from tests.disturbances.soak import records_of

__all__ = ["Attempt", "Counts", "Second", "archived", "attempts", "redis_counts", "total"]

COUNTS = ("sent", "ok", "failed", "unknown")
PORT = 6379


@dataclass(slots=True)
class Counts:
    """Operations by their end."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0

    def add(self, more: Counts) -> None:
        """Count `more` too."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(more, name))


@dataclass(frozen=True, slots=True)
class Second:
    """One window: what it is known by, and what is counted in it."""

    phase: str
    start_s: int
    worker: int
    counts: tuple[int, ...]  # as COUNTS, reads and writes together


@dataclass(slots=True)
class Attempt:
    """One life of an engine: its windows, and its own account of them if it lived to give one."""

    worker: int
    number: int
    at_s: float = 0.0
    seconds: list[Second] = field(default_factory=list)
    end: dict[str, Any] | None = None

    def total(self) -> Counts:
        """Sum over its windows."""
        return total(self.seconds)

    def agrees(self) -> bool:
        """Whether its own account, if any, is the sum of its windows."""
        summed = self.total()
        return self.end is None or all(self.end[name] == getattr(summed, name) for name in COUNTS)


def total(seconds: Iterable[Second]) -> Counts:
    """Sum over windows."""
    summed = Counts()
    for second in seconds:
        summed.add(Counts(*second.counts))
    return summed


def attempts(folder: Path, rank: int = 0) -> list[Attempt]:
    """What the engines of one rank wrote into a session's folder, by attempt."""
    found: list[Attempt] = []
    for record in records_of(folder, rank):
        if record["kind"] == "begin":
            found.append(Attempt(rank, int(record["attempt"]), float(record["at_s"])))
            continue
        if not found:
            found.append(Attempt(rank, 0))
        if record["kind"] == "end":
            found[-1].end = record
        elif record["kind"] == "window":
            held = record["operations"].values()
            counts = tuple(sum(one[name] for one in held) for name in COUNTS)
            second = Second(record["phase"], int(record["start_s"]), rank, counts)
            found[-1].seconds.append(second)
    return found


def archived(results: Path, session: str = "steady") -> list[Second]:
    """The windows of a session that the tables of the archive hold."""
    sums = ", ".join(f"sum({name})::BIGINT" for name in COUNTS)
    asked = (
        f"SELECT phase, start_s, worker, {sums} FROM counters WHERE session = '{session}' "
        "GROUP BY phase, start_s, worker, seq ORDER BY start_s, worker, seq"
    )
    return [
        Second(str(phase), int(start_s), int(worker), tuple(counts))
        for phase, start_s, worker, *counts in ask(results, asked).rows
    ]


def redis_counts(addresses: Iterable[str], state: Path) -> int:
    """GETs and SETs that all masters of a Redis Cluster have carried out, by their own count."""
    password = json.loads((state / "secrets" / "redis.json").read_text())["bench"]
    counted = 0
    for address in addresses:
        with redis.Redis(
            host=address,
            port=PORT,
            username="bench",
            password=password,
            ssl=True,
            ssl_ca_certs=str(state / "pki" / "ca.crt"),
            ssl_certfile=str(state / "pki" / "bench.crt"),
            ssl_keyfile=str(state / "pki" / "bench.key"),
            socket_timeout=10,
        ) as member:
            assert member.info("replication")["role"] == "master", f"{address} is no master"
            told = member.info("commandstats")
            for name in ("cmdstat_get", "cmdstat_set"):
                counted += int(told.get(name, {}).get("calls", 0))
    return counted
