"""The loop's body: one epoll, all connections, and what they share.

One pass reads everything that is there, then sends, then counts. Reading first keeps the time
that a reply lies unread out of the measured time as far as one core can; it also gave the most
operations per second (loadgen/README.md, table).
"""

from __future__ import annotations

import contextlib
import select
import ssl
import time
from collections.abc import Callable
from typing import Protocol

from loadgen.engine.connection import MARK_SHIFT, UP, Connection, Lane, Op
from loadgen.engine.history import Recording
from loadgen.engine.outcome import TargetProtocolError
from loadgen.recorder import Recorder

__all__ = ["NEVER", "Hub", "TargetDriver"]

# More polls in a pass than this would let a fast target starve the sending.
READS_PER_PASS = 3

SWEEP_NS = 10_000_000
COARSE_NS = 1_500_000

# From asking to be woken to being awake: 47 to 64 us at the median on a virtual machine (run
# 20261122T213720Z-quick-local-4x, own delay P50), which is a tenth of what Redis takes to answer.
AWAKE_NS = 70_000


NEVER = 1 << 62  # later than any moment


class TargetDriver(Protocol):
    """What the loop asks of a target: where operations go, and to look after its members."""

    lanes: list[Lane]

    def lane_of(self, code: int) -> Lane:
        """The lane whose member serves this operation's key."""

    def connect(self) -> None:
        """Make all connections; they come up as the loop runs."""

    def sweep(self, now_ns: int) -> None:
        """Called every few ms: membership changes, redirects waiting too long."""

    def doubt(self) -> None:
        """A connection broke or a redirect came: the map of members may be stale."""


class _NoTarget:
    """Before the session knows its target."""

    lanes: list[Lane] = []

    def lane_of(self, code: int) -> Lane:
        raise NotImplementedError

    def connect(self) -> None:
        raise NotImplementedError

    def sweep(self, now_ns: int) -> None:
        raise NotImplementedError

    def doubt(self) -> None:
        raise NotImplementedError


