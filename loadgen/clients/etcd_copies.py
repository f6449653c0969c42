"""etcd at rest: whether every member holds the same at one revision.

First by Maintenance.HashKV, which covers every version of every key since the last compaction.
Members compact at their own pace, and hashes of histories that begin at different revisions say
nothing, so only those are compared that name the same compact revision. Where authentication is on
only an administrator may ask for it; then, and to name the keys that differ, what each member holds
at that revision is read whole: serializable reads, so that each answers from its own store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep

from loadgen.clients.copies import Copy, Found, Group, Unasked
from loadgen.clients.etcd_keys import compared_keys
from loadgen.clients.grpc_call import CallLost, GrpcChannel
from loadgen.contract.plan import Plan
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.protobuf import Fields, bytes_field, fields_of, uint_field
from loadgen.engine.tls import client_context
from loadgen.keyspace import key_bytes

__all__ = ["etcd_copies"]

HASH_KV = b"/etcdserverpb.Maintenance/HashKV"
MEMBER_LIST = b"/etcdserverpb.Cluster/MemberList"
RANGE = b"/etcdserverpb.KV/Range"
ANSWER_S = 20.0  # of a single question; a hash of gigabytes takes seconds
PAUSE_S = 0.2
ATTEMPTS = 10

_Lost = (CallLost, TargetProtocolError)


@dataclass(slots=True)
class _Hash:
    """HashKVResponse of a member; `hash_revision` of etcd 3.6 and later is not looked at."""

    value: int
    compact_revision: int


@dataclass(slots=True)
class _Asked:
    """What was learnt of the members by one round of HashKV."""

    revision: int
    hashes: dict[str, _Hash] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    refused: bool = False  # it takes rights that we have not


def etcd_copies(plan: Plan, found: Found, *, until: float) -> None:
    """Add what is found to `found`. `until`: of time.monotonic(). Raises nothing that a member
    does; OSError where the plan's own files cannot be read.
    """
    context = client_context(plan.tls, protocols=("h2",)) if plan.tls else None
    channels = {endpoint: GrpcChannel(endpoint, context) for endpoint in plan.endpoints}
    try:
        _not_in_plan(channels, found, until)
        asked = _hashed(plan, channels, until)
        if asked is None:
            found.unasked.append(Unasked("every member", "none told its revision"))
            return
        group = _by_hash(asked, list(channels))
        found.asked = f"HashKV of every member at revision {asked.revision:,}"
        if not asked.refused:
            found.groups.append(group)
        found.unasked += [Unasked(f"HashKV of {member}", why) for member, why in asked.why.items()]
        if group.verdict != "equal":
            found.asked += f", and every key below {plan.keyspace.prefix} by serializable reads"
            found.groups.append(compared_keys(plan, channels, asked.revision, found, until))
    finally:
        for channel in channels.values():
            channel.close()


def _not_in_plan(channels: dict[str, GrpcChannel], found: Found, until: float) -> None:
    """Say so where the cluster has members that the plan does not name."""
    for endpoint, channel in channels.items():
        try:
            body = channel.call(MEMBER_LIST, b"", until=min(until, monotonic() + ANSWER_S))
            members = [Fields(value) for number, value in fields_of(body) if number == 2]
        except _Lost as error:
            found.unasked.append(Unasked(f"who the members are, at {endpoint}", str(error)))
            if _refused(error):
                return
            continue
        if len(members) > len(channels):
            told = f"the cluster has {len(members)} and the plan names {len(channels)} of them"
            found.unasked.append(Unasked(f"{len(members) - len(channels)} members", told))
        return


def _hashed(plan: Plan, channels: dict[str, GrpcChannel], until: float) -> _Asked | None:
    """HashKV of all at one revision, anew while that may mend it; None: no revision is known."""
    asked: _Asked | None = None
    for _ in range(ATTEMPTS):
        revision = _newest_revision(plan, channels, until)
        if not revision or (asked is not None and monotonic() + PAUSE_S > until):
            break
        asked = _asked_once(channels, revision, until)
        if asked.refused or _settled(asked, len(channels)):
            break
        sleep(PAUSE_S)
    return asked


def _settled(asked: _Asked, members: int) -> bool:
    """Whether all answered and compacted alike; their hashes may still differ."""
    return (
        len(asked.hashes) == members
        and len({one.compact_revision for one in asked.hashes.values()}) == 1
    )


def _newest_revision(plan: Plan, channels: dict[str, GrpcChannel], until: float) -> int:
    """The newest that any member has applied, by the header of a read that each may make."""
    newest = 0
    message = bytes_field(1, key_bytes(plan.keyspace.prefix, 0)) + uint_field(7, 1)
    for channel in channels.values():
        try:
            body = channel.call(RANGE, message, until=min(until, monotonic() + ANSWER_S))
            newest = max(newest, Fields(Fields(body).data(1)).number(3))
        except _Lost:
            continue  # HashKV of it will say why
    return newest


def _asked_once(channels: dict[str, GrpcChannel], revision: int, until: float) -> _Asked:
    asked = _Asked(revision)
    for endpoint, channel in channels.items():
        try:
            body = channel.call(
                HASH_KV, uint_field(1, revision), until=min(until, monotonic() + ANSWER_S)
            )
            told = Fields(body)
            compacted = told.number(3)
            # An int64; -1 where nothing was ever compacted.
            asked.hashes[endpoint] = _Hash(told.number(2), 0 if compacted >> 63 else compacted)
        except _Lost as error:
            asked.why[endpoint] = str(error)
            asked.refused |= _refused(error)
    return asked


def _refused(error: Exception) -> bool:
    """Whether it takes rights that we have not. Of maintenance etcd 3.5 says so in words alone,
    with the status Unknown; later ones with PermissionDenied.
    """
    return isinstance(error, CallLost) and (
        error.lost.cause == "auth" or "permission denied" in str(error)
    )


def _by_hash(asked: _Asked, members: Sequence[str]) -> Group:
    """Compare those that compacted alike."""
    name = f"HashKV at revision {asked.revision:,}"
    copies = tuple(
        Copy(one, "member", f"{asked.hashes[one].value:08x}" if one in asked.hashes else "")
        for one in members
    )
    compacted = {one.compact_revision for one in asked.hashes.values()}
    alike: dict[int, set[int]] = {}
    for one in asked.hashes.values():
        alike.setdefault(one.compact_revision, set()).add(one.value)
    if any(len(values) > 1 for values in alike.values()):
        return Group(name, "differ", copies, why="hashes of equal compact revisions")
    if len(compacted) > 1:
        told = ", ".join(f"{one:,}" for one in sorted(compacted))
        return Group(name, "unknown", copies, why=f"members compacted at revisions {told}")
    if len(asked.hashes) < len(members) or len(members) < 2:
        why = next(iter(asked.why.values()), "there is only one member")
        return Group(name, "unknown", copies, why=why)
    return Group(name, "equal", copies, why=f"all compacted at revision {next(iter(compacted)):,}")
