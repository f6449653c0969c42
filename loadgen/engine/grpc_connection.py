"""Unary gRPC over one HTTP/2 connection, framed by hand; knows no service.

What is asked and what a reply means comes from the target (`GrpcTarget`); a subclass says which
paths there are and what the first call is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from loadgen.contract.history import FOREIGN
from loadgen.engine import grpc, http2
from loadgen.engine.connection import HOPS, MARK_SHIFT, OWN, SETUP, UP, Lane, Op
from loadgen.engine.grpc import Call, CallHeaders, OwnCall
from loadgen.engine.grpc_usual import UsualReply, request_head
from loadgen.engine.http2 import DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, frame
from loadgen.engine.http2_connection import Http2Connection
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.engine.tls import WANT

if TYPE_CHECKING:
    from loadgen.engine.hub import Hub

__all__ = ["GrpcConnection", "GrpcTarget"]

READ_BYTES = 16384  # one TLS record at most, so nothing stays behind in OpenSSL

RECORDS_PER_EVENT = 64  # more would keep the other connections waiting

# gRPC's connection window is handed back when this much of it is used.
RETURN_WINDOW = 1 << 30

_now = time.monotonic_ns


class GrpcTarget(Protocol):
    """What a connection asks of its target."""

    depth: int
    reply_limit: int  # bytes of one reply; more is a reply without end

    def message(self, code: int) -> bytes:
        """The framed request of an operation."""

    def answers(self, code: int, body: bytes | bytearray) -> bool:
        """Hot: whether a call that ended well brought what was asked for; `body` is framed."""

    def sequence_in(self, message: bytes) -> int:
        """The sequence of the value in the framed request of a write."""

    def told(self, code: int, body: bytes) -> tuple[int, int]:
        """What a reply that `answers` says: id of the value read (0: a write), revision or 0."""


class GrpcConnection(Http2Connection):
    """`depth` calls at once, each its own stream.

    Reads use the first of `paths`, writes the second; `first` is the message of the first call,
    which must be answered before the connection is up.
    """

    __slots__ = (
        "_begun",
        "_came_ns",
        "_done",
        "_fits",
        "_headers",
        "_heads",
        "_history",
        "_opened_by",
        "_sampled",
        "_sent",
        "_usual",
        "first",
        "target",
    )

    paths: tuple[bytes, ...] = ()

    def __init__(
        self, hub: Hub, lane: Lane, target: GrpcTarget, *, endpoint: str, first: bytes
    ) -> None:
        super().__init__(hub, lane, endpoint, depth=target.depth, reply_limit=target.reply_limit)
        self.target = target
        self.first = first
        self._fits = target.answers
        self._sent = hub.recorder.sent
        self._done = hub.recorder.done
        self._history, self._sampled = hub.history, hub.history.sampled
        self._came_ns = 0
        self._usual: UsualReply | None = None
        self._opened_by = b""
        self._begun = 0  # the stream whose reply began last, while it has not ended
        self._headers: CallHeaders
        self._heads: tuple[tuple[Callable[..., bytes], int, bytes], ...] = ()

    def setup(self) -> None:
        """Our settings; the first call follows when the member has told us its own."""
        self._fresh()
        self._begun = 0
        self.put(http2.OPENING)

    def _begin(self) -> None:
        """The first call: of the first path, and of the engine's own."""
        secure, named = self.hub.context is not None, self.endpoint.encode()
        self._headers = CallHeaders(named, self.paths, secure=secure, table_bytes=self._table_bytes)
        self._heads = tuple(
            (request_head(block).pack, len(block) << 8 | HEADERS, block)
            for block in self._headers.blocks
        )
        self.ask(self._headers.first, self.first, self.first_answered)

    def ask(self, block: bytes, message: bytes, then: Callable[[int, str, bytes], None]) -> None:
        """A call of the engine's own, small; `then` gets status, its message and the body."""
        stream = self._new_stream(OwnCall((OWN, 0, _now(), 0), then))
        head = frame(HEADERS, END_HEADERS, stream, block)
        if self._windows.passes(len(message)):  # it counts like any other message
            self.put(head + frame(DATA, END_STREAM, stream, message))
        else:
            self._windows.keep(stream, message)
            self.put(head)

    def first_answered(self, status: int, message: str, body: bytes) -> None:
        """Any word but a refusal shows a member that talks to us."""
        if status and grpc.lost_by_status(status, message).cause == "auth":
            self.broken("auth")
        else:
            self.ready()

    # Reading.

    def readable(self) -> None:
        """Hot: once per event.

        A server that makes each frame a TLS record (etcd, profile stock) has more to read while a
        reply is half here, and one read gives one record. To try in vain costs 3 us.
        """
        receive, calls = self.receive, self._calls
        self._came_ns = self.hub.woke_ns
        for _ in range(RECORDS_PER_EVENT):
            try:
                data = receive(READ_BYTES)
            except WANT:
                break
            if not data:
                self.broken("connection")
                return
            if self._rest:
                data = self._rest + data
            self._settle(data)
            if not calls or self.sock is None:
                break
            if not self._begun and not self._rest and len(data) < READ_BYTES:
                break  # no reply is half here and the record was not full: epoll tells of more
            self._came_ns = _now()  # what is read next may have come after the loop was told
        if self.state == UP:
            if self.room() > 0:
                self.hub.freed.append(self)
            elif self._going and not calls:
                self.broken("connection")

    def _settle(self, data: bytes) -> None:
        """Takes whole frames, ordinary replies at once and others one by one; keeps the rest."""
        at, size, unpack = 0, len(data), HEAD.unpack_from
        calls = self._calls
        while size - at >= 9:
            if self._usual is not None and (past := self._usual_replies(data, at)) > at:
                at = past
                continue
            word, flags, stream = unpack(data, at)
            end = at + 9 + (word >> 8)
            if end - at > http2.MAX_FRAME_BYTES + 9:
                raise TargetProtocolError("a frame larger than allowed")
            if end > size:
                break
            kind = word & 0xFF
            payload = data[at + 9 : end]
            at = end
            if kind == DATA and not flags & 8:
                call = calls.get(stream)
                if call is None or not call.started or self._block_stream:
                    self._stray_data(flags, stream, payload)
                    continue
                if call.body:
                    call.grow(payload)
                else:
                    call.body = payload
                self._consumed += len(payload)
                if len(call.body) > self.reply_limit or flags & END_STREAM:
                    raise TargetProtocolError("a reply without trailers, or without end")
            elif kind == HEADERS and flags & 0x2C == END_HEADERS and not self._block_stream:
                self._headers_in(stream, payload, ended=flags & END_STREAM)
            else:
                self._unusual(kind, flags, stream & http2.MAX_STREAM, payload)
                if self.sock is None:
                    return
        self._rest = data[at:]
        if self._consumed > RETURN_WINDOW:
            self.put(http2.window_update(0, self._consumed))
            self._consumed = 0

    def _usual_replies(self, data: bytes, at: int) -> int:
        """Hot: once per reply. Settles the ordinary replies that stand here; where they end."""
        usual, calls, fits, done, came_ns = (
            self._usual, self._calls, self._fits, self._done, self._came_ns,
        )  # fmt: skip
        if usual is None or self._block_stream or self._windows.waits():
            return at
        while (found := usual.at(data, at)) is not None:
            stream, begin, end = found
            call = calls.get(stream)
            if call is None or call.started or call.op[0] < 0:
                break
            code, due, sent, trail = call.op
            if not fits(code, data[begin:end]):
                break
            del calls[stream]
            done[code & 1].append((due, sent, came_ns))
            if trail:
                self._note(call.op, data[begin:end])
            self._consumed += end - begin
            at = usual.after(end)
        return at

    def _headers_in(self, stream: int, block: bytes, *, ended: int) -> None:
        """The first block of a reply, or the trailers that end it."""
        call = self._calls.get(stream)
        if call is None:
            raise TargetProtocolError("headers of a call that was not made")
        known = self._known[block]
        if not ended:
            if call.started or known[0] is not None:
                raise TargetProtocolError("headers out of order")
            call.started = True
            self._opened_by, self._begun = block, stream
            return
        if stream == self._begun:
            self._begun = 0
        del self._calls[stream]
        whole = not self._windows.waits() or not self._abandon(stream)
        code, due, sent, trail = call.op
        body = call.body
        if (
            known[0] == 0
            and whole
            and code >= 0
            # One plain message: the flag byte is 0, and its length is that of all the rest.
            and int.from_bytes(body[:5], "big") == len(body) - 5
            and self._fits(code, body)
        ):
            self._done[code & 1].append((due, sent, self._came_ns))
            if trail:
                self._note(call.op, bytes(body))
            if self._usual is None or self._usual.blocks != (self._opened_by, block):
                self._usual = UsualReply.learned(self._opened_by, block)
        elif known[0] == 0 and not whole:
            self._lost(call, Lost(FAILED, "protocol"))  # nobody can apply half a request
        else:
            self._unusual_end(call, *known)

    def _note(self, op: Op, body: bytes) -> None:
        """An operation that is recorded one by one, or was redirected, ended well."""
        if not op[3] >> MARK_SHIFT:
            return
        try:
            value, revision = self.target.told(op[0], body)
        except TargetProtocolError:  # what was asked for stands in it, in some other form
            value, revision = FOREIGN, 0
        if op[0] & 1:
            self._history.wrote(op, _now(), self.process, revision)
        else:
            self._history.read(op, _now(), self.process, value, revision)

    def _stray_data(self, flags: int, stream: int, payload: bytes) -> None:
        """Data of no call, or before its headers."""
        raise TargetProtocolError("data outside a reply")

    def _abandon(self, stream: int) -> bool:
        """Whether the member answered before it had the whole request; the rest is not sent."""
        unsent = self._windows.forget(stream)
        if unsent:
            self.put(frame(http2.RST_STREAM, 0, stream, http2.CANCEL))
        return unsent

    def _unusual_end(self, call: Call, status: int | None, message: str) -> None:
        """A call that ended otherwise than with what was asked for."""
        if status is None:
            self._lost(call, Lost(UNKNOWN, "protocol"))
            raise TargetProtocolError("a call ended without a gRPC status")
        if isinstance(call, OwnCall):
            call.then(status, message, bytes(call.body))
        elif status:
            self._lost(call, self.lost_by_status(status, message))
        else:
            self.unfit(call)

    def lost_by_status(self, status: int, message: str) -> Lost:
        """What a call that ended with this status, not 0, says of its operation."""
        return grpc.lost_by_status(status, message)

    def unfit(self, call: Call) -> None:
        """A call that ended well, with something else than what was asked for."""
        raise NotImplementedError

    def _lost(self, call: Call, lost: Lost) -> None:
        if call.op[0] >= 0:
            self.hub.lost(call.op, lost.outcome, lost.cause, self.process)
        elif self.state == SETUP:
            self.broken(lost.cause)

    # Sending.

    def room(self) -> int:
        """Free streams."""
        if self.state != UP or self._going:
            return 0
        return self._max_streams - len(self._calls)

    def send_from(self, codes: deque[int]) -> None:
        """Hot in closed loop: due is the moment of sending."""
        batch = [codes.popleft() for _ in range(min(self.room(), len(codes)))]
        if batch:
            now = _now()
            self._send([(code, now, now, 0) for code in batch])

    def send_due(self, overdue: deque[tuple[int, int]]) -> int:
        """Hot in open loop."""
        batch = [overdue.popleft() for _ in range(min(self.room(), len(overdue)))]
        if batch:
            now = _now()
            for _, due in batch:
                self.note_late(due, now)
            self._send([(code, due, now, 0) for code, due in batch])
        return len(batch)

    def _send(self, ops: list[Op]) -> None:
        """Hot: once per batch."""
        heads, sent, message_of = self._heads, self._sent, self.target.message
        sampled = self._sampled
        passes, new_stream = self._windows.passes, self._new_stream
        made = []
        for op in ops:
            code = op[0]
            sent[code & 1] += 1
            message = message_of(code)
            stream = new_stream(Call(self._marked(op, message) if code in sampled else op))
            pack, word, block = heads[code & 1]
            size = len(message)
            if passes(size):
                made.append(pack(word, END_HEADERS, stream, block, size << 8, END_STREAM, stream))
                made.append(message)
            else:
                made.append(frame(HEADERS, END_HEADERS, stream, block))
                self._windows.keep(stream, message)
        self.put(b"".join(made))
        self._send_parts()

    def _marked(self, op: Op, message: bytes) -> Op:
        """The operation as one that is recorded; sent again, a write has another id."""
        sequence = self.target.sequence_in(message) if op[0] & 1 else 1
        return (*op[:3], op[3] & HOPS | sequence << MARK_SHIFT)

    def _new_stream(self, call: Call) -> int:
        stream = self._next_stream
        self._next_stream = stream + 2
        if stream > http2.MAX_STREAM - 2000 * self.depth:
            self._going = True  # the numbers run out: finish what is in flight, dial anew
        self._calls[stream] = call
        return stream

    def pending(self) -> list[Op]:
        """See Connection."""
        ops = [call.op for call in self._calls.values()]
        self._calls.clear()
        return ops

    def oldest_sent_ns(self) -> int:
        """See Connection; streams are kept in the order they were opened."""
        for call in self._calls.values():
            return call.op[2]
        return 0
