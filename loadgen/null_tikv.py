"""What the null server answers as PD and as a TiKV store at once: one region for each member.

Calls are told apart by their message alone; nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadgen.engine.http2 import END_HEADERS, END_STREAM, HEAD, HEADERS
from loadgen.engine.protobuf import Fields, bytes_field, framed, uint_field, varint
from loadgen.keyspace import KEY_DIGITS, Values, key_bytes
from loadgen.null_replies import GrpcConnection, Replies, grpc_blocks

__all__ = ["tikv_replies"]

_CLUSTER = 1
_FRAME = 5  # bytes of gRPC before a message
_KEY, _VALUE, _LIMIT = b"\x12", b"\x1a", b"\x18"  # tags: field 2 and 3 of bytes, 3 of a number
_PART = 16384


def tikv_replies(
    prefix: str, value_bytes: int, members: Sequence[str], *, listen: str, keys: int
) -> Callable[[], Replies]:
    """A maker of connections to the member at `listen`, which is PD's leader to whom it asks."""
    fixed = _Fixed(prefix, value_bytes, members, listen=listen, keys=keys)
    return lambda: _TikvConnection(fixed)


class _Fixed:
    """What all connections share."""

    __slots__ = ("empty", "first", "found", "found_tail", "last", "members", "regions", "stores")

    def __init__(
        self, prefix: str, value_bytes: int, members: Sequence[str], *, listen: str, keys: int
    ) -> None:
        values = Values(prefix, value_bytes, rank=0)
        self.first, self.last = grpc_blocks()
        head = b"\x1a" + varint(value_bytes) + b"k"
        self.found = framed(bytes(len(head) - 1 + value_bytes))[:_FRAME] + head
        self.found_tail = values.marker + b"%014d" % 1 + values.filler
        self.empty = framed(b"")
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


def _region(number: int, start: bytes, end: bytes) -> bytes:
    """A pdpb.Region with one peer, on the store of its own number, which leads it."""
    peer = uint_field(1, number) + uint_field(2, number)
    epoch = uint_field(1, 1) + uint_field(2, 1)
    meta = uint_field(1, number) + bytes_field(2, start) + bytes_field(3, end)
    meta += bytes_field(4, epoch) + bytes_field(5, peer)
    return bytes_field(1, meta) + bytes_field(2, peer)


class _TikvConnection(GrpcConnection):
    """Raw calls begin with a context, PD's with a header; then the first fields differ."""

    __slots__ = ("_fixed",)

    def __init__(self, fixed: _Fixed) -> None:
        super().__init__()
        self._fixed = fixed

    def _reply(self, made: list[bytes], stream: int, message: bytes) -> None:
        fixed, pack = self._fixed, HEAD.pack
        made += (pack(len(fixed.first) << 8 | HEADERS, END_HEADERS, stream), fixed.first)
        body = self._body(message)
        for part in range(0, len(body), _PART):
            piece = body[part : part + _PART]
            made += (pack(len(piece) << 8, 0, stream), piece)
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
