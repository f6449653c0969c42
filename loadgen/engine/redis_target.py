"""Redis Cluster as the loop sees it: one lane per master, kept in step with the slot map."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import hiredis

from loadgen.contract.plan import Auth, Plan
from loadgen.engine.connection import HOPS, UP, Lane, Op, split_endpoint
from loadgen.engine.hub import Hub
from loadgen.engine.lanes import deal_again, move_idle, rebalance, shares
from loadgen.engine.outcome import FAILED, SessionFailed, TargetProtocolError
from loadgen.engine.redis_connection import (
    NOT_RESP,
    READ_BYTES,
    REPLY_LIMIT_BYTES,
    RedisConnection,
)
from loadgen.engine.resp import (
    SLOTS,
    command,
    encoder,
    long_arrays,
    read_slot_map,
    redirect_of,
    slots_of_keys,
    value_check,
)
from loadgen.keyspace import Values

__all__ = ["RedisTarget", "fetch_slot_map", "slot_map_from"]

# Masters we keep a lane for. Far more than a testbed has; every pass of the loop looks at every
# lane, and a target that names another master in each reply must not slow it down or fill memory.
MAX_LANES = 256

REDIRECT_LIMIT = 5
REFRESH_NS = 250_000_000
BOOTSTRAP_TIMEOUT_S = 5.0  # for connecting, for the handshake, and for all replies together
ERROR_TEXT = 200  # of what a member says, in a reason


class RedisTarget:
    """Lanes, slot owners, redirects; see `hub.TargetDriver`."""

    def __init__(self, hub: Hub, plan: Plan, *, rank: int, connections: int) -> None:
        self.hub = hub
        self.plan = plan
        self.values = Values(plan.keyspace.prefix, plan.value_bytes, rank=rank, engine=hub.engine)
        self.encode = encoder(plan.keyspace.prefix, self.values)
        self.holds = value_check(self.values)
        self.credentials = _credentials(plan.auth)
        self.lanes: list[Lane] = []
        self._connections = connections
        self._slot_of = slots_of_keys(plan.keyspace.prefix, plan.keyspace.keys)
        self._owner: list[Lane] = []
        self._doubtful = False
        self._next_refresh_ns = 0

    def lane_of(self, code: int) -> Lane:
        """The lane of the master that owns the key's slot, as far as we know."""
        return self._owner[self._slot_of[code >> 1]]

    def connect(self) -> None:
        """Read the slot map from the first endpoint that gives it, and dial the masters."""
        ranges = self._bootstrap()
        if sum(high - low + 1 for pairs in ranges.values() for low, high in pairs) < SLOTS:
            raise SessionFailed("not all 16384 slots have a master; is the cluster created?")
        if len(ranges) > self._connections:
            raise SessionFailed(
                f"{len(ranges)} masters but {self._connections} connections for this worker; "
                "raise `connections` or lower `workers`"
            )
        self._owner = [self._lane(next(iter(ranges)))] * SLOTS
        self._apply(ranges)
        for lane, count in self._wanted().items():
            for _ in range(count):
                RedisConnection(self.hub, lane, self, self.plan.pipeline)
        self.hub.notes["masters"] = " ".join(sorted(ranges))

    def _bootstrap(self) -> dict[str, list[tuple[int, int]]]:
        problems = []
        for endpoint in self.plan.endpoints:
            try:
                return fetch_slot_map(endpoint, self.hub.context, self.credentials)
            except (OSError, TargetProtocolError) as error:
                problems.append(f"{endpoint}: {error}")
        raise SessionFailed("no endpoint gave a slot map: " + "; ".join(problems))

    # Redirects.

    def redirected(self, op: Op, message: str, *, asked: str) -> bool:
        """Follow MOVED and ASK, at most five for one operation. False: it is another error."""
        try:
            redirect = redirect_of(message, asked=asked)
            if redirect is None:
                return False
            asking, slot, endpoint = redirect
            lane = self._lane(endpoint)
        except TargetProtocolError:
            self.hub.lost(op, FAILED, "protocol")
            raise
        code, due, sent, trail = op
        if asking:
            self.hub.recorder.generator.ask += 1
        else:
            self.hub.recorder.generator.moved += 1
            self._owner[slot] = lane
            self.doubt()
        if trail & HOPS >= REDIRECT_LIMIT:
            self.hub.lost(op, FAILED, "redirect_limit")
        else:
            lane.redirected.append(((code, due, sent, trail + 1), asking))
            if not lane.connections:  # a master without slots yet: `_wanted` gives it one
                self.doubt()
        return True

    # The slot map, kept fresh.

    def doubt(self) -> None:
        """Ask for the slot map again at the next sweep."""
        self._doubtful = True

    def sweep(self, now_ns: int) -> None:
        """Refresh a doubtful map; move connections; give up redirects that wait too long."""
        if self._doubtful and now_ns >= self._next_refresh_ns:
            self._next_refresh_ns = now_ns + REFRESH_NS
            self._refresh()
        move_idle(self.lanes)
        for lane in self.lanes:
            late = self.hub.timeout_ns
            while lane.redirected and now_ns - lane.redirected[0][0][2] > late:
                self.hub.lost(lane.redirected.popleft()[0], FAILED, "timeout")

    def _refresh(self) -> None:
        up = [c for lane in self.lanes for c in lane.connections if c.state == UP]
        if not up:
            return
        # Any master will do; turning through them avoids asking one that is cut off for ever.
        chosen = up[time.monotonic_ns() % len(up)]
        assert isinstance(chosen, RedisConnection)
        self._doubtful = False

        def apply(reply: object) -> None:
            if isinstance(reply, hiredis.ReplyError):
                self._doubtful = True
                return
            ranges = read_slot_map(reply, asked=chosen.endpoint)
            self._apply(ranges)
            self._rebalance()

        chosen.ask(command(b"CLUSTER", b"SLOTS"), apply)

    def _apply(self, ranges: dict[str, list[tuple[int, int]]]) -> None:
        for endpoint, pairs in ranges.items():
            lane = self._lane(endpoint)
            for low, high in pairs:
                self._owner[low : high + 1] = [lane] * (high - low + 1)

    def _lane(self, endpoint: str) -> Lane:
        for lane in self.lanes:
            if lane.endpoint == endpoint:
                return lane
        if len(self.lanes) >= MAX_LANES:
            raise TargetProtocolError("more masters than can be")
        lane = Lane(endpoint)
        self.lanes.append(lane)
        return lane

    def _wanted(self) -> dict[Lane, int]:
        """Connections per lane, by slots; a lane that redirects point to gets at least one."""
        slots = dict.fromkeys(self.lanes, 0)
        for lane in self._owner:
            slots[lane] += 1
        for lane in self.lanes:
            slots[lane] = slots[lane] or bool(lane.redirected)
        return shares(slots, self._connections)

    def _rebalance(self) -> None:
        """Connections by slots; requests of lanes without any go to the lanes that have them."""
        rebalance(self.lanes, self._wanted())
        owners = set(self._owner)
        deal_again((lane for lane in self.lanes if lane not in owners), self.lane_of)


