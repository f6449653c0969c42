"""Clients of the scripted load for real servers with TLS: Redis Cluster and etcd.

Each turns to the next member when one is away, and follows a redirect; it repeats nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from itertools import cycle
from time import monotonic

import hiredis

from loadgen.clients.grpc_call import CallLost, GrpcChannel
from loadgen.clients.redis_call import RedisCalls
from loadgen.engine import outcome
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.protobuf import Fields, bytes_field, range_value
from loadgen.engine.resp import redirect_of
from tests.benchmarks.scripted_load import Refused, Unanswered

__all__ = ["EtcdClient", "RedisClient", "leader_of"]

# Of one operation. A paused member costs its clients this, and only an unknown outcome.
ANSWER_S = 1.0


def _key(key: int) -> bytes:
    return b"/bench/%012d" % key


class RedisClient:
    """Any member; each that it is redirected to is asked next time."""

    def __init__(self, endpoints: Sequence[str], context: ssl.SSLContext) -> None:
        self._context = context
        self._endpoints = cycle(endpoints)
        self._calls = RedisCalls(next(self._endpoints), context)

    def get(self, key: int) -> int:
        found = self._ask(b"GET", _key(key))
        return 0 if found is None else int(found)

    def put(self, key: int, value: int) -> None:
        if (said := self._ask(b"SET", _key(key), b"%d" % value)) != b"OK":
            raise Unanswered(f"a strange answer to a write: {said!r}")

    def _ask(self, *words: bytes):
        until = monotonic() + ANSWER_S
        try:
            self._calls.dial(until)
        except (OSError, TargetProtocolError) as error:
            self._turn(next(self._endpoints))
            raise Refused(str(error)) from error
        try:
            reply = self._calls.one(*words, until=until)
        except (OSError, TargetProtocolError) as error:
            self._turn(next(self._endpoints))
            raise Unanswered(str(error)) from error
        if isinstance(reply, hiredis.ReplyError):
            redirect = redirect_of(str(reply), asked=self._calls.endpoint)
            self._turn(redirect[2] if redirect else next(self._endpoints))
            raise Refused(str(reply))
        return reply

    def _turn(self, endpoint: str) -> None:
        self._calls.close()
        self._calls = RedisCalls(endpoint, self._context)

    def close(self) -> None:
        self._calls.close()


class EtcdClient:
    """Linearizable reads and writes by one member after the other."""

    def __init__(self, endpoints: Sequence[str], context: ssl.SSLContext) -> None:
        self._context = context
        self._endpoints = cycle(endpoints)
        self._channel = GrpcChannel(next(self._endpoints), context)

    def get(self, key: int) -> int:
        answer = self._call(b"/etcdserverpb.KV/Range", bytes_field(1, _key(key)))
        found = range_value(answer)
        return 0 if found is None else int(found)

    def put(self, key: int, value: int) -> None:
        message = bytes_field(1, _key(key)) + bytes_field(2, b"%d" % value)
        self._call(b"/etcdserverpb.KV/Put", message)

    def _call(self, path: bytes, message: bytes) -> bytes:
        try:
            return self._channel.call(path, message, until=monotonic() + ANSWER_S)
        except CallLost as lost:
            self._channel.close()
            self._channel = GrpcChannel(next(self._endpoints), self._context)
            if lost.lost.outcome == outcome.FAILED:
                raise Refused(str(lost)) from lost
            raise Unanswered(str(lost)) from lost

    def close(self) -> None:
        self._channel.close()


def leader_of(endpoint: str, context: ssl.SSLContext) -> tuple[int, int]:
    """(the member itself, the leader that it knows), by number; (0, 0) while it does not answer."""
    channel = GrpcChannel(endpoint, context)
    try:
        until = monotonic() + ANSWER_S
        status = Fields(channel.call(b"/etcdserverpb.Maintenance/Status", b"", until=until))
        return Fields(status.data(1)).number(2), status.number(4)
    except CallLost:
        return 0, 0
    finally:
        channel.close()
