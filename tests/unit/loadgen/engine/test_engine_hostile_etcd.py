"""What a hostile or merely unlucky etcd member can do; each of these once hurt the engine."""

from __future__ import annotations

import struct
import tracemalloc
from collections import deque
from collections.abc import Callable
from itertools import count

import pytest

from loadgen.engine import http2
from loadgen.engine.connection import CLOSED, UP
from loadgen.engine.grpc import KNOWN_BLOCK_BYTES, MAX_HEADER_BYTES, MAX_KNOWN_BLOCKS
from loadgen.engine.hpack import decode, indexed, literal
from loadgen.engine.http2 import frame
from loadgen.engine.http2_connection import ANSWERS_BYTES
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.phases import OpenSource, give_back
from loadgen.engine.protobuf import fields_of, range_value, varint
from tests.fuzz.bench import READ, WRITE, Bench, bench, range_reply, reply
from tests.fuzz.cover import engine_lines

HEAD = indexed(8) + literal(31, b"application/grpc")
GOOD_END = frame(http2.HEADERS, 5, 3, literal(b"grpc-status", b"0"))
MB = 1 << 20


def after_head(*frames: bytes) -> bytes:
    return frame(http2.HEADERS, http2.END_HEADERS, 3, HEAD) + b"".join(frames)


def message(body: bytes) -> bytes:
    return frame(http2.DATA, 0, 3, body)


@pytest.mark.parametrize("code", [READ, WRITE])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(frame(1, 5, 3, b"\x88" + literal(b"grpc-status", b"0")), id="trailers only"),
        pytest.param(after_head(GOOD_END), id="no message"),
        pytest.param(after_head(message(b"\0\0\0\0"), GOOD_END), id="a torn length"),
        pytest.param(after_head(message(b"\x01\0\0\0\x02\x20\x01"), GOOD_END), id="compressed"),
        pytest.param(after_head(message(b"\0\0\0\0\0" * 2), GOOD_END), id="two messages"),
        pytest.param(after_head(message(b"\0\xff\xff\xff\xffx"), GOOD_END), id="4 GB claimed"),
    ],
)
def test_a_good_status_without_one_plain_message_is_no_ok(code, said):
    with bench("etcd") as made:
        made.connection.send_from(deque([code]))
        made.says(said)
        assert made.ends() == {"protocol": 1}
        window = made.windows[0].operations["write" if code & 1 else "read"]
        assert (window.unknown if code & 1 else window.failed) == 1


