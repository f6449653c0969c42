"""One connection to one TiKV store, all of whose operations go over one stream of BatchCommands.

What is sent in one pass is one message; the store answers in messages of its own making.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from loadgen.engine import grpc, http2
from loadgen.engine.connection import Op
from loadgen.engine.grpc import Call
from loadgen.engine.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, SendWindows, frame
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.protobuf import as_bytes, bytes_field, fields_of, framed, varint, varints_in
from loadgen.engine.tikv_connection import TikvConnection

if TYPE_CHECKING:
    pass

__all__ = ["TikvStreamConnection"]

_STREAM = 4  # of the paths
# Of BatchCommandsRequest.Request and BatchCommandsResponse.Response, by code & 1.
RAW_GET, RAW_PUT = 13, 15
FIELDS = (RAW_GET, RAW_PUT)

RETURN_STREAM_WINDOW = 1 << 29


class StreamWindows(SendWindows):
    """The windows of a connection, and of one stream that lasts as long as it does."""

    __slots__ = ("lasting", "left")

    def __init__(self) -> None:
        super().__init__()
        self.lasting = 0
        self.left = 0  # bytes the peer takes on it

    def begin(self, stream: int) -> None:
        """The lasting stream is opened."""
        self.lasting, self.left = stream, self.stream

    def opened(self, stream: int, increment: int) -> None:
        """The peer sent WINDOW_UPDATE."""
        super().opened(stream, increment)
        if stream and stream == self.lasting:
            self.left += increment
            self._must_be_possible()

    def resized(self, size: int) -> None:
        """The peer changed the window that streams start with, open ones included."""
        self.left += size - self.stream
        super().resized(size)
        self._must_be_possible()

    def _must_be_possible(self) -> None:
        if self.lasting and self.left > http2.MAX_WINDOW:
            raise TargetProtocolError("a stream window above 2^31 - 1")


class TikvStreamConnection(TikvConnection):
    """Requests are known by even numbers, so that none is the number of a stream."""

    __slots__ = ("_answer_bytes", "_came", "_left", "_next_id", "_started", "_stream")

    def _fresh(self) -> None:
        super()._fresh()
        self._windows: StreamWindows = StreamWindows()
        self._stream = 0
        self._started = False
        self._came = b""  # of the store's next message
        self._left = bytearray()  # of our messages, what no window has room for yet
        self._answer_bytes = 0  # since we last gave back the stream's window
        self._next_id = count(2, 2).__next__

    def ready(self) -> None:
        """The store has answered: open the stream, for as long as the connection lasts."""
        self._stream = self._next_stream
        self._next_stream += 2
        self._windows.begin(self._stream)
        self.put(frame(HEADERS, END_HEADERS, self._stream, self._headers.blocks[_STREAM]))
        if self.sock is not None:
            super().ready()

    # Sending.

    def _send(self, ops: list[Op]) -> None:
        sent, message_of, ids = self._sent, self.target.message, []
        sampled = self._sampled
        made = []
        for op in ops:
            code = op[0]
            sent[code & 1] += 1
            number = self._next_id()
            message = message_of(code)
            self._calls[number] = Call(self._marked(op, message) if code in sampled else op)
            ids.append(varint(number))
            made.append(bytes_field(1, bytes_field(FIELDS[code & 1], message[5:])))
        made.append(bytes_field(2, b"".join(ids)))
        self._left += framed(b"".join(made))
        self._send_parts()

    def _send_parts(self) -> None:
        super()._send_parts()  # of the first call
        left, windows = self._left, self._windows
        made = []
        while left and windows.left > 0 and windows.connection > 0:
            size = min(len(left), http2.MAX_FRAME_BYTES, windows.left, windows.connection)
            made.append(frame(DATA, 0, self._stream, bytes(left[:size])))
            del left[:size]
            windows.left -= size
            windows.connection -= size
        if made and self.sock is not None:
            self.put(b"".join(made))

    # Reading.

    def _headers_in(self, stream: int, block: bytes, *, ended: int) -> None:
        if not self._stream:
            super()._headers_in(stream, block, ended=ended)
            return
        if stream != self._stream:
            raise TargetProtocolError("headers of a stream that was not opened")
        status, message = self._known[block]
        if ended:  # the store wants no more of it; what is in flight may have been done
            lost = grpc.lost_by_status(status, message) if status else None
            self.broken(lost.cause if lost is not None and lost.cause == "auth" else "connection")
        elif self._started or status is not None:
            raise TargetProtocolError("headers out of order")
        self._started = True

    def _stray_data(self, flags: int, stream: int, payload: bytes) -> None:
        """Data of the stream: whole messages are taken, the rest is kept."""
        if stream != self._stream or not self._started or flags & END_STREAM:
            super()._stray_data(flags, stream, payload)
        self._consumed += len(payload)
        self._answer_bytes += len(payload)
        came = self._came + payload if self._came else payload
        at, limit = 0, self.reply_limit * self.depth
        while len(came) - at >= 5:
            end = at + 5 + int.from_bytes(came[at + 1 : at + 5], "big")
            if came[at] or end - at > limit:
                raise TargetProtocolError("a message that is compressed, or larger than any reply")
            if end > len(came):
                break
            self._answers(came[at + 5 : end])
            at = end
        self._came = came[at:]
        if self._answer_bytes > RETURN_STREAM_WINDOW and self.sock is not None:
            self.put(http2.window_update(self._stream, self._answer_bytes))
            self._answer_bytes = 0

    def _answers(self, message: bytes) -> None:
        """Hot: one BatchCommandsResponse."""
        replies: list[bytes] = []
        ids: list[int] = []
        for number, value in fields_of(message):
            if number == 1:
                replies.append(as_bytes(value))
            elif number == 2:
                ids += varints_in(value)
        if len(ids) != len(replies):
            raise TargetProtocolError("answers to other requests than named")
        came_ns, calls, done, fits = self._came_ns, self._calls, self._done, self._fits
        for number, reply in zip(ids, replies, strict=True):
            call = calls.get(number)
            if call is None:
                raise TargetProtocolError("an answer to a request that was not made")
            code, due, sent, trail = call.op
            body = framed(_raw(reply, FIELDS[code & 1]))
            del calls[number]
            if fits(code, body):
                done[code & 1].append((due, sent, came_ns))
                if trail:
                    self._note(call.op, body)
            else:
                self.tikv.replied([call.op], body, came_ns, process=self.process)

    def _unprocessed(self, last: int) -> list[int]:
        """All of them or none: they share a stream."""
        return list(self._calls) if self._stream > last else []

    def _stray_reset(self, stream: int) -> None:
        if stream == self._stream:
            self.broken("connection")


def _raw(reply: bytes, field: int) -> bytes:
    """The raw reply inside a BatchCommandsResponse.Response."""
    for number, value in fields_of(reply):
        if number == field:
            return as_bytes(value)
    raise TargetProtocolError("an answer of another kind than the request")
