"""What happened, counted into windows and handed on: the loop's end of the recording.

The loop appends finished operations to `done`; they are counted a hundred at a time, after the
loop has sent what it had to send, so that counting costs no request its time. A finished window
goes to `sink`, which must not block.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from loadgen.contract.histogram import MAX_US, Histogram, bucket_of
from loadgen.contract.window import GeneratorState, OperationWindow, Window
from loadgen.own_load import OwnLoad

__all__ = ["Clock", "Done", "Recorder", "Totals"]

# due, sent, ended: monotonic nanoseconds of an operation that ended ok.
Done = tuple[int, int, int]

# Bucket of every microsecond below 131 ms. One list lookup replaces bucket_of's arithmetic
# (60 ns against 310 ns, loadgen/README.md); slower operations take the arithmetic.
_TABLE_US = 1 << 17

ABSORB_AT = 128
_BUCKET = [bucket_of(us) for us in range(_TABLE_US)]

OPERATIONS = ("read", "write")


class Clock:
    """Monotonic time for measuring, and its fixed distance to unix time for alignment.

    Taken once: a step of the wall clock during a run moves no window.
    """

    def __init__(self) -> None:
        self._unix_minus_monotonic = time.time_ns() - time.monotonic_ns()

    def unix_ns(self, monotonic_ns: int) -> int:
        """Unix time of a monotonic moment."""
        return monotonic_ns + self._unix_minus_monotonic

    def monotonic_ns(self, unix_ns: int) -> int:
        """Monotonic moment of a unix time."""
        return unix_ns - self._unix_minus_monotonic

    def next_boundary_ns(self, monotonic_ns: int, length_s: int) -> int:
        """Monotonic moment of the next whole window boundary, not before `monotonic_ns`."""
        length = length_s * 1_000_000_000
        return self.monotonic_ns(-(-self.unix_ns(monotonic_ns) // length) * length)


@dataclass(slots=True)
class Totals:
    """Counts over the whole session; sent = ok + failed + unknown when nothing is in flight."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0

    @property
    def in_flight(self) -> int:
        """Sent and not yet ended."""
        return self.sent - self.ok - self.failed - self.unknown


