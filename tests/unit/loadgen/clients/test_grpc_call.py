"""One gRPC call against servers of every kind of manners, on loopback."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep

import pytest

from loadgen.clients.grpc_call import CallLost, GrpcChannel
from loadgen.engine.hpack import indexed, literal
from loadgen.engine.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    OPENING,
    PADDED,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)

PATH = b"/tikvpb.Tikv/RawGet"
STATUS_200 = indexed(8)
ANSWER = b"\x00\x00\x00\x00\x05hello"
OK = literal(b"grpc-status", b"0")
ENDLESS = frame(CONTINUATION, 0, 1, bytes(9000))


def head(stream: int = 1) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, STATUS_200)


def tail(block: bytes = OK, stream: int = 1) -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block)


def whole(stream: int = 1) -> bytes:
    return head(stream) + frame(DATA, 0, stream, ANSWER) + tail(stream=stream)


Script = Callable[[socket.socket], None]


@contextmanager
def served(script: Script) -> Iterator[GrpcChannel]:
    """A channel to a server that does as `script` says with each connection, then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    try:
                        script(peer)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        channel = GrpcChannel(f"127.0.0.1:{listener.getsockname()[1]}", None)
        try:
            yield channel
        finally:
            channel.close()
            listener.shutdown(socket.SHUT_RDWR)


def request(peer: socket.socket, *, size: int = 0) -> bytes:
    """Take the opening, say our settings, and wait for the end of a request."""
    data = b""
    peer.sendall(frame(SETTINGS, 0, 0))
    while not (data.endswith(b"ask") and len(data) > size):
        more = peer.recv(65536)
        if not more:
            raise ConnectionError
        data += more
    return data


def stay(peer: socket.socket) -> None:
    """Say nothing more until the other end has gone: who hangs up early cuts its own words off."""
    peer.settimeout(60)
    while peer.recv(65536):
        pass


def saying(*parts: bytes, hang_up: bool = False) -> Script:
    """Answer one request with these, piece by piece."""

    def script(peer: socket.socket) -> None:
        request(peer)
        for part in parts:
            peer.sendall(part)
        if hang_up:
            peer.shutdown(socket.SHUT_WR)
        stay(peer)

    return script


def asked(channel: GrpcChannel, message: bytes = b"ask", *, within_s: float = 60.0) -> bytes:
    return channel.call(PATH, message, until=monotonic() + within_s)


def lost(channel: GrpcChannel, message: bytes = b"ask", *, within_s: float = 60.0):
    with pytest.raises(CallLost) as caught:
        asked(channel, message, within_s=within_s)
    return tuple(caught.value.lost)


def test_a_request_is_what_grpc_says_it_is():
    seen = []

    def script(peer: socket.socket) -> None:
        seen.append(request(peer))
        peer.sendall(whole())
        stay(peer)

    with served(script) as channel:
        assert asked(channel) == b"hello"
    (data,) = seen
    assert data.startswith(OPENING)
    for word in (PATH, b"application/grpc", b"trailers", channel.address.encode()):
        assert word in data
    assert data.endswith(b"\x00\x00\x00\x00\x03ask")


def test_calls_follow_each_other_on_one_connection():
    accepted = []

    def script(peer: socket.socket) -> None:
        accepted.append(peer)
        request(peer)
        for stream in (1, 3, 5):
            peer.sendall(whole(stream))
            # Nothing is what a closed connection says, and it says so for ever.
            while (more := peer.recv(65536)) and not more.endswith(b"ask"):
                continue

    with served(script) as channel:
        assert [asked(channel) for _ in range(3)] == [b"hello"] * 3
    assert len(accepted) == 1


def test_an_answer_may_come_in_any_pieces():
    pieces = [bytes([byte]) for byte in whole()]
    with served(saying(*pieces)) as channel:
        assert asked(channel) == b"hello"


def test_padding_continuation_and_frames_in_between_are_no_trouble():
    parts = (
        frame(PING, 0, 0, b"12345678"),
        frame(HEADERS, PADDED, 1, b"\x02" + STATUS_200 + b"\0\0"),
        frame(CONTINUATION, END_HEADERS, 1, literal(b"x", b"y")),
        frame(DATA, PADDED, 1, b"\x03" + ANSWER[:6] + b"\0\0\0"),
        frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 70_000)),
        frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 9)),
        frame(DATA, 0, 1, ANSWER[6:]),
        tail(),
    )
    with served(saying(*parts)) as channel:
        assert asked(channel) == b"hello"


