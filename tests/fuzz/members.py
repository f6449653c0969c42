"""What a member of a target hears, and would rightly answer; the caller decides what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import hiredis

from loadgen.engine import http2
from loadgen.engine.http2 import HEAD, frame
from loadgen.engine.protobuf import bytes_field, fields_of
from loadgen.keyspace import KEY_DIGITS, Values
from tests.fuzz.replies import bulk, reply

SERIALIZABLE = 7


@dataclass(frozen=True)
class Asked:
    """One request: of the engine's own (`key` is -1), or an operation, or a batch of several;
    and the right answer.
    """

    key: int
    write: bool
    answer: bytes
    stream: int = 0
    number: int = 0  # of a request on a stream that carries many
    batch: tuple[int, ...] = ()  # all keys of a batch, of which `key` is the first

    @property
    def keys(self) -> tuple[int, ...]:
        """Every operation in it."""
        return self.batch or (self.key,)


class Member(Protocol):
    """One connection as the member sees it."""

    in_order: bool

    def hear(self, data: bytes) -> list[Asked]: ...


@dataclass
class RedisMember:
    """Reads commands; `slot_map` is its answer to CLUSTER SLOTS."""

    values: Values
    slot_map: bytes
    in_order: bool = True
    _reader: hiredis.Reader = field(default_factory=hiredis.Reader)

    def hear(self, data: bytes) -> list[Asked]:
        self._reader.feed(data)
        asked = []
        while (words := self._reader.gets()) is not False:
            asked.append(self._asked(words))
        return asked

    def _asked(self, words: list[bytes]) -> Asked:
        if words[0] in (b"GET", b"SET"):
            key = int(words[1][-KEY_DIGITS:])
            if words[0] == b"SET":
                assert self.values.belongs(key, words[2])
                return Asked(key, True, b"+OK\r\n")
            return Asked(key, False, bulk(value_of(self.values, key)))
        own = {b"PING": b"+PONG\r\n", b"CLUSTER": self.slot_map}
        return Asked(-1, False, own.get(words[0], b"+OK\r\n"))


@dataclass
class EtcdMember:
    """Reads frames; a call is asked when its stream's last DATA is in."""

    values: Values
    in_order: bool = False
    greeted: bool = False
    _rest: bytes = b""
    _messages: dict[int, bytes] = field(default_factory=dict)

    def hear(self, data: bytes) -> list[Asked]:
        asked: list[Asked] = []
        data = self._rest + data
        if not self.greeted:
            assert http2.OPENING.startswith(data[: len(http2.OPENING)])
            if len(data) < len(http2.OPENING):
                self._rest = data
                return []
            self.greeted, data = True, data[len(http2.OPENING) :]
            asked.append(Asked(-1, False, frame(http2.SETTINGS, 0, 0)))
        while len(data) >= 9:
            word, flags, stream = HEAD.unpack_from(data)
            end = 9 + (word >> 8)
            if len(data) < end:
                break
            if word & 0xFF == http2.DATA:
                message = self._messages.pop(stream, b"") + data[9:end]
                if flags & http2.END_STREAM:
                    asked.append(self._asked(stream, message))
                else:
                    self._messages[stream] = message
            data = data[end:]
        self._rest = data
        return asked

    def _asked(self, stream: int, message: bytes) -> Asked:
        fields = dict(fields_of(message[5:]))
        if SERIALIZABLE in fields:
            return Asked(-1, False, reply(stream, b""), stream)
        name, value = fields[1], fields.get(2)
        assert isinstance(name, bytes)
        key = int(name[-KEY_DIGITS:])
        if isinstance(value, bytes):
            assert self.values.belongs(key, value)
            return Asked(key, True, reply(stream, bytes_field(1, b"\x18\x05")), stream)
        entry = bytes_field(1, name) + bytes_field(5, value_of(self.values, key))
        said = bytes_field(1, b"\x18\x05") + bytes_field(2, entry) + b"\x20\x01"
        return Asked(key, False, reply(stream, said), stream)


def value_of(values: Values, key: int) -> bytes:
    """A value that this run may have written under `key`."""
    return values.identity(key) + values.filler
