"""Protobuf written and read by hand, and the few messages of etcd's KV service.

Field numbers are those of etcd's rpc.proto and kv.proto (3.5).
"""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.engine.outcome import TargetProtocolError

__all__ = [
    "Fields",
    "as_bytes",
    "as_number",
    "bytes_field",
    "fields_of",
    "framed",
    "message_in",
    "put_revision",
    "range_told",
    "range_value",
    "uint_field",
    "varint",
    "varints_in",
]

_KVS, _VALUE = 2, 5  # RangeResponse.kvs, KeyValue.value
_HEADER, _REVISION, _MOD_REVISION = 1, 3, 3  # of every response, ResponseHeader and KeyValue


def varint(value: int) -> bytes:
    """A base-128 varint.

    >>> varint(1024).hex()
    '8008'
    """
    made = bytearray()
    while value >= 128:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def bytes_field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def uint_field(number: int, value: int) -> bytes:
    """A number; nothing for 0, as proto3 has it."""
    return varint(number << 3) + varint(value) if value else b""


def framed(message: bytes) -> bytes:
    """A gRPC message: not compressed, length, bytes."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def message_in(body: bytes) -> bytes:
    """The one plain message of a gRPC reply. Raises TargetProtocolError."""
    if len(body) < 5 or int.from_bytes(body[:5], "big") != len(body) - 5:
        raise TargetProtocolError("not one plain gRPC message")
    return body[5:]


def fields_of(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of every field. Raises TargetProtocolError on damage."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise TargetProtocolError(f"protobuf field {number}")
        if kind == 0:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _read_varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise TargetProtocolError(f"protobuf wire type {kind}")
        if at + size > len(message):
            raise TargetProtocolError("protobuf field cut short")
        yield number, message[at : at + size]
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise TargetProtocolError("protobuf varint without end")
        byte = message[at]
        if shift == 63 and byte > 1:
            raise TargetProtocolError("protobuf varint of more than 64 bits")
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def range_value(response: bytes) -> bytes | None:
    """The value in a RangeResponse of one key; None when there is no such key."""
    for number, entry in fields_of(response):
        if number == _KVS:
            if not isinstance(entry, bytes):
                raise TargetProtocolError("RangeResponse.kvs is no message")
            found = [value for field, value in fields_of(entry) if field == _VALUE]
            if not found:
                return b""
            if not isinstance(found[-1], bytes):
                raise TargetProtocolError("KeyValue.value is no bytes")
            return found[-1]
    return None


class Fields(dict[int, int | bytes]):
    """The last value of each field of a message, read as what the caller expects.

    Raises TargetProtocolError on damage, and where a field is not what is expected.
    """

    def __init__(self, message: int | bytes) -> None:
        super().__init__(fields_of(as_bytes(message)))

    def number(self, field: int) -> int:
        """A varint; 0 when it is not there."""
        return as_number(self.get(field, 0))

    def data(self, field: int) -> bytes:
        """Bytes, or a message; empty when it is not there."""
        return as_bytes(self.get(field, b""))


def put_revision(response: bytes) -> int:
    """The store's revision that a PutResponse tells of: that of the put; 0 where it says none.

    Raises TargetProtocolError on damage.
    """
    return Fields(Fields(response).data(_HEADER)).number(_REVISION)


def range_told(response: bytes) -> tuple[bytes, int]:
    """Value and mod_revision in a RangeResponse of one key.

    Raises TargetProtocolError on damage.
    """
    entry = Fields(Fields(response).data(_KVS))
    return entry.data(_VALUE), entry.number(_MOD_REVISION)


def as_bytes(value: int | bytes) -> bytes:
    """A field that must be bytes."""
    if not isinstance(value, bytes):
        raise TargetProtocolError("a protobuf number where bytes belong")
    return value


def as_number(value: int | bytes) -> int:
    """A field that must be a varint."""
    if not isinstance(value, int):
        raise TargetProtocolError("protobuf bytes where a number belongs")
    return value


def varints_in(value: int | bytes) -> list[int]:
    """A repeated number: one of several fields, or all of them packed into one."""
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _read_varint(value, at)
        numbers.append(number)
    return numbers
