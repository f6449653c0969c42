"""What the null server says as a TiKV store, asked by the engine's own requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.engine.connection import Lane
from loadgen.engine.grpc import CallHeaders, status_in
from loadgen.engine.http2 import DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, OPENING, frame
from loadgen.engine.pd_messages import Peer, RegionFound
from loadgen.engine.protobuf import bytes_field, fields_of, framed, message_in, varint, varints_in
from loadgen.engine.tikv_connection import TikvConnection
from loadgen.engine.tikv_regions import Region, RegionMap, RequestHeads
from loadgen.engine.tikv_requests import RawMessages
from loadgen.engine.tikv_stream import FIELDS
from loadgen.keyspace import Values
from loadgen.null_tikv import tikv_replies

PREFIX, SIZE, KEYS = "bench:", 200, 1000
MEMBER = "10.0.0.1:27379"
BLOCKS = CallHeaders(MEMBER.encode(), TikvConnection.paths, secure=True, table_bytes=4096).blocks
BATCH_GET, BATCH_COMMANDS = 2, 4  # of the paths

codes = st.lists(st.integers(0, 2 * KEYS - 1), min_size=1, max_size=40)


def requests_of(size: int) -> tuple[RawMessages, Region]:
    heads = RequestHeads(PREFIX, values := Values(PREFIX, size, rank=3))
    found = RegionFound(1, b"", b"", 1, 1, (Peer(1, 1, 0),), Peer(1, 1, 0))
    region = Region(found, heads, Lane(MEMBER), leader=found.leader)
    return RawMessages(values, RegionMap(PREFIX, KEYS, region), heads), region


def store(size: int = SIZE):
    return tikv_replies(PREFIX, size, [MEMBER], listen=MEMBER, keys=KEYS)()


def data(stream: int, message: bytes, flags: int) -> bytes:
    """A message in frames of the usual size, the last of them with the flags."""
    parts = [message[at : at + 16384] for at in range(0, len(message), 16384)]
    last = len(parts) - 1
    return b"".join(
        frame(DATA, flags if at == last else 0, stream, part) for at, part in enumerate(parts)
    )


def call(stream: int, path: int, message: bytes) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, BLOCKS[path]) + data(stream, message, END_STREAM)


def told(one, asked: bytes, step: int) -> dict[int, tuple[list[tuple[int, bytes]], bytes]]:
    """Stream -> its header blocks with their flags, and its data, however the bytes are cut."""
    said = b"".join(one.answer(asked[at : at + step]) for at in range(0, len(asked), step))
    by_stream: dict[int, tuple[list[tuple[int, bytes]], bytes]] = {}
    while said:
        word, flags, stream = HEAD.unpack_from(said)
        payload, said = said[9 : 9 + (word >> 8)], said[9 + (word >> 8) :]
        assert len(payload) <= 16384
        heads, body = by_stream.setdefault(stream, ([], b""))
        if word & 255 == HEADERS:
            heads.append((flags, payload))
        by_stream[stream] = heads, body + payload * (word & 255 == DATA)
    return by_stream


@given(codes, st.sampled_from([1, 90, 100_000]))
def test_calls_of_one_key_and_of_several_are_told_apart_by_their_path(asked, step):
    requests, region = requests_of(SIZE)
    reads = [code & ~1 for code in asked]
    calls = [call(1, 0, requests.message(reads[0])), call(3, 1, requests.message(reads[0] | 1))]
    calls.append(call(5, BATCH_GET, requests.batch(region, reads)))
    calls.append(call(7, BATCH_GET + 1, requests.batch(region, [code | 1 for code in reads])))
    calls.append(call(9, BATCH_GET, requests.batch(region, reads[:1])))
    by_stream = told(store(), OPENING + b"".join(calls), step)
    for stream in (1, 3, 5, 7, 9):
        first, last = by_stream[stream][0]
        assert status_in(first[1]) == (None, "")
        assert last[0] == END_HEADERS | END_STREAM and status_in(last[1]) == (0, "")
    assert requests.answers(reads[0], by_stream[1][1])
    assert requests.answers(reads[0] | 1, by_stream[3][1])
    assert requests.batch_answers(reads, by_stream[5][1])
    assert requests.batch_answers([code | 1 for code in reads], by_stream[7][1])
    assert requests.batch_answers(reads[:1], by_stream[9][1])


@given(codes, st.sampled_from([1, 90, 100_000]), st.sampled_from([SIZE, 20_000]))
def test_commands_of_a_stream_are_answered_by_their_numbers_and_the_stream_stays(asked, step, size):
    requests, _ = requests_of(size)
    made, half = frame(HEADERS, END_HEADERS, 3, BLOCKS[BATCH_COMMANDS]), len(asked) // 2
    for first, part in ((0, asked[:half]), (half, asked[half:])):
        if part:
            commands = [
                bytes_field(1, bytes_field(FIELDS[code & 1], requests.message(code)[5:]))
                for code in part
            ]
            ids = b"".join(varint(300 * (first + at)) for at in range(len(part)))
            made += data(3, framed(b"".join(commands) + bytes_field(2, ids)), 0)
    heads, body = told(store(size), OPENING + made, max(step, size // 8))[3]
    assert [(flags, status_in(block)) for flags, block in heads] == [(END_HEADERS, (None, ""))]
    replies, numbers = [], []
    while body:
        end = 5 + int.from_bytes(body[1:5], "big")
        for field, value in fields_of(message_in(body[:end])):
            if field == 1:
                replies.append(value)
            else:
                numbers += varints_in(value)
        body = body[end:]
    assert numbers == [300 * at for at in range(len(asked))]
    for code, reply in zip(asked, replies, strict=True):
        ((field, raw),) = fields_of(reply)
        assert field == FIELDS[code & 1]
        assert requests.answers(code, framed(raw))


def test_the_window_of_a_stream_is_given_back_before_it_is_used_up(monkeypatch):
    monkeypatch.setattr("loadgen.null_tikv.RETURN_AT", 1000)
    requests, _ = requests_of(600)
    command = bytes_field(1, bytes_field(FIELDS[1], requests.message(3)[5:]))
    sent = data(3, framed(command + bytes_field(2, b"\x02")), 0)
    one = store(600)
    one.answer(OPENING + frame(HEADERS, END_HEADERS, 3, BLOCKS[BATCH_COMMANDS]) + sent)
    said = one.answer(sent)
    for stream in (0, 3):
        given_back = HEAD.pack(4 << 8 | 8, 0, stream) + (2 * (len(sent) - 9)).to_bytes(4, "big")
        assert given_back in said


@pytest.mark.parametrize(
    "message",
    [bytes_field(1, bytes_field(7, b"x")), bytes_field(9, b"x")],
    ids=["another command", "another field"],
)
def test_what_the_engine_never_asks_for_is_refused(message):
    begun = OPENING + frame(HEADERS, END_HEADERS, 3, BLOCKS[BATCH_COMMANDS])
    with pytest.raises(ValueError, match="no command that the engine gives"):
        store().answer(begun + data(3, framed(message), 0))
