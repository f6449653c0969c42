"""A gRPC server on asyncio's own loop: what came together is answered together.

It takes the same handlers as grpcio's. It is there for measuring clients: grpcio's asyncio server
needs 260 us of a core for each call, so a client of it waits most of the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import grpc
from hpack import HPACKError

from tests.tikv_double import http2_frames as h2
from tests.tikv_double.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame

__all__ = ["LoopServer"]

GIVE_BACK_BYTES = 1 << 29  # of the windows, which began four times as wide


class Broken(Exception):
    """The client does not speak HTTP/2, or not gRPC."""


class Aborted(Exception):
    """What `Context.abort` raises."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Context(NamedTuple):
    """What the double's handlers use of grpc.aio's ServicerContext."""

    name: str

    def peer(self) -> str:
        return self.name

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        raise Aborted(code, details)


class Details(NamedTuple):
    """What grpcio's generic handlers ask of a call."""

    method: str
    invocation_metadata: tuple[()] = ()


class Call:
    """One stream: what has come of its request, what is left of its answer."""

    __slots__ = (
        "answer",
        "asks",
        "body",
        "came",
        "handler",
        "opened",
        "task",
        "trailers",
        "window",
    )

    def __init__(self, handler: Any, window: int) -> None:
        self.handler = handler
        self.window = window  # bytes that the client takes
        self.body = b""
        self.came = 0  # bytes, of a stream that lasts
        self.asks: asyncio.Queue[Any] | None = None
        self.task: asyncio.Task[None] | None = None
        self.opened = False  # its first header block is sent
        self.answer = b""
        self.trailers = b""


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: LoopServer) -> None:
        self.server = server
        self.together = server.together
        self.calls: dict[int, Call] = {}
        self.paths = h2.Paths()
        self.rest = b""
        self.greeted = False
        self.block: tuple[int, int, bytes] | None = None  # stream, flags, begin of a header block
        self.window, self.first_window = h2.FIRST_WINDOW, h2.FIRST_WINDOW
        self.taken = 0
        self.out: list[bytes] = []
        self.ready = False  # whether `out` will be sent without more ado

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port = transport.get_extra_info("peername")[:2]
        self.context = Context(f"ipv4:{host}:{port}")
        self.server.connections.add(self)
        transport.write(h2.HELLO)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        for call in self.calls.values():
            if call.task is not None:
                call.task.cancel()
        self.calls.clear()

    # What comes.

    def data_received(self, data: bytes) -> None:
        """Hot: once per read."""
        data = self.rest + data if self.rest else data
        at = 0
        if not self.greeted:
            if len(data) < len(h2.PREFACE):
                self.rest = data
                return
            at, self.greeted = len(h2.PREFACE), True
        self.ready = True
        try:
            self.rest = data[self._frames(data, at) :]
        except (Broken, HPACKError, KeyError) as error:
            self.transport.write(frame(h2.GOAWAY, 0, 0, bytes(7) + b"\x01" + repr(error).encode()))
            self.transport.close()
            return
        self.ready = False
        self._flush()

    def _frames(self, data: bytes, at: int) -> int:
        """Hot: takes whole frames; where they end."""
        size, calls = len(data), self.calls
        while size - at >= 9:
            length = int.from_bytes(data[at : at + 3], "big")
            end = at + 9 + length
            if length > h2.MAX_FRAME_BYTES:
                raise Broken("a frame larger than allowed")
            if end > size:
                break
            kind, flags = data[at + 3], data[at + 4]
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
            payload = data[at + 9 : end]
            at = end
            if kind == DATA:
                self._take_back(length)
                call = calls.get(stream)
                if call is not None:
                    self._data(stream, call, flags, h2.body_of(flags, payload, headers=False))
            elif kind == HEADERS:
                self._headers(stream, flags, h2.body_of(flags, payload, headers=True))
            else:
                self._other(kind, flags, stream, payload)
        return at

    def _headers(self, stream: int, flags: int, block: bytes) -> None:
        if not flags & END_HEADERS:
            self.block = (stream, flags, block)
            return
        path = self.paths.of(block)
        handler = self.server.handler(path)
        call = self.calls[stream] = Call(handler, self.first_window)
        if handler is None:
            self._end(stream, call, grpc.StatusCode.UNIMPLEMENTED, f"no method {path}")
        elif handler.request_streaming:
            call.asks = asyncio.Queue()
            call.task = asyncio.create_task(self._stream(stream, call))
        if flags & END_STREAM:
            self._asked(stream, call)

    def _data(self, stream: int, call: Call, flags: int, body: bytes) -> None:
        call.body = call.body + body if call.body else body
        if call.asks is not None:
            self._messages(stream, call, len(body))
        if flags & END_STREAM:
            self._asked(stream, call)

    def _messages(self, stream: int, call: Call, size: int) -> None:
        """Whole messages of a stream that lasts; its window must not run out."""
        body = call.body
        while len(body) >= 5 and len(body) >= (end := 5 + int.from_bytes(body[1:5], "big")):
            call.asks.put_nowait(call.handler.request_deserializer(_message(body[:end])))
            body = body[end:]
        call.body = body
        call.came += size
        if call.came > GIVE_BACK_BYTES:
            self._say(frame(h2.WINDOW_UPDATE, 0, stream, call.came.to_bytes(4, "big")))
            call.came = 0

    def _take_back(self, size: int) -> None:
        self.taken += size
        if self.taken > GIVE_BACK_BYTES:
            self._say(frame(h2.WINDOW_UPDATE, 0, 0, self.taken.to_bytes(4, "big")))
            self.taken = 0

    def _other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == h2.CONTINUATION and self.block is not None:
            opened, first_flags, block = self.block
            self.block = None
            self._headers(opened, first_flags | flags & END_HEADERS, block + payload)
        elif kind == h2.SETTINGS and not flags & h2.ACK:
            window = h2.settings_in(payload).get(h2.INITIAL_WINDOW_SIZE, self.first_window)
            for call in self.calls.values():
                call.window += window - self.first_window
            self.first_window = window
            self._say(frame(h2.SETTINGS, h2.ACK, 0))
            self._go_on()
        elif kind == h2.PING and not flags & h2.ACK:
            self._say(frame(h2.PING, h2.ACK, 0, payload))
        elif kind == h2.WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if not stream:
                self.window += more
            elif stream in self.calls:
                self.calls[stream].window += more
            self._go_on()
        elif kind == h2.RST_STREAM and (call := self.calls.pop(stream, None)) and call.task:
            call.task.cancel()

    # What is made of it.

    def _asked(self, stream: int, call: Call) -> None:
        """Hot: the request is whole. Handlers that wait for nothing have answered on return."""
        if call.asks is not None:
            call.asks.put_nowait(None)
            return
        if call.handler is None:
            return
        handler = call.handler
        ask = handler.request_deserializer(_message(call.body))
        running = handler.unary_unary(ask, self.context)
        try:
            waits_for = running.send(None)
        except StopIteration as done:
            self._reply(stream, call, handler.response_serializer(done.value), h2.ended_ok)
        except Aborted as aborted:
            self._end(stream, call, aborted.code, aborted.text)
        else:
            call.task = asyncio.create_task(self._later(stream, call, running, waits_for))

    async def _later(self, stream: int, call: Call, running: Any, waits_for: Any) -> None:
        """The rest of a handler that has to wait."""
        with contextlib.closing(running), self._ending(stream, call):
            try:
                while True:
                    await (asyncio.wait([waits_for]) if waits_for else asyncio.sleep(0))
                    waits_for = running.send(None)
            except StopIteration as done:
                answer = call.handler.response_serializer(done.value)
                self._reply(stream, call, answer, h2.ended_ok)

    async def _stream(self, stream: int, call: Call) -> None:
        """A stream of requests, and its answers as they come."""

        async def asks() -> AsyncIterator[Any]:
            while (ask := await call.asks.get()) is not None:
                yield ask

        with self._ending(stream, call):
            async for answer in call.handler.stream_stream(asks(), self.context):
                self._reply(stream, call, call.handler.response_serializer(answer), b"")
            self._end(stream, call, grpc.StatusCode.OK, "")

    @contextlib.contextmanager
    def _ending(self, stream: int, call: Call) -> Any:
        try:
            yield
        except Aborted as aborted:
            self._end(stream, call, aborted.code, aborted.text)

    # What goes.

    def _reply(self, stream: int, call: Call, message: bytes, trailers: bytes) -> None:
        """Hot: one message, and the end of the call if there are trailers."""
        body = b"\x00" + len(message).to_bytes(4, "big") + message
        size = len(body)
        if call.opened or size > min(self.window, call.window, h2.MAX_FRAME_BYTES) or not trailers:
            call.answer += body
            call.trailers = trailers
            self._send_of(stream, call)
            return
        self.window -= size
        del self.calls[stream]
        self._say(
            frame(HEADERS, END_HEADERS, stream, h2.OPENING)
            + frame(DATA, 0, stream, body)
            + frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers)
        )

    def _end(self, stream: int, call: Call, code: grpc.StatusCode, text: str) -> None:
        ok = code is grpc.StatusCode.OK
        call.trailers = h2.ended_ok if ok else h2.ended_with(code.value[0], text)
        self._send_of(stream, call)

    def _send_of(self, stream: int, call: Call) -> None:
        """As much of an answer as the windows take, and the end after its last byte."""
        made = []
        if not call.opened and (call.answer or call.trailers is h2.ended_ok):
            call.opened = True
            made.append(frame(HEADERS, END_HEADERS, stream, h2.OPENING))
        while (size := min(len(call.answer), self.window, call.window, h2.MAX_FRAME_BYTES)) > 0:
            made.append(frame(DATA, 0, stream, call.answer[:size]))
            call.answer = call.answer[size:]
            self.window -= size
            call.window -= size
        if call.trailers and not call.answer:
            block = call.trailers if call.opened else h2.OPENING + call.trailers
            made.append(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
            self.calls.pop(stream, None)
        if made:
            self._say(b"".join(made))

    def _go_on(self) -> None:
        """There is more room in a window."""
        for stream, call in tuple(self.calls.items()):
            if call.answer:
                self._send_of(stream, call)

    def _say(self, frames: bytes) -> None:
        """Hot: with what else is answered now, or alone."""
        self.out.append(frames)
        if not self.ready or not self.together:
            self._flush()

    def _flush(self) -> None:
        if self.out:
            self.transport.write(b"".join(self.out))
            self.out.clear()


def _message(body: bytes) -> bytes:
    """The message of a framed one. Raises Broken."""
    if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
        raise Broken("a request of no message, of several, or of a compressed one")
    return body[5:]


class LoopServer:
    """As much of grpc.aio.Server as `servers.Servers` uses.

    `together`: what was asked in one read is answered in one write, as an event loop does it;
    else each answer is written alone, as C-core does it for calls that end one by one.
    """

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None, *, together: bool):
        self.together = together
        self.connections: set[Connection] = set()
        self._tls = tls
        self._sock = socket.create_server(address)
        self._find: Callable[[Any], Any] = lambda _details: None
        self._handlers: dict[str, Any] = {}
        self._listening: asyncio.Server | None = None

    @property
    def port(self) -> int:
        return int(self._sock.getsockname()[1])

    def handler(self, path: str) -> Any:
        """Hot: grpcio's handler of a path; None where there is none."""
        found = self._handlers.get(path)
        if found is None:
            found = self._handlers[path] = self._find(Details(path))
        return found

    def add_generic_rpc_handlers(self, handlers: tuple[grpc.GenericRpcHandler]) -> None:
        (only,) = handlers
        self._find = only.service

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            lambda: Connection(self), sock=self._sock, ssl=self._tls
        )

    async def stop(self, _grace: float | None) -> None:
        """Close the port and every connection, at once."""
        if self._listening is not None:
            self._listening.close()
        for connection in tuple(self.connections):
            connection.transport.abort()