class Hub:
    """Shared by all connections of one engine."""

    def __init__(
        self, recorder: Recorder, *, timeout_ns: int, history: Recording | None = None
    ) -> None:
        self.recorder = recorder
        self.history = history or Recording()
        self.context: ssl.SSLContext | None = None
        self.timeout_ns = timeout_ns
        self.engine = 0  # which engine of its rank this is, in the whole run
        self.freed: list[Connection] = []
        self.connections: dict[int, Connection] = {}
        # What to call when a descriptor is readable and nothing else: the connections that talk.
        self.readers: dict[int, Callable[[], None]] = {}
        self.refusals: dict[tuple[str, str], int] = {}
        self.notes: dict[str, str] = {}
        self.closing = False
        self.woke_ns = time.monotonic_ns()
        self.on_lost: Callable[[int], None] | None = None
        self.target: TargetDriver = _NoTarget()
        self._epoll = select.epoll()
        self.next_sweep_ns = 0

    # For connections.

    def watch(self, fd: int, connection: Connection, mask: int) -> None:
        """Begin to watch a descriptor."""
        self.connections[fd] = connection
        self._epoll.register(fd, mask)

    def rewatch(self, fd: int, mask: int) -> None:
        """Watch for something else."""
        self._epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        """Stop watching; call before closing."""
        del self.connections[fd]
        self.readers.pop(fd, None)
        with contextlib.suppress(OSError):  # TLS closes it when the peer was gone before we began
            self._epoll.unregister(fd)

    def lost(self, op: Op, outcome: str, cause: str, process: int = 0) -> None:
        """Account for an operation that did not end ok. `process`: the connection's, if one had it
        last.
        """
        self.recorder.lost(op[0], outcome, cause)
        if op[3] >> MARK_SHIFT:
            self.history.lost(op, time.monotonic_ns(), process, outcome, cause)
        if self.on_lost is not None:
            self.on_lost(op[0])

    def refused(self, connection: Connection, cause: str) -> None:
        """A connection could not be brought up."""
        key = (connection.endpoint, cause)
        self.refusals[key] = self.refusals.get(key, 0) + 1

    def secured(self, sock: ssl.SSLSocket) -> None:
        """A TLS handshake is done; its first one is noted."""
        if "tls_version" not in self.notes:
            cipher = sock.cipher()
            self.notes["tls_version"] = sock.version() or ""
            self.notes["tls_cipher"] = cipher[0] if cipher else ""

    def topology_doubtful(self) -> None:
        """See `TargetDriver.doubt`."""
        self.target.doubt()

    # For the phases.

    def all_up(self) -> bool:
        """Whether every connection can be used."""
        return all(one.state == UP for lane in self.target.lanes for one in lane.connections)

    def any_up(self) -> bool:
        """Whether some connection can be used."""
        return any(one.state == UP for lane in self.target.lanes for one in lane.connections)

    def serve(self, wait_until_ns: int) -> int:
        """Wait, but no longer than until then, and read what there is. Returns the wake-up.

        A reply counts as received when epoll told of it (`woke_ns`), not when its turn to be read
        came: with 20 replies at once that would add 120 us of our own work to the last one.
        """
        events = self._poll(wait_until_ns)
        woke_ns = self.woke_ns = time.monotonic_ns()
        reads = READS_PER_PASS
        while events:
            self._hand_out(events)
            reads -= 1
            # A lone event is a quiet loop: looking again would only cost.
            if not reads or len(events) == 1:
                break
            events = self._epoll.poll(0)
            self.woke_ns = time.monotonic_ns()
        return woke_ns

    def _hand_out(self, events: list[tuple[int, int]]) -> None:
        """Hot: once per event."""
        readers = self.readers
        for fd, mask in events:
            try:
                if mask == select.EPOLLIN and fd in readers:
                    readers[fd]()
                elif fd in self.connections:  # else it was closed earlier in this same batch
                    self.connections[fd].advance(mask)
            except (OSError, TargetProtocolError) as error:
                self._failed(fd, error)

    def _failed(self, fd: int, error: OSError | TargetProtocolError) -> None:
        connection = self.connections.get(fd)
        if connection is None:  # it was closed on the way
            return
        if isinstance(error, OSError):
            connection.failed_io(error)
        else:
            connection.broken("protocol")

    def _poll(self, wait_until_ns: int) -> list[tuple[int, int]]:
        """Epoll waits in whole milliseconds; select on the epoll's own descriptor in us.

        So epoll alone when there is time, select for the next stretch, and for the last one we
        stay awake: to be woken costs more than that. What is spent looking in vain is idle time.
        """
        now_ns, sweep_ns = time.monotonic_ns(), self.next_sweep_ns
        if wait_until_ns - sweep_ns > COARSE_NS and sweep_ns > now_ns:
            # Nothing is due before the sweep, and that may be a millisecond late.
            return self._epoll.poll((sweep_ns - now_ns) / 1e9)
        wait_ns = min(wait_until_ns, sweep_ns) - now_ns
        if wait_ns > COARSE_NS:
            events = self._epoll.poll((wait_ns - COARSE_NS) / 1e9)
            if events:
                return events
            wait_ns = min(wait_until_ns, self.next_sweep_ns) - time.monotonic_ns()
        if (
            wait_ns > AWAKE_NS
            and select.select((self._epoll,), (), (), (wait_ns - AWAKE_NS) / 1e9)[0]
        ):
            return self._epoll.poll(0)
        return self._stay_awake(min(wait_until_ns, self.next_sweep_ns))

    def _stay_awake(self, until_ns: int) -> list[tuple[int, int]]:
        """Look again and again until something comes or the moment is there."""
        poll, now = self._epoll.poll, time.monotonic_ns
        began_ns = looked_ns = now()
        events = poll(0)
        while not events and looked_ns < until_ns:
            looked_ns = now()
            events = poll(0)
        self.recorder.idle_awake_ns += looked_ns - began_ns
        return events

    def sweep(self, now_ns: int) -> None:
        """Time limits and repairs, every 10 ms."""
        if now_ns < self.next_sweep_ns:
            return
        self.next_sweep_ns = now_ns + SWEEP_NS
        for lane in self.target.lanes:
            for connection in tuple(lane.connections):
                connection.sweep(now_ns)
        self.target.sweep(now_ns)
        self.history.close(now_ns)

    def send_redirected(self, lane: Lane, connection: Connection) -> None:
        """Send one redirected operation."""
        op, asking = lane.redirected.popleft()
        connection.send_again(op, asking=asking)

    def close(self) -> None:
        """Break every connection for good."""
        self.closing = True
        for connection in tuple(self.connections.values()):
            connection.close()
        self._epoll.close()
