"""One gRPC call at a time over one connection, with a time limit; for set-up and checks.

It blocks, and shares frames, header blocks and TLS with the engine, so that a check needs no
package on the load hosts and passes through no retry that it does not see.
"""

from __future__ import annotations

import socket
import ssl
from time import monotonic

from loadgen.engine import grpc, http2
from loadgen.engine.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    SendWindows,
    frame,
)
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.engine.tls import refused_by_tls

__all__ = ["CallLost", "GrpcChannel"]

READ_BYTES = 65536
MAX_REPLY_BYTES = 256 * 1024 * 1024
# Handed back when so much of the connection's window (2 GiB) is used.
RETURN_WINDOW = 1 << 28


class CallLost(Exception):
    """A call that did not end ok: `lost` is outcome and cause; the text is for people."""

    def __init__(self, lost: Lost, text: str) -> None:
        super().__init__(text)
        self.lost = lost


class _Call:
    """What has come of the call so far."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.body = bytearray()
        self.block = b""  # headers that go on in CONTINUATION
        self.block_ends_stream = False
        self.started = False
        self.status: int | None = None
        self.message = ""


class GrpcChannel:
    """A connection to one server. It is made at the first call, and anew after one that was lost.

    Not for several threads. `context`: None for a server without TLS.
    """

    def __init__(self, address: str, context: ssl.SSLContext | None) -> None:
        self.address = address
        self._context = context
        self._socket: socket.socket | None = None
        self._rest = b""
        self._next_stream = 1
        self._consumed = 0
        self._windows = SendWindows()
        self._settled = False  # the server's first SETTINGS are in
        self._going = False  # it said GOAWAY

    def close(self) -> None:
        """Hang up; a later call dials anew."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def call(self, path: bytes, message: bytes, *, until: float) -> bytes:
        """The reply's message. Raises CallLost; `until` is a moment of time.monotonic().

        A call of which the server has not had the last byte is `failed`, any later loss `unknown`.
        """
        sent = False
        try:
            if self._socket is None:
                self._dial(until)
            call = self._send(path, message)
            while self._windows.waits() and call.status is None:
                self._take(call, until)
                self._put(self._windows.parts())
            sent = not self._windows.waits()
            while call.status is None:
                self._take(call, until)
        except CallLost:
            self.close()
            raise
        except (OSError, TargetProtocolError) as error:
            self.close()
            raise CallLost(_lost(error, sent=sent), f"{self.address}: {error}") from error
        if self._going or not sent:
            self.close()
        return self._answer(call, sent=sent)

    # Sending.

    def _dial(self, until: float) -> None:
        """Connect, and wait for the server's first word: with TLS 1.3 a refusal comes there."""
        host, _, port = self.address.rpartition(":")
        self._rest, self._next_stream, self._consumed = b"", 1, 0
        self._windows, self._settled, self._going = SendWindows(), False, False
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout=_left(until))
        self._socket = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            self._socket = self._context.wrap_socket(sock, server_hostname=host.strip("[]"))
        self._put(http2.OPENING)
        nobody = _Call(0)
        while not self._settled:
            self._take(nobody, until)

    def _send(self, path: bytes, message: bytes) -> _Call:
        call = _Call(self._next_stream)
        self._next_stream += 2
        named, secure = self.address.encode(), self._context is not None
        headers = grpc.CallHeaders(named, (path,), secure=secure, table_bytes=0)
        self._put(frame(HEADERS, END_HEADERS, call.stream, headers.first))
        framed = b"\x00" + len(message).to_bytes(4, "big") + message
        self._windows.keep(call.stream, framed)
        self._put(self._windows.parts())
        return call

    def _put(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(data)

    # Reading.

    def _take(self, call: _Call, until: float) -> None:
        """Wait for more, and take in every frame that is whole."""
        assert self._socket is not None
        self._socket.settimeout(_left(until))
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server hung up")
        data = self._rest + data
        at = 0
        while len(data) - at >= http2.HEAD.size:
            word, flags, stream = http2.HEAD.unpack_from(data, at)
            end = at + http2.HEAD.size + (word >> 8)
            if word >> 8 > http2.MAX_FRAME_BYTES:
                raise TargetProtocolError("a frame larger than allowed")
            if end > len(data):
                break
            payload = data[at + http2.HEAD.size : end]
            at = end
            self._frame(call, word & 0xFF, flags, stream & http2.MAX_STREAM, payload)
        self._rest = data[at:]

    def _frame(self, call: _Call, kind: int, flags: int, stream: int, payload: bytes) -> None:
        http2.refuse_malformed(kind, flags, stream, len(payload), unopened=self._next_stream)
        if kind in (DATA, HEADERS, CONTINUATION):
            self._of_call(call, kind, flags, stream, payload)
        elif kind == SETTINGS and not flags & ACK:
            settings = http2.read_settings(payload)
            if INITIAL_WINDOW_SIZE in settings:
                self._windows.resized(settings[INITIAL_WINDOW_SIZE])
            self._settled = True
            self._put(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._put(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            self._windows.opened(stream, int.from_bytes(payload, "big") & http2.MAX_STREAM)
        elif kind == RST_STREAM and stream == call.stream:
            reason = int.from_bytes(payload, "big")
            raise CallLost(grpc.lost_by_reset(reason), f"{self.address} reset it ({reason})")
        elif kind == GOAWAY:
            self._going = True
            if int.from_bytes(payload[:4], "big") & http2.MAX_STREAM < call.stream:
                raise CallLost(Lost(FAILED, "connection"), f"{self.address} took no more calls")

    def _of_call(self, call: _Call, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if stream != call.stream:
            raise TargetProtocolError("a frame of a call that was not made")
        if kind == DATA:
            self._consumed += len(payload)
            if self._consumed > RETURN_WINDOW:
                self._put(http2.window_update(0, self._consumed))
                self._consumed = 0
            call.body += http2.payload_of(payload, flags, priority=False)
            if len(call.body) > MAX_REPLY_BYTES or flags & END_STREAM or not call.started:
                raise TargetProtocolError("a reply without headers, trailers, or end")
            return
        if kind == HEADERS:
            call.block_ends_stream = bool(flags & END_STREAM)
            payload = http2.payload_of(payload, flags, priority=True)
        call.block += payload
        if len(call.block) > grpc.MAX_HEADER_BYTES:
            raise TargetProtocolError("a header block larger than any reply's")
        if flags & END_HEADERS:
            self._headers(call)

    @staticmethod
    def _headers(call: _Call) -> None:
        """A whole header block: the reply's first, or the trailers."""
        status, message = grpc.status_in(call.block)
        call.block, call.started = b"", True
        if call.block_ends_stream:
            if status is None:
                raise TargetProtocolError("a call ended without a gRPC status")
            call.status, call.message = status, message

    def _answer(self, call: _Call, *, sent: bool) -> bytes:
        if not sent and not call.status:  # nobody can apply half a request
            raise CallLost(Lost(FAILED, "protocol"), f"{self.address} answered half a request")
        if call.status:
            lost = grpc.lost_by_status(call.status, call.message)
            raise CallLost(lost, f"{self.address}: gRPC status {call.status}: {call.message}")
        body = bytes(call.body)
        if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
            raise CallLost(Lost(UNKNOWN, "protocol"), f"{self.address}: not one message")
        return body[5:]


def _left(until: float) -> float:
    """Seconds until then. Raises TimeoutError when none is left."""
    left = until - monotonic()
    if left <= 0:
        raise TimeoutError("no time left")
    return left


def _lost(error: Exception, *, sent: bool) -> Lost:
    if isinstance(error, TimeoutError):
        cause = "timeout"
    elif isinstance(error, TargetProtocolError):
        cause = "protocol"
    elif isinstance(error, OSError) and refused_by_tls(error):
        cause = "tls"
    else:
        cause = "connection"
    return Lost(UNKNOWN if sent else FAILED, cause)