def test_a_value_in_the_first_of_two_messages_is_not_the_value_read():
    with bench("etcd") as made:
        made.connection.send_from(deque([READ]))
        said = range_reply(made, 3, 5)
        twice = said.replace(GOOD_END, message(b"\0\0\0\0\0") + GOOD_END)
        assert twice != said
        made.says(twice)
        assert made.ends() == {"protocol": 1}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(frame(http2.RST_STREAM, 0, 0, bytes(4)), id="a reset of no stream"),
        pytest.param(frame(http2.RST_STREAM, 0, 2, bytes(4)), id="a reset of an even stream"),
        pytest.param(frame(http2.RST_STREAM, 0, 99, bytes(4)), id="a reset in the future"),
        pytest.param(frame(http2.RST_STREAM, 0, 3, bytes(5)), id="a reset of five bytes"),
        pytest.param(frame(http2.WINDOW_UPDATE, 0, 99, b"\0\0\0\1"), id="a future window"),
        pytest.param(frame(http2.WINDOW_UPDATE, 0, 0, bytes(4)), id="a window of nothing"),
        pytest.param(frame(http2.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), id="large window"),
        pytest.param(frame(http2.SETTINGS, 0, 3), id="settings of a stream"),
        pytest.param(frame(http2.SETTINGS, http2.ACK, 0, bytes(6)), id="an ack with words"),
        pytest.param(frame(http2.SETTINGS, 0, 0, bytes(5)), id="torn settings"),
        pytest.param(
            frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)), id="huge window"
        ),
        pytest.param(frame(http2.PING, 0, 3, bytes(8)), id="a ping of a stream"),
        pytest.param(frame(http2.PING, 0, 0, bytes(7)), id="a ping of seven bytes"),
        pytest.param(frame(http2.GOAWAY, 0, 3, bytes(8)), id="a goaway of a stream"),
        pytest.param(frame(http2.GOAWAY, 0, 0, bytes(7)), id="a torn goaway"),
        pytest.param(frame(http2.CONTINUATION, 4, 3, b""), id="a continuation of nothing"),
        pytest.param(frame(http2.DATA, 0, 3, b"x"), id="data before headers"),
        pytest.param(frame(http2.DATA, 0, 1, b"x"), id="data of a stream that is over"),
        pytest.param(frame(http2.DATA, 8, 3, b"\xff"), id="padding beyond the frame"),
        pytest.param(frame(http2.HEADERS, 4, 1, HEAD), id="a stream used again"),
        pytest.param(frame(http2.HEADERS, 4, 2, HEAD), id="a stream of the server's"),
        pytest.param(frame(http2.HEADERS, 4, 99, HEAD), id="a stream not opened yet"),
        pytest.param(frame(http2.HEADERS, 0, 3) + frame(6, 0, 0, bytes(8)), id="a block cut"),
        pytest.param(after_head(frame(http2.DATA, 1, 3, bytes(5))), id="an end without trailers"),
        pytest.param(
            after_head(frame(http2.HEADERS, 4, 3, HEAD)), id="headers twice, and no end"
        ),
        pytest.param(frame(http2.HEADERS, 4, 3, HEAD + b"\x20"), id="a table resized too late"),
        pytest.param(frame(http2.HEADERS, 4, 3, b"\0" * (MAX_HEADER_BYTES + 3)), id="9 KB of head"),
    ],
)  # fmt: skip
def test_a_frame_that_may_not_be_ends_the_connection(said):
    with bench("etcd") as made:
        made.connection.send_from(deque([WRITE]))
        made.says(said)
        assert made.connection.state == CLOSED
        assert made.ends() == {"protocol": 1}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(frame(http2.RST_STREAM, 0, 1, bytes(4)), id="a late reset"),
        pytest.param(frame(http2.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), id="a late window update"),
        pytest.param(frame(http2.PRIORITY, 0, 3, bytes(5)), id="a priority"),
        pytest.param(frame(200, 255, 3, bytes(100)), id="a frame of a kind unknown"),
        pytest.param(frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 99, 5)), id="unknown setting"),
        pytest.param(frame(http2.PING, http2.ACK, 0, bytes(8)), id="a pong for no ping"),
    ],
)
def test_a_frame_that_means_nothing_changes_nothing(said):
    with bench("etcd") as made:
        made.connection.send_from(deque([WRITE]))
        made.says(said + reply(3, b""))
        assert made.connection.state == UP
        assert made.ends() == {"ok": 1}


def test_a_member_that_pings_and_never_reads_is_left():
    with bench("etcd") as made:
        pings = frame(http2.PING, 0, 0, bytes(8)) * 500
        for _ in range(2000):
            if made.connection.sock is None:
                break
            made.says(pings)
            assert len(made.connection._data_left) <= 2 * ANSWERS_BYTES
        assert made.connection.sock is None


def test_pings_between_calls_leave_nothing_behind():
    with bench("etcd", depth=4) as made:
        for _ in range(50):
            made.says(frame(http2.PING, 0, 0, bytes(8)))
            made.sent()
            give_back(made.hub.freed, made.hub.woke_ns)
        assert list(made.connection.lane.free) == [made.connection]


def test_an_open_loop_with_many_calls_at_once_queues_its_connection_once():
    with bench("etcd", depth=4) as made:
        schedule = ((due_ns, WRITE) for due_ns in count(1))
        source = OpenSource(made.hub, schedule, limit=10)
        give_back(made.hub.freed, made.hub.woke_ns)
        for number in range(1, 200):
            source.pump(number)
            made.says(reply(2 * number + 1, b""))
            give_back(made.hub.freed, made.hub.woke_ns)
            assert len(made.connection.lane.free) == 1
        assert made.ends() == {"ok": 199}


def test_header_blocks_that_vary_without_end_are_forgotten():
    with bench("etcd") as made:
        for number in range(MAX_KNOWN_BLOCKS + 50):
            made.connection.send_from(deque([WRITE]))
            tail = literal(b"grpc-message", b"%d" % number * (1 + number % 200))
            trailers = literal(b"grpc-status", b"14") + tail
            made.says(frame(http2.HEADERS, 5, 2 * number + 3, b"\x88" + trailers))
        known = made.connection._known
        assert len(known) <= MAX_KNOWN_BLOCKS
        assert max(map(len, known)) <= KNOWN_BLOCK_BYTES
        assert made.ends() == {"cluster_down": MAX_KNOWN_BLOCKS + 50}


