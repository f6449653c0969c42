"""PD as the engine asks it, beside the load: one connection to its leader, few calls at once.

Nothing here waits: questions go out when `sweep` or an answer finds room, and each answer goes to
whoever asked. A member that does not lead, refuses or falls silent is left for the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from loadgen.engine import grpc
from loadgen.engine.connection import UP, Lane, Op
from loadgen.engine.grpc import Call
from loadgen.engine.grpc_connection import GrpcConnection
from loadgen.engine.outcome import Lost, TargetProtocolError
from loadgen.engine.pd_messages import GET_MEMBERS, GET_STORE, SCAN_REGIONS, members_in
from loadgen.engine.protobuf import framed, message_in

if TYPE_CHECKING:
    from loadgen.engine.hub import Hub

__all__ = ["PdClient"]

CALLS_AT_ONCE = 8
REPLY_LIMIT_BYTES = 1 << 20  # of 128 regions' descriptions, some 20 kB
MAX_WAITING = 1024
MAX_ENDPOINTS = 32

# An answer that was expected, its message; None when the question was lost with its connection.
Then = Callable[[bytes | None], None]


class PdClient:
    """Asks whichever member leads. `cluster_id` is known once a connection is up."""

    depth = CALLS_AT_ONCE
    reply_limit = REPLY_LIMIT_BYTES

    def __init__(self, hub: Hub, endpoints: Sequence[str], *, first: int) -> None:
        at = first % len(endpoints)  # workers begin at different members
        self.endpoints = [*endpoints[at:], *endpoints[:at]]
        self.cluster_id = 0
        self.refusal = ""  # what PD said last instead of an answer
        self._leader = ""
        self._waiting: deque[tuple[int, Callable[[], bytes], Then]] = deque()
        self.lane = Lane("pd")
        self.connection = PdConnection(hub, self.lane, self)

    def message(self, code: int) -> bytes:
        """PD serves no operation of the load."""
        raise NotImplementedError

    def answers(self, code: int, body: bytes | bytearray) -> bool:
        """PD serves no operation of the load."""
        return False

    def sequence_in(self, message: bytes) -> int:
        """PD serves no operation of the load."""
        raise NotImplementedError

    def told(self, code: int, body: bytes) -> tuple[int, int]:
        """PD serves no operation of the load."""
        raise NotImplementedError

    # Questions.

    def scan_regions(self, message: Callable[[], bytes], then: Then) -> None:
        """Ask for regions; the message is made when the cluster's id is known."""
        self._ask(1, message, then)

    def get_store(self, message: Callable[[], bytes], then: Then) -> None:
        """Ask for a store's address."""
        self._ask(2, message, then)

    def _ask(self, path: int, message: Callable[[], bytes], then: Then) -> None:
        if len(self._waiting) >= MAX_WAITING:
            then(None)
            return
        self._waiting.append((path, message, then))
        self.pump()

    def pump(self) -> None:
        """Send what waits and has room."""
        while self._waiting and self.connection.room() > 0:
            path, message, then = self._waiting.popleft()
            self.connection.question(path, message(), then)

    def sweep(self, now_ns: int) -> None:
        """Time limits, and dialling again."""
        self.connection.sweep(now_ns)
        self.pump()

    def is_up(self) -> bool:
        """Whether questions can be asked."""
        return self.connection.state == UP

    # Members.

    def next_endpoint(self) -> str:
        """The leader, where one was named and not yet tried; else the members in turn."""
        if self._leader:
            endpoint, self._leader = self._leader, ""
            return endpoint
        self.endpoints.append(self.endpoints.pop(0))
        return self.endpoints[-1]

    def introduced(self, body: bytes, asked: str) -> bool:
        """Take in who the members are; whether the one that was asked leads."""
        members = members_in(body)
        for address in members.addresses:
            if address not in self.endpoints and len(self.endpoints) < MAX_ENDPOINTS:
                self.endpoints.append(address)
        self.cluster_id = members.cluster_id or self.cluster_id
        self.refusal = "" if members.leader else f"{asked} knows no leader of PD"
        if members.leader and members.leader != asked:
            self._leader = members.leader
        return members.leader == asked


class PdConnection(GrpcConnection):
    """Its first call is GetMembers: a member that does not lead is left at once."""

    __slots__ = ("_asked", "client")

    paths = (GET_MEMBERS, SCAN_REGIONS, GET_STORE)

    def __init__(self, hub: Hub, lane: Lane, client: PdClient) -> None:
        self.client = client
        self._asked: dict[int, Then] = {}
        super().__init__(hub, lane, client, endpoint=client.endpoints[0], first=framed(b""))

    def open(self, now_ns: int) -> None:
        """Dial another member each time; see Connection."""
        self.endpoint = self.client.next_endpoint()
        super().open(now_ns)

    def first_answered(self, status: int, message: str, body: bytes) -> None:
        """Up if it leads; else on to the one that does."""
        if status:
            self.client.refusal = f"{self.endpoint}: {message or status}"[:200]
            self.broken(grpc.lost_by_status(status, message).cause)
            return
        if self.client.introduced(message_in(body), self.endpoint):
            self.ready()
            self.client.pump()
        else:
            self.broken("cluster_down")

    def question(self, path: int, message: bytes, then: Then) -> None:
        """One call; `then` gets its answer, or None."""
        stream = self._next_stream
        self._asked[stream] = then

        def answered(status: int, said: str, body: bytes) -> None:
            self._asked.pop(stream, None)
            if status:
                self.client.refusal = f"{self.endpoint}: {said or status}"[:200]
                then(None)
                self.broken("cluster_down")  # it leads no more, or is about to end
                return
            try:
                then(message_in(body))
            except TargetProtocolError as error:
                self.client.refusal = f"{self.endpoint}: {error}"[:200]
                self.broken("cluster_down")
                return
            self.client.pump()

        self.ask(self._headers.blocks[path], framed(message), answered)

    def _lost(self, call: Call, lost: Lost) -> None:
        """A reset stream is a member that is left; `pending` tells who asked."""
        self.broken(lost.cause)

    def pending(self) -> list[Op]:
        """See Connection; every question left open is answered with None."""
        ops = super().pending()
        asked, self._asked = self._asked, {}
        for then in asked.values():
            then(None)
        return ops
