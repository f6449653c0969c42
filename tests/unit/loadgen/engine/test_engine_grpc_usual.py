"""Ordinary replies are read at once; that must never mean anything else than frame by frame."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.engine import http2
from loadgen.engine.connection import UP
from loadgen.engine.grpc_connection import GrpcConnection
from loadgen.engine.grpc_usual import LONGEST_BLOCK, UsualReply
from loadgen.engine.hpack import indexed, literal
from loadgen.engine.http2 import frame
from loadgen.engine.protobuf import bytes_field
from tests.fuzz.bench import READ, WRITE, Bench, bench, range_reply, reply

CALLS = 8
OTHER_HEAD = indexed(8) + literal(31, b"application/grpc+proto")


def put_reply(_made: Bench, stream: int, _key: int) -> bytes:
    return reply(stream, bytes_field(1, b"\x08\x01"))


def missing(_made: Bench, stream: int, _key: int) -> bytes:
    return reply(stream, b"\x20\x00")


def refused(_made: Bench, stream: int, _key: int) -> bytes:
    return reply(stream, b"", status=b"14")


def of_another_key(made: Bench, stream: int, key: int) -> bytes:
    return range_reply(made, stream, (key + 1) % 10)


def frames_of(whole: bytes) -> list[bytes]:
    """The frames of a reply: header block, message, trailers."""
    made = []
    while whole:
        end = 9 + int.from_bytes(whole[:3], "big")
        made.append(whole[:end])
        whole = whole[end:]
    return made


def in_two_frames(made: Bench, stream: int, key: int) -> bytes:
    head, message, end = frames_of(range_reply(made, stream, key))
    parts = (message[9:20], message[20:])
    return head + b"".join(frame(http2.DATA, 0, stream, part) for part in parts) + end


def under_another_head(made: Bench, stream: int, key: int) -> bytes:
    _, message, end = frames_of(range_reply(made, stream, key))
    return frame(http2.HEADERS, http2.END_HEADERS, stream, OTHER_HEAD) + message + end


def with_a_ping_inside(made: Bench, stream: int, key: int) -> bytes:
    head, message, end = frames_of(range_reply(made, stream, key))
    return head + frame(http2.PING, 0, 0, b"12345678") + message + end


def with_a_changed_byte(
    frame_at: int, byte_at: int, xor: int
) -> Callable[[Bench, int, int], bytes]:
    """A reply of which one byte is another: a flag, a stream, a length."""

    def made_so(made: Bench, stream: int, key: int) -> bytes:
        frames = [bytearray(one) for one in frames_of(range_reply(made, stream, key))]
        frames[frame_at][byte_at] ^= xor
        return b"".join(frames)

    return made_so


CHANGED = {
    "the message ends the stream": (1, 4, 1),
    "the message is padded": (1, 4, 8),
    "the message is of another stream": (1, 8, 2),
    "the message is no data": (1, 3, 3),
    "the message is compressed": (1, 9, 1),
    "the message is said to be longer": (1, 13, 1),
    "the trailers are of another stream": (2, 8, 2),
    "the trailers do not end the stream": (2, 4, 1),
    "the trailers are not whole": (2, 4, 4),
    "the head ends the stream": (0, 4, 1),
    "the head is of another stream": (0, 8, 2),
}
KINDS = (range_reply, put_reply, missing, refused, of_another_key, in_two_frames,
         under_another_head, with_a_ping_inside,
         *(with_a_changed_byte(*how) for how in CHANGED.values()))  # fmt: skip

plays = st.fixed_dictionaries(
    {
        "codes": st.lists(st.sampled_from([READ, WRITE]), min_size=CALLS, max_size=CALLS),
        "order": st.permutations(range(CALLS)),
        # Mostly what goes with the call, so that ordinary replies follow one another.
        "kinds": st.lists(
            st.one_of(st.none(), st.none(), st.none(), st.sampled_from(KINDS)),
            min_size=CALLS, max_size=CALLS,
        ),
        "cuts": st.lists(st.integers(0, 4000), max_size=6),
        "flips": st.one_of(
            st.just([]), st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 255)), max_size=2)
        ),
        "again": st.booleans(),
    }
)  # fmt: skip


def stream_of(made: Bench, play: dict) -> bytes:
    said = b""
    for at in play["order"]:
        code, kind = play["codes"][at], play["kinds"][at]
        kind = kind or (put_reply if code & 1 else range_reply)
        said += kind(made, 3 + 2 * at, code >> 1)
    if play["again"]:
        said += range_reply(made, 3, READ >> 1)  # of a call that is over
    mutable = bytearray(said)
    for at, xor in play["flips"]:
        mutable[at % len(mutable)] ^= xor
    return bytes(mutable)


def played(play: dict) -> tuple[dict[str, int], bool, int]:
    with bench("etcd", CALLS) as made:
        made.connection.send_from(deque(play["codes"]))
        said = stream_of(made, play)
        cuts = sorted({0, len(said), *(cut % len(said) for cut in play["cuts"])})
        for begin, end in pairwise(cuts):
            with contextlib.suppress(BrokenPipeError):
                made.says(said[begin:end])
            made.must_be_counted()
        up, left = made.connection.state == UP, len(made.in_flight())
        return made.ends(), up, left


@given(plays)
def test_replies_read_at_once_end_as_those_read_frame_by_frame(play):
    at_once = played(play)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UsualReply, "learned", classmethod(lambda *_: None))
        assert played(play) == at_once


@pytest.mark.parametrize("how", CHANGED.values(), ids=CHANGED)
def test_a_reply_changed_in_one_byte_ends_as_frame_by_frame(how):
    kinds = [None, None, with_a_changed_byte(*how), *[None] * 5]
    play = {"codes": [READ] * CALLS, "order": range(CALLS), "kinds": kinds,
            "cuts": [], "flips": [], "again": False}  # fmt: skip
    at_once = played(play)
    assert at_once[0]["ok"] < CALLS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UsualReply, "learned", classmethod(lambda *_: None))
        assert played(play) == at_once


def test_ordinary_replies_are_read_at_once_after_the_first():
    with bench("etcd", CALLS) as made, pytest.MonkeyPatch.context() as patch:
        one_by_one = []
        slow = GrpcConnection._headers_in

        def counted(self, stream, block, *, ended):
            one_by_one.append(stream)
            slow(self, stream, block, ended=ended)

        patch.setattr(GrpcConnection, "_headers_in", counted)
        made.connection.send_from(deque([READ, WRITE] * 4))
        ways = (range_reply, put_reply) * 4
        made.says(b"".join(ways[at](made, 3 + 2 * at, 5) for at in range(CALLS)))
        assert one_by_one == [3, 3]
        assert made.ends() == {"ok": CALLS}


def test_blocks_too_long_to_be_usual_are_not_learned():
    assert UsualReply.learned(b"x" * (LONGEST_BLOCK + 1), b"") is None
    assert UsualReply.learned(b"", b"x" * (LONGEST_BLOCK + 1)) is None


def test_a_server_that_changes_its_blocks_is_learned_anew():
    with bench("etcd", CALLS) as made:
        made.connection.send_from(deque([READ] * 4))
        for at, way in enumerate((range_reply, under_another_head) * 2):
            made.says(way(made, 3 + 2 * at, 5))
        assert made.connection._usual.blocks[0] == OTHER_HEAD
        assert made.ends() == {"ok": 4}
