"""The few protobuf messages of PD (pdpb.proto, metapb.proto of kvproto), written and read by hand.

What is read is what TiKV's regions and stores are told by; unknown fields are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.protobuf import (
    Fields,
    as_bytes,
    as_number,
    bytes_field,
    fields_of,
    uint_field,
)

__all__ = [
    "GET_MEMBERS",
    "GET_STORE",
    "SCAN_REGIONS",
    "Members",
    "Peer",
    "RegionFound",
    "address_of",
    "get_store",
    "members_in",
    "region_of",
    "regions_in",
    "scan_regions",
    "store_in",
]

GET_MEMBERS = b"/pdpb.PD/GetMembers"
SCAN_REGIONS = b"/pdpb.PD/ScanRegions"
GET_STORE = b"/pdpb.PD/GetStore"

MAX_MEMBERS = 16
MAX_PEERS = 64

_OK = 0


class Peer(NamedTuple):
    """A region's replica on one store (metapb.Peer)."""

    id: int
    store_id: int
    role: int = 0  # 0 is a voter

    def message(self) -> bytes:
        """As it is sent."""
        return uint_field(1, self.id) + uint_field(2, self.store_id) + uint_field(3, self.role)


class RegionFound(NamedTuple):
    """A region as PD or a store tells of it: start <= key < end; an empty end is no end."""

    id: int
    start: bytes
    end: bytes
    conf_ver: int
    version: int
    peers: tuple[Peer, ...]
    leader: Peer | None = None


class Members(NamedTuple):
    """Addresses of PD's members, and of its leader; "" when there is none just now."""

    cluster_id: int
    addresses: tuple[str, ...]
    leader: str


def _header(cluster_id: int) -> bytes:
    return bytes_field(1, uint_field(1, cluster_id) + bytes_field(3, b"soakbed"))


def scan_regions(cluster_id: int, start: bytes, end: bytes, *, limit: int) -> bytes:
    """ScanRegionsRequest."""
    return _header(cluster_id) + bytes_field(2, start) + uint_field(3, limit) + bytes_field(4, end)


def get_store(cluster_id: int, store_id: int) -> bytes:
    """GetStoreRequest."""
    return _header(cluster_id) + uint_field(2, store_id)


def _refused(header: int | bytes) -> int:
    """The error type in a ResponseHeader; 0 is none."""
    for number, error in fields_of(as_bytes(header)):
        if number == 2:
            for field, value in fields_of(as_bytes(error)):
                if field == 1:
                    return as_number(value)
    return _OK


def _answer(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields after the header. Raises TargetProtocolError on one that tells of an error."""
    for number, value in fields_of(body):
        if number == 1:
            kind = _refused(value)
            if kind != _OK:
                raise TargetProtocolError(f"PD refuses with error type {kind}")
        else:
            yield number, value


def members_in(body: bytes) -> Members:
    """What GetMembersResponse says. Raises TargetProtocolError."""
    cluster_id, addresses, leader = 0, [], ""
    for number, value in fields_of(body):
        if number == 1:
            if _refused(value) != _OK:
                raise TargetProtocolError("PD refuses to name its members")
            cluster_id = Fields(value).number(1)
        elif number == 2:
            addresses += _client_addresses(value)
        elif number == 3:
            leader = next(iter(_client_addresses(value)), "")
    return Members(cluster_id, tuple(addresses[:MAX_MEMBERS]), leader)


def _client_addresses(member: int | bytes) -> list[str]:
    urls = [value for number, value in fields_of(as_bytes(member)) if number == 4]
    return [address_of(as_bytes(url)) for url in urls]


def address_of(url: bytes) -> str:
    """Address and port of a URL as PD writes it.

    >>> address_of(b"https://10.0.0.1:2479"), address_of(b"10.0.0.1:20160")
    ('10.0.0.1:2479', '10.0.0.1:20160')
    """
    return url.decode("latin-1").rpartition("://")[2].rstrip("/")


def regions_in(body: bytes) -> list[RegionFound]:
    """ScanRegionsResponse; old PDs fill only the two lists. Raises TargetProtocolError."""
    regions, metas, leaders = [], [], []
    for number, value in _answer(body):
        if number == 4:
            whole = Fields(value)
            regions.append(region_of(whole.data(1), leader=whole.data(2)))
        elif number == 2:
            metas.append(as_bytes(value))
        elif number == 3:
            leaders.append(as_bytes(value))
    if not regions and len(metas) == len(leaders):
        pairs = zip(metas, leaders, strict=True)
        regions = [region_of(meta, leader=leader) for meta, leader in pairs]
    return regions


def store_in(body: bytes) -> tuple[int, str]:
    """(id, address) in GetStoreResponse. Raises TargetProtocolError."""
    for number, value in _answer(body):
        if number == 2:
            store = Fields(value)
            return store.number(1), address_of(store.data(2))
    raise TargetProtocolError("PD knows no such store")


def region_of(meta: bytes, *, leader: bytes = b"") -> RegionFound:
    """A metapb.Region, and its leader where PD says one. Raises TargetProtocolError."""
    fields = Fields(meta)
    epoch = Fields(fields.data(4))
    peers = tuple(peer_of(value) for number, value in fields_of(meta) if number == 5)
    if len(peers) > MAX_PEERS:
        raise TargetProtocolError("a region of more peers than can be")
    led = peer_of(leader) if leader else None
    return RegionFound(
        fields.number(1),
        fields.data(2),
        fields.data(3),
        epoch.number(1),
        epoch.number(2),
        peers,
        led if led is not None and led.id else None,
    )


def peer_of(message: int | bytes) -> Peer:
    """A metapb.Peer. Raises TargetProtocolError."""
    fields = Fields(message)
    return Peer(fields.number(1), fields.number(2), fields.number(3))
