"""A member on loopback that greets rightly and then misbehaves, from a seed; plain or TLS."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from loadgen.contract.plan import Plan
from loadgen.engine import http2
from loadgen.engine.http2 import frame
from loadgen.engine.resp import SLOTS
from loadgen.keyspace import Values, key_bytes
from tests.fuzz.members import Asked, EtcdMember, Member, RedisMember
from tests.fuzz.replies import slot_map
from tests.fuzz.tikv_member import TikvMember

__all__ = ["GREETINGS", "GarbageServer"]

Say = Callable[[bytes], None]


class HungUp(Exception):
    """This connection is over, by our own will."""


def drip(say: Say, _random: random.Random) -> None:
    """For ever the beginning of something, a byte at a time."""
    for _ in range(600):
        say(b"$")
        time.sleep(0.1)


def silence(_say: Say, _random: random.Random) -> None:
    """Nothing at all."""
    time.sleep(60)


def noise(say: Say, random: random.Random) -> None:
    """Random bytes at once."""
    say(random.randbytes(300))


GREETINGS: dict[str, Callable[[Say, random.Random], None]] = {
    "noise": noise,
    "drip": drip,
    "silence": silence,
}


@dataclass
class GarbageServer:
    """Threads, one per connection; `stop` ends them all.

    `greeting` names what it does instead of greeting; else it greets, and spoils each answer to an
    operation with probability `spoil`. `perhaps` counts answers that may count as ok.
    """

    target: str
    seed: int
    spoil: float = 0.05
    greeting: str = ""
    context: ssl.SSLContext | None = None
    perhaps: int = 0
    spoilt: int = 0
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> str:
        """Listen; returns address:port."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return f"127.0.0.1:{self.port}"

    def speaks_for(self, plan: Plan) -> None:
        """The plan whose values it answers with."""
        keyspace = plan.keyspace
        self.values = Values(keyspace.prefix, plan.value_bytes, rank=0)
        self.half = key_bytes(keyspace.prefix, keyspace.keys // 2)

    def stop(self) -> None:
        """No more connections, and those there are end."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(10)
        with self._lock:
            left = tuple(self._open)
        for sock in left:
            sock.close()

    def _accept(self) -> None:
        number = self.seed * 1_000_000
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            with self._lock:
                self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, plain: socket.socket, seed: int) -> None:
        own, sock = random.Random(seed), plain
        try:
            if self.greeting:
                GREETINGS[self.greeting](plain.sendall, own)
                return
            if self.context is not None:
                sock = self.context.wrap_socket(plain, server_side=True)
            sock.settimeout(60)
            self._talk(sock, self._member(), own)
        except (OSError, HungUp, ValueError):
            return
        finally:
            sock.close()
            with self._lock:
                self._open.discard(plain)

    def _member(self) -> Member:
        if self.target == "etcd":
            return EtcdMember(self.values)
        if self.target == "tikv":
            return TikvMember(self.values, (f"127.0.0.1:{self.port}",) * 2, self.half)
        return RedisMember(self.values, slot_map((0, SLOTS - 1, "127.0.0.1", self.port)))

    def _talk(self, sock: socket.socket, member: Member, own: random.Random) -> None:
        while data := sock.recv(65536):
            for asked in member.hear(data):
                if asked.key < 0 or own.random() >= self.spoil:
                    self.perhaps += asked.key >= 0
                    sock.sendall(asked.answer)
                else:
                    self.spoilt += 1
                    own.choice(self._ways())(sock, asked, own)

    def _ways(self) -> tuple[Callable[[socket.socket, Asked, random.Random], None], ...]:
        general = (self.flips, self.babbles, self.hangs_up, self.resets, self.falls_silent,
                   self.repeats, self.floods)  # fmt: skip
        return (*general, self.redirects if self.target == "redis_cluster" else self.frames)

    def flips(self, sock: socket.socket, asked: Asked, own: random.Random) -> None:
        said = bytearray(asked.answer)
        said[own.randrange(len(said))] ^= own.randrange(1, 256)
        self.perhaps += 1  # a changed digit of a value's number goes unseen, and may
        sock.sendall(said)

    def babbles(self, sock: socket.socket, asked: Asked, own: random.Random) -> None:
        sock.sendall(own.randbytes(own.randrange(1, 80)))

    def hangs_up(self, sock: socket.socket, asked: Asked, own: random.Random) -> None:
        sock.sendall(asked.answer[: own.randrange(len(asked.answer))])
        raise HungUp

    def resets(self, sock: socket.socket, asked: Asked, own: random.Random) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise HungUp

    def falls_silent(self, sock: socket.socket, asked: Asked, own: random.Random) -> None:
        """This request is never answered; those after it are, which the engine must not mix up."""
        if self.target == "redis_cluster":
            while sock.recv(65536):
                pass
            raise HungUp

    def repeats(self, sock: socket.socket, asked: Asked, own: random.Random) -> None:
        self.perhaps += 1
        sock.sendall(asked.answer * 2)

    def floods(self, sock: socket.socket, asked: Asked, own: random.Random) -> None:
        """A megabyte of one thing, on and on, without reading."""
        if self.target != "redis_cluster":
            one = own.choice([frame(http2.PING, 0, 0, bytes(8)), frame(99, 0, 0, bytes(900)),
                              frame(http2.SETTINGS, 0, 0), frame(1, 0, asked.stream, b"\0"),
                              frame(9, 0, asked.stream, bytes(90))])  # fmt: skip
        else:
            one = own.choice([b"+OK\r\n", b"$400000000\r\nx", b"*1\r\n", b"*9999\r\n", b":1"])
            self.perhaps += asked.write
        sock.sendall(one * ((1 << 20) // len(one)))
        raise HungUp

    def redirects(self, sock: socket.socket, asked: Asked, own: random.Random) -> None:
        where = own.choice([f"127.0.0.1:{self.port}", ":1", f"10.0.0.1:{own.randrange(1, 9)}",
                            "x", f"127.0.0.1:{'7' * 5000}"])  # fmt: skip
        word, slot = own.choice(["MOVED", "ASK"]), own.choice([0, 5, SLOTS - 1, SLOTS, "9" * 5000])
        sock.sendall(f"-{word} {slot} {where}\r\n".encode())

    def frames(self, sock: socket.socket, asked: Asked, own: random.Random) -> None:
        kind, flags = own.randrange(12), own.choice([0, 1, 4, 5, 8, own.randrange(256)])
        stream = own.choice([0, asked.stream, asked.stream + 2, own.randrange(100)])
        sock.sendall(frame(kind, flags, stream, own.randbytes(own.choice([0, 4, 5, 6, 8, 50]))))
