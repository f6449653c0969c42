"""What each etcd member holds of the load's keys at one revision, range by range, key by key.

Reads are serializable, so that each member answers from its own store. Equal entries are equal
bytes: an entry is written by one marshaller from key, value and its three revision numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from time import monotonic

from loadgen.clients.copies import (
    MOST_DIFFERENCES,
    Copy,
    Difference,
    Found,
    Group,
    Range,
    Unasked,
    differences_in,
    kept_value,
    verdict_of,
)
from loadgen.clients.grpc_call import CallLost, GrpcChannel
from loadgen.contract.plan import Keyspace, Plan
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.protobuf import Fields, as_bytes, bytes_field, fields_of, uint_field
from loadgen.keyspace import key_bytes

__all__ = ["compared_keys"]

RANGE = b"/etcdserverpb.KV/Range"
ANSWER_S = 20.0  # of a single question
LEAST_IN_RANGE, MOST_RANGES = 256, 64
BYTES_AT_ONCE, KEYS_AT_ONCE = 4 << 20, 4096
MOST_RANGES_AGAIN = 4

_Lost = (CallLost, TargetProtocolError)


@dataclass(slots=True)
class _Read:
    """One member: a digest and a count for each range. `why`: what broke it off."""

    member: str
    channel: GrpcChannel
    digests: list[str] = field(default_factory=list)
    keys: int = 0
    why: str = ""


def compared_keys(
    plan: Plan,
    channels: Mapping[str, GrpcChannel],
    revision: int,
    found: Found,
    until: float,
) -> Group:
    """All members, as far as they answer; what they did not goes to `found`."""
    spans = _spans(plan.keyspace)
    at_once = max(1, min(KEYS_AT_ONCE, BYTES_AT_ONCE // plan.value_bytes))
    reads = [_Read(member, channel) for member, channel in channels.items()]
    with ThreadPoolExecutor(max(1, len(reads))) as together:
        list(together.map(lambda read: _read_whole(read, spans, revision, at_once, until), reads))
    whole = [read for read in reads if not read.why]
    found.unasked += [Unasked(f"the keys of {one.member}", one.why) for one in reads if one.why]
    copies = tuple(Copy(one.member, "member", _joined(one), one.keys) for one in reads)
    name = f"keys below {plan.keyspace.prefix} at revision {revision:,}"
    verdict = verdict_of(copies)
    if verdict == "unknown":
        why = next((read.why for read in reads if read.why), "there is only one member")
        return Group(name, verdict, copies, why=why)
    ranges = tuple(
        Range(f"{first.decode()}..{end.decode()}", tuple(read.digests[at] for read in whole))
        for at, (first, end) in enumerate(spans)
    )
    unequal = [at for at, one in enumerate(ranges) if not one.equal]
    if not unequal:
        return Group(name, verdict, copies, ranges=ranges)
    told = [spans[at] for at in unequal[:MOST_RANGES_AGAIN]]
    return Group(
        name,
        verdict,
        copies,
        ranges=ranges,
        differing=f"{len(unequal):,} of {len(ranges):,} ranges",
        differences=_named(whole, told, revision, at_once, until),
    )


def _read_whole(
    read: _Read, spans: Sequence[tuple[bytes, bytes]], revision: int, at_once: int, until: float
) -> None:
    """Every range of one member, as far as it answers."""
    try:
        for first, end in spans:
            hashed, count = blake2b(digest_size=16), 0
            for entry in _entries(read.channel, first, end, revision, at_once, until):
                hashed.update(b"%d:" % len(entry) + entry)
                count += 1
            read.digests.append(hashed.hexdigest())
            read.keys += count
    except _Lost as error:
        read.why = str(error)


def _joined(read: _Read) -> str:
    return "" if read.why else blake2b("".join(read.digests).encode(), digest_size=16).hexdigest()


def _spans(keyspace: Keyspace) -> list[tuple[bytes, bytes]]:
    """Ranges of keys, [first, end), that hold all keys below the prefix; not those of the load
    alone, so that a key that nobody should have written is seen, too.
    """
    step = max(LEAST_IN_RANGE, -(-keyspace.keys // MOST_RANGES))
    prefix = keyspace.prefix.encode()
    cuts = [key_bytes(keyspace.prefix, at) for at in range(step, keyspace.keys, step)]
    last = prefix[:-1] + bytes([prefix[-1] + 1])
    return list(zip([prefix, *cuts], [*cuts, last], strict=True))


def _entries(
    channel: GrpcChannel, first: bytes, end: bytes, revision: int, at_once: int, until: float
) -> Iterator[bytes]:
    """KeyValue messages of the range, in order. Raises CallLost or TargetProtocolError."""
    while True:
        message = bytes_field(1, first) + bytes_field(2, end) + uint_field(3, at_once)
        message += uint_field(4, revision) + uint_field(7, 1)  # serializable
        body = channel.call(RANGE, message, until=min(until, monotonic() + ANSWER_S))
        more, entry = False, b""
        for number, value in fields_of(body):
            if number == 2:
                entry = as_bytes(value)
                yield entry
            elif number == 3:
                more = bool(value)
        if not more:
            return
        if not entry:
            raise TargetProtocolError("more keys, it says, and none")
        first = Fields(entry).data(1) + b"\x00"


def _named(
    reads: Sequence[_Read],
    spans: Sequence[tuple[bytes, bytes]],
    revision: int,
    at_once: int,
    until: float,
) -> tuple[Difference, ...]:
    """Keys that differ in some ranges; none where they could not be read again."""
    held = []
    try:
        for read in reads:
            has: dict[bytes, bytes] = {}
            for first, end in spans:
                for entry in _entries(read.channel, first, end, revision, at_once, until):
                    told = Fields(entry)
                    has[told.data(1)] = _told(told)
            held.append((read.member, has))
    except _Lost:
        return ()
    return tuple(islice(differences_in(held, lambda _: f"revision {revision:,}"), MOST_DIFFERENCES))


def _told(entry: Fields) -> bytes:
    """Value, and the revision that wrote it (KeyValue.mod_revision)."""
    return kept_value(entry.data(5)) + b" of revision %d" % entry.number(3)
