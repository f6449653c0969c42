"""One connection: dialled, secured, kept, and made again; protocol-free.

Everything is non-blocking and driven by the loop: `advance` until the connection is up, then
`readable` (the subclass) for each event. Nothing here runs per operation.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from loadgen.engine.outcome import UNKNOWN
from loadgen.engine.tls import WANT, bind_transport, refused_by_tls

if TYPE_CHECKING:
    from loadgen.engine.hub import Hub

__all__ = ["HOPS", "MARK_SHIFT", "Connection", "Lane", "Op", "split_endpoint"]

# code, due, sent (monotonic ns), trail. A negative code is the engine's own request. The trail is
# how many redirects were followed, below 16, and above it the mark of an operation that is recorded
# one by one (`history`): the sequence in the id of a write, 1 for a read.
Op = tuple[int, int, int, int]

HOPS, MARK_SHIFT = 15, 4

OWN = -2  # even, so that the hot path takes it for a read whose value does not fit

CONNECT_LIMIT_NS = 5_000_000_000
BACKOFF_FIRST_NS = 20_000_000
BACKOFF_LAST_NS = 1_000_000_000

# States in the order they are passed through.
CLOSED, CONNECTING, HANDSHAKE, SETUP, UP = range(5)


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Address and port of "address:port" or "[v6]:port". Raises ValueError when it is neither.

    >>> split_endpoint("10.0.0.1:6379"), split_endpoint("[::1]:2379")
    (('10.0.0.1', 6379), ('::1', 2379))
    """
    host, colon, port = endpoint.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{endpoint!r} is not address:port")
    return host, int(port)


class Lane:
    """Connections that can serve the same keys: one Redis master, or all of etcd.

    `free` holds connections with room, least recently used first; `overdue` holds (code, due)
    of requests waiting for one; `redirected` those that another lane was told to send here.
    """

    __slots__ = ("codes", "connections", "endpoint", "free", "overdue", "redirected")

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.connections: list[Connection] = []
        self.free: deque[Connection] = deque()
        self.overdue: deque[tuple[int, int]] = deque()
        self.redirected: deque[tuple[Op, bool]] = deque()  # True: ASKING goes first
        self.codes: deque[int] = deque()  # dealt to this lane, closed loop and fill


