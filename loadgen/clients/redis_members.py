"""Who is in a Redis Cluster, as one of its members tells it; and how far each has replicated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import hiredis

from loadgen.clients.redis_call import RedisCalls
from loadgen.contract.plan import Auth
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.resp import SLOTS

__all__ = [
    "Member",
    "Replication",
    "behind_after",
    "credentials_of",
    "members_of",
    "read_members",
    "replication_of",
]

PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Member:
    """A line of CLUSTER NODES. `of`: id of its master, "" for a master. `slots`: of a master."""

    id: str
    endpoint: str
    of: str
    flags: frozenset[str]
    slots: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Replication:
    """What a member says of itself: `offset` in bytes of the replication stream."""

    offset: int
    link_up: bool  # of a replica; a master has none
    is_master: bool


def credentials_of(auth: Auth | None) -> tuple[bytes, ...]:
    """User and password, from the plan's file. Raises OSError."""
    if auth is None:
        return ()
    return auth.user.encode(), Path(auth.password_file).read_bytes().strip()


def members_of(calls: RedisCalls, until: float) -> list[Member]:
    """Ask one member. Raises OSError or TargetProtocolError."""
    reply = calls.one(b"CLUSTER", b"NODES", until=until)
    if not isinstance(reply, bytes):
        raise TargetProtocolError(f"CLUSTER NODES was answered with {str(reply)[:200]}")
    return read_members(reply.decode("utf-8", "replace"), asked=calls.endpoint)


def read_members(text: str, *, asked: str) -> list[Member]:
    """Lines of CLUSTER NODES; members without an address or in a handshake are none yet.

    Raises TargetProtocolError.
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8:
            raise TargetProtocolError("CLUSTER NODES has a line of another shape")
        flags = frozenset(words[2].split(","))
        if flags & {"noaddr", "handshake"}:
            continue
        address = words[1].split(",")[0].rpartition("@")[0]
        host, _, port = address.rpartition(":")
        if not port.isdecimal():
            raise TargetProtocolError("CLUSTER NODES has a member without a port")
        host = host or asked.rpartition(":")[0]
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        of = "" if words[3] == "-" else words[3]
        found.append(Member(words[0], f"{host}:{port}", of, flags, _slots(words[8:])))
    return found


def _slots(words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Ranges, without slots that are on the move (in brackets). Raises TargetProtocolError."""
    ranges = []
    for word in words:
        if word.startswith("["):
            continue
        low, _, high = word.partition("-")
        high = high or low
        if not (low.isdecimal() and high.isdecimal() and int(low) <= int(high) < SLOTS):
            raise TargetProtocolError("CLUSTER NODES has slots out of range")
        ranges.append((int(low), int(high)))
    return tuple(ranges)


def replication_of(calls: RedisCalls, until: float) -> Replication:
    """Ask INFO. Raises OSError or TargetProtocolError."""
    reply = calls.one(b"INFO", b"replication", until=until)
    if isinstance(reply, hiredis.ReplyError) or not isinstance(reply, bytes):
        raise TargetProtocolError(f"INFO was answered with {str(reply)[:200]}")
    lines = (line.partition(":") for line in reply.decode("utf-8", "replace").splitlines())
    told = {name: value for name, _, value in lines}
    is_master = told.get("role") == "master"
    offset = told.get("master_repl_offset" if is_master else "slave_repl_offset", "")
    if not offset.lstrip("-").isdecimal():
        raise TargetProtocolError("INFO says no replication offset")
    return Replication(int(offset), told.get("master_link_status") == "up", is_master)


def behind_after(calls: RedisCalls, wanted: int, until: float, answer_s: float) -> str:
    """Wait until a replica has so much of the stream; "" or, when it has not in time, why not.

    It is asked once at least. Raises OSError or TargetProtocolError.
    """
    while True:
        now = replication_of(calls, monotonic() + answer_s)
        if now.is_master:
            return "it says that it is a master"
        if now.offset >= wanted:
            return "" if now.link_up else "its link to the master is down"
        if monotonic() + PAUSE_S > until:
            link = "up" if now.link_up else "down"
            return f"it lacks {wanted - now.offset:,} bytes of the stream, and its link is {link}"
        sleep(PAUSE_S)