class Recorder:
    """Counts one engine's operations into windows of `length_s`.

    `sent`, `due` and `dropped` are [reads, writes] of the current window; the loop adds to them.
    """

    def __init__(
        self,
        sink: Callable[[Window], None],
        *,
        worker: int,
        length_s: int,
        clock: Clock,
        seq: int = 0,
    ) -> None:
        """`seq`: number of the first window."""
        self.done: tuple[list[Done], list[Done]] = ([], [])  # reads, writes
        self.sent = [0, 0]
        self.due = [0, 0]
        self.dropped = [0, 0]
        self.late_ns: list[int] = []  # open loop: the engine's own delay, one per operation
        self.totals = Totals()
        self.generator = GeneratorState()
        self.window_end_ns = 0
        self._sink = sink
        self._worker = worker
        self._length_s = length_s
        self._clock = clock
        self._seq = seq
        self._phase = ""
        self._mode = ""
        self._open = False
        self._phase_end_ns = 1 << 62
        self._operations = (OperationWindow(), OperationWindow())
        self._late = Histogram()
        self._opened_ns = 0
        self._cpu_s = 0.0
        self.own_load = OwnLoad()
        self.idle_awake_ns = 0  # CPU time spent awake with nothing to do, see Hub

    def begin(self, phase: str, mode: str, start_ns: int) -> None:
        """Start a phase at a monotonic moment; the first window is the one around it."""
        self._phase, self._mode, self._open = phase, mode, mode == "open"
        boundary = self._clock.next_boundary_ns(start_ns + 1, self._length_s)
        self.window_end_ns = boundary
        self._phase_end_ns = 1 << 62
        self.own_load.begin()  # what passed since the last phase is nobody's
        self._reset(start_ns)

    def end(self, end_ns: int) -> None:
        """Nothing was sent from this moment on: windows that reach beyond it are not complete."""
        self._phase_end_ns = end_ns

    def ok(self) -> int:
        """Operations that ended ok so far, in the whole session."""
        reads, writes = self.done
        return self.totals.ok + len(reads) + len(writes)

    def in_flight(self) -> int:
        """Operations sent and not yet ended."""
        reads, writes = self.done
        sent = self.sent[0] + self.sent[1]
        return self.totals.in_flight + sent - len(reads) - len(writes)

    def absorb_some(self) -> None:
        """Hot: once a pass. Absorb when enough has come together.

        Counting one operation alone costs 8 us, counting 200 of them 0.4 us each.
        """
        reads, writes = self.done
        waiting = len(reads) + len(writes)
        sent = self.sent
        in_flight = self.totals.in_flight + sent[0] + sent[1] - waiting
        if in_flight > self.generator.in_flight_max:
            self.generator.in_flight_max = in_flight
        if waiting > ABSORB_AT:
            self.absorb()

    def absorb(self) -> None:
        """Count all of `done`, each operation in the window in which it ended."""
        if self.late_ns:
            _record(self._late, [late // 1000 for late in self.late_ns])
            self.late_ns.clear()
        while any(done and done[-1][2] >= self.window_end_ns for done in self.done):
            self._absorb_across(self.window_end_ns)  # rare: a pass across a boundary
        for window, done in zip(self._operations, self.done, strict=True):
            if done:
                self._count(window, done)
                done.clear()

    def close_window(self) -> None:
        """The current window's time is over: absorb what ended in it, and rotate."""
        end_ns = self.window_end_ns
        self.absorb()
        if self.window_end_ns == end_ns:
            self.rotate()

    def _absorb_across(self, end_ns: int) -> None:
        for window, done in zip(self._operations, self.done, strict=True):
            early = [one for one in done if one[2] < end_ns]
            if early:
                self._count(window, early)
            done[:] = [one for one in done if one[2] >= end_ns]
        self.rotate()

    def _count(self, window: OperationWindow, done: list[Done]) -> None:
        window.ok += len(done)
        self.totals.ok += len(done)
        _record(window.service, [(end - sent) // 1000 for _, sent, end in done])
        if self._open:
            _record(window.response, [(end - due) // 1000 for due, _, end in done])
            _record(window.lag, [(sent - due) // 1000 for due, sent, _ in done])

    def lost(self, code: int, outcome: str, cause: str) -> None:
        """Count an operation that ended `failed` or `unknown`, now."""
        window = self._operations[code & 1]
        if outcome == "failed":
            window.failed += 1
            self.totals.failed += 1
        else:
            window.unknown += 1
            self.totals.unknown += 1
        window.causes[cause] = window.causes.get(cause, 0) + 1

    def rotate(self) -> None:
        """End the current window, hand it on, and begin the next."""
        now_ns = time.monotonic_ns()
        operations = dict(zip(OPERATIONS, self._finished_operations(), strict=True))
        wall_s = (now_ns - self._opened_ns) / 1e9
        busy_s = time.process_time() - self._cpu_s - self.idle_awake_ns / 1e9
        self.generator.cpu_share = round(max(busy_s, 0.0) / max(wall_s, 1e-6), 4)
        self.generator.wait_share = self.own_load.wait_share(wall_s)
        self.generator.nic_share = self.own_load.nic_share(wall_s)
        start_ns = self._clock.unix_ns(self.window_end_ns) - self._length_s * 1_000_000_000
        window = Window(
            worker=self._worker,
            seq=self._seq,
            phase=self._phase,
            mode=self._mode,
            start_s=round(start_ns / 1e9),
            length_s=self._length_s,
            operations=operations,
            generator=self.generator,
            complete=self.window_end_ns <= self._phase_end_ns,
            late=self._late,
        )
        self._seq += 1
        self._reset(now_ns)
        self.window_end_ns += self._length_s * 1_000_000_000
        self._sink(window)

    def touched(self) -> bool:
        """Whether the current window holds anything worth writing."""
        windows = self._operations
        counted = sum(w.ok + w.failed + w.unknown for w in windows)
        return bool(any(self.done) or counted or sum(self.sent + self.due + self.dropped))

    def _finished_operations(self) -> tuple[OperationWindow, OperationWindow]:
        for index, window in enumerate(self._operations):
            window.sent = self.sent[index]
            window.due = self.due[index] if self._open else window.sent
            window.dropped = self.dropped[index]
            self.totals.sent += window.sent
            if not self._open:
                # Closed loop: due is the moment of sending, so lag is 0 and response is service.
                window.response = window.service
                window.lag.record(0, window.ok)
        return self._operations

    def _reset(self, now_ns: int) -> None:
        self._operations = (OperationWindow(), OperationWindow())
        self._late = Histogram()
        self.generator = GeneratorState()
        # In place: the connections hold these lists.
        self.sent[:] = self.due[:] = self.dropped[:] = (0, 0)
        self._opened_ns = now_ns
        self._cpu_s = time.process_time()
        self.idle_awake_ns = 0


def _record(histogram: Histogram, values_us: list[int]) -> None:
    """Add a batch: sum and maximum once per batch, and one list increment per value."""
    counts, bucket = histogram.counts, _BUCKET
    for us in values_us:
        try:
            counts[bucket[us]] += 1
        except IndexError:
            counts[bucket_of(us)] += 1
            histogram.clamped += us > MAX_US
    histogram.total += len(values_us)
    histogram.sum_us += sum(values_us)
    histogram.max_us = max(histogram.max_us, max(values_us))
