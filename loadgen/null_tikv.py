"""What the null server answers as PD and as a TiKV store at once: one region for each member.

Calls of one key are told apart by their message alone; of several keys, and the stream of
BatchCommands, by their path. Nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadgen.engine.http2 import (
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    RST_STREAM,
    window_update,
)
from loadgen.engine.protobuf import Fields, bytes_field, framed, uint_field, varint
from loadgen.keyspace import KEY_DIGITS, Values, key_bytes
from loadgen.null_replies import (
    MOST_PENDING_BYTES,
    RETURN_AT,
    GrpcConnection,
    Replies,
    grpc_blocks,
)

__all__ = ["tikv_replies"]

_CLUSTER = 1
_FRAME = 5  # bytes of gRPC before a message
_KEY, _VALUE, _LIMIT = b"\x12", b"\x1a", b"\x18"  # tags: field 2 and 3 of bytes, 3 of a number
_PART = 16384
_SEVERAL, _STREAM = b"/RawBatch", b"/BatchCommands"
_REQUESTS, _IDS = 0x0A, 0x12  # tags of BatchCommandsRequest
_GET, _PUT = 13, 15  # fields of its requests, and of the replies to them


def tikv_replies(
    prefix: str, value_bytes: int, members: Sequence[str], *, listen: str, keys: int
) -> Callable[[], Replies]:
    """A maker of connections to the member at `listen`, which is PD's leader to whom it asks."""
    fixed = _Fixed(prefix, value_bytes, members, listen=listen, keys=keys)
    return lambda: _TikvConnection(fixed)


