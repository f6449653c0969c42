"""What is fuzzed: functions that take any bytes, and raise only when the engine is at fault."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

import hiredis

from loadgen.contract.window import CAUSES
from loadgen.engine.connection import UP
from loadgen.engine.grpc import KnownBlocks, misread
from loadgen.engine.hpack import MAX_FIELDS, decode, literal
from loadgen.engine.http2 import DATA, frame
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.pd_messages import members_in, regions_in, store_in
from loadgen.engine.protobuf import bytes_field, fields_of, framed, range_value, varint
from loadgen.engine.redis_target import slot_map_from
from loadgen.engine.resp import SLOTS, lost_by, redirect_of, value_check
from loadgen.engine.tikv_errors import MAX_TOLD, raw_reply, verdict_on
from loadgen.engine.tikv_stream import FIELDS
from loadgen.keyspace import Values
from tests.fuzz.bench import READ, WRITE, Bench, bench
from tests.fuzz.members import Asked, EtcdMember, Member, RedisMember
from tests.fuzz.replies import reply, slot_map
from tests.fuzz.tikv_member import TikvMember

__all__ = ["TARGETS"]

VALUES = Values("k", 64, rank=0)
HOLDS = value_check(VALUES)
KEY = 5
MAP = slot_map((0, SLOTS - 1, "127.0.0.1", 1))
STEPS = 60


def resp(data: bytes) -> None:
    """Redirects, error words and slot maps; and the byte compare agrees with hiredis."""
    text = data.decode("utf-8", "replace")
    lost_by(text)
    with contextlib.suppress(TargetProtocolError):
        redirect_of(text, asked="10.0.0.9:6379")
    cut = data[0] % 8 * 40 if data else 0
    chunks = [data[:cut], data[cut:], b""] if cut else [data, b""]
    with contextlib.suppress(TargetProtocolError):
        ranges = slot_map_from(iter(chunks).__next__, 1, asked="10.0.0.9:6379")
        slots = sum(high - low + 1 for pairs in ranges.values() for low, high in pairs)
        assert slots <= SLOTS
    if HOLDS(KEY, data):
        reader = hiredis.Reader()
        reader.feed(data)
        assert VALUES.belongs(KEY, reader.gets())
        assert not reader.has_data()


def hpack(data: bytes) -> None:
    """A block is refused, or is fields that read the same when written as literals."""
    with contextlib.suppress(TargetProtocolError):
        known = KnownBlocks()
        assert known[data] == known[data]
    with contextlib.suppress(TargetProtocolError):
        fields = decode(data)
        assert len(fields) <= MAX_FIELDS
        again = b"".join(literal(n.encode("latin-1"), v.encode("latin-1")) for n, v in fields)
        assert decode(again) == fields


def protobuf(data: bytes) -> None:
    """A message is refused, or its fields lie within it."""
    misread(data, write=False)
    with contextlib.suppress(TargetProtocolError):
        taken = [value for _, value in fields_of(data) if isinstance(value, bytes)]
        assert sum(map(len, taken)) <= len(data)
    with contextlib.suppress(TargetProtocolError):
        value = range_value(data)
        assert value is None or value in data


def tikv(data: bytes) -> None:
    """What PD and TiKV say is refused, or lies within what was said; no operation is lost by it."""
    for write in (False, True):
        with contextlib.suppress(TargetProtocolError):
            verdict = verdict_on(data, write=write)
            assert verdict.lost is None or verdict.lost.cause in CAUSES
            assert len(verdict.regions) <= MAX_TOLD
    for batch in (False, True):
        with contextlib.suppress(TargetProtocolError):
            said = raw_reply(data, batch_of_reads=batch)
            assert all(one in data for one in (said.error, said.value or b"", *said.pairs))
    for read in (regions_in, members_in, store_in):
        with contextlib.suppress(TargetProtocolError):
            read(data)
    with bench("tikv", depth=2) as made:
        target = made.hub.target
        made.connection.send_from(deque([READ, WRITE]))
        for asked, said in ((3, data), (5, bytes_field(1, data))):
            made.says(reply(asked, said))
            made.must_be_counted()
        with contextlib.suppress(TargetProtocolError):
            target.topology._take(data)
        assert target.topology.map.firsts[0] == 0
        assert sum(made.ends().values()) == 2


def http2(data: bytes) -> None:
    """Any bytes, cut anywhere, to a connection with two calls in flight."""
    with bench("etcd", depth=2) as made:
        made.connection.send_from(deque([READ, WRITE]))
        size = data[0] + 1 if data else 1
        for at in range(1, len(data), size):
            if made.connection.sock is None:
                break
            made.says(data[at : at + size])
            made.must_be_counted()
        assert sum(made.ends().values()) == 2


def connection(data: bytes) -> None:
    """A whole life: the bytes are read as steps of engine and member. See `_Script`."""
    if data:
        target = ("redis_cluster", "etcd", "redis_cluster", "tikv")[data[0] & 1 | data[0] >> 2 & 2]
        with bench(target, depth=1 + (data[0] >> 1) % 4) as made:
            _Script(made, target, data).run()


def batch(data: bytes) -> None:
    """The same with TiKV, up to three operations of one kind in a call."""
    _life_with_tikv(data, batch=3)


def stream(data: bytes) -> None:
    """The same with TiKV, all operations as commands of one stream."""
    _life_with_tikv(data, batched_stream=True)


def _life_with_tikv(data: bytes, **way: object) -> None:
    if data:
        with bench("tikv", depth=1 + data[0] % 4, **way) as made:
            _Script(made, "tikv", data).run()


class _Script:
    """Reads steps from bytes: one byte says which, those after it are its arguments."""

    def __init__(self, made: Bench, target: str, data: bytes) -> None:
        self.made = made
        self.target = target
        self.data = data
        self.at = 1
        self.sent = 0
        self.asked: deque[Asked] = deque()
        self.member = self._new_member()

    def _new_member(self) -> Member:
        values = self.made.values
        if self.target == "etcd":
            return EtcdMember(values, greeted=True)
        if self.target == "tikv":
            return self._tikv_member(values)
        return RedisMember(values, MAP)

    def _tikv_member(self, values: Values) -> Member:
        """With the stream of BatchCommands, if there is one, opened by the member or not yet."""
        member = TikvMember(values, ("127.0.0.1:1", "127.0.0.1:2"), b"")
        opened = [one for one in member.hear(self.made.said) if one.stream == member.lasting > 0]
        for one in opened:
            if self.data[0] & 0x80:
                self.asked.append(one)
            else:
                self.say(one.answer)
        return member

    def run(self) -> None:
        steps = (self.sends, self.refuses, self.says, self.answers, self.spoils, self.frames,
                 self.silence, self.halves)  # fmt: skip
        for _ in range(STEPS):
            if self.at >= len(self.data):
                break
            if self.made.connection.sock is None:
                self.made.reconnect()
                self.asked.clear()
                self.member = self._new_member()
            steps[self.byte() & 7]()
            self.made.must_be_counted()
        assert sum(self.made.ends().values()) == self.sent

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def some(self) -> bytes:
        size = self.byte()
        self.at += size
        return self.data[self.at - size : self.at]

    def sends(self) -> None:
        kind = self.byte()
        codes = deque([READ if kind >> bit & 1 else WRITE for bit in range(1 + (kind >> 4) % 4)])
        if self.made.batch > 1:  # which holds no key twice
            codes = deque([bit << 1 | code & 1 for bit, code in enumerate(codes, kind >> 6)])
        before = len(codes)
        self.made.connection.send_from(codes)
        self.sent += before - len(codes)

    def next_asked(self) -> Asked | None:
        self.asked.extend(self.member.hear(self.made.sent()))
        pick = self.byte()
        if not self.asked:
            return None
        if self.member.in_order:
            return self.asked.popleft()
        asked = self.asked[pick % len(self.asked)]
        self.asked.remove(asked)
        return asked

    def say(self, data: bytes) -> None:
        if data and self.made.connection.sock is not None:
            self.made.says(data)

    def says(self) -> None:
        self.say(self.some())

    def answers(self) -> None:
        asked = self.next_asked()
        self.say(asked.answer if asked else b"")

    def refuses(self) -> None:
        """TiKV: any bytes as a region error; elsewhere more is sent."""
        if self.target != "tikv":
            self.sends()
            return
        asked = self.next_asked()
        self.say(self.with_error(asked, self.some()) if asked else b"")
        lanes = self.made.hub.target.lanes
        for lane in lanes:
            if lane.redirected and self.made.connection.room() > 0:
                self.made.hub.send_redirected(lane, self.made.connection)

    def with_error(self, asked: Asked, error: bytes) -> bytes:
        """The answer that tells of a region error, however the request came."""
        said = bytes_field(1, error)
        if not asked.number:
            return reply(asked.stream, said)
        command = bytes_field(1, bytes_field(FIELDS[asked.write], said))
        message = framed(command + bytes_field(2, varint(asked.number)))
        return frame(DATA, 0, asked.stream, message)

    def spoils(self) -> None:
        asked = self.next_asked()
        at, flip = self.byte(), self.byte()
        if asked:
            said = bytearray(asked.answer)
            said[at % len(said)] ^= flip
            self.say(bytes(said))

    def halves(self) -> None:
        asked = self.next_asked()
        cut = self.byte()
        self.say(asked.answer[: cut % len(asked.answer)] if asked else b"")

    def frames(self) -> None:
        if self.target != "redis_cluster":
            kind, flags, stream = self.byte() % 12, self.byte(), self.byte() % 16
            self.say(frame(kind, flags, stream, self.some()))
        else:
            self.say(b"+-:$*%~>"[(at := self.byte() % 8) : at + 1] + self.some() + b"\r\n")

    def silence(self) -> None:
        if self.made.connection.state == UP:
            self.made.connection.broken("timeout")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "resp": resp,
    "hpack": hpack,
    "protobuf": protobuf,
    "http2": http2,
    "tikv": tikv,
    "connection": connection,
    "batch": batch,
    "stream": stream,
}
