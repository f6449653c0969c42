"""What the double's raw commands do and refuse, as TiKV 6.5 in API V1 without TTL."""

import pytest

from tests.tikv_double.cluster import ID_BYTES, Cluster, Store
from tests.tikv_double.messages import kvrpcpb
from tests.tikv_double.raw import RAW
from tests.tikv_double.refusals import Refused


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster({1: Store(1)})
    made.split(b"m")
    for key in (b"a", b"b", b"c", b"x"):
        made.put(key, b"value of " + key)
    made.writes.clear()
    return made


def run(cluster: Cluster, method: str, **words):
    """The command on the left region (everything below m)."""
    kind = method.replace("CompareAndSwap", "CAS") + "Request"
    return RAW[method](cluster, cluster.regions[0], getattr(kvrpcpb, kind)(**words))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("RawPut", {"key": b"x", "value": b"1"}),
        ("RawDelete", {"key": b"x"}),
        ("RawBatchPut", {"pairs": [{"key": b"a", "value": b"1"}, {"key": b"x", "value": b"1"}]}),
        ("RawBatchDelete", {"keys": [b"a", b"x"]}),
        ("RawDeleteRange", {"start_key": b"x", "end_key": b"y"}),
        ("RawDeleteRange", {"start_key": b"a", "end_key": b"x"}),
        ("RawDeleteRange", {"start_key": b"a", "end_key": b""}),
        ("RawCompareAndSwap", {"key": b"x", "value": b"1", "previous_not_exist": True}),
    ],
)
def test_a_write_outside_the_region_changes_nothing(cluster, method, words):
    before = dict(cluster.data)
    with pytest.raises(Refused, match="is not in region key range"):
        run(cluster, method, **words)
    assert cluster.data == before
    assert not cluster.writes


def test_a_read_outside_the_region_is_an_error_in_words(cluster):
    assert "not in region" in run(cluster, "RawGet", key=b"x").error
    pairs = run(cluster, "RawBatchGet", keys=[b"a", b"x"]).pairs
    assert [bool(pair.error.abort) for pair in pairs] == [False, True]


def test_a_missing_key_is_said_for_one_and_left_out_of_many(cluster):
    assert run(cluster, "RawGet", key=b"e").not_found
    assert [p.key for p in run(cluster, "RawBatchGet", keys=[b"a", b"e", b"c"]).pairs] == [
        b"a",
        b"c",
    ]


def test_a_scan_ends_where_its_region_does(cluster):
    assert [p.key for p in run(cluster, "RawScan", start_key=b"b", limit=9).kvs] == [b"b", b"c"]
    assert [p.key for p in run(cluster, "RawScan", start_key=b"", limit=1).kvs] == [b"a"]
    assert run(cluster, "RawScan", start_key=b"a", limit=0).kvs == []


def test_a_scan_backwards_begins_below_its_upper_bound(cluster):
    found = run(cluster, "RawScan", start_key=b"c", end_key=b"a", limit=9, reverse=True).kvs
    assert [(pair.key, pair.value) for pair in found] == [
        (b"b", b"value of b"),
        (b"a", b"value of a"),
    ]


def test_a_scan_that_begins_outside_is_an_error(cluster):
    (pair,) = run(cluster, "RawScan", start_key=b"x", limit=9).kvs
    assert "not in region" in pair.error.abort


def test_keys_alone_come_without_values(cluster):
    found = run(cluster, "RawScan", start_key=b"a", limit=1, key_only=True).kvs
    assert [(pair.key, pair.value) for pair in found] == [(b"a", b"")]


def test_a_key_that_is_too_long_and_a_lifetime_are_errors_in_words(cluster):
    assert "max key size exceeded" in run(cluster, "RawPut", key=b"k" * 8193, value=b"1").error
    assert "ttl is not enabled" in run(cluster, "RawPut", key=b"a", value=b"1", ttl=5).error
    assert not cluster.writes


def test_a_value_above_the_entry_size_is_refused_as_raft_would(cluster):
    with pytest.raises(Refused) as caught:
        run(cluster, "RawPut", key=b"a", value=bytes(8 * 1024 * 1024))
    assert caught.value.error.raft_entry_too_large.entry_size > 8 * 1024 * 1024


def test_a_swap_happens_only_on_what_was_expected(cluster):
    swapped = run(
        cluster, "RawCompareAndSwap", key=b"a", value=b"new", previous_value=b"value of a"
    )
    assert (swapped.succeed, swapped.previous_value) == (True, b"value of a")
    missed = run(cluster, "RawCompareAndSwap", key=b"a", value=b"x", previous_value=b"other")
    assert (missed.succeed, missed.previous_value) == (False, b"new")
    created = run(cluster, "RawCompareAndSwap", key=b"d", value=b"1", previous_not_exist=True)
    assert (created.succeed, created.previous_not_exist) == (True, True)
    assert cluster.data[b"a"] == b"new"
    assert set(cluster.writes) == {(b"a", b"new"), (b"d", b"1")}


def test_every_write_counts_under_key_and_front_of_the_value(cluster):
    value = b"i" * ID_BYTES + b"filler"
    for _ in range(2):
        run(cluster, "RawPut", key=b"a", value=value)
    assert cluster.writes == {(b"a", b"i" * ID_BYTES): 2}
