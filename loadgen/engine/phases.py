"""What is sent when: fill, closed loop, open loop, and the wait for the last replies."""

from __future__ import annotations

import time
from collections.abc import Iterator

from loadgen.engine.connection import Connection, Lane
from loadgen.engine.hub import NEVER, SWEEP_NS, Hub
from loadgen.engine.outcome import SessionFailed

__all__ = ["ClosedSource", "FillSource", "Loop", "OpenSource", "Source"]

_now = time.monotonic_ns

# Codes dealt to one lane ahead of need; more are thrown away, or a slow master's would pile up.
LANE_AHEAD = 4096


class Source:
    """Gives the loop its operations. `pump` hands them to free connections."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def pump(self, now_ns: int) -> None:
        """Send on every free connection that there is something for."""
        raise NotImplementedError

    def next_due_ns(self) -> int:
        """When the loop must be awake again; far away when only replies matter."""
        return NEVER

    def exhausted(self) -> bool:
        """Whether nothing is left to send, ever."""
        return False

    def last_call(self, until_ns: int) -> None:
        """The time is over: send what was due before it."""

    def send_waiting(self) -> int:
        """After the last call: send what is still waiting to be sent; how much still waits."""
        return 0

    def end(self) -> None:
        """The phase is over: account for what will not be sent."""


class ClosedSource(Source):
    """Every connection always busy: a free one gets the next code of its lane at once.

    With several masters each lane draws from the same stream and keeps what its master owns, so
    popularity holds within a master, and each connection is as busy as any other.
    """

    def __init__(self, hub: Hub, chunks: Iterator[list[int]]) -> None:
        super().__init__(hub)
        self._chunks = chunks

    def pump(self, now_ns: int) -> None:
        """Hot: once a pass."""
        for lane in self.hub.target.lanes:
            free, codes = lane.free, lane.codes
            while free:
                connection = free.popleft()
                connection.queued = False
                if lane.redirected:
                    if connection.room() > 0:
                        self.hub.send_redirected(lane, connection)
                    continue
                if len(codes) < connection.depth:
                    self.deal(lane, connection.depth)
                    if not codes:  # the lane owns no key just now
                        free.appendleft(connection)
                        connection.queued = True
                        break
                connection.send_from(codes)

    def deal(self, lane: Lane, count: int) -> None:
        """Draw until `lane` has `count` codes. Bounded: a lane may own next to nothing."""
        target = self.hub.target
        for _ in range(64):
            chunk = next(self._chunks, None)
            if chunk is None:
                return
            if len(target.lanes) == 1:
                lane.codes.extend(chunk)
            else:
                for code in chunk:
                    codes = target.lane_of(code).codes
                    if len(codes) < LANE_AHEAD:
                        codes.append(code)
            if len(lane.codes) >= count:
                return

    def end(self) -> None:
        """Codes dealt ahead belong to this phase's stream."""
        for lane in self.hub.target.lanes:
            lane.codes.clear()


class FillSource(ClosedSource):
    """Writes every key of this worker once; what was lost is written again, a little later."""

    def __init__(self, hub: Hub, keys: int, *, rank: int, workers: int) -> None:
        super().__init__(hub, iter(()))
        self._left = iter(range(rank, keys, workers))
        self.to_write = len(range(rank, keys, workers))
        self._ok_before = hub.recorder.ok()
        self._again: list[int] = []
        self._next_retry_ns = 0
        hub.on_lost = self._lost

    def deal(self, lane: Lane, count: int) -> None:
        """Nothing is thrown away here: each key is dealt exactly once."""
        target = self.hub.target
        for key in self._left:
            target.lane_of(key << 1).codes.append(key << 1 | 1)
            if len(lane.codes) >= count:
                return

    def pump(self, now_ns: int) -> None:
        """As the closed loop, with another try every 50 ms for what was lost."""
        if self._again and now_ns >= self._next_retry_ns:
            self._next_retry_ns = now_ns + 50_000_000
            again, self._again = self._again, []
            for code in again:
                self.hub.target.lane_of(code).codes.append(code)
        super().pump(now_ns)

    def _lost(self, code: int) -> None:
        self._again.append(code)

    def unwritten(self) -> int:
        """Keys whose write has not ended ok."""
        return self.to_write - (self.hub.recorder.ok() - self._ok_before)

    def exhausted(self) -> bool:
        """Every key is written."""
        return self.unwritten() <= 0

    def end(self) -> None:
        """Stop collecting what was lost."""
        super().end()
        self.hub.on_lost = None


