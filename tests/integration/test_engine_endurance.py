"""What 72 hours would do to an engine, in a minute: windows without end, and broken connections."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

from loadgen.contract.plan import Keyspace, Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.engine.connection import CLOSED
from loadgen.engine.hub import Hub
from loadgen.engine.redis_connection import RedisConnection
from loadgen.engine.redis_target import RedisTarget
from loadgen.engine.resp import SLOTS
from loadgen.engine.spooling import Spool
from loadgen.recorder import Clock, Recorder

SECOND = 1_000_000_000


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def test_memory_does_not_grow_with_windows(tmp_path):
    writer = SpoolWriter(tmp_path / "spool")
    spool = Spool(writer)
    clock = Clock()
    recorder = Recorder(spool.put, worker=0, length_s=1, clock=clock)
    start = clock.next_boundary_ns(clock.monotonic_ns(1_700_000_000 * SECOND), 1)
    recorder.begin("steady", "open", start)

    def windows(first: int, count: int) -> None:
        for second in range(first, first + count):
            at = start + second * SECOND
            for number in range(300):
                recorder.sent[number & 1] += 1
                end = at + number * 3_000_000
                recorder.done[number & 1].append((at, at + 1000, end + 1000))
                recorder.late_ns.append(number)
            recorder.absorb()
            recorder.close_window()
            while spool._queue.qsize() > 3:
                time.sleep(0.001)

    windows(0, 300)
    gc.collect()
    before = resident_bytes()
    windows(300, 2000)
    gc.collect()
    grown = resident_bytes() - before
    spool.close()
    assert spool.error is None
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