@pytest.mark.parametrize("table_bytes", [0, 100, 1024, 4095, 4096, 65536])
def test_a_small_header_table_is_acknowledged_and_not_relied_on(table_bytes):
    with bench("etcd") as made:
        made.connection.broken("connection")
        settings = frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 1, table_bytes))
        made.reconnect(settings)
        block = probe_block(made.said)
        update = (b"", b"\x3f")[31 <= table_bytes < 4096] or b"\x20" * (table_bytes == 0)
        assert block.startswith(update or b"\x83")
        later = made.connection._headers.blocks[0]
        if table_bytes >= 1024:
            assert len(later) == 6
        else:
            assert dict(decode(later))[":path"] == "/etcdserverpb.KV/Range"  # needs no table
        assert later[0] == 0x83


def probe_block(said: bytes) -> bytes:
    """The header block of the first call, in what the engine said after its opening."""
    at = len(http2.OPENING)
    while True:
        word, _, _ = http2.HEAD.unpack_from(said, at)
        if word & 0xFF == http2.HEADERS:
            return said[at + 9 : at + 9 + (word >> 8)]
        at += 9 + (word >> 8)


def test_a_table_that_shrinks_under_us_means_dialling_anew():
    with bench("etcd", depth=2) as made:
        made.connection.send_from(deque([WRITE]))
        made.says(frame(http2.SETTINGS, 0, 0, struct.pack(">HI", http2.HEADER_TABLE_SIZE, 0)))
        assert made.connection.room() == 0
        made.says(reply(3, b""))
        assert made.connection.state == CLOSED
        assert made.ends() == {"ok": 1}


def closed_windows(made: Bench, *, stream: int) -> None:
    made.says(frame(4, 0, 0, struct.pack(">HI", http2.INITIAL_WINDOW_SIZE, stream)))
    made.sent()


def test_ok_before_the_whole_request_was_sent_is_no_ok():
    with bench("etcd") as made:
        closed_windows(made, stream=20)
        made.connection.send_from(deque([WRITE]))
        made.sent()
        made.says(reply(3, b""))
        assert made.sent() == frame(http2.RST_STREAM, 0, 3, http2.CANCEL)
        ends = made.ends()
        assert ends == {"protocol": 1}
        assert made.windows[0].operations["write"].failed == 1


def test_a_message_that_waits_is_dropped_when_a_goaway_refuses_its_stream():
    with bench("etcd", depth=2) as made:
        closed_windows(made, stream=60)
        made.connection.send_from(deque([READ, WRITE]))
        made.sent()
        made.says(frame(http2.GOAWAY, 0, 0, (3).to_bytes(4, "big") + bytes(4)))
        made.says(frame(http2.WINDOW_UPDATE, 0, 5, b"\0\1\0\0"))
        assert made.sent() == b""
        made.says(range_reply(made, 3, 5))
        assert made.ends() == {"ok": 1, "connection": 1}


def test_a_stream_window_that_overflows_is_a_protocol_error():
    windows = http2.SendWindows()
    windows.connection = 0
    windows.keep(3, bytes(10))
    with pytest.raises(TargetProtocolError):
        windows.opened(3, http2.MAX_WINDOW)
    windows.keep(5, bytes(10))
    windows.opened(5, 10)
    with pytest.raises(TargetProtocolError):
        windows.resized(http2.MAX_WINDOW)


def work(action: Callable[[], None]) -> int:
    """Lines of the engine that run."""
    return sum(engine_lines(action).values())


@pytest.mark.parametrize(
    ("opening", "one"),
    [
        pytest.param(after_head(), message(b""), id="empty data"),
        pytest.param(after_head(), message(b"x"), id="data of one byte"),
        pytest.param(b"", frame(http2.PING, http2.ACK, 0, bytes(8)), id="pongs"),
        pytest.param(b"", frame(http2.RST_STREAM, 0, 1, bytes(4)), id="resets of what is over"),
        pytest.param(b"", frame(http2.SETTINGS, http2.ACK, 0), id="acks"),
        pytest.param(frame(http2.HEADERS, 0, 3), frame(9, 0, 3), id="empty continuations"),
        pytest.param(b"", frame(77, 0, 0), id="unknown frames"),
        pytest.param(b"", frame(http2.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), id="window updates"),
    ],
)
def test_a_flood_costs_work_in_proportion_to_its_bytes(opening, one):
    with bench("etcd") as made:
        made.connection.send_from(deque([WRITE]))
        made.says(opening)
        small, large = (work(lambda size=size: made.says(one * size)) for size in (300, 1200))
        assert large < 4.4 * small
        assert made.connection.state == UP
        assert made.ends() == {"connection": 1}