class _Fixed:
    """What all connections share."""

    __slots__ = ("done_in_stream", "empty", "first", "found", "found_in_stream", "found_tail",
                 "key_head", "last", "members", "pair", "regions", "stores",
                 "value_head")  # fmt: skip

    def __init__(
        self, prefix: str, value_bytes: int, members: Sequence[str], *, listen: str, keys: int
    ) -> None:
        self.first, self.last = grpc_blocks()
        self._replies(prefix, value_bytes)
        header = bytes_field(1, uint_field(1, _CLUSTER))
        itself = bytes_field(1, b"null") + bytes_field(4, b"https://" + listen.encode())
        self.members = framed(header + bytes_field(2, itself) + bytes_field(3, itself))
        edges = [key_bytes(prefix, keys * at // len(members)) for at in range(1, len(members))]
        bounds = [b"", *edges, b""]
        self.regions = framed(
            header
            + b"".join(
                bytes_field(4, _region(number + 1, bounds[number], bounds[number + 1]))
                for number in range(len(members))
            )
        )
        self.stores = [
            framed(header + bytes_field(2, uint_field(1, number) + bytes_field(2, name.encode())))
            for number, name in enumerate(members, 1)
        ]

    def _replies(self, prefix: str, value_bytes: int) -> None:
        """Replies up to the digits of the key, and what follows them."""
        values = Values(prefix, value_bytes, rank=0)
        self.empty = framed(b"")
        self.found_tail = values.marker + b"%014d" % 1 + values.filler
        self.value_head = b"\x1a" + varint(value_bytes) + b"k"
        self.key_head = _KEY + varint(len(prefix) + KEY_DIGITS) + prefix.encode()
        value = bytes(len(self.value_head) - 1 + value_bytes)
        self.found = framed(value)[:_FRAME] + self.value_head
        size = len(self.key_head) + KEY_DIGITS + len(value)
        self.pair = bytes_field(2, bytes(size))[:-size] + self.key_head
        in_stream = bytes_field(1, bytes_field(_GET, value))
        self.found_in_stream = in_stream[: -len(value)] + self.value_head
        self.done_in_stream = bytes_field(1, bytes_field(_PUT, b""))


def _region(number: int, start: bytes, end: bytes) -> bytes:
    """A pdpb.Region with one peer, on the store of its own number, which leads it."""
    peer = uint_field(1, number) + uint_field(2, number)
    epoch = uint_field(1, 1) + uint_field(2, 1)
    meta = uint_field(1, number) + bytes_field(2, start) + bytes_field(3, end)
    meta += bytes_field(4, epoch) + bytes_field(5, peer)
    return bytes_field(1, meta) + bytes_field(2, peer)


class _TikvConnection(GrpcConnection):
    """Raw calls begin with a context, PD's with a header; then the first fields differ."""

    __slots__ = ("_answered", "_fixed", "_lasting", "_left", "_several", "_taken")

    reads_headers = True

    def __init__(self, fixed: _Fixed) -> None:
        super().__init__()
        self._fixed = fixed
        self._several: dict[int, bool] = {}  # streams of calls of several keys: whether they read
        self._lasting = 0  # the stream of BatchCommands
        self._answered = False  # it has our headers
        self._left = b""  # of its next message
        self._taken = 0  # bytes of it since its window was given back

    def _opened(self, stream: int, block: bytes) -> None:
        """Hot: once per call. The engine writes paths as they are, but for the first, RawGet."""
        at = block.find(_SEVERAL)
        if at >= 0:
            self._several[stream] = block.startswith(b"Get", at + len(_SEVERAL))
        elif _STREAM in block:
            self._lasting, self._answered = stream, False

    def _reply(self, made: list[bytes], stream: int, message: bytes) -> None:
        fixed, pack = self._fixed, HEAD.pack
        made += (pack(len(fixed.first) << 8 | HEADERS, END_HEADERS, stream), fixed.first)
        if self._several and (reads := self._several.pop(stream, None)) is not None:
            body = self._pairs(message) if reads else fixed.empty
        else:
            body = self._body(message)
        _put(made, stream, body)
        made += (
            pack(len(fixed.last) << 8 | HEADERS, END_HEADERS | END_STREAM, stream),
            fixed.last,
        )

    def _body(self, message: bytes) -> bytes:
        """Hot: once per call."""
        fixed = self._fixed
        if len(message) == _FRAME:
            return fixed.members
        key_at = _FRAME + 2 + message[_FRAME + 1]  # after a context or header, under 128 bytes
        if message[key_at : key_at + 1] != _KEY:
            return self._store(message[_FRAME:])
        end = key_at + 2 + message[key_at + 1]  # keys are under 128 bytes, too
        if len(message) == end:
            digits = message[end - KEY_DIGITS : end]
            return b"".join((fixed.found, digits, fixed.found_tail))
        tag = message[end : end + 1]
        if tag == _VALUE:
            return fixed.empty
        if tag == _LIMIT:
            return fixed.regions
        raise ValueError("no call that the engine makes")

    def _store(self, message: bytes) -> bytes:
        number = Fields(message).number(2)
        if not 1 <= number <= len(self._fixed.stores):
            raise ValueError("no store of ours")
        return self._fixed.stores[number - 1]

    def _pairs(self, message: bytes) -> bytes:
        """Hot: a RawBatchGetResponse with a value for each key that was asked for."""
        fixed = self._fixed
        at = _FRAME + 2 + message[_FRAME + 1]
        head = len(fixed.key_head)
        if (len(message) - at) % (head + KEY_DIGITS):
            raise ValueError("keys that are none of the engine's")
        made: list[bytes] = []
        for begin in range(at + head, len(message), head + KEY_DIGITS):
            digits = message[begin : begin + KEY_DIGITS]
            made += (fixed.pair, digits, fixed.value_head, digits, fixed.found_tail)
        return framed(b"".join(made))

    # The stream of BatchCommands.

    def _data(self, made: list[bytes], flags: int, stream: int, payload: bytes) -> None:
        if stream != self._lasting:
            super()._data(made, flags, stream, payload)
            return
        self._consumed += len(payload)
        self._taken += len(payload)
        if self._taken > RETURN_AT:
            made += (window_update(0, self._consumed), window_update(stream, self._taken))
            self._consumed = self._taken = 0
        came = self._left + payload if self._left else payload
        at = 0
        while len(came) - at >= _FRAME:
            end = at + _FRAME + int.from_bytes(came[at + 1 : at + _FRAME], "big")
            if end > len(came):
                break
            if not self._answered:
                first, self._answered = self._fixed.first, True
                made += (HEAD.pack(len(first) << 8 | HEADERS, END_HEADERS, stream), first)
            _put(made, stream, self._answers(came, at + _FRAME, end))
            at = end
        self._left = came[at:]
        if len(self._left) > MOST_PENDING_BYTES:
            raise ValueError("a message without end")

    def _answers(self, message: bytes, at: int, end: int) -> bytes:
        """Hot: a BatchCommandsResponse, in the order of the requests and with their numbers."""
        fixed = self._fixed
        made: list[bytes] = []
        while at < end:
            tag, size, at = message[at], message[at + 1], at + 2
            if size > 127:
                size, at = _longer(message, size, at)
            if tag == _REQUESTS and message[at] == _GET << 3 | 2:
                digits = message[at + size - KEY_DIGITS : at + size]
                made += (fixed.found_in_stream, digits, fixed.found_tail)
            elif tag == _REQUESTS and message[at] == _PUT << 3 | 2:
                made.append(fixed.done_in_stream)
            elif tag == _IDS:
                made.append(bytes_field(2, message[at : at + size]))
            else:
                raise ValueError("no command that the engine gives")
            at += size
        return framed(b"".join(made))

    def _other(self, made: list[bytes], kind: int, flags: int, stream: int, payload: bytes) -> None:
        super()._other(made, kind, flags, stream, payload)
        if kind == RST_STREAM:
            self._several.pop(stream, None)


def _put(made: list[bytes], stream: int, body: bytes) -> None:
    """A message in as many frames as it takes."""
    for part in range(0, len(body), _PART):
        piece = body[part : part + _PART]
        made += (HEAD.pack(len(piece) << 8, 0, stream), piece)


def _longer(message: bytes, size: int, at: int) -> tuple[int, int]:
    """The rest of a length of several bytes, of which the first is `size`; where it ends."""
    size, shift = size & 127, 7
    while True:
        byte, at = message[at], at + 1
        size |= (byte & 127) << shift
        if byte < 128:
            return size, at
        shift += 7
