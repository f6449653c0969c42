"""Lives of connections with Redis, etcd and TiKV; see tests/fuzz/life.py for what must hold."""

from __future__ import annotations

import struct

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from loadgen.engine import http2
from loadgen.engine.connection import Connection, Op
from loadgen.engine.etcd_target import EtcdTarget
from loadgen.engine.grpc_connection import GrpcConnection
from loadgen.engine.hpack import literal
from loadgen.engine.http2 import frame
from loadgen.engine.redis_connection import RedisConnection
from loadgen.engine.redis_target import RedisTarget
from loadgen.engine.resp import SLOTS
from loadgen.engine.tikv_connection import ops_of
from loadgen.engine.tikv_target import TikvTarget
from loadgen.keyspace import key_bytes
from tests.fuzz.life import DEPTH, KEYS, Life
from tests.fuzz.members import EtcdMember, Member, RedisMember
from tests.fuzz.replies import reply, slot_map
from tests.fuzz.tikv_member import TikvMember, batch_found, cluster, region_error
from tests.tikv_double.messages import errorpb, kvrpcpb, more, pdpb

ERROR_WORDS = [b"CLUSTERDOWN", b"LOADING", b"OOM", b"READONLY", b"NOAUTH", b"ERR", b"", b"\xff"]
ODD_REPLIES = (
    b"$-1\r\n",
    b"*-1\r\n",
    b":7\r\n",
    b"*1\r\n",
    b"%1\r\n*0\r\n:1\r\n",
    b"*99999\r\n",
    b"_\r\n",
    b"-MOVED 1\r\n",
    b"-MOVED " + b"9" * 5000 + b" h:1\r\n",
    b"-ASK 1 fe80::1%x:1\r\n",
    b">1\r\n+OK\r\n",
    b"+OK\r\n*2\r\n",
    b"$64\r\n" + b"x" * 64 + b"\r\n",
    b"$64\r\nk-00000000001w" + b"x" * 50 + b"\r\n",
)


class RedisLife(Life):
    target_name = "redis_cluster"

    def prepare(self) -> None:
        self.half = SLOTS // 2
        target = self.redis = RedisTarget(self.hub, self.plan(), rank=0, connections=2)
        self.hub.target = target
        one, other = (target._lane(f"127.0.0.1:{port}") for port in self.ports)
        target._owner = [one] * self.half + [other] * (SLOTS - self.half)
        for lane in (one, other):
            RedisConnection(self.hub, lane, target, DEPTH)

    def new_member(self) -> Member:
        first, second = self.ports
        known = slot_map((0, self.half - 1, "127.0.0.1", first),
                         (self.half, SLOTS - 1, "127.0.0.1", second))  # fmt: skip
        return RedisMember(self.redis.values, known)

    def in_flight(self, connection: Connection) -> list[Op]:
        assert isinstance(connection, RedisConnection)
        return list(connection._in_flight)

    def deny(self, which: int, said: bytes) -> None:
        peer = self.asked_one(which)
        if peer is None:
            return
        self.denied.add(self.take(peer, 0).key)
        peer.say(said)
        self.settle()

    @rule(which=st.integers(0, 3), word=st.sampled_from(ERROR_WORDS))
    def an_error(self, which: int, word: bytes) -> None:
        self.deny(which, b"-" + word + b" said so\r\n")

    @rule(which=st.integers(0, 3), ask=st.booleans(), slot=st.integers(0, SLOTS - 1),
          at=st.integers(0, 3))  # fmt: skip
    def a_redirect(self, which: int, ask: bool, slot: int, at: int) -> None:
        """To one of the two masters, to nobody, or to whom it came from."""
        end = [f"127.0.0.1:{self.ports[0]}", f"127.0.0.1:{self.ports[1]}", "127.0.0.1:1", ":1"][at]
        self.deny(which, f"-{'ASK' if ask else 'MOVED'} {slot} {end}\r\n".encode())
        self.source.send_waiting()
        self.settle()

    @rule(which=st.integers(0, 3), odd=st.integers(0, len(ODD_REPLIES) - 1))
    def another_kind_of_reply(self, which: int, odd: int) -> None:
        peer = self.asked_one(which)
        if peer is None:
            return
        self.take(peer, 0)
        self.distrust(peer)
        peer.say(ODD_REPLIES[odd])
        self.settle()


