"""Which region holds which key, by key number, and what a request to each begins with."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from loadgen.engine.connection import Lane
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.pd_messages import Peer, RegionFound
from loadgen.engine.protobuf import bytes_field, uint_field, varint
from loadgen.keyspace import ID_BYTES, KEY_DIGITS, Values, key_bytes

__all__ = ["MAX_REGIONS", "NOBODY", "Region", "RegionMap", "RequestHeads", "context"]

# Far more than a testbed has; a PD or store that tells of regions without end must not fill memory.
MAX_REGIONS = 65_536

NOBODY = Peer(0, 0)


def context(region: RegionFound, peer: Peer) -> bytes:
    """kvrpcpb.Context as field 1 of a request. API V1 is 0, which is not sent."""
    epoch = uint_field(1, region.conf_ver) + uint_field(2, region.version)
    return bytes_field(
        1, uint_field(1, region.id) + bytes_field(2, epoch) + bytes_field(3, peer.message())
    )


class RequestHeads:
    """How long the requests are and how they go on after the context; the same for all regions."""

    __slots__ = ("get_size", "key_head", "put_size", "value_head")

    def __init__(self, prefix: str, values: Values) -> None:
        self.key_head = b"\x12" + varint(len(prefix) + KEY_DIGITS) + prefix.encode()
        self.value_head = b"\x1a" + varint(values.value_bytes) + b"k"
        self.get_size = len(self.key_head) + KEY_DIGITS
        self.put_size = self.get_size + len(self.value_head) - 1 + ID_BYTES + len(values.filler)

    def framed(self, before: bytes) -> tuple[bytes, bytes]:
        """The front of RawGet's and RawPut's gRPC message, up to the key's digits."""
        get, put = (
            b"\x00" + (len(before) + size).to_bytes(4, "big") + before + self.key_head
            for size in (self.get_size, self.put_size)
        )
        return get, put


class Region:
    """A region of our keys, the lane of its leader, and its prebuilt bytes.

    `stale`: what we know of it was refused; PD is asked, at `next_ask_ns` again. Where `NOBODY` is
    the leader, the lane is no store's, and nothing is sent.
    """

    __slots__ = ("context", "found", "get_head", "lane", "leader", "next_ask_ns", "put_head",
                 "stale")  # fmt: skip

    def __init__(
        self, found: RegionFound, heads: RequestHeads, lane: Lane, *, leader: Peer | None = None
    ) -> None:
        self.found = found
        self.stale = False
        self.next_ask_ns = 0
        self.led_by(leader or NOBODY, heads, lane)

    def led_by(self, peer: Peer, heads: RequestHeads, lane: Lane) -> None:
        """Requests go to this peer, whose store has that lane."""
        self.leader, self.lane = peer, lane
        self.context = context(self.found, peer)
        self.get_head, self.put_head = heads.framed(self.context)


class RegionMap:
    """All keys of the plan, each in exactly one region, sorted by first key number.

    Finding one by bisection costs 0.08 us with 24 regions, 0.13 us with 300; a table of all
    keys would save 0.06 us of some 60 an operation, and take 8 bytes a key.
    """

    def __init__(self, prefix: str, keys: int, unknown: Region) -> None:
        self._prefix = prefix
        self._keys = keys
        self.firsts = [0]
        self.regions = [unknown]

    def find(self, key: int) -> Region:
        """Hot: the region of a key number; the engine's own key -1 counts as the first."""
        return self.regions[bisect_right(self.firsts, key) - 1 if key > 0 else 0]

    def number_at(self, bound: bytes) -> int:
        """The first key number not below a region's bound."""
        return bisect_left(
            range(self._keys), bound, key=lambda number: key_bytes(self._prefix, number)
        )

    def span(self, index: int) -> tuple[int, int]:
        """Key numbers of one entry: first, and first behind it."""
        firsts = self.firsts
        return firsts[index], firsts[index + 1] if index + 1 < len(firsts) else self._keys

    def put(self, region: Region) -> bool:
        """Take a region in over all that is older; whether it holds any key.

        What is newer stays: word of a split may overtake word of how it was before.
        """
        found = region.found
        low = self.number_at(found.start)
        high = self.number_at(found.end) if found.end else self._keys
        if low >= high:
            return False
        begin, end = bisect_right(self.firsts, low) - 1, bisect_left(self.firsts, high)
        firsts: list[int] = []
        regions: list[Region] = []
        for index in range(begin, end):
            here, (first, last) = self.regions[index], self.span(index)
            inside = here if _newer(here.found, found) else region
            for at, until, chosen in (
                (first, low, here),
                (max(first, low), min(last, high), inside),
                (max(first, high), last, here),
            ):
                if at < until and not (regions and regions[-1] is chosen):
                    firsts.append(at)
                    regions.append(chosen)
        if len(self.regions) + len(regions) > MAX_REGIONS:
            raise TargetProtocolError("more regions than can be")
        self.firsts[begin:end], self.regions[begin:end] = firsts, regions
        return True

    def keys_of(self) -> dict[Lane, int]:
        """How many keys each lane's store serves."""
        held: dict[Lane, int] = {}
        for index, region in enumerate(self.regions):
            first, last = self.span(index)
            held[region.lane] = held.get(region.lane, 0) + last - first
        return held


def _newer(known: RegionFound, told: RegionFound) -> bool:
    """Whether what we know is of a later epoch; versions grow with every split and merge."""
    if known.version != told.version:
        return known.version > told.version
    return known.id == told.id and known.conf_ver > told.conf_ver
