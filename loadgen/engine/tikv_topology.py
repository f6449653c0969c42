"""Which store serves which key: regions and stores, from PD and from what the stores answer."""

from __future__ import annotations

import time
from collections.abc import Sequence

from loadgen.engine.connection import UP, Lane, split_endpoint
from loadgen.engine.hub import Hub
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.pd_client import PdClient
from loadgen.engine.pd_messages import (
    Peer,
    RegionFound,
    get_store,
    regions_in,
    scan_regions,
    store_in,
)
from loadgen.engine.tikv_regions import NOBODY, Region, RegionMap, RequestHeads
from loadgen.keyspace import Values, key_bytes

__all__ = ["Topology"]

MAX_LANES = 256  # stores we keep a lane for, see redis_target

LOOK_NS = 50_000_000  # stale regions and silent stores are looked for this often
ASK_AGAIN_NS = 250_000_000
ASKED_AT_ONCE = 8
FIRST_SCAN = 128
LATER_SCAN = 8


class Topology:
    """The region map, a lane per store, and PD to ask.

    The first lane, `nowhere`, is no store's: it holds what has no store to go to yet. `changed`
    says that keys have moved since it was last cleared.
    """

    def __init__(
        self, hub: Hub, endpoints: Sequence[str], values: Values, prefix: str, keys: int, rank: int
    ) -> None:
        self.nowhere = Lane("")
        self.lanes: list[Lane] = [self.nowhere]
        self.heads = RequestHeads(prefix, values)
        unknown = Region(RegionFound(0, b"", b"", 0, 0, ()), self.heads, self.nowhere)
        self.map = RegionMap(prefix, keys, unknown)
        self.pd = PdClient(hub, endpoints, first=rank)
        self.changed = False
        self._prefix, self._keys = prefix, keys
        self._stores: dict[int, Lane] = {}
        self._stores_ask_ns: dict[int, int] = {}
        self._asking = 0
        self._next_look_ns = 0

    # The beginning.

    def begin(self) -> None:
        """Ask for all regions of the plan's keys."""
        self._scan_from(key_bytes(self._prefix, 0))

    def _scan_from(self, start: bytes) -> None:
        end = self._bound(self._keys)

        def message() -> bytes:
            return scan_regions(self.pd.cluster_id, start, end, limit=FIRST_SCAN)

        def answered(body: bytes | None) -> None:
            if body is None:
                self._scan_from(start)
                return
            try:
                regions = self._take(body)
            except TargetProtocolError:
                self._scan_from(start)
                raise
            if regions and start < regions[-1].end < end:
                self._scan_from(regions[-1].end)

        self.pd.scan_regions(message, answered)

    def _bound(self, number: int) -> bytes:
        """The key of a number; of one past the last it is a key behind all others."""
        return key_bytes(self._prefix, number) if number < self._keys else self._last + b"\0"

    @property
    def _last(self) -> bytes:
        return key_bytes(self._prefix, self._keys - 1)

    def complete(self) -> bool:
        """Whether every key has a store that can be dialled."""
        return not any(region.lane is self.nowhere for region in self.map.regions)

    def missing(self) -> str:
        """Why it is not complete."""
        if not self.pd.is_up():
            return f"no endpoint is a PD that leads: {self.pd.refusal or 'none answered'}"
        unknown = sum(region.lane is self.nowhere for region in self.map.regions)
        return (
            f"PD names no leader, or no address of its store, for {unknown} regions of the plan's "
            f"keys; are all stores up? {self.pd.refusal}"
        ).rstrip()

    # What is told.

    def _take(self, body: bytes) -> list[RegionFound]:
        regions = regions_in(body)
        for found in regions:
            self.put(found)
        return regions

    def put(self, found: RegionFound, *, guess: Peer | None = None) -> None:
        """A region as told; `guess` leads it where nobody says who does."""
        leader = found.leader or guess
        lane = self._lane_of_store(leader.store_id) if leader is not None else self.nowhere
        region = Region(found, self.heads, lane, leader=leader)
        region.next_ask_ns = time.monotonic_ns() + ASK_AGAIN_NS
        if self.map.put(region):
            self.changed = True

    def lead(self, region: Region, peer: Peer) -> None:
        """A store says who leads; that must be one of the region's replicas as we know them."""
        if peer not in region.found.peers:
            region.stale = True
        elif peer != region.leader or region.lane is self.nowhere:
            region.led_by(peer, self.heads, self._lane_of_store(peer.store_id))
            self.changed = True

    def store_moved(self, region: Region) -> None:
        """Another store answers at the address of this region's leader: ask PD for it again."""
        region.stale = True
        if region.leader is not NOBODY:
            self._ask_store(region.leader.store_id)

    def key_led_by(self, lane: Lane) -> int:
        """A key that the lane's store serves; the first one when it serves none."""
        for first, region in zip(self.map.firsts, self.map.regions, strict=True):
            if region.lane is lane:
                return first
        return 0

    # Stores.

    def _lane_of_store(self, store_id: int) -> Lane:
        """The store's lane; `nowhere`, and a question to PD, while its address is not known."""
        lane = self._stores.get(store_id)
        if lane is not None:
            return lane
        self._ask_store(store_id)
        return self.nowhere

    def _ask_store(self, store_id: int) -> None:
        now_ns = time.monotonic_ns()
        if now_ns < self._stores_ask_ns.get(store_id, 0) or len(self._stores_ask_ns) > MAX_LANES:
            return
        self._stores_ask_ns[store_id] = now_ns + ASK_AGAIN_NS
        self.pd.get_store(lambda: get_store(self.pd.cluster_id, store_id), self._store_told)

    def _store_told(self, body: bytes | None) -> None:
        if body is None:
            return
        store_id, address = store_in(body)
        try:
            split_endpoint(address)
        except ValueError:
            raise TargetProtocolError(f"store {store_id} says it is at {address!r}") from None
        lane = self._stores[store_id] = self._lane(address)
        for region in self.map.regions:
            if region.leader.store_id == store_id and region.lane is not lane:
                region.led_by(region.leader, self.heads, lane)
        self.changed = True

    def _lane(self, endpoint: str) -> Lane:
        for lane in self.lanes:
            if lane.endpoint == endpoint:
                return lane
        if len(self.lanes) > MAX_LANES:
            raise TargetProtocolError("more stores than can be")
        lane = Lane(endpoint)
        self.lanes.append(lane)
        return lane

    # Kept fresh.

    def sweep(self, now_ns: int) -> None:
        """Ask PD about what was refused, what has no store, and what only silent stores serve."""
        self.pd.sweep(now_ns)
        if now_ns < self._next_look_ns:
            return
        self._next_look_ns = now_ns + LOOK_NS
        silent = {
            lane
            for lane in self.lanes
            if not any(connection.state == UP for connection in lane.connections)
        }
        for index, region in enumerate(self.map.regions):
            if region.lane in silent:
                region.stale = True
                if region.lane is self.nowhere and region.leader is not NOBODY:
                    self._ask_store(region.leader.store_id)
            if region.stale and now_ns >= region.next_ask_ns and self._asking < ASKED_AT_ONCE:
                region.next_ask_ns = now_ns + ASK_AGAIN_NS
                self._ask_about(index)

    def _ask_about(self, index: int) -> None:
        start, end = (self._bound(number) for number in self.map.span(index))

        def message() -> bytes:
            return scan_regions(self.pd.cluster_id, start, end, limit=LATER_SCAN)

        def answered(body: bytes | None) -> None:
            self._asking -= 1
            if body is not None:
                self._take(body)

        self._asking += 1
        self.pd.scan_regions(message, answered)
