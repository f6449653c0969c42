"""One connection to one TiKV store: raw calls of one key, or of several keys of one region."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from loadgen.engine.connection import MARK_SHIFT, OWN, Lane, Op
from loadgen.engine.grpc import Call
from loadgen.engine.grpc_connection import GrpcConnection
from loadgen.engine.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, frame
from loadgen.engine.outcome import Lost
from loadgen.engine.tikv_regions import Region

if TYPE_CHECKING:
    from loadgen.engine.hub import Hub
    from loadgen.engine.tikv_target import TikvTarget

__all__ = ["BATCH_COMMANDS", "BatchCall", "TikvBatchConnection", "TikvConnection", "ops_of"]

_TIKV = b"/tikvpb.Tikv/"
BATCH_COMMANDS = _TIKV + b"BatchCommands"
_BATCH_GET, _BATCH_PUT = 2, 3  # of the paths

UNIMPLEMENTED = 12

# How far ahead a batch looks for operations of its region; each look costs a tenth of a us.
LOOK_AHEAD = 16

_now = time.monotonic_ns
Waiting = TypeVar("Waiting", int, tuple[int, int])


class TikvConnection(GrpcConnection):
    """One call an operation. Its first call is a read that nobody counts."""

    __slots__ = ("tikv",)

    paths = (
        *(_TIKV + name for name in (b"RawGet", b"RawPut", b"RawBatchGet", b"RawBatchPut")),
        BATCH_COMMANDS,
    )

    def __init__(self, hub: Hub, lane: Lane, target: TikvTarget) -> None:
        self.tikv = target
        super().__init__(hub, lane, target, endpoint=lane.endpoint, first=b"")

    def _begin(self) -> None:
        self.first = self.tikv.message(self.tikv.topology.key_led_by(self.lane) << 1)
        super()._begin()

    def first_answered(self, status: int, message: str, body: bytes) -> None:
        """Any answer of a store; a region error is one, too."""
        if status == UNIMPLEMENTED:
            self.broken("protocol")
        else:
            super().first_answered(status, message, body)

    def room(self) -> int:
        """None where it is to leave."""
        return 0 if self.leaving is not None else super().room()

    def unfit(self, call: Call) -> None:
        """See GrpcConnection."""
        self.tikv.replied([call.op], bytes(call.body), self._came_ns, process=self.process)

    def send_again(self, op: Op, *, asking: bool) -> None:
        """Redirected here; `sent` was counted the first time."""
        self._sent[op[0] & 1] -= 1
        self._send([op])


class BatchCall(Call):
    """Operations of one region and one kind, in one call."""

    __slots__ = ("ops",)

    def __init__(self, ops: list[Op]) -> None:
        super().__init__((OWN, 0, ops[0][2], 0))
        self.ops = ops


class TikvBatchConnection(TikvConnection):
    """RawBatchGet and RawBatchPut: what waits for one region goes out in one call.

    Nothing is held back to make a batch larger. An operation that is redirected goes on alone.
    """

    __slots__ = ()

    def __init__(self, hub: Hub, lane: Lane, target: TikvTarget) -> None:
        super().__init__(hub, lane, target)
        self.depth = self.calls_at_once * target.batch  # so many operations are dealt ahead

    def send_from(self, codes: deque[int]) -> None:
        """Hot in closed loop: due is the moment of sending."""
        while codes and self.room() > 0:
            region, batch = self._next_batch(codes, int)
            now = _now()
            self._send_batch(region, [(code, now, now, 0) for code in batch])

    def send_due(self, overdue: deque[tuple[int, int]]) -> int:
        """Hot in open loop."""
        count = 0
        while overdue and self.room() > 0:
            region, batch = self._next_batch(overdue, _code_of)
            now = _now()
            for _, due in batch:
                self.note_late(due, now)
            count += len(batch)
            self._send_batch(region, [(code, due, now, 0) for code, due in batch])
        return count

    def _next_batch(
        self, waiting: deque[Waiting], code_of: Callable[[Waiting], int]
    ) -> tuple[Region, list[Waiting]]:
        """The operation that waits longest, and those like it among the next; no key twice."""
        find, most = self.tikv.map.find, self.tikv.batch
        first = waiting.popleft()
        code = code_of(first)
        region, write = find(code >> 1), code & 1
        batch, codes, passed = [first], {code}, []
        for _ in range(min(len(waiting), most * LOOK_AHEAD)):
            if len(batch) == most:
                break
            one = waiting.popleft()
            code = code_of(one)
            if code & 1 == write and code not in codes and find(code >> 1) is region:
                batch.append(one)
                codes.add(code)
            else:
                passed.append(one)
        waiting.extendleft(reversed(passed))
        return region, batch

    def _send_batch(self, region: Region, ops: list[Op]) -> None:
        write = ops[0][0] & 1
        self._sent[write] += len(ops)
        message = self.tikv.requests.batch(region, [op[0] for op in ops])
        if not self._sampled.isdisjoint([op[0] for op in ops]):
            ops = self._marked_in(ops, message)
        stream = self._new_stream(BatchCall(ops))
        made = frame(HEADERS, END_HEADERS, stream, self._headers.blocks[_BATCH_GET + write])
        if self._windows.passes(len(message)):
            made += frame(DATA, END_STREAM, stream, message)
        else:
            self._windows.keep(stream, message)
        self.put(made)
        self._send_parts()

    def _marked_in(self, ops: list[Op], message: bytes) -> list[Op]:
        """See `_marked`; the ids stand at even distances from the end."""
        sampled, sequence_in = self._sampled, self.tikv.requests.sequence_in_batch
        made = []
        for after, (code, due, sent, _) in zip(range(len(ops) - 1, -1, -1), ops, strict=True):
            sequence = sequence_in(message, after) if code & 1 else 1
            made.append((code, due, sent, sequence << MARK_SHIFT if code in sampled else 0))
        return made

    def unfit(self, call: Call) -> None:
        """Hot: the end of every batch, and of single operations that are not right."""
        if isinstance(call, BatchCall):
            self.tikv.batch_replied(call.ops, bytes(call.body), self._came_ns, self.process)
        else:
            super().unfit(call)

    def _lost(self, call: Call, lost: Lost) -> None:
        if isinstance(call, BatchCall):
            for op in call.ops:
                self.hub.lost(op, lost.outcome, lost.cause, self.process)
        else:
            super()._lost(call, lost)

    def pending(self) -> list[Op]:
        """See Connection."""
        ops = [op for call in self._calls.values() for op in ops_of(call)]
        self._calls.clear()
        return ops


def ops_of(call: Call) -> list[Op]:
    """The operations of a call, one or several."""
    return call.ops if isinstance(call, BatchCall) else [call.op]


def _code_of(waiting: tuple[int, int]) -> int:
    return waiting[0]