def fetch_slot_map(
    endpoint: str, context: ssl.SSLContext | None, credentials: tuple[bytes, ...]
) -> dict[str, list[tuple[int, int]]]:
    """Ask one member for the slot map, waiting for it; used once, before the load.

    Raises OSError or TargetProtocolError.
    """
    with socket.create_connection(split_endpoint(endpoint), BOOTSTRAP_TIMEOUT_S) as plain:
        sock = plain
        if context is not None:
            sock = context.wrap_socket(plain, server_hostname=split_endpoint(endpoint)[0])
        with sock:
            requests = [command(b"AUTH", *credentials)] if credentials else []
            requests.append(command(b"CLUSTER", b"SLOTS"))
            sock.sendall(b"".join(requests))
            return slot_map_from(_receiver(sock), len(requests), asked=endpoint)


def _receiver(sock: socket.socket) -> Callable[[], bytes]:
    """A function that waits for bytes, but for all of them no longer than the limit."""
    deadline_s = time.monotonic() + BOOTSTRAP_TIMEOUT_S

    def receive() -> bytes:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TargetProtocolError("no whole reply in time")
        sock.settimeout(left_s)
        return sock.recv(READ_BYTES)

    return receive


def slot_map_from(
    receive: Callable[[], bytes], count: int, *, asked: str
) -> dict[str, list[tuple[int, int]]]:
    """Slot ranges by master, the last of `count` replies. Raises TargetProtocolError."""
    more = object()
    reader = hiredis.Reader(notEnoughData=more)
    replies: list[object] = []
    taken, claimed, tail = 0, 0, b""
    while len(replies) < count:
        data = receive()
        taken += len(data)
        if not data:
            raise TargetProtocolError("the member closed the connection")
        if taken > REPLY_LIMIT_BYTES:
            raise TargetProtocolError("a reply without end")
        claimed = long_arrays(tail, data, claimed)
        tail = data[-8:]
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not more:
                replies.append(reply)
        except NOT_RESP as error:
            raise TargetProtocolError("not RESP") from error
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise TargetProtocolError(str(reply)[:ERROR_TEXT])
    return read_slot_map(replies[-1], asked=asked)


def _credentials(auth: Auth | None) -> tuple[bytes, ...]:
    if auth is None:
        return ()
    try:
        password = Path(auth.password_file).read_bytes().strip()
    except OSError as error:
        raise SessionFailed(f"password file of user {auth.user}: {error}") from error
    return (auth.user.encode(), password)
