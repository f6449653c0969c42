"""HTTP/2 frames (RFC 9113), as far as unary gRPC over one long connection needs them."""

from __future__ import annotations

import struct
from collections import deque

from loadgen.engine.outcome import TargetProtocolError

__all__ = [
    "ACK",
    "CANCEL",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "ENHANCE_YOUR_CALM",
    "GOAWAY",
    "HEADERS",
    "HEADER_TABLE_SIZE",
    "HEAD",
    "INITIAL_WINDOW_SIZE",
    "MAX_CONCURRENT_STREAMS",
    "MAX_FRAME_BYTES",
    "MAX_FRAME_SIZE",
    "MAX_STREAM",
    "OPENING",
    "PADDED",
    "PING",
    "PRIORITY_FLAG",
    "PUSH_PROMISE",
    "REFUSED_STREAM",
    "RST_STREAM",
    "SETTINGS",
    "SendWindows",
    "WINDOW_UPDATE",
    "frame",
    "payload_of",
    "read_settings",
    "refuse_malformed",
    "window_update",
]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

# Error codes, and one as RST_STREAM carries it.
REFUSED_STREAM, ENHANCE_YOUR_CALM = 7, 11
CANCEL = (8).to_bytes(4, "big")

END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x1, 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 4, 5

# Length and type share the first word: length << 8 | type, then flags, then stream.
HEAD = struct.Struct(">IBI")

MAX_FRAME_BYTES = 16384  # what we accept, and the least that every peer accepts
MAX_WINDOW = (1 << 31) - 1
FIRST_WINDOW = 65535
MAX_STREAM = (1 << 31) - 1

CANCEL = (8).to_bytes(4, "big")

_ONLY_STREAM_0 = (SETTINGS, PING, GOAWAY)
_SIZES = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame.

    >>> frame(SETTINGS, ACK, 0).hex()
    '000000040100000000'
    """
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def window_update(stream: int, increment: int) -> bytes:
    """Allow the peer `increment` more bytes."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


# What a connection begins with: no header table (see hpack.py), no pushes, and windows so large
# that the target never waits for our permission to reply.
OPENING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(
        SETTINGS,
        0,
        0,
        struct.pack(
            ">HIHIHI", HEADER_TABLE_SIZE, 0, ENABLE_PUSH, 0, INITIAL_WINDOW_SIZE, MAX_WINDOW
        ),
    )
    + window_update(0, MAX_WINDOW - FIRST_WINDOW)
)


def read_settings(payload: bytes) -> dict[int, int]:
    """Settings by number. Raises TargetProtocolError on a torn or impossible one."""
    if len(payload) % 6:
        raise TargetProtocolError("SETTINGS of a wrong size")
    settings = dict(struct.iter_unpack(">HI", payload))
    if settings.get(INITIAL_WINDOW_SIZE, 0) > MAX_WINDOW:
        raise TargetProtocolError("an initial window above 2^31 - 1")
    if not MAX_FRAME_BYTES <= settings.get(MAX_FRAME_SIZE, MAX_FRAME_BYTES) < 1 << 24:
        raise TargetProtocolError("a frame size outside 2^14 to 2^24 - 1")
    return settings


def refuse_malformed(kind: int, flags: int, stream: int, size: int, *, unopened: int) -> None:
    """Raise TargetProtocolError on a control frame that RFC 9113, 6, calls a connection error.

    `unopened` is the first stream that we have not opened; the target may open none.
    """
    if size != _SIZES.get(kind, size) or (kind == GOAWAY and size < 8):
        raise TargetProtocolError("a frame of a wrong size")
    if kind == SETTINGS and flags & ACK and size:
        raise TargetProtocolError("an acknowledgement that says something")
    if stream and kind in _ONLY_STREAM_0:
        raise TargetProtocolError("a frame about the connection on a stream")
    about_stream = kind == RST_STREAM or (kind == WINDOW_UPDATE and stream)
    if about_stream and (not stream & 1 or stream >= unopened):
        raise TargetProtocolError("a frame about a stream that was never opened")


def payload_of(payload: bytes, flags: int, *, priority: bool) -> bytes:
    """A DATA or HEADERS payload without padding and priority fields."""
    if flags & PADDED:
        if not payload or payload[0] >= len(payload):
            raise TargetProtocolError("padding longer than the frame")
        payload = payload[1 : len(payload) - payload[0]]
    if priority and flags & PRIORITY_FLAG:
        if len(payload) < 5:
            raise TargetProtocolError("HEADERS cut short")
        payload = payload[5:]
    return payload


class SendWindows:
    """What the peer allows us to send. Small messages pass at once; larger ones go in parts.

    `connection` and `stream` are the windows now and at a new stream's start.
    """

    __slots__ = ("_parts", "connection", "stream")

    def __init__(self) -> None:
        self.connection = FIRST_WINDOW
        self.stream = FIRST_WINDOW
        self._parts: deque[list[object]] = deque()

    def passes(self, size: int) -> bool:
        """Whether one DATA frame of `size` may go now; if so it is charged."""
        if self._parts or size > MAX_FRAME_BYTES or size > self.connection or size > self.stream:
            return False
        self.connection -= size
        return True

    def waits(self) -> bool:
        """Whether any message has parts that could not go yet."""
        return bool(self._parts)

    def keep(self, stream: int, message: bytes) -> None:
        """Queue a message whose HEADERS went out; `parts` gives its frames as windows open."""
        self._parts.append([stream, message, self.stream])

    def forget(self, stream: int) -> bool:
        """The call is over; whether a part of its message was still unsent, and now never will."""
        for part in self._parts:
            if part[0] == stream:
                self._parts.remove(part)
                return True
        return False

    def opened(self, stream: int, increment: int) -> None:
        """The peer sent WINDOW_UPDATE."""
        if not increment:
            raise TargetProtocolError("a window update of nothing")
        if not stream:
            self.connection += increment
            if self.connection > MAX_WINDOW:
                raise TargetProtocolError("a connection window above 2^31 - 1")
            return
        for part in self._parts:
            if part[0] == stream:
                part[2] += increment  # type: ignore[operator]
                self._refuse_too_large(part)

    @staticmethod
    def _refuse_too_large(part: list[object]) -> None:
        if part[2] > MAX_WINDOW:  # type: ignore[operator]
            raise TargetProtocolError("a stream window above 2^31 - 1")

    def resized(self, size: int) -> None:
        """The peer changed the window that streams start with, open ones included."""
        change, self.stream = size - self.stream, size
        for part in self._parts:
            part[2] += change  # type: ignore[operator]
            self._refuse_too_large(part)

    def parts(self) -> bytes:
        """All DATA frames that may go now, in order."""
        made = []
        while self._parts and self.connection > 0:
            part = self._parts[0]
            stream, message, window = part
            assert isinstance(stream, int) and isinstance(message, bytes)
            assert isinstance(window, int)
            size = min(len(message), window, self.connection, MAX_FRAME_BYTES)
            if size <= 0:
                break
            last = size == len(message)
            made.append(frame(DATA, END_STREAM if last else 0, stream, message[:size]))
            self.connection -= size
            if last:
                self._parts.popleft()
            else:
                part[1], part[2] = message[size:], window - size
        return b"".join(made)
