"""What our client of TiKV sends and reads, held against the messages of `tikv-python`."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.clients import tikv_txn_messages as messages
from loadgen.clients.pd import Store, stores_in, timestamp_in
from loadgen.clients.tikv import Swap, TikvClient
from loadgen.clients.tikv_txn_messages import Locked, Mutation, Refused
from tests.tikv_double.messages import kvrpcpb, metapb, more
from tests.tikv_double.mvcc import encoded


class Heard:
    """Stands where the client's way to the stores is: keeps what is asked, answers as told."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asks: list[Any] = []

    def call(self, ask, _followed, _until):
        self.asks.append(ask)
        value = ask.read(self.answer.SerializeToString())
        return (value, b"") if ask.end_field else value


def heard(answer: Any, *, atomic: bool = False) -> tuple[TikvClient, Heard]:
    client = TikvClient(["127.0.0.1:1"], None, atomic=atomic)
    client._calls = calls = Heard(answer)
    return client, calls


def test_a_get_and_what_it_brings():
    client, calls = heard(kvrpcpb.RawGetResponse(value=b"value"))
    assert client.get(b"key").needed() == b"value"
    assert kvrpcpb.RawGetRequest.FromString(calls.asks[0].rest).key == b"key"
    client, _ = heard(kvrpcpb.RawGetResponse(not_found=True))
    assert client.get(b"key").needed() is None
    client, _ = heard(kvrpcpb.RawGetResponse(value=b""))
    assert client.get(b"key").needed() == b""


@pytest.mark.parametrize("atomic", [False, True])
def test_writes_say_whether_they_are_atomic(atomic):
    client, calls = heard(kvrpcpb.RawPutResponse(), atomic=atomic)
    client.put(b"key", b"value").needed()
    client.delete(b"key").needed()
    put = kvrpcpb.RawPutRequest.FromString(calls.asks[0].rest)
    assert (put.key, put.value, put.for_cas, put.ttl) == (b"key", b"value", atomic, 0)
    delete = kvrpcpb.RawDeleteRequest.FromString(calls.asks[1].rest)
    assert (delete.key, delete.for_cas) == (b"key", atomic)


@pytest.mark.parametrize("expected", [None, b"", b"old"])
def test_a_swap_says_what_it_expects(expected):
    client, calls = heard(kvrpcpb.RawCASResponse(succeed=True, previous_value=b"old"))
    assert client.compare_and_swap(b"key", expected, b"new").needed() == Swap(True, b"old")
    asked = kvrpcpb.RawCASRequest.FromString(calls.asks[0].rest)
    assert (asked.key, asked.value) == (b"key", b"new")
    assert asked.previous_not_exist == (expected is None)
    assert asked.previous_value == (expected or b"")
    client, _ = heard(kvrpcpb.RawCASResponse(previous_not_exist=True))
    assert client.compare_and_swap(b"key", expected, b"new").needed() == Swap(False, None)


def test_a_scan_and_its_pairs():
    pairs = [kvrpcpb.KvPair(key=b"a", value=b"1"), kvrpcpb.KvPair(key=b"b")]
    client, calls = heard(kvrpcpb.RawScanResponse(kvs=pairs))
    assert client.scan(b"a", b"z", 5).needed() == [(b"a", b"1"), (b"b", b"")]
    asked = kvrpcpb.RawScanRequest.FromString(calls.asks[0].rest)
    assert (asked.start_key, asked.limit, asked.key_only, asked.reverse) == (b"a", 5, False, False)
    assert kvrpcpb.RawScanRequest.DESCRIPTOR.fields_by_name["end_key"].number == 7


def test_a_pair_with_an_error_is_no_pair():
    error = kvrpcpb.KvPair(error=kvrpcpb.KeyError(abort="no"))
    client, _ = heard(kvrpcpb.RawScanResponse(kvs=[error]))
    assert client.scan(b"a", b"z", 5).outcome == "failed"


