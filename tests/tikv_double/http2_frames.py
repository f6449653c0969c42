"""HTTP/2's frames and header blocks, as far as a gRPC server needs them (RFC 9113, RFC 7541).

Written apart from the engine's own, so that the two prove each other; hyper's `hpack` reads what
clients say, and in tests the other end is C-core (tikv-python) and Rust's (tikv-client), too.
"""

from __future__ import annotations

import struct
from urllib.parse import quote

from hpack import Decoder

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "FIRST_WINDOW",
    "GOAWAY",
    "HEADERS",
    "HELLO",
    "INITIAL_WINDOW_SIZE",
    "MAX_FRAME_BYTES",
    "OPENING",
    "PING",
    "PREFACE",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "Paths",
    "body_of",
    "ended_ok",
    "ended_with",
    "frame",
    "settings_in",
]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9
END_STREAM = ACK = 1
END_HEADERS, PADDED, WITH_PRIORITY = 4, 8, 32
INITIAL_WINDOW_SIZE = 4

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME_BYTES = 16384
FIRST_WINDOW = 65535
_OURS = (1 << 31) - 1  # the most there is: a client of the double never waits for our windows

_pack = struct.Struct(">HBBBI").pack


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return _pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def body_of(flags: int, payload: bytes, *, headers: bool) -> bytes:
    """A payload without padding, and without a priority where it may have one."""
    begin, end = 0, len(payload)
    if flags & PADDED:
        begin, end = 1, end - payload[0]
    if headers and flags & WITH_PRIORITY:
        begin += 5
    return payload[begin:end]


def settings_in(payload: bytes) -> dict[int, int]:
    """Of a SETTINGS frame."""
    return dict(struct.iter_unpack(">HI", payload))


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field without indexing and without Huffman; both texts under 16 KiB."""
    return b"\x00" + _text(name) + _text(value)


def _text(value: bytes) -> bytes:
    size = len(value)
    if size < 127:
        return bytes((size,)) + value
    size -= 127
    return bytes((127, size & 0x7F | 0x80, size >> 7)) + value


_STATUS_200 = b"\x88"  # of HPACK's static table
OPENING = _STATUS_200 + _literal(b"content-type", b"application/grpc")
ended_ok = _literal(b"grpc-status", b"0")


def ended_with(status: int, text: str) -> bytes:
    """The trailers of a call that went wrong."""
    message = quote(text[:1000], safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~").encode()
    return _literal(b"grpc-status", b"%d" % status) + _literal(b"grpc-message", message)


# What the server says first: streams may send as much as they like, and so may the connection.
HELLO = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, _OURS)) + frame(
    WINDOW_UPDATE, 0, 0, struct.pack(">I", _OURS - FIRST_WINDOW)
)


class Paths:
    """Reads the path out of one connection's header blocks.

    A client that says the same again sends nothing but numbers of the table that both keep, a byte
    each; such a block changes no table, so it means the same until one comes that does.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._known: dict[bytes, str] = {}

    def of(self, block: bytes) -> str:
        """Hot. Raises hpack.HPACKError on damage, KeyError without a path."""
        path = self._known.get(block)
        if path is None:
            fields = dict(self._decoder.decode(block))
            path = fields[":path"]
            if all(0x80 < byte < 0xFF for byte in block):
                self._known[block] = path
            else:
                self._known.clear()
        return path
