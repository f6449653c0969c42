"""TiKV's calls of several keys, one by one against replies made by hand: each counts once."""

from __future__ import annotations

from collections import deque

import pytest

from loadgen.contract.window import CAUSES
from loadgen.engine import http2
from loadgen.engine.connection import CLOSED, UP
from loadgen.engine.hpack import literal
from loadgen.engine.http2 import frame
from loadgen.engine.protobuf import framed
from loadgen.engine.tikv_connection import TikvConnection
from loadgen.keyspace import key_bytes
from tests.fuzz.bench import Bench, bench
from tests.fuzz.members import value_of
from tests.fuzz.replies import reply
from tests.fuzz.tikv_member import region_error
from tests.tikv_double.messages import kvrpcpb, more

READS = [key << 1 for key in (1, 2, 3)]
WRITES = [key << 1 | 1 for key in (4, 5)]
FIRST, SECOND = 3, 5  # streams, after the connection's first call


@pytest.fixture
def batches():
    with bench("tikv", depth=4, batch=8) as made:
        made.connection.send_from(deque(READS + WRITES))
        yield made


def pairs(made: Bench, keys, **changed) -> bytes:
    found = {key: value_of(made.values, key) for key in keys} | changed.get("instead", {})
    return kvrpcpb.RawBatchGetResponse(
        pairs=[kvrpcpb.KvPair(key=key_bytes("k", key), value=value) for key, value in found.items()]
    ).SerializeToString()


def ended(made: Bench) -> tuple[int, dict[str, int]]:
    """Everything that was sent has ended, once."""
    ends = made.ends()
    assert sum(ends.values()) == made.recorder.totals.sent == len(READS + WRITES)
    return ends.pop("ok", 0), ends


def test_operations_of_one_kind_go_out_as_one_call_and_are_answered_by_one(batches):
    calls = list(batches.connection._calls.values())
    assert [[op[0] for op in call.ops] for call in calls] == [READS, WRITES]
    batches.says(reply(FIRST, pairs(batches, (1, 2, 3))) + reply(SECOND, b""))
    assert ended(batches) == (5, {})


@pytest.mark.parametrize(
    ("instead", "lost"),
    [
        pytest.param({2: b"x" * 64}, {"corrupt": 1}, id="a wrong value"),
        pytest.param({2: b""}, {"corrupt": 1}, id="an empty value"),
        pytest.param({9: b"x" * 64}, {}, id="a key that nobody asked for"),
    ],
)
def test_each_key_of_a_batch_is_judged_by_itself(batches, instead, lost):
    batches.says(reply(FIRST, pairs(batches, (1, 2, 3), instead=instead)) + reply(SECOND, b""))
    assert ended(batches) == (5 - sum(lost.values()), lost)


def test_pairs_may_come_in_any_order_and_what_is_not_there_is_missing(batches):
    batches.says(reply(FIRST, pairs(batches, (3, 1))) + reply(SECOND, b""))
    assert ended(batches) == (4, {"missing": 1})


def test_a_pair_that_tells_of_an_error_has_no_value(batches):
    error = kvrpcpb.KvPair(key=key_bytes("k", 2), error=kvrpcpb.KeyError(abort="no"))
    good = pairs(batches, (1, 3))
    also = kvrpcpb.RawBatchGetResponse(pairs=[error]).SerializeToString()
    batches.says(reply(FIRST, good + also) + reply(SECOND, b""))
    assert ended(batches) == (4, {"corrupt": 1})


def test_a_batch_of_writes_that_failed_in_words_is_unknown_as_a_whole(batches):
    said = kvrpcpb.RawBatchPutResponse(error="timeout").SerializeToString()
    batches.says(reply(FIRST, pairs(batches, (1, 2, 3))) + reply(SECOND, said))
    assert ended(batches) == (3, {"other": 2})
    assert batches.windows[0].operations["write"].unknown == 2


def test_a_refused_batch_goes_on_one_by_one(batches):
    error = region_error("epoch_not_match")
    refused = kvrpcpb.RawBatchGetResponse(region_error=error).SerializeToString()
    batches.says(reply(FIRST, refused) + reply(SECOND, b""))
    waiting = [op for lane in batches.hub.target.lanes for op, _ in lane.redirected]
    assert [(op[0], op[3]) for op in waiting] == [(code, 1) for code in READS]
    assert batches.recorder.generator.moved == len(READS)
    for op in waiting:
        batches.connection.send_again(op, asking=False)
    batches.hub.target.lanes[0].redirected.clear()
    said = [kvrpcpb.RawGetResponse(value=value_of(batches.values, code >> 1)) for code in READS]
    for stream, one in zip((7, 9, 11), said, strict=True):
        batches.says(reply(stream, one.SerializeToString()))
    assert ended(batches) == (5, {})


@pytest.mark.parametrize(
    ("said", "cause", "failed"),
    [
        pytest.param(frame(3, 0, FIRST, (7).to_bytes(4, "big")), "busy", 3, id="refused stream"),
        pytest.param(frame(3, 0, FIRST, (8).to_bytes(4, "big")), "other", 0, id="cancelled"),
        pytest.param(frame(7, 0, 0, (0).to_bytes(4, "big") + bytes(4)), "connection", 5, id="away"),
        pytest.param(reply(FIRST, b"", status=b"14"), "cluster_down", 0, id="unavailable"),
        pytest.param(reply(FIRST, b"\x0a\xff"), "protocol", 3, id="damaged"),
        pytest.param(frame(0, 0, 99, b"x"), "protocol", 0, id="no such call"),
    ],
)
def test_whatever_ends_a_batch_ends_each_of_its_operations_once(batches, said, cause, failed):
    batches.says(said)
    ok, causes = ended(batches)
    assert ok == 0
    assert cause in causes and set(causes) <= set(CAUSES)
    windows = batches.windows[0].operations
    assert windows["read"].failed + windows["write"].failed == failed


