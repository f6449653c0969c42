"""Replies as a sound target sends them."""

from __future__ import annotations

from loadgen.engine import http2
from loadgen.engine.hpack import indexed, literal
from loadgen.engine.http2 import frame


def bulk(value: bytes) -> bytes:
    """A value in RESP."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def slot_map(*masters: tuple[int, int, str, int]) -> bytes:
    """CLUSTER SLOTS: (first slot, last slot, host, port) of each master."""
    made = [b"*%d\r\n" % len(masters)]
    for low, high, host, port in masters:
        node = b"*3\r\n" + bulk(host.encode()) + b":%d\r\n" % port + bulk(b"id")
        made.append(b"*3\r\n:%d\r\n:%d\r\n" % (low, high) + node)
    return b"".join(made)


def reply(stream: int, message: bytes, *, status: bytes = b"0") -> bytes:
    """A whole gRPC reply, as etcd sends it."""
    head = b"\x20" + indexed(8) + literal(31, b"application/grpc")
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    return (
        frame(http2.HEADERS, http2.END_HEADERS, stream, head)
        + frame(http2.DATA, 0, stream, body)
        + frame(http2.HEADERS, 5, stream, literal(b"grpc-status", status))
    )
