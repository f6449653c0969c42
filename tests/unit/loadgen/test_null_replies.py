"""What the null server says, byte by byte, taken apart by the engine's own readers."""

from __future__ import annotations

import hiredis
import pytest

from loadgen.engine.etcd_target import message_maker
from loadgen.engine.grpc import status_in
from loadgen.engine.http2 import DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, OPENING, frame
from loadgen.engine.protobuf import framed, range_value
from loadgen.engine.resp import command, encoder, read_slot_map, value_check
from loadgen.keyspace import Values
from loadgen.null_replies import grpc_replies, resp_replies

PREFIX, SIZE = "bench:", 200


@pytest.fixture
def values():
    return Values(PREFIX, SIZE, rank=3)


def test_a_get_is_answered_with_a_value_of_that_key_and_a_set_with_ok(values):
    encode, holds = encoder(PREFIX, values), value_check(values)
    one = resp_replies(PREFIX, SIZE, ["10.0.0.1:27379"])()
    assert holds(17, one.answer(encode(17 << 1)))
    assert one.answer(encode(18 << 1 | 1)) == b"+OK\r\n"


@pytest.mark.parametrize("step", [1, 7, 150, 10_000])
def test_a_batch_is_answered_in_order_however_it_is_cut(values, step):
    encode = encoder(PREFIX, values)
    codes = [2, 5, 8, 9, 4, 1]
    asked = command(b"AUTH", b"user", b"word") + b"".join(map(encode, codes)) + command(b"PING")
    one = resp_replies(PREFIX, SIZE, ["10.0.0.1:27379"])()
    reader = hiredis.Reader()
    for at in range(0, len(asked), step):
        reader.feed(one.answer(asked[at : at + step]))
    replies = [reader.gets() for _ in range(len(codes) + 2)]
    assert (replies[0], replies[-1], reader.gets()) == (b"OK", b"PONG", False)
    for code, reply in zip(codes, replies[1:-1], strict=True):
        assert reply == b"OK" if code & 1 else values.belongs(code >> 1, reply)


def test_members_share_all_slots():
    members = ["10.0.0.1:27379", "10.0.0.2:27379", "10.0.0.3:27379"]
    one = resp_replies(PREFIX, SIZE, members)()
    reader = hiredis.Reader()
    reader.feed(one.answer(command(b"CLUSTER", b"SLOTS")))
    ranges = read_slot_map(reader.gets(), asked=members[0])
    assert list(ranges) == members
    held = [
        slot for pairs in ranges.values() for low, high in pairs for slot in range(low, high + 1)
    ]
    assert held == list(range(16384))


def frames_of(data: bytes) -> list[tuple[int, int, int, bytes]]:
    made = []
    while data:
        word, flags, stream = HEAD.unpack_from(data)
        end = 9 + (word >> 8)
        made.append((word & 255, flags, stream, data[9:end]))
        data = data[end:]
    return made


@pytest.mark.parametrize("step", [1, 100, 100_000])
@pytest.mark.parametrize("size", [SIZE, 20_000])
def test_a_range_is_answered_with_a_value_of_that_key_and_a_put_without_one(step, size):
    values = Values(PREFIX, size, rank=0)
    message = message_maker(PREFIX, values)
    asked = OPENING
    for stream, code in ((1, 42 << 1), (3, 43 << 1 | 1)):
        asked += frame(HEADERS, END_HEADERS, stream, b"anything")
        body = message(code)
        for at in range(0, len(body), 16384):
            last = END_STREAM if at + 16384 >= len(body) else 0
            asked += frame(DATA, last, stream, body[at : at + 16384])
    one = grpc_replies(PREFIX, size, [])()
    told = b"".join(one.answer(asked[at : at + step]) for at in range(0, len(asked), step))
    by_stream: dict[int, list] = {1: [], 3: []}
    for kind, flags, stream, payload in frames_of(told):
        if stream:
            by_stream[stream].append((kind, flags, payload))
    for stream, frames in by_stream.items():
        first, *datas, last = frames
        assert status_in(first[2]) == (None, "")
        assert last[1] == END_HEADERS | END_STREAM and status_in(last[2]) == (0, "")
        assert all(len(payload) <= 16384 for _, _, payload in datas)
        body = b"".join(payload for _, _, payload in datas)
        assert body == framed(body[5:]), "the length before the message is its length"
        value = range_value(body[5:])
        assert values.belongs(42, value) if stream == 1 else value is None


def test_what_is_no_http2_is_refused():
    with pytest.raises(ValueError, match="HTTP/2"):
        grpc_replies(PREFIX, SIZE, [])().answer(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n")