class GrpcLife(Life):
    """What any member that speaks gRPC may do."""

    def in_flight(self, connection: Connection) -> list[Op]:
        assert isinstance(connection, GrpcConnection)
        return [op for call in connection._calls.values() for op in ops_of(call)]

    @rule(which=st.integers(0, 3), pick=st.integers(0, 9), only=st.booleans(),
          status=st.sampled_from([b"1", b"7", b"8", b"14", b"16", b"99", b"0"]))  # fmt: skip
    def another_status(self, which: int, pick: int, only: bool, status: bytes) -> None:
        peer = self.asked_one(which)
        if peer is None:
            return
        asked = self.take(peer, pick)
        if status in (b"7", b"8", b"16"):
            self.denied.update(asked.keys)
        trailers = b"\x88" + literal(b"grpc-status", status)
        said = reply(asked.stream, b"", status=status)
        if status == b"0" and not only:
            self.answered.update(asked.keys)
        peer.say(frame(http2.HEADERS, 5, asked.stream, trailers) if only else said)
        self.settle()

    @rule(which=st.integers(0, 3), pick=st.integers(0, 9), reason=st.sampled_from([0, 2, 7, 8, 11]))
    def a_reset_stream(self, which: int, pick: int, reason: int) -> None:
        peer = self.asked_one(which)
        if peer is None:
            return
        asked = self.take(peer, pick)
        if not asked.stream:
            self.distrust(peer)
        if reason == 7:
            self.denied.update(asked.keys)
        peer.say(frame(http2.RST_STREAM, 0, asked.stream, reason.to_bytes(4, "big")))
        self.settle()

    @rule(which=st.integers(0, 3), last=st.integers(0, 30))
    def a_goaway(self, which: int, last: int) -> None:
        peer = self.one_of(self.peers, which)
        if peer is None:
            return
        peer.last_stream = min(last, peer.last_stream)
        self.denied |= {key for asked in peer.asked if asked.stream > last for key in asked.keys}
        peer.say(frame(http2.GOAWAY, 0, 0, last.to_bytes(4, "big") + bytes(4)))
        self.settle()

    @rule(which=st.integers(0, 3), number=st.integers(1, 6),
          value=st.sampled_from([0, 1, 20, 100, 4096, 16384, 65535, 1 << 30]))  # fmt: skip
    def other_settings(self, which: int, number: int, value: int) -> None:
        peer = self.one_of(self.peers, which)
        if peer is None:
            return
        if number == http2.MAX_FRAME_SIZE:
            self.distrust(peer)
        peer.say(frame(http2.SETTINGS, 0, 0, struct.pack(">HI", number, value)))
        self.settle()

    @rule(which=st.integers(0, 3), kind=st.integers(0, 10), flags=st.integers(0, 255),
          stream=st.sampled_from([0, 1, 2, 3, 5, 7, 9, 1 << 30, (1 << 31) + 3]),
          data=st.binary(max_size=20))  # fmt: skip
    def any_frame(self, which: int, kind: int, flags: int, stream: int, data: bytes) -> None:
        peer = self.one_of(self.peers, which)
        if peer is None:
            return
        self.distrust(peer)
        peer.say(frame(kind, flags, stream, data))
        self.settle()


class EtcdLife(GrpcLife):
    target_name = "etcd"

    def prepare(self) -> None:
        self.etcd = EtcdTarget(self.hub, self.plan(), rank=0, connections=2)
        self.hub.target = self.etcd
        self.etcd.connect()

    def new_member(self) -> Member:
        return EtcdMember(self.etcd.values)


BEFORE_A_PROPOSAL = ["key_not_in_region", "store_not_match", "proposal_in_merging_mode",
                     "read_index_not_ready", "server_is_busy", "disk_full", "is_witness",
                     "FlashbackInProgress", "raft_entry_too_large"]  # fmt: skip
MAYBE_APPLIED = ["stale_command", "region_not_found", "undetermined_result", ""]


