"""The few protobuf messages of etcd's KV service, written and read by hand.

Field numbers are those of etcd's rpc.proto and kv.proto (3.5).
"""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.engine.outcome import TargetProtocolError

__all__ = ["bytes_field", "fields_of", "range_value", "varint"]

_KVS, _VALUE = 2, 5  # RangeResponse.kvs, KeyValue.value


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
