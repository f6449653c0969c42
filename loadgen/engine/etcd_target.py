"""etcd as the loop sees it: one lane, its connections turning through all endpoints."""

from __future__ import annotations

from collections.abc import Callable

from loadgen.contract.plan import Plan
from loadgen.engine.connection import Lane
from loadgen.engine.etcd_connection import EtcdConnection
from loadgen.engine.hub import Hub
from loadgen.engine.protobuf import bytes_field, framed, put_revision, range_told, varint
from loadgen.keyspace import ID_BYTES, KEY_DIGITS, Values, key_bytes

__all__ = ["EtcdTarget", "message_maker"]

_SERIALIZABLE = b"\x38\x01"  # RangeRequest.serializable = true

# A reply is one value and some 60 bytes around it; far more than that is not our reply.
REPLY_SLACK_BYTES = 65536


class EtcdTarget:
    """Any member serves any key; see `hub.TargetDriver`."""

    def __init__(self, hub: Hub, plan: Plan, *, rank: int, connections: int) -> None:
        self.hub = hub
        self.depth = plan.pipeline
        self.lanes = [Lane("etcd")]
        self.values = Values(plan.keyspace.prefix, plan.value_bytes, rank=rank, engine=hub.engine)
        self.message = message_maker(plan.keyspace.prefix, self.values)
        self.probe = framed(bytes_field(1, key_bytes(plan.keyspace.prefix, 0)) + _SERIALIZABLE)
        self.reply_limit = plan.value_bytes + REPLY_SLACK_BYTES
        self._endpoints = plan.endpoints
        self._connections = connections
        self._first = rank  # workers with few connections each begin at another member
        self._value_head = b"\x2a" + varint(plan.value_bytes) + b"k"
        self._to_filler = len(self._value_head) - 1 + ID_BYTES

    def lane_of(self, code: int) -> Lane:
        """The only lane."""
        return self.lanes[0]

    def connect(self) -> None:
        """Dial the endpoints in turn."""
        count = len(self._endpoints)
        for at in range(self._connections):
            endpoint = self._endpoints[(self._first + at) % count]
            EtcdConnection(self.hub, self.lanes[0], self, endpoint=endpoint)

    def sweep(self, now_ns: int) -> None:
        """Nothing moves in etcd."""

    def doubt(self) -> None:
        """There is no map that could be stale."""

    def answers(self, code: int, body: bytes | bytearray) -> bool:
        """Hot: whether a Put was answered, or a Range reply carries a value of its key.

        Looks for the value where it begins instead of taking the message apart; whatever does
        not match is then taken apart to say why (`grpc.misread`).
        """
        if code & 1:
            return True
        found = body.find(self._value_head + self.values.digits[code >> 1] + b"w")
        return found > 0 and body.startswith(self.values.filler, found + self._to_filler)

    def sequence_in(self, message: bytes) -> int:
        """See `grpc_connection.GrpcTarget`."""
        return self.values.sequence_in(message, len(message))

    def told(self, code: int, body: bytes) -> tuple[int, int]:
        """See `grpc_connection.GrpcTarget`: mod_revision of what was read, revision of a put."""
        if code & 1:
            return 0, put_revision(body[5:])
        value, revision = range_told(body[5:])
        return self.values.id_of(code >> 1, value), revision


def message_maker(prefix: str, values: Values) -> Callable[[int], bytes]:
    """A function from code to framed request; only key number and value id are formatted."""
    key_head = b"\x0a" + varint(len(prefix) + KEY_DIGITS) + prefix.encode()
    value_head = b"\x12" + varint(ID_BYTES + len(values.filler)) + b"k"
    range_size = len(key_head) + KEY_DIGITS
    put_size = range_size + len(value_head) - 1 + ID_BYTES + len(values.filler)
    range_head = b"\x00" + range_size.to_bytes(4, "big") + key_head
    put_head = b"\x00" + put_size.to_bytes(4, "big") + key_head
    marker, filler = values.marker, values.filler
    digits, next_number = values.digits, values.next_number

    def message(code: int) -> bytes:
        key = digits[code >> 1]
        if code & 1:
            number = b"%014d" % next_number()
            return b"".join((put_head, key, value_head, key, marker, number, filler))
        return range_head + key

    return message