def test_a_large_message_waits_for_the_windows():
    message = b"x" * 100_000 + b"ask"
    got = []

    def script(peer: socket.socket) -> None:
        peer.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1000)))
        data = b""
        while data.count(b"x") < 995:
            data += peer.recv(65536)
        sleep(0.1)
        peer.setblocking(False)
        with suppress(BlockingIOError):
            data += peer.recv(65536)
        peer.setblocking(True)
        got.append(data.count(b"x"))
        for stream in (0, 1):
            peer.sendall(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 200_000)))
        while not data.endswith(b"ask"):
            data += peer.recv(65536)
        got.append(data.count(b"x"))
        peer.sendall(whole())
        stay(peer)

    with served(script) as channel:
        assert asked(channel, message) == b"hello"
    assert got == [995, 100_000]  # 1,000 less the five bytes before the message


@pytest.mark.parametrize(
    ("parts", "ended"),
    [
        ((tail(literal(b"grpc-status", b"14")),), ("unknown", "cluster_down")),
        ((tail(literal(b"grpc-status", b"7")),), ("failed", "auth")),
        ((frame(RST_STREAM, 0, 1, struct.pack(">I", 7)),), ("failed", "busy")),
        ((frame(RST_STREAM, 0, 1, struct.pack(">I", 2)),), ("unknown", "other")),
        ((frame(GOAWAY, 0, 0, bytes(8)),), ("failed", "connection")),
        ((), ("unknown", "connection")),
        ((head(), frame(DATA, 0, 1, ANSWER)), ("unknown", "connection")),
        ((head(), frame(DATA, 0, 1, ANSWER * 2), tail()), ("unknown", "protocol")),
        ((head(), frame(DATA, 0, 1, b"\x01" + ANSWER[1:]), tail()), ("unknown", "protocol")),
        ((head(), frame(DATA, END_STREAM, 1, ANSWER)), ("unknown", "protocol")),
        ((frame(DATA, 0, 1, ANSWER), tail()), ("unknown", "protocol")),
        ((head(), tail(literal(b"x", b"y"))), ("unknown", "protocol")),
        ((whole(stream=3),), ("unknown", "protocol")),
        ((frame(HEADERS, END_HEADERS | END_STREAM, 1, indexed(13)),), ("unknown", "protocol")),
        ((b"\xff" * 40,), ("unknown", "protocol")),
        ((frame(HEADERS, 0, 1, b"\0") + ENDLESS,), ("unknown", "protocol")),
    ],
)  # fmt: skip
def test_whatever_is_said_instead_ends_the_call_as_what_it_is(parts, ended):
    with served(saying(*parts, hang_up=True)) as channel:
        assert lost(channel) == ended


def test_after_a_loss_the_next_call_dials_anew():
    turns = iter([saying(frame(RST_STREAM, 0, 1, struct.pack(">I", 2))), saying(whole())])
    with served(lambda peer: next(turns)(peer)) as channel:
        assert lost(channel) == ("unknown", "other")
        assert asked(channel) == b"hello"


def test_after_a_goodbye_the_answer_counts_and_the_next_call_dials_anew():
    goodbye = frame(GOAWAY, 0, 0, struct.pack(">II", 1, 0))
    with served(saying(goodbye + whole())) as channel:
        assert [asked(channel), asked(channel)] == [b"hello", b"hello"]


def test_nobody_there_and_nobody_who_speaks_http2_are_failed():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    assert lost(GrpcChannel(address, None)) == ("failed", "connection")

    def http1(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        stay(peer)

    with served(http1) as channel:
        assert lost(channel) == ("failed", "protocol")


def test_silence_is_failed_before_the_request_and_unknown_after_it():
    with served(stay) as channel:
        assert lost(channel, within_s=0.2) == ("failed", "timeout")
    with served(saying()) as channel:
        assert lost(channel, within_s=2) == ("unknown", "timeout")


def test_a_message_that_no_window_lets_through_is_failed():
    """Nobody can apply half a request."""

    def script(peer: socket.socket) -> None:
        peer.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 10)))
        stay(peer)

    with served(script) as channel:
        assert lost(channel, b"x" * 1000, within_s=0.3) == ("failed", "timeout")


def test_an_answer_to_half_a_request_is_not_ok():
    def script(peer: socket.socket) -> None:
        peer.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 10)))
        data = b""
        while not data.endswith(b"xxxxx"):  # ten less the five before the message
            data += peer.recv(65536)
        peer.sendall(whole())
        stay(peer)

    with served(script) as channel:
        assert lost(channel, b"x" * 1000) == ("failed", "protocol")


def test_a_drip_that_never_ends_is_ended_in_time():
    def script(peer: socket.socket) -> None:
        request(peer)
        peer.sendall(head())
        ends = monotonic() + 60
        while monotonic() < ends:
            peer.sendall(frame(PING, 0, 0, b"12345678"))
            sleep(0.02)

    with served(script) as channel:  # else it would be the connection that ends it
        assert lost(channel, within_s=2) == ("unknown", "timeout")
