"""The state of one HTTP/2 connection, and the frames that are not part of an ordinary reply.

Settings, pings, windows, goaway, resets, and header blocks in several frames. What a call is and
what ends it is for the subclass (`grpc_connection.GrpcConnection`), which reads the usual frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from loadgen.engine import grpc, http2
from loadgen.engine.connection import SETUP, Connection, Lane
from loadgen.engine.grpc import Call
from loadgen.engine.http2 import END_HEADERS, END_STREAM, frame
from loadgen.engine.outcome import FAILED, Lost, TargetProtocolError

if TYPE_CHECKING:
    from loadgen.engine.hub import Hub

__all__ = ["ANSWERS_BYTES", "Http2Connection"]

# Answers to pings and settings that may wait while the member does not read.
ANSWERS_BYTES = 65536


class Http2Connection(Connection):
    """Streams that carry calls; `reply_limit` bounds the body of each."""

    __slots__ = (
        "_answers_bytes",
        "_block",
        "_block_flags",
        "_block_stream",
        "_calls",
        "_consumed",
        "_going",
        "_known",
        "_max_streams",
        "_next_stream",
        "_rest",
        "_table_bytes",
        "_windows",
        "calls_at_once",
        "reply_limit",
    )

    def __init__(
        self, hub: Hub, lane: Lane, endpoint: str, *, depth: int, reply_limit: int
    ) -> None:
        super().__init__(hub, lane, endpoint, depth)
        self.calls_at_once = depth
        self.reply_limit = reply_limit
        self._calls: dict[int, Call] = {}
        self._known = grpc.KnownBlocks()
        self._fresh()

    def _fresh(self) -> None:
        """The state of a connection that has said nothing yet."""
        self._rest = b""
        self._next_stream = 1
        self._consumed = 0
        self._going = False
        self._block = bytearray()
        self._table_bytes = grpc.TABLE_USUAL
        self._block_flags = self._block_stream = self._answers_bytes = 0
        self._max_streams = self.calls_at_once
        self._windows = http2.SendWindows()

    # What a subclass provides.

    def _begin(self) -> None:
        """The peer has told us its settings: make the first call."""
        raise NotImplementedError

    def _headers_in(self, stream: int, block: bytes, *, ended: int) -> None:
        """A whole header block has come."""
        raise NotImplementedError

    def _lost(self, call: Call, lost: Lost) -> None:
        """A call ended otherwise than by a reply."""
        raise NotImplementedError

    def _unprocessed(self, last: int) -> list[int]:
        """Calls that a peer which goes away after stream `last` surely did not take."""
        return [stream for stream in self._calls if stream > last]

    def _stray_reset(self, stream: int) -> None:
        """The reset of a stream that carries no call, or none any more."""

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
        if len(call.body) > self.reply_limit:
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
            self.calls_at_once, settings.get(http2.MAX_CONCURRENT_STREAMS, self._max_streams)
        )
        table_bytes = min(
            settings.get(http2.HEADER_TABLE_SIZE, self._table_bytes), grpc.TABLE_USUAL
        )
        self._answer(frame(http2.SETTINGS, http2.ACK, 0))
        if self.state == SETUP and self._next_stream == 1:
            self._table_bytes = table_bytes
            self._begin()
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
        if call is None:
            self._stray_reset(stream)
        else:
            self._lost(call, grpc.lost_by_reset(int.from_bytes(payload, "big")))

    def _on_goaway(self, flags: int, stream: int, payload: bytes) -> None:
        """No new calls; those above the last stream named were surely not processed."""
        last = int.from_bytes(payload[:4], "big") & http2.MAX_STREAM
        self._going = True
        for stream_id in self._unprocessed(last):
            self._windows.forget(stream_id)
            self._lost(self._calls.pop(stream_id), Lost(FAILED, "connection"))
        if not self._calls:
            self.broken("connection")

    def _send_parts(self) -> None:
        if self.sock is not None and (parts := self._windows.parts()):
            self.put(parts)


_HANDLERS: dict[int, Callable[[Http2Connection, int, int, bytes], None]] = {
    http2.DATA: Http2Connection._on_data,
    http2.HEADERS: Http2Connection._on_headers,
    http2.RST_STREAM: Http2Connection._on_rst_stream,
    http2.SETTINGS: Http2Connection._on_settings,
    http2.PING: Http2Connection._on_ping,
    http2.GOAWAY: Http2Connection._on_goaway,
    http2.WINDOW_UPDATE: Http2Connection._on_window_update,
    http2.CONTINUATION: Http2Connection._on_continuation,
}