class Connection:
    """State machine of one connection. Subclasses speak the protocol.

    `depth` is how many operations may be in flight on it.
    """

    __slots__ = (
        "_backoff_ns",
        "_data_left",
        "_opened_ns",
        "_was_up",
        "depth",
        "endpoint",
        "fd",
        "free_since_ns",
        "hub",
        "lane",
        "late",
        "leaving",
        "mask",
        "process",
        "queued",
        "receive",
        "reopen_ns",
        "send",
        "sock",
        "state",
    )

    def __init__(self, hub: Hub, lane: Lane, endpoint: str, depth: int) -> None:
        self.hub = hub
        self.lane = lane
        self.endpoint = endpoint
        self.depth = depth
        self.free_since_ns = 0
        self.queued = (
            False  # in its lane's `free`; never twice, however often it is said to be free
        )
        self.late = hub.recorder.late_ns
        self.leaving: Lane | None = None  # where it is to go when nothing is in flight on it
        self.state = CLOSED
        self.sock: socket.socket | None = None
        self.fd = -1
        self.mask = 0
        self.reopen_ns = 0
        self.process = 0  # of recorded operations: each dialled connection is one client
        self.receive: Callable[[int], bytes] = _closed_receive
        self.send: Callable[[bytes], int] = _closed_send
        self._data_left = b""
        self._opened_ns = 0
        self._was_up = False
        self._backoff_ns = BACKOFF_FIRST_NS
        lane.connections.append(self)

    # What a subclass provides.

    def setup(self) -> None:
        """Say what the protocol says first; call `ready` when the target has answered."""
        raise NotImplementedError

    def readable(self) -> None:
        """Take what the socket holds and settle the operations it answers."""
        raise NotImplementedError

    def room(self) -> int:
        """How many more operations can be sent now."""
        raise NotImplementedError

    def send_from(self, codes: deque[int]) -> None:
        """Take as many operations as there is room for, and send them, due now."""
        raise NotImplementedError

    def send_due(self, overdue: deque[tuple[int, int]]) -> int:
        """Take as many (code, due) as there is room for, and send them. Returns how many."""
        raise NotImplementedError

    def send_one(self, code: int, due_ns: int) -> bool:
        """Hot in open loop: send this operation, if there is room for it.

        With room for more the connection goes back into its lane's queue.
        """
        sent = self.send_due(deque([(code, due_ns)])) == 1
        if self.depth > 1 and self.room() > 0 and not self.queued:
            self.queued = True
            self.lane.free.append(self)
        return sent

    def note_late(self, due_ns: int, sent_ns: int) -> None:
        """How long the engine itself let an operation wait: since due, and since we were free."""
        free_ns = self.free_since_ns
        self.late.append(sent_ns - (due_ns if due_ns > free_ns else free_ns))

    def send_again(self, op: Op, *, asking: bool) -> None:
        """Send an operation that was redirected here; it keeps its due and sent times."""
        raise NotImplementedError

    def pending(self) -> list[Op]:
        """Operations in flight, oldest first; forgets them."""
        raise NotImplementedError

    def oldest_sent_ns(self) -> int:
        """When the oldest operation in flight was sent; 0 when there is none."""
        raise NotImplementedError

    # From closed to up.

    def open(self, now_ns: int) -> None:
        """Begin to connect. The loop calls `advance` when there is something to do."""
        host, port = split_endpoint(self.endpoint)
        self._opened_ns = now_ns
        self._data_left = b""
        self.process = self.hub.history.next_process()
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except (OSError, ValueError):
            self.hub.refused(self, "connection")
            self._wait(now_ns)
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._attach(sock, CONNECTING)
        error = sock.connect_ex((host, port))
        if error and error != 115:  # EINPROGRESS
            self.broken("connection")

    def advance(self, mask: int) -> None:
        """Go on with connecting, or flush what could not be sent, or see the end."""
        try:
            if self.state == CONNECTING:
                self._connected()
            elif self.state == HANDSHAKE:
                self._handshake()
            elif self.state >= SETUP:
                if mask & select.EPOLLOUT:
                    self._flush()
                if self.state >= SETUP and mask & ~select.EPOLLOUT:
                    self.readable()
        except OSError as error:
            self.failed_io(error)

    def _connected(self) -> None:
        assert self.sock is not None
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.broken("connection")
            return
        context = self.hub.context
        if context is None:
            self._secured()
            return
        host, _ = split_endpoint(self.endpoint)
        secured = context.wrap_socket(
            self.sock, server_hostname=host, do_handshake_on_connect=False
        )
        # wrap_socket detaches the old object; the descriptor, and so its registration, stays.
        self.sock = secured
        self.state = HANDSHAKE
        self._handshake()

    def _handshake(self) -> None:
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(select.EPOLLIN)
        except ssl.SSLWantWriteError:
            self._watch(select.EPOLLOUT)
        else:
            self.hub.secured(self.sock)
            self._secured()

    def _secured(self) -> None:
        assert self.sock is not None
        self.receive, self.send = bind_transport(self.sock)
        self.state = SETUP
        self.hub.readers[self.fd] = self.readable
        self._watch(select.EPOLLIN)
        self.setup()

    def ready(self) -> None:
        """The target has answered: operations may flow."""
        self.state = UP
        self._backoff_ns = BACKOFF_FIRST_NS
        if self._was_up:
            self.hub.recorder.generator.reconnects += 1
        self._was_up = True
        self.offer(self.hub.woke_ns)

    def offer(self, now_ns: int) -> None:
        """Into the lane's queue of connections with room, unless it is there already."""
        if not self.queued:
            self.queued = True
            self.free_since_ns = now_ns
            self.lane.free.append(self)

    # Sending what is not an operation, or did not go out at once.

    def put(self, data: bytes) -> None:
        """Send, or keep for later what the socket would not take. May end in `broken`."""
        if self._data_left:
            self._data_left += data
            return
        try:
            sent = self.send(data)
        except WANT:
            sent = 0
        except OSError as error:
            self.failed_io(error)
            return
        if sent < len(data):
            self._data_left = data[sent:]
            self._watch(select.EPOLLIN | select.EPOLLOUT)

    def _flush(self) -> None:
        data, self._data_left = self._data_left, b""
        self._watch(select.EPOLLIN)
        if data:
            self.put(data)

    # From up to closed.

    def failed_io(self, error: OSError) -> None:
        """A read or write failed for good."""
        self.broken("tls" if refused_by_tls(error) else "connection")

    def broken(self, cause: str) -> None:
        """Close, account for everything in flight, and plan to open again."""
        if self.sock is None:
            return
        now_ns = time.monotonic_ns()
        was_up = self.state == UP
        self.close()
        limit_ns = self.hub.timeout_ns
        for op in self.pending():
            if op[0] >= 0:
                late = cause == "timeout" and now_ns - op[2] < limit_ns
                self.hub.lost(op, UNKNOWN, "connection" if late else cause, self.process)
        if not was_up:
            self.hub.refused(self, cause)
        self.hub.topology_doubtful()
        self._wait(now_ns)

    def close(self) -> None:
        """Let go of the socket; operations in flight stay to be accounted for."""
        self.state = CLOSED
        self.receive, self.send = _closed_receive, _closed_send
        self._data_left = b""
        if self.queued:
            self.queued = False
            self.lane.free.remove(self)
        if self.sock is not None:
            self.hub.forget(self.fd)
            self.sock.close()
            self.sock = None
            self.fd = -1
        self.mask = 0

    def moved_to(self, lane: Lane) -> None:
        """Serve another member from now on; nothing may be in flight."""
        self.close()
        self.lane.connections.remove(self)
        self.lane, self.endpoint, self.leaving = lane, lane.endpoint, None
        lane.connections.append(self)
        self.reopen_ns = 0

    def sweep(self, now_ns: int) -> None:
        """Called every few ms: time limits, and opening again."""
        if self.state == UP:
            oldest = self.oldest_sent_ns()
            if oldest and now_ns - oldest > self.hub.timeout_ns:
                self.broken("timeout")
        elif self.state == CLOSED:
            if now_ns >= self.reopen_ns and not self.hub.closing:
                self.open(now_ns)
        elif now_ns - self._opened_ns > CONNECT_LIMIT_NS:
            self.broken("connection")

    def _wait(self, now_ns: int) -> None:
        self.reopen_ns = now_ns + self._backoff_ns
        self._backoff_ns = min(self._backoff_ns * 2, BACKOFF_LAST_NS)

    def _attach(self, sock: socket.socket, state: int) -> None:
        self.sock, self.fd, self.state = sock, sock.fileno(), state
        self.mask = select.EPOLLOUT
        self.hub.watch(self.fd, self, self.mask)

    def _watch(self, mask: int) -> None:
        if mask != self.mask:
            self.mask = mask
            self.hub.rewatch(self.fd, mask)


def _closed_receive(_size: int) -> bytes:
    raise ConnectionError("the connection is closed")


def _closed_send(_data: bytes) -> int:
    raise ConnectionError("the connection is closed")
