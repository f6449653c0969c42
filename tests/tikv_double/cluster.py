"""What the double's cluster is at this moment: regions, leaders, stores, and what PD knows of them.

Every store applies at once (there is no replication), so keys and values are the cluster's.
A region is a frozen value; a change puts another in its place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from dataclasses import dataclass, field, replace

from tests.tikv_double.messages import metapb
from tests.tikv_double.mvcc import Mvcc

__all__ = ["CLUSTER_ID", "ID_BYTES", "NAME", "Cluster", "Region", "Store"]

NAME = "soakbed-double"  # the version that PD names for each store: no such TiKV exists
CLUSTER_ID = 7_000_000_000_000_000_007
ID_BYTES = 33  # loadgen.keyspace.ID_BYTES; a test compares them


@dataclass(frozen=True)
class Region:
    """One range of keys, its epoch, its peers (store -> peer) and the store that leads it."""

    id: int
    start: bytes
    end: bytes  # empty: no end
    version: int
    conf_ver: int
    peers: tuple[tuple[int, int], ...]
    leader: int | None

    def holds(self, key: bytes) -> bool:
        return self.start <= key and (not self.end or key < self.end)

    def peer(self, store: int | None) -> metapb.Peer | None:
        """The peer on that store."""
        for held, peer in self.peers:
            if held == store:
                return metapb.Peer(id=peer, store_id=held)
        return None

    def meta(self) -> metapb.Region:
        return metapb.Region(
            id=self.id,
            start_key=self.start,
            end_key=self.end,
            region_epoch=metapb.RegionEpoch(conf_ver=self.conf_ver, version=self.version),
            peers=[metapb.Peer(id=peer, store_id=store) for store, peer in self.peers],
        )


@dataclass
class Store:
    """One TiKV: where it listens, whether it is up, and until when it stands still."""

    id: int
    address: str = ""
    announced: str = ""  # what PD names; the address, unless a test wants a lie
    up: bool = True
    stalled_until: float = 0.0


@dataclass
class Cluster:
    """Regions sorted by key, as the stores have them and as PD was last told."""

    stores: dict[int, Store]
    regions: list[Region] = field(default_factory=list)
    known: list[Region] = field(default_factory=list)  # PD's
    data: dict[bytes, bytes] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)  # of data, sorted
    writes: Counter[tuple[bytes, bytes]] = field(default_factory=Counter)  # (key, value's id)
    mvcc: Mvcc = field(default_factory=Mvcc)  # of transactions; raw keys have nothing to do with it
    counted: set[tuple[bytes, int]] = field(default_factory=set)  # of mvcc, in writes
    astray: dict[int, dict[bytes, bytes | None]] = field(default_factory=dict)
    _last_id: int = 1000

    def __post_init__(self) -> None:
        if not self.regions:
            self.regions = [self._new_region(b"", b"", 1, next(iter(self.stores)))]
            self.known = list(self.regions)

    def next_id(self, count: int = 1) -> int:
        self._last_id += count
        return self._last_id

    def _new_region(self, start: bytes, end: bytes, version: int, leader: int | None) -> Region:
        peers = tuple((store, self.next_id()) for store in self.stores)
        return Region(self.next_id(), start, end, version, len(peers), peers, leader)

    # -- regions ---------------------------------------------------------------------------

    def find(self, key: bytes, regions: list[Region] | None = None) -> int:
        """Where in `regions` (the stores' unless given) the one with `key` is."""
        regions = self.regions if regions is None else regions
        return bisect_right(regions, key, key=lambda region: region.start) - 1

    def by_id(self, number: int) -> Region | None:
        return next((region for region in self.regions if region.id == number), None)

    def _change(self, region: Region, **values: object) -> Region:
        changed = replace(region, **values)
        self.regions[self.regions.index(region)] = changed
        return changed

    def tell_pd(self) -> None:
        """PD hears of everything (in TiKV: by heartbeat, a moment after the change)."""
        self.known = list(self.regions)

    def split(self, key: bytes) -> tuple[Region, Region]:
        """As TiKV splits: the right part keeps the id, both get the next version."""
        at = self.find(key)
        right = self.regions[at]
        if not key or right.start == key:
            raise ValueError(f"key {key.hex()} already starts a region")
        version = right.version + 1
        left = self._new_region(right.start, key, version, right.leader)
        right = replace(right, start=key, version=version)
        self.regions[at : at + 1] = [left, right]
        return left, right

    def merge(self, key: bytes) -> Region:
        """The region of `key` takes in its right neighbour, whose id is then gone."""
        at = self.find(key)
        if at + 1 >= len(self.regions):
            raise ValueError("the last region has no right neighbour to merge")
        target, source = self.regions[at : at + 2]
        version = max(source.version + 1, target.version) + 1
        merged = replace(target, end=source.end, version=version)
        self.regions[at : at + 2] = [merged]
        return merged

    def move_leader(self, key: bytes, store: int | None) -> Region:
        """Another store leads (None: nobody, an election goes on); the epoch stays."""
        region = self.regions[self.find(key)]
        if store is not None and region.peer(store) is None:
            raise ValueError(f"region {region.id} has no peer on store {store}")
        return self._change(region, leader=store)

    def replace_peer(self, key: bytes, store: int) -> Region:
        """The peer on `store` goes and another comes: two changes of configuration."""
        region = self.regions[self.find(key)]
        peers = tuple((s, self.next_id() if s == store else peer) for s, peer in region.peers)
        return self._change(region, peers=peers, conf_ver=region.conf_ver + 2)

    def elect_without(self, store: int) -> int:
        """Every region that `store` leads gets a leader among the other stores that are up."""
        others = [other.id for other in self.stores.values() if other.up and other.id != store]
        led = [region for region in self.regions if region.leader == store]
        for turn, region in enumerate(led):
            self._change(region, leader=others[turn % len(others)] if others else None)
        return len(led)

    def spread_leaders(self) -> None:
        """Leaders in turn, as after PD's balancing."""
        up = [store.id for store in self.stores.values() if store.up]
        for turn, region in enumerate(list(self.regions)):
            self._change(region, leader=up[turn % len(up)])

    # -- keys and values -------------------------------------------------------------------

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.data:
            insort(self.keys, key)
        self.data[key] = value
        self.writes[key, value[:ID_BYTES]] += 1

    def delete(self, key: bytes) -> None:
        if self.data.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]

    def as_store_has_it(self, store: int) -> Cluster:
        """The data with what has gone astray in one store's copy; None is a key that it lost."""
        if store not in self.astray:
            return self
        told = {**self.data, **self.astray[store]}
        data = {key: value for key, value in told.items() if value is not None}
        return replace(self, data=data, keys=sorted(data))

    def between(self, start: bytes, end: bytes) -> list[bytes]:
        """Keys from `start` to before `end` (empty: no end), in order."""
        last = bisect_left(self.keys, end) if end else len(self.keys)
        return self.keys[bisect_left(self.keys, start) : last]
