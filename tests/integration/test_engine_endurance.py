"""What 72 hours would do to an engine, in a minute: windows without end, and broken connections."""

from __future__ import annotations

import gc
import time

from loadgen.contract.plan import Keyspace, Plan
from loadgen.engine.connection import CLOSED
from loadgen.engine.hub import Hub
from loadgen.engine.redis_connection import RedisConnection
from loadgen.engine.redis_target import RedisTarget
from loadgen.engine.resp import SLOTS
from loadgen.recorder import Clock, Recorder
from tests.benchmarks.soak_parts import Engine, resident_bytes

SECOND = 1_000_000_000


def test_memory_does_not_grow_with_windows(tmp_path):
    engine = Engine(tmp_path / "worker-0.spool", operations=300)
    engine.step(300)
    gc.collect()
    before = resident_bytes()
    engine.step(2000)
    gc.collect()
    grown = resident_bytes() - before
    engine.close()
    assert grown < 1_000_000


def test_a_thousand_refused_connections_leave_nothing_for_the_collector(tmp_path):
    clock = Clock()
    recorder = Recorder(lambda _: None, worker=0, length_s=3600, clock=clock)
    recorder.begin("steady", "closed", time.monotonic_ns())
    hub = Hub(recorder, timeout_ns=SECOND)
    plan = Plan("r", "s", "redis_cluster", ("127.0.0.1:1",), Keyspace(10, "k"), (), None)
    target = RedisTarget(hub, plan, rank=0, connections=1)
    hub.target = target
    target._owner = [target._lane("127.0.0.1:1")] * SLOTS
    connection = RedisConnection(hub, target.lanes[0], target, 1)
    gc.collect()
    gc.disable()
    try:
        for _ in range(1000):
            connection.open(time.monotonic_ns())
            while connection.state != CLOSED:
                hub.serve(time.monotonic_ns() + 10_000_000)
        assert gc.collect() < 50
    finally:
        gc.enable()
        hub.close()
    assert hub.refusals == {("127.0.0.1:1", "connection"): 1000}
