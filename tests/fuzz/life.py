"""Whole lives of connections: any order of sending, answers, garbage, breaks and silence.

Two connections of a real hub over loopback; each rule is one thing that the engine or a member
does. After every step each operation that was sent has ended exactly once or is in flight exactly
once, `ok` only what was rightly answered, and `failed` no write that a member may have applied.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from loadgen.contract.plan import Keyspace, Plan
from loadgen.contract.window import CAUSES
from loadgen.engine.connection import Connection, Lane, Op
from loadgen.engine.hub import Hub
from loadgen.engine.phases import Loop, OpenSource, give_back
from loadgen.engine.redis_target import MAX_LANES
from loadgen.recorder import Clock, Recorder
from tests.fuzz.members import Asked, Member

__all__ = ["DEPTH", "Life", "Peer"]

HOUR_NS = 3_600_000_000_000
DEPTH, VALUE_BYTES, KEYS, QUEUE = 3, 64, 4000, 6


@dataclass
class Peer:
    """A member's end of one connection. `trusted` until it has said what is not an answer."""

    sock: socket.socket
    member: Member
    asked: deque[Asked] = field(default_factory=deque)
    rest: bytes = b""
    trusted: bool = True
    last_stream: int = 1 << 31  # after a GOAWAY: what comes on later ones is not processed

    def say(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            self.trusted = False


class Life(RuleBasedStateMachine):
    """Keys are never used twice, so a key is an operation; its due time is its number."""

    target_name = ""
    beside = 0  # connections that carry no operation
    changes: dict[str, object] = {}  # of the plan

    def __init__(self) -> None:
        super().__init__()
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        for listener in self.listeners:
            listener.setblocking(False)
        self.ports = [listener.getsockname()[1] for listener in self.listeners]
        self.peers: list[Peer] = []
        self.ends: dict[int, tuple[str, str]] = {}
        self.received: set[int] = set()
        self.denied: set[int] = set()
        self.answered: set[int] = set()
        self.doubtful: set[int] = set()
        self.ahead_ns = 0
        self.asked_for = 0
        clock = Clock()
        self.recorder = Recorder(lambda _: None, worker=0, length_s=3600, clock=clock)
        self.recorder.begin("steady", "open", time.monotonic_ns())
        self.recorder.window_end_ns += 100 * HOUR_NS
        self.hub = Hub(self.recorder, timeout_ns=HOUR_NS)
        counted = self.hub.lost

        def lost(op: Op, outcome: str, cause: str, process: int = 0) -> None:
            self.ended(op[1], outcome, cause)
            counted(op, outcome, cause, process)

        self.hub.lost = lost  # type: ignore[method-assign]
        self.prepare()
        schedule = ((key, key << 1 | key % 3 % 2) for key in count(1))
        self.source = OpenSource(self.hub, schedule, limit=QUEUE)

    # What differs between targets.

    def prepare(self) -> None:
        raise NotImplementedError

    def new_member(self) -> Member:
        raise NotImplementedError

    def in_flight(self, connection: Connection) -> list[Op]:
        raise NotImplementedError

    def plan(self) -> Plan:
        endpoints = tuple(f"127.0.0.1:{port}" for port in self.ports)
        keys = Keyspace(KEYS, "k")
        return Plan("r", "s", self.target_name, endpoints, keys, (), None,
                    value_bytes=VALUE_BYTES, connections=2,
                    **{"pipeline": DEPTH, **self.changes})  # fmt: skip

    # Steps both sides take.

    def ended(self, due: int, outcome: str, cause: str) -> None:
        assert cause in CAUSES or outcome == "ok"
        assert due not in self.ends, "an operation ended twice"
        self.ends[due] = (outcome, cause)

    def settle(self) -> None:
        """Until nobody has anything to read."""
        busy = True
        while busy:
            busy = self.accept() | self.listen()
            while self.hub._epoll.poll(0):
                busy = True
                self.hub.serve(time.monotonic_ns())
                give_back(self.hub.freed, time.monotonic_ns())
            for done in self.recorder.done:
                for due, _, _ in done:
                    self.ended(due, "ok", "")
            self.recorder.absorb()

    def accept(self) -> bool:
        found = False
        for listener in self.listeners:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                continue
            sock.setblocking(False)
            self.peers.append(Peer(sock, self.new_member()))
            found = True
        return found

    def listen(self) -> bool:
        found = False
        for peer in tuple(self.peers):
            try:
                data = peer.sock.recv(1 << 20)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            found = True
            if not data:
                self.gone(peer)
                continue
            for asked in peer.member.hear(data):
                peer.asked.append(asked)
                self.received.update(asked.keys)
                self.denied.difference_update(asked.keys)
                if asked.stream > peer.last_stream:
                    self.denied.update(asked.keys)
                if not peer.trusted:
                    self.doubtful.update(asked.keys)
        return found

    def gone(self, peer: Peer) -> None:
        peer.sock.close()
        if peer in self.peers:
            self.peers.remove(peer)

    def take(self, peer: Peer, pick: int) -> Asked:
        at = 0 if peer.member.in_order else pick % len(peer.asked)
        asked = peer.asked[at]
        del peer.asked[at]
        return asked

    def finish(self, peer: Peer) -> None:
        if peer.rest:
            peer.say(peer.rest)
            peer.rest = b""

    def one_of(self, peers: list[Peer], which: int, *, finished: bool = True) -> Peer | None:
        """None when there is none: which rules there are must not depend on timing."""
        if not peers:
            return None
        peer = peers[which % len(peers)]
        if finished:
            self.finish(peer)
        return peer

    def asked_one(self, which: int) -> Peer | None:
        """A member with an operation to answer; the engine sends some if there is none."""
        if not any(asked.key >= 0 for peer in self.peers for asked in peer.asked):
            self.all_well()
            self.requests_become_due(2)
        return self.one_of(self.with_requests(), which)

    def with_requests(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.asked]

    def sweep(self) -> None:
        self.hub.next_sweep_ns = 0
        self.hub.sweep(time.monotonic_ns() + self.ahead_ns)
        self.settle()

    # Rules: the engine.

    @initialize()
    def come_up(self) -> None:
        self.all_well()

    @rule(more=st.integers(1, 5))
    def requests_become_due(self, more: int) -> None:
        self.asked_for = min(self.asked_for + more, KEYS - 1)
        self.source.pump(self.asked_for)
        self.settle()

    @rule(seconds=st.sampled_from([0, 1, 2, 6]))
    def time_passes(self, seconds: int) -> None:
        self.ahead_ns += seconds * 1_000_000_000
        self.sweep()

    @rule()
    def silence_goes_beyond_the_limit(self) -> None:
        self.hub.timeout_ns = -1
        self.sweep()
        self.hub.timeout_ns = HOUR_NS

    # Rules: the members.

    @rule()
    def all_well(self) -> None:
        """Time for everyone to dial again, and every request of the engine's own answered."""
        for _ in range(4):
            self.ahead_ns += 1_100_000_000
            self.sweep()
            while own := [p for p in self.with_requests() if p.asked[0].key < 0]:
                for peer in own:
                    self.finish(peer)
                    peer.say(self.take(peer, 0).answer)
                self.settle()

    @rule(which=st.integers(0, 3), pick=st.integers(0, 9), half=st.integers(0, 60))
    def a_right_answer(self, which: int, pick: int, half: int) -> None:
        """Whole, or a first part now and the rest before whatever comes next."""
        peer = self.asked_one(which)
        if peer is None:
            return
        asked = self.take(peer, pick)
        self.answered.update(asked.keys)
        cut = len(asked.answer) - half if 0 < half < len(asked.answer) else len(asked.answer)
        peer.say(asked.answer[:cut])
        self.settle()
        peer.rest = asked.answer[cut:]

    @rule(pick=st.integers(0, 9))
    def every_request_is_answered_rightly(self, pick: int) -> None:
        while ready := self.with_requests():
            for peer in ready:
                self.finish(peer)
                asked = self.take(peer, pick)
                self.answered.update(asked.keys)
                peer.say(asked.answer)
            self.settle()

    @rule()
    def the_rest_of_it(self) -> None:
        for peer in tuple(self.peers):
            self.finish(peer)
        self.settle()

    @rule(which=st.integers(0, 3), drop=st.booleans(), data=st.binary(max_size=40))
    def garbage(self, which: int, drop: bool, data: bytes) -> None:
        peer = self.one_of(self.peers, which, finished=False)
        if peer is None:
            return
        self.distrust(peer)
        peer.rest = b"" if drop else peer.rest
        peer.say(data)
        self.settle()

    @rule(which=st.integers(0, 3), pick=st.integers(0, 9), at=st.integers(0, 300),
          flip=st.integers(1, 255))  # fmt: skip
    def an_answer_with_one_byte_changed(self, which: int, pick: int, at: int, flip: int) -> None:
        peer = self.asked_one(which)
        if peer is None:
            return
        said = bytearray(self.take(peer, pick).answer)
        said[at % len(said)] ^= flip
        self.distrust(peer)
        peer.say(bytes(said))
        self.settle()

    def distrust(self, peer: Peer) -> None:
        """What this member said or will say about these proves nothing."""
        peer.trusted = False
        self.doubtful |= self.received

    @rule(which=st.integers(0, 3), reset=st.booleans())
    def a_member_hangs_up(self, which: int, reset: bool) -> None:
        peer = self.one_of(self.peers, which, finished=False)
        if peer is None:
            return
        if reset:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.gone(peer)
        self.settle()

    # What must hold, always.

    def lanes(self) -> list[Lane]:
        return self.hub.target.lanes

    def connections(self) -> list[Connection]:
        return [one for lane in self.lanes() for one in lane.connections]

    def open_dues(self) -> list[int]:
        dues = [op[1] for one in self.connections() for op in self.in_flight(one) if op[0] >= 0]
        return dues + [op[1] for lane in self.lanes() for op, _ in lane.redirected]

    @invariant()
    def every_operation_is_somewhere_exactly_once(self) -> None:
        in_flight = self.open_dues()
        assert len(in_flight) == len(set(in_flight))
        assert not self.ends.keys() & set(in_flight)
        sent = sum(self.recorder.sent)
        assert sent == len(self.ends) + len(in_flight)
        assert self.recorder.in_flight() == len(in_flight)
        waiting = sum(len(lane.overdue) for lane in self.lanes())
        assert self.asked_for == sent + waiting + sum(self.recorder.dropped)

    @invariant()
    def what_is_reported_is_true(self) -> None:
        for key, (outcome, cause) in self.ends.items():
            if key in self.doubtful:
                continue
            if outcome == "ok":
                assert key in self.answered
            elif outcome == "failed" and key % 3 % 2 and key in self.received:
                assert key in self.denied, (key, cause)

    @invariant()
    def nothing_grows_and_no_connection_is_forgotten(self) -> None:
        assert len(self.lanes()) <= MAX_LANES
        assert len(self.connections()) == 2
        for lane in self.lanes():
            assert len(lane.free) == len(set(map(id, lane.free)))
            assert set(lane.free) == {one for one in lane.connections if one.queued}
        for connection in self.connections():
            assert len(connection._data_left) <= DEPTH * 2 * VALUE_BYTES + 65536
            assert connection.queued or connection.room() <= 0, "free, and nobody knows"
            assert (connection.sock is None) == (connection.fd not in self.hub.connections)
        assert len(self.hub.connections) <= 2 + self.beside

    def teardown(self) -> None:
        self.source.end()
        Loop(self.hub).drain(self.source, 0)
        self.every_operation_is_over()
        self.hub.close()
        self.recorder.own_load.close()
        for peer in self.peers:
            peer.sock.close()
        for listener in self.listeners:
            listener.close()

    def every_operation_is_over(self) -> None:
        totals = self.recorder.totals
        self.recorder.rotate()
        assert totals.sent == len(self.ends) == totals.ok + totals.failed + totals.unknown
        assert totals.in_flight == 0
