"""One connection on a socket pair, its peer in our hands, and everything counted.

No server, no network, no doubles: hub, recorder and connection are the engine's own.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from loadgen.contract.plan import Keyspace, Plan
from loadgen.contract.window import Window
from loadgen.engine import http2
from loadgen.engine.connection import SETUP, UP, Connection, Op
from loadgen.engine.etcd_connection import EtcdConnection
from loadgen.engine.etcd_target import EtcdTarget
from loadgen.engine.grpc_connection import GrpcConnection
from loadgen.engine.http2 import frame
from loadgen.engine.hub import Hub
from loadgen.engine.pd_messages import Peer, RegionFound
from loadgen.engine.protobuf import bytes_field
from loadgen.engine.redis_connection import RedisConnection
from loadgen.engine.redis_target import RedisTarget
from loadgen.engine.resp import SLOTS
from loadgen.engine.tikv_connection import ops_of
from loadgen.engine.tikv_target import TikvTarget
from loadgen.keyspace import Values
from loadgen.recorder import Clock, Recorder
from tests.fuzz import members
from tests.fuzz.replies import bulk, reply

__all__ = ["READ", "WRITE", "Bench", "bench", "bulk", "range_reply", "reply", "value_of"]

READ, WRITE = 5 << 1, 5 << 1 | 1


def plan(target: str, depth: int, **changes: object) -> Plan:
    return Plan(
        run_id="r",
        session="capacity",
        target=target,
        endpoints=("127.0.0.1:1",),
        keyspace=Keyspace(10, "k"),
        phases=(),
        tls=None,
        value_bytes=64,
        pipeline=depth,
        **changes,
    )


@dataclass
class Bench:
    """A connection that is up, its peer, and the recorder that counts for it."""

    target: str
    hub: Hub
    connection: Connection
    recorder: Recorder
    windows: list[Window]
    batch: int = 1
    peer: socket.socket = field(init=False)
    said: bytes = b""  # by the engine, before it was up

    def reconnect(self, first: bytes = b"") -> None:
        """A fresh socket pair, and both ends have said what they say first."""
        if hasattr(self, "peer"):
            self.peer.close()
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.connection._attach(ours, SETUP)
        self.connection._secured()
        self.says(first + greeting(self.target))
        assert self.connection.state == UP
        self.said = self.sent()

    @property
    def values(self) -> Values:
        """What this engine writes."""
        values: Values = self.connection.target.values  # type: ignore[attr-defined]
        return values

    def in_flight(self) -> list[Op]:
        """Operations the connection and its lanes hold."""
        one = self.connection
        if isinstance(one, GrpcConnection):
            ops = [op for call in one._calls.values() for op in ops_of(call)]
        else:
            assert isinstance(one, RedisConnection)
            ops = list(one._in_flight)
        waiting = [op for lane in self.hub.target.lanes for op, _ in lane.redirected]
        return [op for op in ops if op[0] >= 0] + waiting

    def must_be_counted(self) -> None:
        """sent = ok + failed + unknown + in flight, and nothing is kept beyond its bound."""
        assert self.recorder.in_flight() == len(self.in_flight())
        assert len(self.connection._data_left) <= 1 << 18
        assert len(self.connection.lane.free) <= 1

    def says(self, data: bytes) -> None:
        """The peer says this, and the loop hears all of it."""
        self.peer.sendall(data)
        self.hear()

    def hear(self) -> None:
        # A socket pair delivers at once: what was sent is there to read.
        while self.hub._epoll.poll(0):
            self.hub.serve(time.monotonic_ns())

    def sent(self) -> bytes:
        self.peer.setblocking(False)
        try:
            return self.peer.recv(1 << 20)
        except BlockingIOError:
            return b""

    def ends(self) -> dict[str, int]:
        """Everything is over: sent and how it ended, and the causes."""
        self.connection.broken("connection")
        for lane in self.hub.target.lanes:
            while lane.redirected:
                self.hub.lost(lane.redirected.popleft()[0], "failed", "timeout")
        self.recorder.absorb()
        self.recorder.rotate()
        totals = self.recorder.totals
        assert totals.in_flight == 0
        causes: dict[str, int] = {"ok": totals.ok}
        for window in self.windows:
            for operation in window.operations.values():
                for cause, count in operation.causes.items():
                    causes[cause] = causes.get(cause, 0) + count
        return {name: count for name, count in causes.items() if count}


@contextmanager
def bench(target: str, depth: int = 1, **changes: object) -> Iterator[Bench]:
    windows: list[Window] = []
    clock = Clock()
    recorder = Recorder(windows.append, worker=0, length_s=1, clock=clock)
    recorder.begin("steady", "closed", time.monotonic_ns())
    hub = Hub(recorder, timeout_ns=1_000_000_000)
    made = plan(target, depth, **changes)
    connection: Connection
    if target == "etcd":
        etcd = EtcdTarget(hub, made, rank=0, connections=1)
        hub.target = etcd
        connection = EtcdConnection(hub, etcd.lanes[0], etcd, endpoint="127.0.0.1:1")
    elif target == "tikv":
        tikv = TikvTarget(hub, made, rank=0, connections=1)
        hub.target = tikv
        lane = tikv.topology._stores[1] = tikv.topology._lane("127.0.0.1:1")
        peers = (Peer(11, 1), Peer(12, 2))
        tikv.topology.put(RegionFound(1, b"", b"", 1, 1, peers, peers[0]))
        connection = tikv._kind(hub, lane, tikv)
    else:
        redis = RedisTarget(hub, made, rank=0, connections=1)
        hub.target = redis
        redis._owner = [redis._lane("127.0.0.1:1")] * SLOTS
        connection = RedisConnection(hub, redis.lanes[0], redis, depth)
    made_bench = Bench(target, hub, connection, recorder, windows, made.batch)
    made_bench.reconnect()
    try:
        yield made_bench
    finally:
        hub.close()
        recorder.own_load.close()
        made_bench.peer.close()


def greeting(target: str) -> bytes:
    if target == "redis_cluster":
        return b"+PONG\r\n"
    return frame(http2.SETTINGS, 0, 0) + reply(1, b"")


def value_of(made: Bench, key: int) -> bytes:
    return members.value_of(made.values, key)


def range_reply(made: Bench, stream: int, key: int) -> bytes:
    entry = bytes_field(1, b"key") + bytes_field(5, value_of(made, key))
    return reply(stream, bytes_field(1, b"\x08\x01") + bytes_field(2, entry) + b"\x20\x01")
