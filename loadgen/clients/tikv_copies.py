"""TiKV at rest: whether every replica of every region holds the same.

Each peer of a region is asked for RawChecksum over the load's keys as a replica read: it waits
until it has applied all that its leader has committed, and then reads its own store. TiKV adds up
there (CRC-64 of each pair, by exclusive or), so that no data leaves it. Regions whose checksums
differ are asked again, then scanned at each peer to name the keys. TiKV's own consistency check
writes to its log alone and can be asked by no client; it is not what this is.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, sleep

from loadgen.clients.copies import (
    MOST_DIFFERENCES,
    Copy,
    Difference,
    Found,
    Group,
    Role,
    Unasked,
    differences_in,
    kept_value,
    verdict_of,
)
from loadgen.clients.grpc_call import CallLost, GrpcChannel
from loadgen.clients.pd import PdClient
from loadgen.clients.tikv_regions import all_regions
from loadgen.contract.plan import Plan
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.pd_messages import Peer, RegionFound
from loadgen.engine.protobuf import Fields, bytes_field, fields_of, uint_field
from loadgen.engine.tls import client_context

__all__ = ["tikv_copies"]

CHECKSUM, SCAN = b"/tikvpb.Tikv/RawChecksum", b"/tikvpb.Tikv/RawScan"
REPLICA_READ = uint_field(12, 1)  # kvrpcpb.Context.replica_read
ANSWER_S = 20.0  # of a single question
PAUSE_S = 0.2
ATTEMPTS = 5  # of a region that moves, or whose checksums differ
BYTES_AT_ONCE, KEYS_AT_ONCE = 4 << 20, 4096
MOST_SCANNED = 4  # regions that are scanned for the keys that differ
ASKED = (
    "RawChecksum of every region's part of the load's keys, at each of its peers by replica reads; "
    "TiKV's own consistency check cannot be asked by a client"
)

_Lost = (CallLost, TargetProtocolError)


class _RegionMoved(Exception):
    """A store knows better than we what it holds."""


@dataclass(slots=True)
class _Stores:
    """Channels to the stores, by their number."""

    context: ssl.SSLContext | None
    addresses: dict[int, str]
    channels: dict[int, GrpcChannel] = field(default_factory=dict)

    def close(self) -> None:
        for channel in self.channels.values():
            channel.close()

    def name(self, store: int) -> str:
        """Its address, as far as PD told it."""
        return self.addresses.get(store, f"store {store}")

    def call(
        self, path: bytes, region: RegionFound, peer: Peer, rest: bytes, until: float
    ) -> bytes:
        """Ask one peer for its own data. Raises CallLost, TargetProtocolError, _RegionMoved."""
        channel = self.channels.get(peer.store_id)
        if channel is None:
            channel = GrpcChannel(self.name(peer.store_id), self.context)
            self.channels[peer.store_id] = channel
        epoch = uint_field(1, region.conf_ver) + uint_field(2, region.version)
        where = uint_field(1, region.id) + bytes_field(2, epoch) + bytes_field(3, peer.message())
        message = bytes_field(1, where + REPLICA_READ) + rest
        body = channel.call(path, message, until=min(until, monotonic() + ANSWER_S))
        told = Fields(body)
        if 1 in told:
            raise _RegionMoved(Fields(told.data(1)).data(1).decode(errors="replace"))
        return body


def tikv_copies(plan: Plan, found: Found, *, until: float) -> None:
    """Add what is found to `found`. `until`: of time.monotonic(). Raises nothing that a store
    does; OSError where the plan's own files cannot be read.
    """
    found.asked = ASKED
    context = client_context(plan.tls, protocols=("h2",)) if plan.tls else None
    pd = PdClient(plan.endpoints, context)
    stores = _Stores(context, {})
    try:
        answered_s = min(until, monotonic() + ANSWER_S)
        stores.addresses = {one.id: one.address for one in pd.stores(answered_s)}
        regions = all_regions(pd, answered_s)
        _whole(regions, found)
        for region in regions:
            if _part(plan, region) is not None:
                found.groups.append(_compared(plan, pd, stores, region, found, until))
    except CallLost as lost:
        found.unasked.append(Unasked("regions", str(lost)))
    finally:
        pd.close()
        stores.close()


def _whole(regions: Sequence[RegionFound], found: Found) -> None:
    """Regions must follow each other without a gap, each with as many peers as the most have."""
    most = max((len(one.peers) for one in regions), default=0)
    for region in regions:
        if len(region.peers) < most:
            told = f"it has {len(region.peers)} peers, others have {most}"
            found.unasked.append(Unasked(f"a copy of region {region.id}", told))
    end: bytes = b""
    for region in regions:
        if region.start != end:
            found.unasked.append(
                Unasked(f"keys before region {region.id}", "PD tells of no region that holds them")
            )
        end = region.end


def _part(plan: Plan, region: RegionFound) -> tuple[bytes, bytes] | None:
    """The load's keys in the region, [start, end); None where it holds none."""
    prefix = plan.keyspace.prefix.encode()
    behind = prefix[:-1] + bytes([prefix[-1] + 1])
    start, end = max(prefix, region.start), min(behind, region.end or behind)
    return (start, end) if start < end else None