class OpenSource(Source):
    """Sends what is due, when it is due or as soon after as a connection is free.

    The plan of due times is never rewritten: after a stall everything that became due in it is
    sent at once, and its response time counts from when it was due.
    """

    def __init__(self, hub: Hub, schedule: Iterator[tuple[int, int]], *, limit: int) -> None:
        """`schedule`: due time (monotonic ns) and code of each operation."""
        super().__init__(hub)
        self._next = schedule.__next__
        self._limit = limit
        self._waiting = 0
        self._next_due_ns, self._next_code = next(schedule)

    def next_due_ns(self) -> int:
        """The next due time that has not been reached."""
        return self._next_due_ns

    def pump(self, now_ns: int) -> None:
        """Hot: once a pass."""
        if self._next_due_ns <= now_ns:
            self._take_due(now_ns)
        self.send_waiting()
        if self._waiting:
            generator = self.hub.recorder.generator
            generator.overdue_max = max(generator.overdue_max, self._waiting)

    def _take_due(self, now_ns: int) -> None:
        """Everything due by now, in order: sent at once where nothing waits and one is free.

        Else it waits; above the limit it is dropped, and counted.
        """
        due_ns, code, after_it = self._next_due_ns, self._next_code, self._next
        recorder, lane_of = self.hub.recorder, self.hub.target.lane_of
        while due_ns <= now_ns:
            recorder.due[code & 1] += 1
            lane = lane_of(code)
            free = lane.free
            if free and not lane.overdue and not lane.redirected:
                connection = free.popleft()
                connection.queued = False
                if not connection.send_one(code, due_ns):
                    self._wait(lane, code, due_ns)
            else:
                self._wait(lane, code, due_ns)
            due_ns, code = after_it()
        self._next_due_ns, self._next_code = due_ns, code

    def _wait(self, lane: Lane, code: int, due_ns: int) -> None:
        if self._waiting < self._limit:
            lane.overdue.append((code, due_ns))
            self._waiting += 1
            if lane.free:
                self._pump_lane(lane)
        else:
            self.hub.recorder.dropped[code & 1] += 1

    def _pump_lane(self, lane: Lane) -> None:
        free, overdue = lane.free, lane.overdue
        while free and (overdue or lane.redirected):
            connection = free.popleft()
            connection.queued = False
            if lane.redirected:
                if connection.room() > 0:
                    self.hub.send_redirected(lane, connection)
            else:
                self._waiting -= connection.send_due(overdue)
            if connection.depth > 1 and connection.room() > 0:
                free.append(connection)
                connection.queued = True

    def send_waiting(self) -> int:
        """Hot: once a pass; and after the phase, for to leave out those that waited at its end,
        the slowest, would flatter the target.
        """
        for lane in self.hub.target.lanes:
            if lane.overdue or lane.redirected:
                self._pump_lane(lane)
        return self._waiting

    def last_call(self, until_ns: int) -> None:
        """What became due since the last pass, so that `due` is the plan's count exactly."""
        self.pump(until_ns - 1)

    def end(self) -> None:
        """What is due and unsent was never sent: dropped."""
        for lane in self.hub.target.lanes:
            for code, _ in lane.overdue:
                self.hub.recorder.dropped[code & 1] += 1
            lane.overdue.clear()
        self._waiting = 0


class Loop:
    """Runs one source after another over the same hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.stopping = False

    def run(self, source: Source, until_ns: int) -> None:
        """Passes until the moment comes, the source is exhausted, or someone asks to stop."""
        hub, recorder = self.hub, self.hub.recorder
        freed = hub.freed
        woke_ns = now_ns = _now()
        while now_ns < until_ns and not self.stopping and not source.exhausted():
            while now_ns >= recorder.window_end_ns:
                source.pump(recorder.window_end_ns - 1)
                recorder.close_window()
            source.pump(now_ns)
            recorder.absorb_some()
            generator = recorder.generator
            if now_ns >= hub.next_sweep_ns:
                hub.sweep(now_ns)
            busy_us = (_now() - woke_ns) // 1000
            if busy_us > generator.loop_lag_max_us:
                generator.loop_lag_max_us = busy_us
            woke_ns = hub.serve(min(source.next_due_ns(), until_ns, recorder.window_end_ns))
            if freed:
                give_back(freed, woke_ns)
            now_ns = _now()
        if now_ns >= until_ns and not self.stopping:
            source.last_call(until_ns)
        recorder.end(min(now_ns, until_ns))

    def drain(self, source: Source, limit_ns: int) -> None:
        """Send what was due and wait for what is in flight; after `limit_ns` it is given up."""
        hub, recorder = self.hub, self.hub.recorder
        deadline_ns = _now() + limit_ns
        while True:
            now_ns = _now()
            while now_ns >= recorder.window_end_ns:
                recorder.close_window()
            recorder.absorb()
            waiting = source.send_waiting() if now_ns < deadline_ns else 0
            if recorder.in_flight() == 0 and not waiting:
                break
            if now_ns >= deadline_ns:
                self._give_up()
                self._must_be_over()
                continue
            for lane in hub.target.lanes:
                while lane.redirected and lane.free:
                    connection = lane.free.popleft()
                    connection.queued = False
                    if connection.room() > 0:
                        hub.send_redirected(lane, connection)
            hub.sweep(now_ns)
            woke_ns = hub.serve(min(now_ns + SWEEP_NS, deadline_ns))
            give_back(hub.freed, woke_ns)

    def _give_up(self) -> None:
        for lane in self.hub.target.lanes:
            for connection in lane.connections:
                if connection.oldest_sent_ns():
                    connection.broken("timeout")
            while lane.redirected:
                self.hub.lost(lane.redirected.popleft()[0], "failed", "timeout")

    def _must_be_over(self) -> None:
        """A wrong sum is a fault of the engine; it is told, and not waited on for ever."""
        lost = self.hub.recorder.in_flight()
        if lost:
            raise SessionFailed(f"sent - ended is {lost} with nothing in flight: engine at fault")


def give_back(freed: list[Connection], woke_ns: int) -> None:
    """Connections that have room again since this wake-up, to the end of their lanes' queues."""
    for connection in freed:
        if not connection.queued:  # as `offer`, without a call for each
            connection.queued = True
            connection.free_since_ns = woke_ns
            connection.lane.free.append(connection)
    freed.clear()
