"""What the null server answers: the least RESP and etcd gRPC that the engine takes for a target.

Nothing is looked up: the reply to a read is the value that the engine would have written under
that key, its digits copied out of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from loadgen.engine.hpack import indexed, literal
from loadgen.engine.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_STREAM,
    PING,
    RST_STREAM,
    SETTINGS,
    frame,
    window_update,
)
from loadgen.engine.protobuf import bytes_field, varint
from loadgen.engine.resp import SLOTS
from loadgen.keyspace import KEY_DIGITS, Values

__all__ = [
    "MOST_PENDING_BYTES",
    "RETURN_AT",
    "GrpcConnection",
    "Replies",
    "grpc_blocks",
    "grpc_replies",
    "resp_replies",
]

# A request of the engine is one value and a little more; a client that sends no whole one is none.
MOST_PENDING_BYTES = 80 * 1024 * 1024
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WIDE = (1 << 31) - 1
_OPENS = _WIDE - 65535
RETURN_AT = 1 << 30  # of a window of twice that
_STATUS_200, _CONTENT_TYPE = 8, 31  # of HPACK's static table


class Replies(Protocol):
    """The server's side of one connection."""

    greeting: bytes  # sent first

    def answer(self, data: bytes) -> bytes:
        """Replies to all requests that are whole with `data`. Raises ValueError on nonsense."""


def resp_replies(prefix: str, value_bytes: int, members: Sequence[str]) -> Callable[[], Replies]:
    """A maker of RESP connections; `members` share the slots in equal parts."""
    values = Values(prefix, value_bytes, rank=0)
    fixed = _RespReply(
        get=b"*2\r\n$3\r\nGET\r\n$%d\r\n%b" % (len(prefix) + KEY_DIGITS, prefix.encode()),
        put=b"*3\r\n$3\r\nSET\r\n$%d\r\n%b" % (len(prefix) + KEY_DIGITS, prefix.encode()),
        value_bytes=value_bytes,
        tail=values.marker + b"%014d" % 1 + values.filler + b"\r\n",
        slots=_slot_map(members),
    )
    return lambda: _RespConnection(fixed)


class _RespReply:
    """What all connections share."""

    __slots__ = ("get", "get_size", "head", "put", "put_size", "slots", "tail")

    def __init__(
        self, *, get: bytes, put: bytes, value_bytes: int, tail: bytes, slots: bytes
    ) -> None:
        self.get, self.put, self.tail, self.slots = get, put, tail, slots
        self.get_size = len(get) + KEY_DIGITS + 2
        self.put_size = len(put) + KEY_DIGITS + 2 + len(b"$%d\r\n" % value_bytes) + value_bytes + 2
        self.head = b"$%d\r\nk" % value_bytes


class _RespConnection:
    """GET and SET known by their first bytes and their length; all else by its first word."""

    __slots__ = ("_fixed", "_rest", "greeting")

    def __init__(self, fixed: _RespReply) -> None:
        self._fixed = fixed
        self._rest = b""
        self.greeting = b""

    def answer(self, data: bytes) -> bytes:
        """Hot: once per read."""
        fixed = self._fixed
        if not self._rest:
            if len(data) == fixed.get_size and data.startswith(fixed.get):
                return b"".join((fixed.head, data[-KEY_DIGITS - 2 : -2], fixed.tail))
            if len(data) == fixed.put_size and data.startswith(fixed.put):
                return b"+OK\r\n"
        return self._several(self._rest + data)

    def _several(self, data: bytes) -> bytes:
        """A batch, a part of a request, or one of the engine's own."""
        fixed, made, at = self._fixed, [], 0
        while at < len(data):
            if data.startswith(fixed.get, at):
                end = at + fixed.get_size
                reply = b"".join((fixed.head, data[end - KEY_DIGITS - 2 : end - 2], fixed.tail))
            elif data.startswith(fixed.put, at):
                end, reply = at + fixed.put_size, b"+OK\r\n"
            else:
                end, reply = self._own(data, at)
            if end > len(data):
                break
            made.append(reply)
            at = end
        self._rest = data[at:]
        if len(self._rest) > MOST_PENDING_BYTES:
            raise ValueError("a request without end")
        return b"".join(made)

    def _own(self, data: bytes, at: int) -> tuple[int, bytes]:
        """PING, AUTH, CLUSTER SLOTS and the like: where it ends, and the reply to it."""
        beyond = len(data) + 1  # not whole yet
        words = []
        line = data.find(b"\r\n", at)
        if line < 0:
            return beyond, b""
        count, at = int(data[at + 1 : line]), line + 2
        for _ in range(count):
            line = data.find(b"\r\n", at)
            if line < 0:
                return beyond, b""
            size = int(data[at + 1 : line])
            words.append(data[line + 2 : line + 2 + size].upper())
            at = line + 2 + size + 2
        if at > len(data):
            return beyond, b""
        if words[0] == b"CLUSTER":
            return at, self._fixed.slots
        return at, b"+PONG\r\n" if words[0] == b"PING" else b"+OK\r\n"