def _compared(
    plan: Plan, pd: PdClient, stores: _Stores, region: RegionFound, found: Found, until: float
) -> Group:
    """One region; anew while it moves or its checksums differ, a bounded number of times."""
    why, group, end = "", None, region.end
    for _ in range(ATTEMPTS):
        part = _part(plan, region)
        if part is None:
            break
        group, why = _asked_once(stores, region, part, until)
        if group.verdict == "equal" or monotonic() + PAUSE_S > until:
            break
        sleep(PAUSE_S)
        try:
            region = next(
                iter(pd.regions(region.start, min(until, monotonic() + ANSWER_S))), region
            )
        except CallLost as lost:
            why = str(lost)
    if region.end != end:
        found.unasked.append(Unasked(f"the rest of region {region.id}", "it was split meanwhile"))
    if group is None:
        return Group(f"region {region.id}", "unknown", (), why=why or "it moved meanwhile")
    if group.verdict == "unknown":
        found.unasked.append(Unasked(group.name, why))
    if group.verdict == "differ" and len(_differ(found)) < MOST_SCANNED:
        return _with_keys(plan, stores, region, group, until)
    return group


def _differ(found: Found) -> list[Group]:
    return [group for group in found.groups if group.verdict == "differ"]


def _asked_once(
    stores: _Stores, region: RegionFound, part: tuple[bytes, bytes], until: float
) -> tuple[Group, str]:
    """The checksum of each peer; and why one could not be had."""
    copies, why = [], ""
    rest = bytes_field(3, bytes_field(1, part[0]) + bytes_field(2, part[1]))
    for peer in region.peers:
        name = stores.name(peer.store_id)
        digest, keys = "", 0
        try:
            told = Fields(stores.call(CHECKSUM, region, peer, rest, until))
            if told.data(2):
                raise TargetProtocolError(told.data(2).decode(errors="replace"))
            digest, keys = f"{told.number(3):016x}-{told.number(5)}", told.number(4)
        except (*_Lost, _RegionMoved) as error:
            why = f"{name}: {error}"
        role: Role = "leader" if peer == region.leader else "follower"
        copies.append(Copy(name, role, digest, keys))
    verdict = verdict_of(copies)
    if verdict == "unknown":
        why = why or f"it has {len(copies)} peers"
    return Group(f"region {region.id}", verdict, tuple(copies), why=why), why


def _with_keys(
    plan: Plan, stores: _Stores, region: RegionFound, group: Group, until: float
) -> Group:
    """The same, with the first keys that differ, where they can be read."""
    part = _part(plan, region)
    named: tuple[Difference, ...] = ()
    why = group.why
    try:
        held = [
            (
                stores.name(peer.store_id),
                dict(_pairs(plan, stores, region, peer, part or (b"", b""), until)),
            )
            for peer in region.peers
        ]
        named = tuple(
            islice(differences_in(held, lambda _: f"region {region.id}"), MOST_DIFFERENCES)
        )
    except (*_Lost, _RegionMoved) as error:
        why = f"keys could not be read: {error}"
    return Group(group.name, "differ", group.copies, why=why, differing="checksums",
                 differences=named)  # fmt: skip


def _pairs(
    plan: Plan,
    stores: _Stores,
    region: RegionFound,
    peer: Peer,
    part: tuple[bytes, bytes],
    until: float,
) -> Iterator[tuple[bytes, bytes]]:
    """Keys of one peer, and what is kept of their values."""
    at_once = max(1, min(KEYS_AT_ONCE, BYTES_AT_ONCE // plan.value_bytes))
    start, end = part
    while True:
        rest = bytes_field(2, start) + uint_field(3, at_once) + bytes_field(7, end)
        count = 0
        for number, pair in fields_of(stores.call(SCAN, region, peer, rest, until)):
            if number == 2:
                told = Fields(pair)
                if 1 in told:
                    raise TargetProtocolError("a scan of its own region that it refuses")
                start, count = told.data(2), count + 1
                yield start, kept_value(told.data(3))
        if count < at_once:
            return
        start += b"\x00"