def test_a_batch_holds_no_key_twice_and_takes_what_is_of_its_kind_among_the_next():
    with bench("tikv", depth=1, batch=8) as made:
        codes = deque([2, 5, 2, 4, 2, 6])
        made.connection.send_from(codes)
        (call,) = made.connection._calls.values()
        assert [op[0] for op in call.ops] == [2, 4, 6]
        assert list(codes) == [5, 2, 2]


# The batched stream.


@pytest.fixture
def streamed():
    with bench("tikv", depth=8, batched_stream=True) as made:
        made.connection.send_from(deque(READS + WRITES))
        made.says(frame(http2.HEADERS, http2.END_HEADERS, FIRST, b"\x88"))
        yield made


def answers(made: Bench, numbers, *, ids=None) -> bytes:
    """Right ones to the requests of these numbers, in one message."""
    said = []
    for number in numbers:
        code = (READS + WRITES)[number // 2 - 1]
        if code & 1:
            said.append(more.BatchedResponse(RawPut=kvrpcpb.RawPutResponse()))
        else:
            value = value_of(made.values, code >> 1)
            said.append(more.BatchedResponse(RawGet=kvrpcpb.RawGetResponse(value=value)))
    batch = more.BatchCommandsResponse(
        responses=said, request_ids=numbers if ids is None else ids, transport_layer_load=3
    )
    return framed(batch.SerializeToString())


def data(*messages: bytes, stream: int = FIRST, flags: int = 0) -> bytes:
    return frame(http2.DATA, flags, stream, b"".join(messages))


def test_answers_may_come_in_any_order_in_any_messages_cut_anywhere(streamed):
    said = answers(streamed, [8, 2]) + answers(streamed, [10]) + answers(streamed, [4, 6])
    for at in range(0, len(said), 7):
        streamed.says(data(said[at : at + 7]))
    assert ended(streamed) == (5, {})


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(lambda made: data(answers(made, [2], ids=[12])), id="nobody asked"),
        pytest.param(lambda made: data(answers(made, [2], ids=[3])), id="the number of a stream"),
        pytest.param(lambda made: data(answers(made, [2], ids=[2, 4])), id="more named"),
        pytest.param(lambda made: data(answers(made, [2], ids=[8])), id="another kind"),
        pytest.param(lambda made: data(b"\x01" + answers(made, [2])[1:]), id="compressed"),
        pytest.param(lambda made: data(b"\0\xff\xff\xff\xff"), id="4 GB claimed"),
        pytest.param(lambda made: data(answers(made, [2]), stream=5), id="another stream"),
        pytest.param(lambda made: data(answers(made, [2]), flags=1), id="without trailers"),
        pytest.param(lambda made: frame(1, 4, FIRST, b"\x88"), id="headers again"),
        pytest.param(lambda made: data(framed(b"\x0a\x05")), id="damaged"),
    ],
)
def test_what_is_no_answer_breaks_the_stream_and_loses_count_of_nothing(streamed, said):
    streamed.says(said(streamed))
    assert streamed.connection.state == CLOSED
    assert ended(streamed) == (0, {"protocol": 5})


def trailers(status: bytes) -> bytes:
    return frame(http2.HEADERS, 5, FIRST, literal(b"grpc-status", status))


@pytest.mark.parametrize(
    ("said", "causes", "failed"),
    [
        pytest.param(frame(3, 0, FIRST, bytes(4)), {"connection": 5}, 0, id="reset"),
        pytest.param(trailers(b"0"), {"connection": 5}, 0, id="end"),
        pytest.param(trailers(b"16"), {"auth": 5}, 0, id="auth"),
        pytest.param(frame(7, 0, 0, (1).to_bytes(4, "big") + bytes(4)), {"connection": 5}, 5,
                     id="away before it"),
        pytest.param(frame(7, 0, 0, (3).to_bytes(4, "big") + bytes(4)), {"connection": 5}, 0,
                     id="away after it"),
    ],
)  # fmt: skip
def test_the_end_of_the_stream_ends_what_was_on_it(streamed, said, causes, failed):
    streamed.says(said)
    assert streamed.connection.room() <= 0
    assert ended(streamed) == (0, causes)
    windows = streamed.windows[0].operations
    assert windows["read"].failed + windows["write"].failed == failed


def test_a_window_that_is_full_is_waited_for():
    with bench("tikv", depth=1000, batched_stream=True) as made:
        assert isinstance(made.connection, TikvConnection)
        made.sent()
        codes = deque([1] * 1000)
        made.connection.send_from(codes)
        first = made.sent()
        while more_came := made.sent():
            first += more_came
        taken = len(first) - 9 * -(-len(first) // 16393)
        assert taken <= 65_535 < 1000 * 110
        made.says(frame(8, 0, FIRST, (1 << 20).to_bytes(4, "big")))
        assert not made.sent(), "the connection's window is full as well"
        made.says(frame(8, 0, 0, (1 << 20).to_bytes(4, "big")))
        assert made.sent()
        assert made.connection.state == UP
        assert sum(made.ends().values()) == 1000