@pytest.mark.parametrize("fill", [b"\x82", b"\0\0\0", b"\0\0\x8f" + b"\xff" * 15, b"\x1f"])
def test_a_header_block_costs_work_in_proportion_to_its_bytes(fill):
    def read(size: int) -> None:
        try:
            decode(fill * (size // len(fill)))
        except TargetProtocolError:
            return

    assert work(lambda: read(4000)) < 4.4 * work(lambda: read(1000)) + 100


def test_a_body_in_many_small_parts_grows_in_place():
    """bytes += bytes would copy all that is there for every part."""
    with bench("etcd") as made:
        made.connection.send_from(deque([READ]))
        made.says(after_head(message(b"x"), message(b"x")))
        (call,) = made.connection._calls.values()
        assert isinstance(call.body, bytearray)
        assert call.body == b"xx"


def test_a_value_that_comes_byte_by_byte_in_data_frames_is_ok():
    with bench("etcd") as made:
        made.connection.send_from(deque([READ]))
        word, _, _ = http2.HEAD.unpack_from(said := range_reply(made, 3, 5))
        at = 9 + (word >> 8)
        size = http2.HEAD.unpack_from(said, at)[0] >> 8
        body = said[at + 9 : at + 9 + size]
        parts = b"".join(message(body[index : index + 1]) for index in range(size))
        made.says(said[:at] + parts + said[at + 9 + size :])
        assert made.ends() == {"ok": 1}


@pytest.mark.parametrize(
    ("opening", "one"),
    [
        pytest.param(after_head(), message(bytes(8000)), id="a reply without end"),
        pytest.param(frame(http2.HEADERS, 0, 3), frame(9, 0, 3, bytes(700)), id="an endless block"),
        pytest.param(b"", frame(77, 0, 0, bytes(16000)), id="unknown frames"),
        pytest.param(b"", frame(http2.GOAWAY, 0, 0, b"\x7f" + bytes(9003)), id="goaways"),
        pytest.param(b"", frame(http2.SETTINGS, 0, 0, bytes(16380)), id="settings"),
    ],
)  # fmt: skip
def test_a_flood_takes_little_memory(opening, one):
    with bench("etcd") as made:
        made.connection.send_from(deque([WRITE]))
        made.says(opening)
        tracemalloc.start()
        try:
            for _ in range(4 * MB // len(one)):
                if made.connection.sock is None:
                    break
                made.says(one)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MB
        assert sum(made.ends().values()) == 1


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"\x08" + b"\xff" * 9 + b"\x02", id="a varint of 65 bits"),
        pytest.param(b"\x08" + b"\x80" * 11, id="a varint without end"),
        pytest.param(varint(1 << 32 | 2) + b"\0", id="a field number beyond 2^29"),
        pytest.param(b"\x0b\x0c", id="a group"),
        pytest.param(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", id="a length of 2^64"),
        pytest.param(b"\x12\x04\x2a\x05ab", id="a field that ends beyond its message"),
        pytest.param(b"\x10\x01", id="kvs that are a number"),
        pytest.param(b"\x12\x02\x28\x01", id="a value that is a number"),
    ],
)
def test_damaged_protobuf_is_refused(damaged):
    with pytest.raises(TargetProtocolError):
        range_value(damaged)


def test_the_largest_numbers_of_protobuf_are_read():
    assert list(fields_of(b"\x08" + b"\xff" * 9 + b"\x01")) == [(1, 2**64 - 1)]


def test_unknown_and_repeated_fields_are_no_damage():
    entry = b"\x2a\x01a" + b"\x2a\x01b" + b"\xfa\x01\x01z"
    assert range_value(b"\x99\x06" + bytes(8) + b"\x12" + varint(len(entry)) + entry) == b"b"