def test_an_error_in_words_is_failed_for_a_read_and_unknown_for_a_write():
    client, _ = heard(kvrpcpb.RawGetResponse(error="gone"))
    assert client.get(b"key")[:4] == ("failed", None, "other", "gone")
    client, _ = heard(kvrpcpb.RawPutResponse(error="gone"))
    assert client.put(b"key", b"value")[:4] == ("unknown", None, "other", "gone")


def test_stores_and_timestamps_of_pd():
    store = metapb.Store(id=4, address="http://10.0.0.1:20160", version="6.5.5", state=1)
    body = more.GetAllStoresResponse(stores=[store]).SerializeToString()
    assert stores_in(body) == [Store(4, "10.0.0.1:20160", "6.5.5", "Offline")]
    answer = more.TsoResponse(count=1)
    answer.timestamp.physical, answer.timestamp.logical = 1_700_000_000_000, 7
    assert timestamp_in(answer.SerializeToString()) == (1_700_000_000_000 << 18) + 7


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 33])
def test_encoded_keys_keep_their_order_and_are_the_doubles(size):
    key = bytes(range(200, 200 + size))
    assert messages.encoded_key(key) == encoded(key)
    assert messages.encoded_key(key) < messages.encoded_key(key + b"\0")


def test_requests_of_two_phase_commit():
    put, delete = Mutation(b"a", messages.OP_PUT, b"1"), Mutation(b"b", messages.OP_DELETE)
    asked = more.KvPrewriteRequest.FromString(messages.prewrite([put, delete], b"a", 5, 0, 20_000))
    assert [(m.op, m.key, m.value) for m in asked.mutations] == [(0, b"a", b"1"), (1, b"b", b"")]
    assert (asked.primary_lock, asked.start_version, asked.lock_ttl) == (b"a", 5, 20_000)
    assert (asked.for_update_ts, list(asked.pessimistic_actions)) == (0, [])
    asked = more.KvPrewriteRequest.FromString(messages.prewrite([put], b"a", 5, 6, 20_000))
    assert (asked.for_update_ts, list(asked.pessimistic_actions)) == (6, [1])
    lock = more.KvPessimisticLockRequest.FromString(messages.lock_for_update(b"k", b"p", 5, 6))
    assert (lock.mutations[0].op, lock.mutations[0].key, lock.primary_lock) == (5, b"k", b"p")
    assert (lock.wait_timeout, lock.return_values) == (-1, True)
    commit = more.KvCommitRequest.FromString(messages.commit([b"a", b"b"], 5, 9))
    assert (list(commit.keys), commit.start_version, commit.commit_version) == ([b"a", b"b"], 5, 9)


def test_a_lock_comes_before_every_other_error():
    conflict = more.TxnError(conflict=more.WriteConflict(key=b"b", conflict_commit_ts=8))
    lock = more.LockInfo(primary_lock=b"p", lock_version=3, key=b"k", lock_ttl=20, lock_type=5)
    errors = [conflict, more.TxnError(locked=lock)]
    with pytest.raises(Locked) as caught:
        messages.every_error(more.KvPrewriteResponse(errors=errors).SerializeToString())
    found = caught.value
    assert (found.primary, found.start, found.key, found.ttl_ms) == (b"p", 3, b"k", 20)
    assert found.pessimistic
    with pytest.raises(Refused, match="was written at 8") as refused:
        messages.every_error(more.KvPrewriteResponse(errors=[conflict]).SerializeToString())
    assert refused.value.conflict


def test_a_locked_value_that_is_empty_is_not_one_that_is_missing():
    for values, gone, wanted in (
        ([b"v"], [False], b"v"),
        ([b""], [False], b""),
        ([b""], [True], None),
    ):
        body = more.KvPessimisticLockResponse(values=values, not_founds=gone).SerializeToString()
        assert messages.locked_value(body) == wanted