class TikvLife(GrpcLife):
    """Two stores, of which the first is PD as well; two regions, one led by each."""

    target_name = "tikv"
    beside = 1

    def prepare(self) -> None:
        target = self.tikv = TikvTarget(self.hub, self.plan(), rank=0, connections=2)
        self.hub.target = target
        self.addresses = tuple(f"127.0.0.1:{port}" for port in self.ports)
        self.half = key_bytes("k", KEYS // 2)
        topology = target.topology
        for number, address in enumerate(self.addresses, 1):
            topology._stores[number] = topology._lane(address)
        told = pdpb.ScanRegionsResponse(regions=cluster(self.half))
        topology._take(told.SerializeToString())
        for lane in topology.lanes[1:]:
            target._kind(self.hub, lane, target)

    def new_member(self) -> Member:
        return TikvMember(self.tikv.values, self.addresses, self.half)

    def refuse(self, which: int, pick: int, error: errorpb.Error, *, denies: bool) -> None:
        """A store answers an operation with a region error."""
        peer = self.asked_one(which)
        if peer is None:
            return
        asked = self.take(peer, pick)
        if asked.key < 0:
            peer.say(asked.answer)
            self.settle()
            return
        if denies:
            self.denied.update(asked.keys)
        name = f"Raw{'Batch' if asked.batch else ''}{'Put' if asked.write else 'Get'}"
        made = getattr(kvrpcpb, f"{name}Response")(region_error=error)
        member = peer.member
        assert isinstance(member, TikvMember)
        if member.lasting:
            peer.say(member.in_stream(asked.number, more.BatchedResponse(**{name: made})))
        else:
            peer.say(reply(asked.stream, made.SerializeToString()))
        self.settle()
        self.source.send_waiting()
        self.settle()

    @rule(which=st.integers(0, 3), pick=st.integers(0, 9), hint=st.integers(0, 3))
    def it_does_not_lead(self, which: int, pick: int, hint: int) -> None:
        """Somebody else does, or nobody, or a store that there is not."""
        self.refuse(which, pick, region_error("not_leader", hint=hint), denies=True)

    @rule(which=st.integers(0, 3), pick=st.integers(0, 9), version=st.integers(0, 9),
          at=st.integers(1, KEYS), told=st.booleans())  # fmt: skip
    def its_region_has_changed(
        self, which: int, pick: int, version: int, at: int, told: bool
    ) -> None:
        """With the regions as they are, at another bound, or without."""
        regions = cluster(key_bytes("k", at), version=version) if told else None
        self.refuse(which, pick, region_error("epoch_not_match", regions=regions), denies=True)

    @rule(which=st.integers(0, 3), pick=st.integers(0, 9), kind=st.sampled_from(BEFORE_A_PROPOSAL))
    def it_refuses(self, which: int, pick: int, kind: str) -> None:
        self.refuse(which, pick, region_error(kind), denies=True)

    @rule(which=st.integers(0, 3), pick=st.integers(0, 9), kind=st.sampled_from(MAYBE_APPLIED))
    def it_cannot_say(self, which: int, pick: int, kind: str) -> None:
        self.refuse(which, pick, region_error(kind), denies=False)


class StreamLife(TikvLife):
    """The same, all operations of a store on one stream."""

    changes = {"batched_stream": True}


class BatchLife(TikvLife):
    """The same, operations of one region and kind in calls of up to three.

    One call at a time: a batch is made of what waits.
    """

    changes = {"batch": 3, "pipeline": 1}

    @rule(which=st.integers(0, 3), pick=st.integers(0, 9), holds=st.integers(0, 2))
    def an_answer_to_a_part_of_the_batch(self, which: int, pick: int, holds: int) -> None:
        """Only the first pairs of a batch of reads; what is not there is missing, not lost."""
        peer = self.asked_one(which)
        if peer is None:
            return
        asked = self.take(peer, pick)
        if not asked.batch or asked.write:
            self.answered.update(asked.keys)
            peer.say(asked.answer)
        else:
            held = asked.batch[:holds]
            self.answered.update(held)
            self.denied.update(asked.batch[holds:])
            peer.say(reply(asked.stream, batch_found(self.tikv.values, held)))
        self.settle()


LIVES = settings(deadline=None, max_examples=40, stateful_step_count=40)


def test_a_life_with_redis_ends_every_operation_once_and_truly():
    RedisLife.TestCase.settings = LIVES
    RedisLife.TestCase("runTest").runTest()


def test_a_life_with_etcd_ends_every_operation_once_and_truly():
    EtcdLife.TestCase.settings = LIVES
    EtcdLife.TestCase("runTest").runTest()


def test_a_life_with_tikv_ends_every_operation_once_and_truly():
    TikvLife.TestCase.settings = LIVES
    TikvLife.TestCase("runTest").runTest()


def test_a_life_with_tikvs_batched_stream_ends_every_operation_once_and_truly():
    StreamLife.TestCase.settings = LIVES
    StreamLife.TestCase("runTest").runTest()


def test_a_life_with_batches_of_tikv_ends_every_operation_once_and_truly():
    BatchLife.TestCase.settings = LIVES
    BatchLife.TestCase("runTest").runTest()
