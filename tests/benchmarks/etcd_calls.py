"""etcd's two calls for the grpcio contenders: message bytes made as directly as Python can.

grpcio takes and gives bytes when it is told of no serializer, so nothing is copied or built that
the wire does not need; generated message classes would only add to their cost.
"""

from __future__ import annotations

from pathlib import Path

import grpc

from loadgen.contract.plan import Plan
from loadgen.engine.protobuf import varint
from loadgen.keyspace import KEY_DIGITS, Values

__all__ = ["Calls", "credentials"]


def credentials(plan: Plan) -> grpc.ChannelCredentials:
    """Mutual TLS, as the plan says."""
    assert plan.tls is not None
    read = [Path(name).read_bytes() for name in (plan.tls.ca, plan.tls.key, plan.tls.cert)]
    return grpc.ssl_channel_credentials(*read)


class Calls:
    """Requests of one key each; field numbers are those of etcd's rpc.proto (3.5)."""

    RANGE = "/etcdserverpb.KV/Range"
    PUT = "/etcdserverpb.KV/Put"

    def __init__(self, plan: Plan, *, rank: int) -> None:
        prefix = plan.keyspace.prefix.encode()
        self._values = Values(plan.keyspace.prefix, plan.value_bytes, rank=rank)
        self._key = b"\x0a" + varint(len(prefix) + KEY_DIGITS) + prefix
        self._value = b"\x12" + varint(plan.value_bytes)

    def range_request(self, key: int) -> bytes:
        """RangeRequest.key."""
        return self._key + self._values.digits[key]

    def put_request(self, key: int) -> bytes:
        """PutRequest.key and .value, a value that the engine would know for this key's."""
        values = self._values
        parts = (self._key, values.digits[key], self._value, values.identity(key), values.filler)
        return b"".join(parts)
