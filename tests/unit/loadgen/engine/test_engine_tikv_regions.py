"""The region map: every key in one region, the newest that was told of it."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from loadgen.engine.connection import Lane
from loadgen.engine.pd_messages import Peer, RegionFound
from loadgen.engine.tikv_regions import Region, RegionMap, RequestHeads
from loadgen.keyspace import Values, key_bytes

PREFIX, KEYS = "k/", 40
HEADS = RequestHeads(PREFIX, Values(PREFIX, 64, rank=0))
LANES = [Lane(f"10.0.0.{number}:20160") for number in range(1, 4)]


def region(number: int, start: bytes, end: bytes, *, version: int = 1, store: int = 0) -> Region:
    peer = Peer(number, store)
    return Region(RegionFound(number, start, end, 1, version, (peer,)), HEADS, LANES[store])


def fresh() -> RegionMap:
    return RegionMap(PREFIX, KEYS, region(0, b"", b"", version=0))


def whole(regions: RegionMap) -> list[int]:
    """The region's id of every key."""
    assert regions.firsts[0] == 0
    assert regions.firsts == sorted(set(regions.firsts))
    assert len(regions.firsts) == len(regions.regions)
    return [regions.find(key).found.id for key in range(KEYS)]


def test_bounds_are_keys_or_anything_between_them():
    regions = fresh()
    assert regions.put(region(1, b"", key_bytes(PREFIX, 10)))
    assert regions.put(region(2, key_bytes(PREFIX, 10), key_bytes(PREFIX, 20) + b"\0"))
    assert regions.put(region(3, key_bytes(PREFIX, 20) + b"\0", b""))
    assert whole(regions) == [1] * 10 + [2] * 11 + [3] * 19
    assert regions.keys_of() == {LANES[0]: KEYS}


def test_a_region_without_any_of_our_keys_is_left_alone():
    regions = fresh()
    assert not regions.put(region(1, b"a", b"b"))
    assert not regions.put(region(1, key_bytes(PREFIX, 7) + b"a", key_bytes(PREFIX, 8)))
    assert not regions.put(region(1, b"z", b""))
    assert whole(regions) == [0] * KEYS


def test_what_is_older_does_not_cover_what_is_newer():
    regions = fresh()
    regions.put(region(1, b"", b"", version=5))
    regions.put(region(2, key_bytes(PREFIX, 5), key_bytes(PREFIX, 9), version=7))
    regions.put(region(1, b"", b"", version=6))
    assert whole(regions) == [1] * 5 + [2] * 4 + [1] * 31
    assert len(set(map(id, regions.regions))) == 2, "the same region on both sides"


def test_a_leader_that_moves_takes_its_keys_to_another_lane():
    regions = fresh()
    regions.put(region(1, b"", key_bytes(PREFIX, 10), version=2))
    assert regions.keys_of() == {LANES[0]: KEYS}
    regions.find(3).led_by(Peer(8, 2), HEADS, LANES[2])
    assert regions.keys_of() == {LANES[2]: 10, LANES[0]: 30}
    assert regions.find(9).lane is LANES[2]


@dataclass
class Told:
    number: int
    low: int
    high: int
    version: int


tellings = st.builds(
    Told, st.integers(1, 9), st.integers(0, KEYS), st.integers(0, KEYS), st.integers(1, 6)
)


@given(st.lists(tellings, max_size=30))
def test_each_key_is_in_the_newest_region_told_last(told):
    regions, expected = fresh(), [(0, 0)] * KEYS
    for one in told:
        end = key_bytes(PREFIX, one.high) if one.high < KEYS else b""
        holds = regions.put(
            region(one.number, key_bytes(PREFIX, one.low), end, version=one.version)
        )
        assert holds == (one.low < one.high)
        for key in range(one.low, one.high):
            if expected[key][1] <= one.version:
                expected[key] = (one.number, one.version)
    assert whole(regions) == [number for number, _ in expected]
    assert sum(regions.keys_of().values()) == KEYS
    spans = [regions.span(index) for index in range(len(regions.regions))]
    assert spans[-1][1] == KEYS
