"""One connection to one etcd member: unary KV calls as HTTP/2 streams, framed by hand."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from loadgen.engine import grpc, http2
from loadgen.engine.connection import OWN, SETUP, UP, Connection, Lane, Op
from loadgen.engine.grpc import Call, CallHeaders
from loadgen.engine.http2 import DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, frame
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.engine.tls import WANT

if TYPE_CHECKING:
    from loadgen.engine.etcd_target import EtcdTarget
    from loadgen.engine.hub import Hub

__all__ = ["EtcdConnection"]

READ_BYTES = 16384  # one TLS record at most, so nothing stays behind in OpenSSL

# Answers to pings and settings that may wait while the member does not read.
ANSWERS_BYTES = 65536

RECORDS_PER_EVENT = 64  # more would keep the other connections waiting

# gRPC's connection window is handed back when this much of it is used.
RETURN_WINDOW = 1 << 30

_now = time.monotonic_ns


class EtcdConnection(Connection):
    """`depth` calls at once, each its own stream."""

    __slots__ = (
        "_answers_bytes",
        "_block",
        "_block_flags",
        "_block_stream",
        "_calls",
        "_came_ns",
        "_consumed",
        "_done",
        "_going",
        "_headers",
        "_known",
        "_max_streams",
        "_next_stream",
        "_rest",
        "_sent",
        "_table_bytes",
        "_windows",
        "target",
    )

    def __init__(self, hub: Hub, lane: Lane, target: EtcdTarget, *, endpoint: str) -> None:
        super().__init__(hub, lane, endpoint, target.depth)
        self.target = target
        self._sent = hub.recorder.sent
        self._done = hub.recorder.done
        self._calls: dict[int, Call] = {}
        self._known = grpc.KnownBlocks()
        self._headers: CallHeaders
        self._fresh()

    def _fresh(self) -> None:
        """The state of a connection that has said nothing yet."""
        self._rest = b""
        self._next_stream = 1
        self._came_ns = self._consumed = 0
        self._going = False
        self._block = bytearray()
        self._table_bytes = grpc.TABLE_USUAL
        self._block_flags = self._block_stream = self._answers_bytes = 0
        self._max_streams = self.depth
        self._windows = http2.SendWindows()

    def setup(self) -> None:
        """Our settings; the probe call follows when the member has told us its own."""
        self._fresh()
        self.put(http2.OPENING)

    def _probe(self) -> None:
        """A serializable read: answered by the member alone, and only to a user it knows."""
        secure, named = self.hub.context is not None, self.endpoint.encode()
        self._headers = CallHeaders(named, secure=secure, table_bytes=self._table_bytes)
        stream = self._new_stream(Call((OWN, 0, _now(), 0)))
        self._windows.passes(len(self.target.probe))  # it counts like any other message
        self.put(
            frame(HEADERS, END_HEADERS, stream, self._headers.first_range)
            + frame(DATA, END_STREAM, stream, self.target.probe)
        )

    # Reading.

    def readable(self) -> None:
        """Hot: once per event.

        etcd makes each frame a TLS record, and one read gives one record: so go on while replies
        are awaited, which saves most passes of the loop.
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
            self._came_ns = _now()  # what is read next may have come after the loop was told
        if self.state == UP:
            if self.room() > 0:
                self.hub.freed.append(self)
            elif self._going and not calls:
                self.broken("connection")

    def _settle(self, data: bytes) -> None:
        """Hot: once per frame. Takes whole frames and keeps the rest."""
        at, size, unpack = 0, len(data), HEAD.unpack_from
        calls = self._calls
        while size - at >= 9:
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
                    raise TargetProtocolError("data outside a reply")
                if call.body:
                    call.grow(payload)
                else:
                    call.body = payload
                self._consumed += len(payload)
                if len(call.body) > self.target.reply_limit or flags & END_STREAM:
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

    def _headers_in(self, stream: int, block: bytes, *, ended: int) -> None:
        """Hot: the first block of a reply, or the trailers that end it."""
        call = self._calls.get(stream)
        if call is None:
            raise TargetProtocolError("headers of a call that was not made")
        known = self._known[block]
        if not ended:
            if call.started or known[0] is not None:
                raise TargetProtocolError("headers out of order")
            call.started = True
            return
        del self._calls[stream]
        whole = not self._windows.waits() or not self._abandon(stream)
        code, due, sent, _ = call.op
        body = call.body
        if (
            known[0] == 0
            and whole
            and code >= 0
            # One plain message: the flag byte is 0, and its length is that of all the rest.
            and int.from_bytes(body[:5], "big") == len(body) - 5
            and (code & 1 or self.target.holds(code >> 1, body))
        ):
            self._done[code & 1].append((due, sent, self._came_ns))
        elif known[0] == 0 and not whole:
            self._lost(call, Lost(FAILED, "protocol"))  # nobody can apply half a request
        else:
            self._unusual_end(call, *known)

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
        if call.op[0] < 0:
            self._probed(status, message)
        elif status:
            self._lost(call, grpc.lost_by_status(status, message))
        else:
            self._lost(call, grpc.misread(bytes(call.body), write=bool(call.op[0] & 1)))

    def _probed(self, status: int, message: str) -> None:
        if status and grpc.lost_by_status(status, message).cause == "auth":
            self.broken("auth")
        else:
            self.ready()

    def _lost(self, call: Call, lost: Lost) -> None:
        if call.op[0] >= 0:
            self.hub.lost(call.op, lost.outcome, lost.cause)
        elif self.state == SETUP:
            self.broken(lost.cause)

    # Frames that are not part of an ordinary reply.

    def _unusual(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block_stream and kind != http2.CONTINUATION:
            raise TargetProtocolError("a header block was interrupted")
        if kind == http2.PUSH_PROMISE:
            raise TargetProtocolError("a push that was forbidden")
        http2.refuse_malformed(kind, flags, stream, len(payload), unopened=self._next_stream)
        handler = _HANDLERS.get(kind)
        if handler is not None:  # an unknown frame type is to be ignored (RFC 9113, 4.1)
            handler(self, flags, stream, payload)

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        """DATA with padding."""
        call = self._calls.get(stream)
        if call is None or not call.started or flags & END_STREAM:
            raise TargetProtocolError("data outside a reply")
        call.grow(http2.payload_of(payload, flags, priority=False))
        self._consumed += len(payload)
        if len(call.body) > self.target.reply_limit:
            raise TargetProtocolError("a reply without end")

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        """HEADERS with padding or priority, or to be continued."""
        block = http2.payload_of(payload, flags, priority=True)
        if flags & END_HEADERS:
            self._headers_in(stream, block, ended=flags & END_STREAM)
        elif stream not in self._calls:
            raise TargetProtocolError("headers of a call that was not made")
        else:
            self._block, self._block_flags, self._block_stream = bytearray(block), flags, stream

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if not self._block_stream or stream != self._block_stream:
            raise TargetProtocolError("a continuation of nothing")
        self._block += payload
        if len(self._block) > grpc.MAX_HEADER_BYTES:
            raise TargetProtocolError("a header block without end")
        if flags & END_HEADERS:
            block, self._block, self._block_stream = bytes(self._block), bytearray(), 0
            self._headers_in(stream, block, ended=self._block_flags & END_STREAM)

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & http2.ACK:
            return
        settings = http2.read_settings(payload)
        if http2.INITIAL_WINDOW_SIZE in settings:
            self._windows.resized(settings[http2.INITIAL_WINDOW_SIZE])
        self._max_streams = min(
            self.depth, settings.get(http2.MAX_CONCURRENT_STREAMS, self._max_streams)
        )
        table_bytes = min(
            settings.get(http2.HEADER_TABLE_SIZE, self._table_bytes), grpc.TABLE_USUAL
        )
        self._answer(frame(http2.SETTINGS, http2.ACK, 0))
        if self.state == SETUP and self._next_stream == 1:
            self._table_bytes = table_bytes
            self._probe()
        elif table_bytes != self._table_bytes:
            self._going = True  # what our headers refer to is gone there: dial anew
        self._send_parts()

    def _answer(self, answer: bytes) -> None:
        """Send what we owe for a frame; a member that asks on and does not read is left."""
        self._answers_bytes = self._answers_bytes + len(answer) if self._data_left else 0
        if self._answers_bytes > ANSWERS_BYTES:
            raise TargetProtocolError("a peer that asks and does not listen")
        self.put(answer)

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if not flags & http2.ACK:
            self._answer(frame(http2.PING, http2.ACK, 0, payload))

    def _on_window_update(self, flags: int, stream: int, payload: bytes) -> None:
        self._windows.opened(stream, int.from_bytes(payload, "big") & http2.MAX_STREAM)
        self._send_parts()

    def _on_rst_stream(self, flags: int, stream: int, payload: bytes) -> None:
        call = self._calls.pop(stream, None)
        self._windows.forget(stream)
        if call is not None:
            self._lost(call, grpc.lost_by_reset(int.from_bytes(payload, "big")))

    def _on_goaway(self, flags: int, stream: int, payload: bytes) -> None:
        """No new calls; those above the last stream named were surely not processed."""
        last = int.from_bytes(payload[:4], "big") & http2.MAX_STREAM
        self._going = True
        for stream_id in [one for one in self._calls if one > last]:
            self._windows.forget(stream_id)
            self._lost(self._calls.pop(stream_id), Lost(FAILED, "connection"))
        if not self._calls:
            self.broken("connection")

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

    def send_again(self, op: Op, *, asking: bool) -> None:
        """Etcd redirects nothing."""
        raise NotImplementedError

    def _send(self, ops: list[Op]) -> None:
        headers, sent, message_of = self._headers, self._sent, self.target.message
        made = []
        for op in ops:
            code = op[0]
            sent[code & 1] += 1
            stream = self._new_stream(Call(op))
            block = headers.put if code & 1 else headers.range
            message = message_of(code)
            size = len(message)
            made.append(HEAD.pack(len(block) << 8 | HEADERS, END_HEADERS, stream))
            made.append(block)
            if self._windows.passes(size):
                made.append(HEAD.pack(size << 8, END_STREAM, stream))
                made.append(message)
            else:
                self._windows.keep(stream, message)
        self.put(b"".join(made))
        self._send_parts()

    def _send_parts(self) -> None:
        if self.sock is not None and (parts := self._windows.parts()):
            self.put(parts)

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


_HANDLERS: dict[int, Callable[[EtcdConnection, int, int, bytes], None]] = {
    http2.DATA: EtcdConnection._on_data,
    http2.HEADERS: EtcdConnection._on_headers,
    http2.RST_STREAM: EtcdConnection._on_rst_stream,
    http2.SETTINGS: EtcdConnection._on_settings,
    http2.PING: EtcdConnection._on_ping,
    http2.GOAWAY: EtcdConnection._on_goaway,
    http2.WINDOW_UPDATE: EtcdConnection._on_window_update,
    http2.CONTINUATION: EtcdConnection._on_continuation,
}
