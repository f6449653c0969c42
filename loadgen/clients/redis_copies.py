"""Redis Cluster at rest: whether each replica holds what its master holds, slot by slot.

A replica is given time to take in all of the stream that its master has sent; then both are read
whole, by CLUSTER GETKEYSINSLOT and GET, the replica after READONLY. Slots that differ are read once
more, so that a write that was on its way accuses nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic

from loadgen.clients.copies import (
    MOST_DIFFERENCES,
    Copy,
    Found,
    Group,
    Range,
    Role,
    Unasked,
    differences_in,
    kept_value,
    verdict_of,
)
from loadgen.clients.redis_call import RedisCalls
from loadgen.clients.redis_digest import SlotDigests, digests_of, pairs_of
from loadgen.clients.redis_members import (
    Member,
    behind_after,
    credentials_of,
    members_of,
    replication_of,
)
from loadgen.contract.plan import Plan
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.resp import SLOTS
from loadgen.engine.tls import client_context

__all__ = ["redis_copies"]

SLOTS_IN_RANGE = 256
# Slots that are read again for what differs in them; one alone can hold many keys.
MOST_SLOTS = 64
# Of the whole time, for replicas that are behind.
SETTLING_SHARE = 0.25
ANSWER_S = 10.0  # of a single question
ASKED = (
    "every key of every slot, of each master and each of its replicas, by GETKEYSINSLOT and GET; "
    "replicas after their replication offset met the master's"
)

_Lost = (OSError, TargetProtocolError)


@dataclass(slots=True)
class _Read:
    """What was read of one member. `why`: what kept it from being read, "" if nothing did."""

    member: Member
    calls: RedisCalls
    digests: SlotDigests = field(default_factory=SlotDigests)
    behind: str = ""
    why: str = ""


def redis_copies(plan: Plan, found: Found, *, until: float) -> None:
    """Add what is found to `found`. `until`: of time.monotonic(). Raises nothing that a member
    does; OSError where the plan's own files cannot be read.
    """
    found.asked = ASKED
    context = client_context(plan.tls) if plan.tls else None
    credentials = credentials_of(plan.auth)

    def calls_to(endpoint: str, *opening: tuple[bytes, ...]) -> RedisCalls:
        return RedisCalls(endpoint, context, credentials, opening=opening)

    members = _members(plan, found, calls_to, until)
    settled_s = monotonic() + max(0.0, until - monotonic()) * SETTLING_SHARE
    for master in [one for one in members if not one.of and one.slots]:
        replicas = [one for one in members if one.of == master.id]
        if not replicas:
            found.unasked.append(Unasked(f"copies of {_named(master)}", "it has no replica"))
            continue
        reads = [_Read(master, calls_to(master.endpoint))]
        reads += [_Read(one, calls_to(one.endpoint, (b"READONLY",))) for one in replicas]
        try:
            found.groups += _groups(plan, reads, found, settled_s, until)
        finally:
            for read in reads:
                read.calls.close()
    held = sum(high - low + 1 for one in members if not one.of for low, high in one.slots)
    if members and held != SLOTS:
        told = f"masters hold {held:,} slots in all, of {SLOTS:,}"
        found.unasked.append(Unasked("the rest of the slots", told))


def _members(
    plan: Plan, found: Found, calls_to: Callable[[str], RedisCalls], until: float
) -> list[Member]:
    """As the first endpoint tells them that answers, but each as it tells itself, if it answers:
    what others know of a member may be old.
    """
    for endpoint in plan.endpoints:
        try:
            told = _told_by(calls_to(endpoint), until)
        except _Lost as error:
            found.unasked.append(Unasked(f"who the members are, at {endpoint}", str(error)))
            continue
        return [_itself(member, calls_to, until) for member in told]
    return []


def _told_by(calls: RedisCalls, until: float) -> list[Member]:
    try:
        return members_of(calls, min(until, monotonic() + ANSWER_S))
    finally:
        calls.close()


def _itself(member: Member, calls_to: Callable[[str], RedisCalls], until: float) -> Member:
    if "myself" in member.flags:
        return member
    try:
        told = _told_by(calls_to(member.endpoint), until)
    except _Lost:
        return member  # reading its data will fail, too, and say why
    return next((one for one in told if "myself" in one.flags and one.id == member.id), member)


def _groups(
    plan: Plan, reads: Sequence[_Read], found: Found, settled_s: float, until: float
) -> Iterator[Group]:
    """The master with each replica that could be read, and what could not."""
    master, slots = reads[0], [s for low, high in reads[0].member.slots for s in _span(low, high)]
    _settle(reads, min(settled_s, until), until)

    def read_whole(read: _Read) -> None:
        if not read.why:
            try:
                read.digests = digests_of(
                    read.calls, slots, until=until, value_bytes=plan.value_bytes
                )
            except _Lost as error:
                read.why = str(error)

    with ThreadPoolExecutor(len(reads)) as together:
        list(together.map(read_whole, reads))
    for read in reads:
        if read.why:
            found.unasked.append(Unasked(f"the data of {_named(read.member)}", read.why))
    for replica in reads[1:]:
        yield _compared(plan, master, replica, slots, until)


def _settle(reads: Sequence[_Read], settled_s: float, until: float) -> None:
    """Wait for replicas to have what the master has now; note those that do not."""
    master, *replicas = reads
    answer_s = min(until, monotonic() + ANSWER_S)
    try:
        wanted = replication_of(master.calls, answer_s).offset
    except _Lost as error:
        master.why = str(error)
        wanted = 0
    for replica in replicas:
        try:
            replica.behind = behind_after(replica.calls, wanted, settled_s, ANSWER_S)
        except _Lost as error:
            replica.why = str(error)


def _compared(
    plan: Plan, master: _Read, replica: _Read, slots: Sequence[int], until: float
) -> Group:
    name = f"slots {_ranges_told(master.member.slots)}, {replica.member.endpoint}"
    copies = (_copy(master, slots, "master"), _copy(replica, slots, "replica"))
    if master.why or replica.why:
        why = f"{(master if master.why else replica).member.endpoint}: {master.why or replica.why}"
        return Group(name, "unknown", copies, why=why)
    differ = master.digests.differs(replica.digests, slots)
    ranges = tuple(_ranges(master, replica, slots))
    if not differ:
        return Group(name, verdict_of(copies), copies, ranges=ranges)
    try:
        slot_of, held = _again(plan, master, replica, differ, until)
    except _Lost as error:
        return Group(name, "differ", copies, why=f"not read again: {error}", ranges=ranges,
                     differing=f"{len(differ):,} slots")  # fmt: skip
    if held[0][1] == held[1][1] and len(differ) <= MOST_SLOTS:
        told = f"{len(differ):,} slots differed at first and no more when read again"
        return Group(name, "equal", copies, why=told, ranges=ranges)
    named = differences_in(held, lambda key: f"slot {slot_of[key]}")
    return Group(name, "differ", copies, why=replica.behind, ranges=ranges,
                 differing=f"{len(differ):,} slots",
                 differences=tuple(islice(named, MOST_DIFFERENCES)))  # fmt: skip


def _again(
    plan: Plan, master: _Read, replica: _Read, differ: Sequence[int], until: float
) -> tuple[dict[bytes, int], list[tuple[str, dict[bytes, bytes]]]]:
    """The first slots that differed, read once more: slots by key, and what the members hold."""
    slot_of: dict[bytes, int] = {}
    held: list[tuple[str, dict[bytes, bytes]]] = []
    for read in (master, replica):
        has: dict[bytes, bytes] = {}
        for slot, key, value in pairs_of(
            read.calls, differ[:MOST_SLOTS], until=until, value_bytes=plan.value_bytes
        ):
            slot_of[key], has[key] = slot, kept_value(value)
        held.append((read.member.endpoint, has))
    return slot_of, held


def _ranges(master: _Read, replica: _Read, slots: Sequence[int]) -> Iterator[Range]:
    for low in range(0, SLOTS, SLOTS_IN_RANGE):
        within = [slot for slot in slots if low <= slot < low + SLOTS_IN_RANGE]
        if within:
            digests = tuple(read.digests.digest(within) for read in (master, replica))
            yield Range(f"slots {within[0]}-{within[-1]}", digests)


def _copy(read: _Read, slots: Sequence[int], role: Role) -> Copy:
    if read.why:
        return Copy(read.member.endpoint, role, behind=read.behind)
    keys = sum(read.digests.keys[slot] for slot in slots)
    return Copy(
        read.member.endpoint,
        role,
        digest=read.digests.digest(slots),
        keys=keys,
        behind=read.behind,
    )


def _named(member: Member) -> str:
    failed = " (failed, say the others)" if member.flags & {"fail", "fail?"} else ""
    return f"{'replica' if member.of else 'master'} {member.endpoint}{failed}"


def _ranges_told(slots: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{low}-{high}" for low, high in slots[:3]) + (", ..." if slots[3:] else "")


def _span(low: int, high: int) -> range:
    return range(low, high + 1)
