"""One connection against a peer that says anything: classified, accounted for, never stuck.

The peer is the other end of a socket pair; no server, no network, no doubles.
"""

from __future__ import annotations

import time
from collections import deque

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen.engine import http2
from loadgen.engine.connection import UP
from loadgen.engine.hpack import indexed, literal
from loadgen.engine.http2 import frame
from loadgen.engine.protobuf import bytes_field
from tests.fuzz.bench import READ, WRITE, bench, bulk, range_reply, reply, value_of

BOTH = pytest.mark.parametrize("target", ["etcd", "redis_cluster"])


@pytest.mark.parametrize(
    ("code", "said", "ends"),
    [
        pytest.param(WRITE, b"+OK\r\n", {"ok": 1}, id="write ok"),
        pytest.param(READ, b"$-1\r\n", {"missing": 1}, id="nothing there"),
        pytest.param(READ, bulk(b"x" * 64), {"corrupt": 1}, id="someone else's value"),
        pytest.param(READ, b"+OK\r\n", {"corrupt": 1}, id="a status for a read"),
        pytest.param(READ, b":1\r\n", {"protocol": 1}, id="a number for a read"),
        pytest.param(WRITE, b"$1\r\nx\r\n", {"protocol": 1}, id="a value for a write"),
        pytest.param(WRITE, b"-CLUSTERDOWN x\r\n", {"cluster_down": 1}, id="cluster down"),
        pytest.param(WRITE, b"-OOM x\r\n", {"no_space": 1}, id="out of memory"),
        pytest.param(WRITE, b"HTTP/1.1 400\r\n", {"protocol": 1}, id="another protocol"),
        pytest.param(READ, b"*999999999\r\n", {"protocol": 1}, id="an array of 8 GB"),
        pytest.param(READ, b"+OK\r\n+OK\r\n", {"corrupt": 1}, id="one reply too many"),
        pytest.param(WRITE, b"-MOVED 1\r\n", {"protocol": 1}, id="a redirect to nowhere"),
        pytest.param(WRITE, b"+O", {"connection": 1}, id="half a reply"),
    ],
)
def test_a_redis_reply_ends_the_operation_as_it_should(code, said, ends):
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([code]))
        made.says(said)
        if ends == {"protocol": 1} and made.connection.sock is None:
            made.recorder.absorb()
        assert made.ends() == ends


def test_a_redis_value_that_belongs_to_its_key_is_ok():
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([READ]))
        made.says(bulk(value_of(made, 5)))
        assert made.ends() == {"ok": 1}


@pytest.mark.parametrize(
    ("code", "said", "ends"),
    [
        pytest.param(WRITE, reply(3, b""), {"ok": 1}, id="write ok"),
        pytest.param(READ, reply(3, b""), {"missing": 1}, id="nothing there"),
        pytest.param(
            READ, reply(3, bytes_field(2, bytes_field(5, b"x"))), {"corrupt": 1}, id="corrupt"
        ),
        pytest.param(READ, reply(3, b"\x0f"), {"protocol": 1}, id="no protobuf"),
        pytest.param(WRITE, reply(3, b"", status=b"14"), {"cluster_down": 1}, id="unavailable"),
        pytest.param(WRITE, reply(3, b"", status=b"16"), {"auth": 1}, id="unauthenticated"),
        pytest.param(WRITE, reply(5, b""), {"protocol": 1}, id="a stream that is not open"),
        pytest.param(WRITE, frame(3, 0, 3, b"\0\0\0\x07"), {"busy": 1}, id="refused stream"),
        pytest.param(WRITE, frame(3, 0, 3, b"\0\0\0\x02"), {"other": 1}, id="reset stream"),
        pytest.param(WRITE, frame(5, 4, 3, b"\0\0\0\x02"), {"protocol": 1}, id="push"),
        pytest.param(WRITE, frame(7, 0, 0, bytes(8)), {"connection": 1}, id="goaway before it"),
        pytest.param(WRITE, b"HTTP/1.1 400 Bad Request\r\n", {"protocol": 1}, id="HTTP/1.1"),
        pytest.param(WRITE, b"\xff\xff\xff" + bytes(6), {"protocol": 1}, id="a frame of 16 MB"),
        pytest.param(WRITE, frame(99, 0, 0, b"?") + reply(3, b""), {"ok": 1}, id="unknown frame"),
        pytest.param(WRITE, reply(3, b"")[:-3], {"connection": 1}, id="half a reply"),
    ],
)
def test_an_etcd_reply_ends_the_operation_as_it_should(code, said, ends):
    with bench("etcd") as made:
        made.connection.send_from(deque([code]))
        made.says(said)
        assert made.ends() == ends


def test_an_etcd_value_that_belongs_to_its_key_is_ok():
    with bench("etcd") as made:
        made.connection.send_from(deque([READ]))
        made.says(range_reply(made, 3, 5))
        assert made.ends() == {"ok": 1}


def test_padding_priority_and_continuation_change_nothing():
    with bench("etcd") as made:
        made.connection.send_from(deque([WRITE]))
        head = indexed(8) + literal(31, b"application/grpc")
        padded = http2.END_HEADERS | http2.PADDED | http2.PRIORITY_FLAG
        made.says(frame(http2.HEADERS, padded, 3, b"\x02" + bytes(5) + head + b"\0\0"))
        made.says(frame(http2.DATA, http2.PADDED, 3, b"\x01" + bytes(5) + b"\0"))
        trailers = literal(b"grpc-status", b"0")
        made.says(frame(http2.HEADERS, http2.END_STREAM, 3, trailers[:4]))
        made.says(frame(http2.CONTINUATION, http2.END_HEADERS, 3, trailers[4:]))
        assert made.ends() == {"ok": 1}