def _slot_map(members: Sequence[str]) -> bytes:
    """The reply to CLUSTER SLOTS."""
    made = [b"*%d\r\n" % len(members)]
    for number, member in enumerate(members):
        low, high = (SLOTS * edge // len(members) for edge in (number, number + 1))
        host, _, port = member.rpartition(":")
        name = host.strip("[]").encode()
        made.append(b"*3\r\n:%d\r\n:%d\r\n" % (low, high - 1))
        made.append(b"*2\r\n$%d\r\n%b\r\n:%d\r\n" % (len(name), name, int(port)))
    return b"".join(made)


def grpc_replies(prefix: str, value_bytes: int, members: Sequence[str]) -> Callable[[], Replies]:
    """A maker of etcd connections; any member serves any key."""
    fixed = _GrpcReply(prefix, value_bytes)
    return lambda: _EtcdConnection(fixed)


def grpc_blocks() -> tuple[bytes, bytes]:
    """The header block that begins a reply, and the trailers that end it."""
    first = indexed(_STATUS_200) + literal(_CONTENT_TYPE, b"application/grpc")
    return first, literal(b"grpc-status", b"0") + literal(b"grpc-message", b"")


class _GrpcReply:
    """Frames that all calls share, but for the stream's number and the key's digits."""

    __slots__ = ("digits_at", "first", "last", "put", "range_head", "range_tail", "value_at")

    def __init__(self, prefix: str, value_bytes: int) -> None:
        values = Values(prefix, value_bytes, rank=0)
        key_size = len(prefix) + KEY_DIGITS
        # In a framed request: five bytes of gRPC, the key's tag and length, then prefix and digits.
        self.digits_at = 5 + len(b"\x0a" + varint(key_size)) + len(prefix)
        self.value_at = self.digits_at + KEY_DIGITS
        self.first, self.last = grpc_blocks()
        header = bytes_field(1, b"\x08\x01\x10\x01\x18\x02\x20\x01")  # cluster, member, revision
        value_head = b"\x2a" + varint(value_bytes) + b"k"
        value_tail = values.marker + b"%014d" % 1 + values.filler
        before = b"\x0a" + varint(key_size) + prefix.encode()  # KeyValue.key
        between = b"\x10\x01\x18\x02\x20\x01" + value_head  # its revisions and version
        size = len(before) + 2 * KEY_DIGITS + len(between) + len(value_tail)
        message = len(header) + len(b"\x12" + varint(size)) + size + 2
        self.range_head = _framed(message) + header + b"\x12" + varint(size) + before
        self.range_tail = (between, value_tail + b"\x20\x01")  # count 1
        self.put = _framed(len(header)) + header


def _framed(size: int) -> bytes:
    return b"\x00" + size.to_bytes(4, "big")


class GrpcConnection:
    """HTTP/2 as far as unary calls need it; a subclass answers them.

    `reads_headers`: whether a request's message alone does not tell what is asked.
    """

    __slots__ = ("_began", "_consumed", "_messages", "_rest", "greeting")

    reads_headers = False

    def __init__(self) -> None:
        self._rest = b""
        self._began = False
        self._consumed = 0
        self._messages: dict[int, bytes] = {}  # of calls that come in several frames
        wide = INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _WIDE.to_bytes(4, "big")
        self.greeting = frame(SETTINGS, 0, 0, wide) + window_update(0, _OPENS)

    def answer(self, data: bytes) -> bytes:
        """Hot: once per read, and a turn per frame."""
        data = self._rest + data if self._rest else data
        at = 0
        if not self._began:
            if len(data) < len(_PREFACE):
                self._rest = data
                return b""
            if not data.startswith(_PREFACE):
                raise ValueError("not HTTP/2")
            self._began, at = True, len(_PREFACE)
        made: list[bytes] = []
        size, unpack = len(data), HEAD.unpack_from
        while size - at >= 9:
            word, flags, stream = unpack(data, at)
            end = at + 9 + (word >> 8)
            if end > size:
                break
            kind = word & 0xFF
            if kind == DATA:
                self._data(made, flags, stream, data[at + 9 : end])
            elif kind == HEADERS:
                if self.reads_headers:
                    self._opened(stream, data[at + 9 : end])
            else:
                self._other(made, kind, flags, stream & MAX_STREAM, data[at + 9 : end])
            at = end
        self._rest = data[at:]
        if len(self._rest) > MOST_PENDING_BYTES:
            raise ValueError("a frame without end")
        return b"".join(made)

    def _opened(self, stream: int, block: bytes) -> None:
        """A request's headers; called only where `reads_headers`."""
        raise NotImplementedError

    def _data(self, made: list[bytes], flags: int, stream: int, payload: bytes) -> None:
        self._consumed += len(payload)
        if self._consumed > RETURN_AT:
            made.append(window_update(0, self._consumed))
            self._consumed = 0
        if not flags & END_STREAM:
            self._messages[stream] = self._messages.get(stream, b"") + payload
            return
        if self._messages:
            payload = self._messages.pop(stream, b"") + payload
        self._reply(made, stream, payload)

    def _reply(self, made: list[bytes], stream: int, message: bytes) -> None:
        """Add the frames that answer one whole request."""
        raise NotImplementedError

    def _other(self, made: list[bytes], kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            made.append(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            made.append(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            self._messages.pop(stream, None)


class _EtcdConnection(GrpcConnection):
    """Calls told apart by their message alone: a key and a value is Put, a key is Range."""

    __slots__ = ("_fixed",)

    def __init__(self, fixed: _GrpcReply) -> None:
        super().__init__()
        self._fixed = fixed

    def _reply(self, made: list[bytes], stream: int, message: bytes) -> None:
        fixed, pack = self._fixed, HEAD.pack
        made += (pack(len(fixed.first) << 8 | HEADERS, END_HEADERS, stream), fixed.first)
        if message[fixed.value_at : fixed.value_at + 1] == b"\x12":
            made += (pack(len(fixed.put) << 8, 0, stream), fixed.put)
        else:
            digits = message[fixed.digits_at : fixed.value_at]
            between, tail = fixed.range_tail
            body = b"".join((fixed.range_head, digits, between, digits, tail))
            for part in range(0, len(body), 16384):
                piece = body[part : part + 16384]
                made += (pack(len(piece) << 8, 0, stream), piece)
        made += (
            pack(len(fixed.last) << 8 | HEADERS, END_HEADERS | END_STREAM, stream),
            fixed.last,
        )
