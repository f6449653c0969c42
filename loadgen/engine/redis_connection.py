"""One connection to one Redis master: pipelined GET and SET in, replies out in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import hiredis

from loadgen.engine.connection import HOPS, MARK_SHIFT, OWN, UP, Connection, Lane, Op
from loadgen.engine.outcome import FAILED, UNKNOWN, TargetProtocolError
from loadgen.engine.resp import command, long_arrays, lost_by
from loadgen.engine.tls import WANT

if TYPE_CHECKING:
    from loadgen.engine.hub import Hub
    from loadgen.engine.redis_target import RedisTarget

__all__ = ["NOT_RESP", "RedisConnection"]

# One TLS record holds at most 16 KiB, so a read of that size never leaves bytes in OpenSSL.
READ_BYTES = 16384

# An unfinished reply may grow to this and not on; a slot map of 1,000 masters is 200 KB.
REPLY_LIMIT_BYTES = 1 << 20

# What hiredis raises on bytes that are not RESP. TypeError: a RESP3 map with a list for a key.
NOT_RESP = (hiredis.HiredisError, MemoryError, TypeError, ValueError)

_MORE = object()
_now = time.monotonic_ns


class RedisConnection(Connection):
    """`depth` commands make one batch; the next goes out when all of it is answered."""

    __slots__ = (
        "_claimed",
        "_done",
        "_encode",
        "_feed",
        "_freed",
        "_gets",
        "_has_more",
        "_history",
        "_holds",
        "_in_flight",
        "_own",
        "_sampled",
        "_sent",
        "_tail",
        "_unfinished_bytes",
        "target",
    )

    def __init__(self, hub: Hub, lane: Lane, target: RedisTarget, depth: int) -> None:
        super().__init__(hub, lane, lane.endpoint, depth)
        self.target = target
        self._encode = target.encode
        self._holds = target.holds
        self._freed = hub.freed
        self._sent = hub.recorder.sent
        self._done = hub.recorder.done
        self._history, self._sampled = hub.history, hub.history.sampled
        self._in_flight: deque[Op] = deque()
        self._own: deque[Callable[[object], None]] = deque()

    def setup(self) -> None:
        """AUTH if there is a user, then PING: TLS 1.3 tells of a refused certificate only now."""
        reader = hiredis.Reader(notEnoughData=_MORE)
        self._feed, self._gets, self._has_more = reader.feed, reader.gets, reader.has_data
        self._in_flight.clear()
        self._own.clear()
        self._tail = b""
        self._claimed = self._unfinished_bytes = 0
        requests = command(b"PING")
        if self.target.credentials:
            self._expect(self._authenticated)
            requests = command(b"AUTH", *self.target.credentials) + requests
        self._expect(self._answered)
        self.put(requests)

    def ask(self, request: bytes, then: Callable[[object], None]) -> None:
        """Send a request of the engine's own; `then` gets the reply."""
        self._expect(then)
        self.put(request)

    def _expect(self, then: Callable[[object], None]) -> None:
        self._in_flight.append((OWN, 0, _now(), 0))
        self._own.append(then)

    def _authenticated(self, reply: object) -> None:
        if reply != b"OK":
            self.broken("auth")

    def _answered(self, reply: object) -> None:
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOAUTH"):
            self.broken("auth")
        elif isinstance(reply, hiredis.ReplyError | bytes):
            self.ready()  # LOADING, NOPERM and the like still show a member that talks to us
        else:
            raise TargetProtocolError("PING was not answered with a word")

    def readable(self) -> None:
        """Hot: once per event.

        The usual reply - whole, alone, and what was asked for - is known by comparing bytes, which
        costs half of parsing it; whatever differs in any way goes through hiredis.
        """
        try:
            data = self.receive(READ_BYTES)
        except WANT:
            return
        in_flight = self._in_flight
        if len(in_flight) == 1 and not self._tail:
            code, due, sent, trail = in_flight[0]
            if data == b"+OK\r\n" if code & 1 else self._holds(code >> 1, data):
                self._done[code & 1].append((due, sent, self.hub.woke_ns))
                if trail:
                    self._note(in_flight[0], data[-2 - self.target.values.value_bytes : -2])
                in_flight.clear()
                self._freed.append(self)
                return
        if not data:
            self.broken("connection")
            return
        self._settle(data)

    def _settle(self, data: bytes) -> None:
        """Hot: once per reply. Anything but the expected reply goes to `_unusual`.

        What comes after the last reply asked for, be it one byte or half an array, belongs to
        nothing: kept, it would be the first part of the reply to the next request.
        """
        in_flight, gets, belongs = self._in_flight, self._gets, self.target.values.belongs
        if self._tail or b"*" in data or b"~" in data or b">" in data:
            self._claimed = long_arrays(self._tail, data, self._claimed)
        self._feed(data)
        while in_flight:
            try:
                reply = gets()
            except NOT_RESP as error:
                raise TargetProtocolError("not RESP") from error
            if reply is _MORE:
                self._unfinished(data)
                return
            op = in_flight.popleft()
            code = op[0]
            if (
                reply == b"OK"
                if code & 1
                else reply.__class__ is bytes and belongs(code >> 1, reply)
            ):
                self._done[code & 1].append((op[1], op[2], self.hub.woke_ns))
                if op[3]:
                    self._note(op, reply)
            else:
                self._unusual(op, reply)
                if self.sock is None:
                    return
        if self._has_more():
            raise TargetProtocolError("a reply that nobody asked for")
        if self._tail or self._claimed:
            self._tail, self._claimed, self._unfinished_bytes = b"", 0, 0
        if self.state == UP:
            self._freed.append(self)

    def _note(self, op: Op, value: bytes) -> None:
        """An operation that is recorded one by one, or was redirected, ended well."""
        if not op[3] >> MARK_SHIFT:
            return
        if op[0] & 1:
            self._history.wrote(op, _now(), self.process, 0)
        else:
            found = self.target.values.id_of(op[0] >> 1, value)
            self._history.read(op, _now(), self.process, found, 0)

    def _unfinished(self, data: bytes) -> None:
        """Part of a batch's replies: it may not grow without end."""
        self._unfinished_bytes += len(data)
        if self._unfinished_bytes > REPLY_LIMIT_BYTES + self.depth * self.target.values.value_bytes:
            raise TargetProtocolError("a reply without end")
        self._tail = data[-8:]

    def _unusual(self, op: Op, reply: object) -> None:
        code = op[0]
        if code < 0:
            self._own.popleft()(reply)
        elif isinstance(reply, hiredis.ReplyError):
            message = str(reply)
            if not self.target.redirected(op, message, asked=self.endpoint):
                lost = lost_by(message)
                self.hub.lost(op, lost.outcome, lost.cause, self.process)
                if lost.cause in ("cluster_down", "read_only"):
                    self.target.doubt()
        elif not code & 1 and reply is None:
            self.hub.lost(op, FAILED, "missing", self.process)
        elif not code & 1 and isinstance(reply, bytes):
            self.hub.lost(op, FAILED, "corrupt", self.process)
        else:
            self.hub.lost(op, UNKNOWN if code & 1 else FAILED, "protocol", self.process)
            raise TargetProtocolError("a reply of the wrong kind")

    def room(self) -> int:
        """A whole batch, or nothing."""
        return 0 if self._in_flight or self.leaving or self.state != UP else self.depth

    def send_from(self, codes: deque[int]) -> None:
        """Hot in closed loop: due is the moment of sending."""
        in_flight = self._in_flight
        if in_flight or self.leaving is not None or self.state != UP:
            return
        if self.depth > 1:
            self._send_batch([codes.popleft() for _ in range(min(self.depth, len(codes)))])
            return
        code = codes.popleft()
        data = self._encode(code)
        now = _now()
        in_flight.append((code, now, now, self._mark(code, data) if code in self._sampled else 0))
        self._sent[code & 1] += 1
        self.put(data)

    def _send_batch(self, codes: list[int]) -> None:
        requests = [self._encode(code) for code in codes]
        sampled, now = self._sampled, _now()
        for code, data in zip(codes, requests, strict=True):
            trail = self._mark(code, data) if code in sampled else 0
            self._in_flight.append((code, now, now, trail))
            self._sent[code & 1] += 1
        self.put(b"".join(requests))

    def _mark(self, code: int, request: bytes) -> int:
        """The trail of an operation that is recorded one by one."""
        sequence = self.target.values.sequence_in(request, len(request) - 2) if code & 1 else 1
        return sequence << MARK_SHIFT

    def send_due(self, overdue: deque[tuple[int, int]]) -> int:
        """Hot in open loop."""
        in_flight = self._in_flight
        if in_flight or self.leaving is not None or self.state != UP:
            return 0
        if self.depth > 1:
            batch = [overdue.popleft() for _ in range(min(self.depth, len(overdue)))]
            requests = [self._encode(code) for code, _ in batch]
        else:
            one = overdue.popleft()
            batch, requests = [one], [self._encode(one[0])]
        sampled, now = self._sampled, _now()
        for (code, due), data in zip(batch, requests, strict=True):
            trail = self._mark(code, data) if code in sampled else 0
            in_flight.append((code, due, now, trail))
            self._sent[code & 1] += 1
            self.note_late(due, now)
        self.put(b"".join(requests))
        return len(batch)

    def send_one(self, code: int, due_ns: int) -> bool:
        """Hot in open loop, and one after the other the usual case: no batch is made."""
        in_flight = self._in_flight
        if in_flight or self.leaving is not None or self.state != UP:
            return False
        data = self._encode(code)
        now = _now()
        trail = self._mark(code, data) if code in self._sampled else 0
        in_flight.append((code, due_ns, now, trail))
        self._sent[code & 1] += 1
        free_ns = self.free_since_ns
        self.late.append(now - (due_ns if due_ns > free_ns else free_ns))
        self.put(data)
        return True

    def send_again(self, op: Op, *, asking: bool) -> None:
        """Redirected here; `sent` was counted the first time."""
        request = self._encode(op[0])
        if op[0] in self._sampled:  # a write has another id than the one that was refused
            op = (*op[:3], op[3] & HOPS | self._mark(op[0], request))
        if asking:
            self._expect(_ignore)
            request = command(b"ASKING") + request
        self._in_flight.append(op)
        self.put(request)  # at once: if it breaks the connection, all of it is accounted for

    def pending(self) -> list[Op]:
        """See Connection."""
        ops = list(self._in_flight)
        self._in_flight.clear()
        self._own.clear()
        return ops

    def oldest_sent_ns(self) -> int:
        """See Connection."""
        return self._in_flight[0][2] if self._in_flight else 0


def _ignore(_reply: object) -> None:
    """ASKING's own reply; what counts is the answer to the operation after it."""