def test_a_ping_is_answered_with_its_own_bytes():
    with bench("etcd") as made:
        made.says(frame(http2.PING, 0, 0, b"12345678"))
        assert made.sent() == frame(http2.PING, http2.ACK, 0, b"12345678")


def test_after_a_goaway_what_is_in_flight_ends_and_nothing_more_is_sent():
    with bench("etcd", depth=2) as made:
        made.connection.send_from(deque([WRITE]))
        made.says(frame(http2.GOAWAY, 0, 0, (3).to_bytes(4, "big") + bytes(4)))
        assert made.connection.room() == 0
        made.says(reply(3, b""))
        assert made.connection.sock is None
        assert made.ends() == {"ok": 1}


@BOTH
def test_a_batch_is_answered_in_one_piece_or_in_many(target):
    codes = [WRITE, WRITE, WRITE]
    with bench(target, depth=3) as made:
        made.connection.send_from(deque(codes))
        said = b"+OK\r\n" * 3 if target != "etcd" else b"".join(reply(s, b"") for s in (7, 3, 5))
        for at in range(len(said)):
            made.says(said[at : at + 1])
        assert made.ends() == {"ok": 3}


@BOTH
@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_any_cut_of_good_replies_gives_the_same_outcome(target, data):
    with bench(target, depth=4) as made:
        made.connection.send_from(deque([READ, WRITE, READ, WRITE]))
        if target == "etcd":
            said = range_reply(made, 3, 5) + reply(5, b"") + reply(7, b"") + reply(9, b"")
        else:
            said = bulk(value_of(made, 5)) + b"+OK\r\n$-1\r\n+OK\r\n"
        cuts = sorted(data.draw(st.sets(st.integers(1, len(said) - 1), max_size=12)))
        for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
            made.says(said[start:end])
        assert made.connection.state == UP
        assert made.ends() == {"ok": 3, "missing": 1}


@BOTH
@settings(deadline=None, max_examples=300)
@given(chunks=st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_end_in_an_outcome(target, chunks):
    with bench(target, depth=2) as made:
        made.connection.send_from(deque([READ, WRITE]))
        for chunk in chunks:
            if made.connection.sock is not None:
                made.says(chunk)
        ends = made.ends()
        assert sum(ends.values()) == 2


@settings(deadline=None, max_examples=300)
@given(
    frames=st.lists(
        st.tuples(
            st.integers(0, 10), st.integers(0, 255), st.sampled_from([0, 1, 3, 5, 7]),
            st.binary(max_size=40),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_any_frames_end_in_an_outcome(frames):
    with bench("etcd", depth=2) as made:
        made.connection.send_from(deque([READ, WRITE]))
        for one in frames:
            if made.connection.sock is not None:
                made.says(frame(*one))
        assert sum(made.ends().values()) == 2


@BOTH
@settings(deadline=None, max_examples=200)
@given(at=st.integers(0, 400), flip=st.integers(1, 255))
def test_one_changed_byte_in_a_good_reply_ends_in_an_outcome(target, at, flip):
    with bench(target, depth=2) as made:
        made.connection.send_from(deque([READ, WRITE]))
        if target == "etcd":
            said = bytearray(range_reply(made, 3, 5) + reply(5, b""))
        else:
            said = bytearray(bulk(value_of(made, 5)) + b"+OK\r\n")
        said[at % len(said)] ^= flip
        made.says(bytes(said))
        assert sum(made.ends().values()) == 2


def test_a_reply_without_end_is_cut_off():
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([READ]))
        made.says(b"$99999999\r\n")
        for _ in range(200):
            if made.connection.sock is None:
                break
            made.says(b"x" * 8192)
        assert made.connection.sock is None
        assert made.ends() == {"protocol": 1}


def test_a_header_block_without_end_is_cut_off():
    with bench("etcd") as made:
        made.connection.send_from(deque([READ]))
        made.says(frame(http2.HEADERS, 0, 3, b"\0"))
        for _ in range(20):
            if made.connection.sock is None:
                break
            made.says(frame(http2.CONTINUATION, 0, 3, bytes(8000)))
        assert made.ends() == {"protocol": 1}


def test_a_reply_that_does_not_come_is_timed_out_and_the_connection_made_anew():
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([WRITE]))
        made.connection.sweep(time.monotonic_ns() + 1_100_000_000)
        assert made.connection.sock is None
        assert made.connection.reopen_ns > 0


def test_moved_goes_to_the_lane_that_was_named_and_keeps_its_sent_time():
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([WRITE]))
        made.says(b"-MOVED 7 127.0.0.1:2\r\n")
        lane = made.hub.target.lanes[1]
        (code, _, sent, hops), asking = lane.redirected[0]
        assert (lane.endpoint, code, hops, asking) == ("127.0.0.1:2", WRITE, 1, False)
        assert made.recorder.generator.moved == 1
        assert sent > 0
        assert made.recorder.in_flight() == 1


def test_ask_is_followed_with_asking_first():
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([READ]))
        made.says(b"-ASK 7 127.0.0.1:1\r\n")
        made.sent()
        made.hub.send_redirected(made.connection.lane, made.connection)
        assert made.sent().startswith(b"*1\r\n$6\r\nASKING\r\n*2\r\n$3\r\nGET")
        made.says(b"+OK\r\n" + bulk(value_of(made, 5)))
        assert made.recorder.generator.ask == 1
        assert made.ends() == {"ok": 1}


def test_more_redirects_than_five_fail_the_operation():
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([WRITE]))
        for _ in range(6):
            made.says(b"-MOVED 7 127.0.0.1:1\r\n")
            if made.connection.lane.redirected:
                made.hub.send_redirected(made.connection.lane, made.connection)
        assert made.ends() == {"redirect_limit": 1}
