"""Requests of TiKV's raw API as bytes, and what a reply must look like to be right.

Per operation only the key's digits and the value's number are formatted; the rest is prebuilt,
per region (`tikv_regions.Region`) or once. Field numbers are those of kvproto's kvrpcpb.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.engine.protobuf import framed, varint
from loadgen.engine.tikv_regions import Region, RegionMap, RequestHeads
from loadgen.keyspace import KEY_DIGITS, Values

__all__ = ["EMPTY", "RawMessages"]

EMPTY = framed(b"")  # RawPutResponse and RawBatchPutResponse that tell of no error


class RawMessages:
    """RawGet and RawPut of one key, RawBatchGet and RawBatchPut of several."""

    def __init__(self, values: Values, regions: RegionMap, heads: RequestHeads) -> None:
        self.values = values
        self._find = regions.find
        self._digits = values.digits
        self._next_number = values.next_number
        self._marker, self._filler = values.marker, values.filler
        # RawGetResponse.value is field 3, as RawPut's is; KvPair has a RawPut's key and value.
        self._value_head = heads.value_head
        found_size = heads.put_size - heads.get_size
        self._found_head = framed(bytes(found_size))[:5] + heads.value_head
        self._found_size = 5 + found_size
        self._key_head = heads.key_head
        self._pair_head = b"\x12" + varint(heads.put_size) + heads.key_head
        self._pair_size = len(self._pair_head) + KEY_DIGITS + found_size

    # One key.

    def message(self, code: int) -> bytes:
        """Hot: the framed request of an operation, with its region's context."""
        number = code >> 1
        key, region = self._digits[number], self._find(number)
        if code & 1:
            value = b"%014d" % self._next_number()
            return b"".join(
                (region.put_head, key, self._value_head, key, self._marker, value, self._filler)
            )
        return region.get_head + key

    def answers(self, code: int, body: bytes | bytearray) -> bool:
        """Hot: whether a framed reply is exactly what was asked for, and nothing more."""
        if code & 1:
            return body == EMPTY
        return (
            len(body) == self._found_size
            and body.startswith(self._found_head + self._digits[code >> 1] + b"w")
            and body.endswith(self._filler)
        )

    def sequence_in(self, message: bytes) -> int:
        """See `grpc_connection.GrpcTarget`."""
        return self.values.sequence_in(message, len(message))

    def told(self, code: int, body: bytes) -> tuple[int, int]:
        """See `grpc_connection.GrpcTarget`; the raw API knows no revisions."""
        value = body[-self.values.value_bytes :]
        return (0 if code & 1 else self.values.id_of(code >> 1, value)), 0

    # Several keys of one region.

    def batch(self, region: Region, codes: Sequence[int]) -> bytes:
        """The framed request of several operations of one kind."""
        digits = self._digits
        made = [region.context]
        if codes[0] & 1:
            for code in codes:
                key, value = digits[code >> 1], b"%014d" % self._next_number()
                made += (self._pair_head, key, self._value_head, key, self._marker, value,
                         self._filler)  # fmt: skip
        else:
            for code in codes:
                made += (self._key_head, digits[code >> 1])
        return framed(b"".join(made))

    def sequence_in_batch(self, message: bytes, after: int) -> int:
        """The sequence of a value in a batch of writes, with `after` pairs behind it."""
        return self.values.sequence_in(message, len(message) - after * self._pair_size)

    def value_in_batch(self, body: bytes, at: int) -> bytes:
        """The value of pair `at` of a reply that `batch_answers`."""
        end = 5 + (at + 1) * self._pair_size
        return body[end - self.values.value_bytes : end]

    def batch_answers(self, codes: Sequence[int], body: bytes) -> bool:
        """Hot: whether every key's value is there, in the order asked for, and nothing more."""
        if codes[0] & 1:
            return body == EMPTY
        size = self._pair_size
        if len(body) != 5 + size * len(codes) or int.from_bytes(body[:5], "big") != len(body) - 5:
            return False
        digits, at = self._digits, 5
        to_filler = size - len(self._filler)
        for code in codes:
            key = digits[code >> 1]
            head = b"".join((self._pair_head, key, self._value_head, key, b"w"))
            if not body.startswith(head, at) or not body.startswith(self._filler, at + to_filler):
                return False
            at += size
        return True
