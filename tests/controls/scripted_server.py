"""`python -m tests.controls.scripted_server script.json --truth truth.json`: the scripted server.

One process, one thread, one epoll. It prints its ports as a line of JSON, serves until its
standard input is closed, and then writes the truth: what it did to each operation and when, by
its own monotonic clock, which is the engine's clock too (one machine).
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import select
import socket
import ssl
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

from tests.controls.happenings import LIES, REDIRECTS
from tests.controls.script import Script
from tests.controls.speaking import Request, Speaker, number_in
from tests.controls.speaking_grpc import GrpcSpeaker
from tests.controls.speaking_resp import RespSpeaker
from tests.controls.speaking_tikv import TikvSpeaker
from tests.controls.truth import Row, Stalled, Truth

__all__ = ["ScriptedServer", "main"]

READ_BYTES = 65536
WANT = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)

_now = time.monotonic_ns


class Peer:
    """One connection of a client."""

    def __init__(self, sock: socket.socket, member: int, number: int, speaker: Speaker) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.member = member
        self.number = number
        self.speaker = speaker
        self.secured = not isinstance(sock, ssl.SSLSocket)
        self.outgoing = b""
        self.first_byte_ns = 0  # of the request that is not whole yet
        self.deaf_until_ns = 0
        self.row: Row | None = None  # the last operation read here
        self.written_ns = _now()  # just before the last reply went out
        # Replies in the order of their requests, each once it is ready. A reply that never gets
        # ready mutes the connection, as it would with a real Redis.
        self.line: deque[Turn] = deque()


class Turn:
    """One request's turn to be answered."""

    def __init__(self, answer: Callable[[], None]) -> None:
        self.answer = answer
        self.ready = False


class ScriptedServer:
    """Serves `script` until `stop` is readable."""

    def __init__(self, script: Script, stop: int) -> None:
        self.truth = Truth()
        self._script = script
        self._stop = stop
        self._random = Random(script.seed)
        self._store: dict[bytes, bytes] = {}
        self._before: dict[bytes, bytes] = {}  # what each key held before its last write
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._operations = 0
        self._deaf_until_ns = 0
        self._stalls = sorted(script.stalls, key=lambda stall: stall.after)
        self._peers: dict[int, Peer] = {}
        self._tls = _tls_of(script)
        self._epoll = select.epoll()
        self._epoll.register(stop, select.EPOLLIN)
        self._listeners = [self._listen() for _ in range(script.servers)]
        self._members = {sock.fileno(): at for at, sock in enumerate(self._listeners)}
        self.ports = [sock.getsockname()[1] for sock in self._listeners]

    def _listen(self) -> socket.socket:
        sock = socket.socket()
        if self._script.slow_reads is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # accepted ones inherit it
        sock.bind(("127.0.0.1", 0))
        sock.listen(256)
        sock.setblocking(False)
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return sock

    # The loop.

    def serve(self) -> None:
        """Until told to stop."""
        while True:
            wait_s = 1.0
            if self._timers:
                wait_s = max(0.0, (self._timers[0][0] - _now()) / 1e9)
            for fd, mask in self._epoll.poll(wait_s):
                if fd == self._stop:
                    return
                if fd in self._members:
                    self._accept(self._listeners[self._members[fd]], self._members[fd])
                elif (peer := self._peers.get(fd)) is not None:
                    self._attend(peer, mask)
            while self._timers and self._timers[0][0] <= _now():
                heapq.heappop(self._timers)[2]()

    def _at(self, moment_ns: int, then: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (moment_ns, next(self._order), then))

    def _accept(self, listener: socket.socket, member: int) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        speaker: Speaker = GrpcSpeaker()
        if self._script.protocol == "tikv":
            speaker = TikvSpeaker(self.ports)
        elif self._script.protocol == "resp":
            speaker = RespSpeaker(self.ports, self._script.password.encode())
        peer = Peer(sock, member, self.truth.connections, speaker)
        self.truth.connections += 1
        self._peers[peer.fd] = peer
        self._epoll.register(peer.fd, select.EPOLLIN)
        if peer.secured:
            self._send(peer, speaker.outgoing())

    def _attend(self, peer: Peer, mask: int) -> None:
        try:
            if not peer.secured:
                self._shake_hands(peer)
                return
            if mask & select.EPOLLOUT:
                data, peer.outgoing = peer.outgoing, b""
                self._send(peer, data)
            if mask & ~select.EPOLLOUT and self._hears(peer):
                self._read(peer)
        except OSError:
            self._close(peer)

    def _shake_hands(self, peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        try:
            peer.sock.do_handshake()
        except WANT:
            return
        peer.secured = True
        self._send(peer, peer.speaker.outgoing())
        self._read(peer)

    def _hears(self, peer: Peer) -> bool:
        """Whether it reads now; else it will listen again when its deafness is over."""
        until_ns = max(self._deaf_until_ns, peer.deaf_until_ns)
        if _now() >= until_ns:
            return True
        self._epoll.modify(peer.fd, 0)
        self._at(until_ns, lambda: self._listen_again(peer))
        return False

    def _listen_again(self, peer: Peer) -> None:
        if self._peers.get(peer.fd) is peer:
            self._epoll.modify(peer.fd, select.EPOLLIN)
            self._attend(peer, select.EPOLLIN)  # TLS may hold bytes that epoll does not see

    def _read(self, peer: Peer) -> None:
        slow = self._script.slow_reads
        while peer.fd in self._peers:
            try:
                data = peer.sock.recv(READ_BYTES if slow is None else slow.size_bytes)
            except WANT:
                return
            if not data:
                self._close(peer)
                return
            read_ns = _now()
            peer.first_byte_ns = peer.first_byte_ns or read_ns
            requests = peer.speaker.take(data)
            self._send(peer, peer.speaker.outgoing())
            for request in requests:
                self._received(peer, request, peer.first_byte_ns, read_ns)
            if requests:
                peer.first_byte_ns = 0
            if slow is not None:
                peer.deaf_until_ns = read_ns + slow.every_ms * 1_000_000
            if not self._hears(peer):
                return

    # What happens to a request.

    def _received(self, peer: Peer, request: Request, first_ns: int, read_ns: int) -> None:
        if request.word not in ("read", "write"):
            self.truth.own[request.word] = self.truth.own.get(request.word, 0) + 1
            self._ready(peer, self._turn(peer, lambda: self._answer_own(peer, request)))
            return
        self._operations += 1
        happening, hold_us = self._decide(request)
        if request.word == "write" and happening == "ok":
            if request.key in self._store:
                self._before[request.key] = self._store[request.key]
            self._store[request.key] = request.value
        if peer.row is not None:
            peer.row.next_ns = read_ns
        row = Row(peer.member, peer.number, request.word, number_in(request.value), happening,
                  asking=request.asking, size_bytes=len(request.value),
                  free_ns=peer.written_ns, first_ns=first_ns, read_ns=read_ns)  # fmt: skip
        peer.row = row
        self.truth.rows.append(row)
        turn = self._turn(peer, lambda: self._answer(peer, request, row))
        if happening == "silent":
            pass  # its turn never comes
        elif hold_us:
            self._at(read_ns + hold_us * 1000, lambda: self._ready(peer, turn))
        else:
            self._ready(peer, turn)
        while self._stalls and self._operations >= self._stalls[0].after:
            self._stall()

    def _turn(self, peer: Peer, answer: Callable[[], None]) -> Turn:
        turn = Turn(answer)
        if self._script.protocol == "resp":
            peer.line.append(turn)
        return turn

    def _ready(self, peer: Peer, turn: Turn) -> None:
        """Answer, if the protocol has no order or it is this one's turn; then those behind it."""
        turn.ready = True
        if self._script.protocol != "resp":
            turn.answer()
        while peer.line and peer.line[0].ready and self._peers.get(peer.fd) is peer:
            peer.line.popleft().answer()

    def _answer_own(self, peer: Peer, request: Request) -> None:
        reply = peer.speaker.own(request)
        peer.written_ns = _now()
        self._send(peer, reply)

    def _decide(self, request: Request) -> tuple[str, int]:
        """(what happens, how long it is held)."""
        script, number = self._script, self._operations
        service = script.read if request.word == "read" else script.write
        happening = script.at.get(number, "")
        if number <= script.calm:
            return happening or self._well(request), 0
        hold_us = service.draw_us(self._random)
        if not happening:
            drawn, happening = self._random.random(), self._well(request)
            for word, share in script.shares.items():
                if 0 <= drawn < share:
                    happening = word
                drawn -= share
        if happening in ("missing", "corrupt") and request.word == "write":
            happening = "ok"  # only a read can find nothing, or the wrong thing
        lies_in_vain = happening in LIES and (
            LIES[happening] != request.word or request.key not in self._before
        )
        if lies_in_vain or (happening in REDIRECTS and request.asking):
            happening = self._well(request)  # who came by ASK is served
        return happening, hold_us

    def _well(self, request: Request) -> str:
        """A read of what nobody wrote finds nothing, and the truth says so."""
        return "ok" if request.word == "write" or request.key in self._store else "missing"

    def _stall(self) -> None:
        stall = self._stalls.pop(0)
        began_ns = _now()
        if stall.reads_only:
            ended_ns = self._deaf_until_ns = began_ns + round(stall.for_s * 1e9)
        else:
            time.sleep(stall.for_s)
            ended_ns = _now()
        self.truth.stalls.append(Stalled(began_ns, ended_ns, reads_only=stall.reads_only))

    def _answer(self, peer: Peer, request: Request, row: Row) -> None:
        if self._peers.get(peer.fd) is not peer:
            row.happening += ", client gone"
            return
        happening = row.happening
        if happening in ("reset", "close"):
            self._close(peer, reset=happening == "reset")
            return
        if happening == "garbage":
            reply = b"\xff\xfe" * 40
        elif happening in REDIRECTS:
            port = self.ports[(peer.member + 1) % len(self.ports)]
            reply = peer.speaker.bad(request, f"{happening}:{port}")
        elif happening in ("ok", "missing", "corrupt", "half", *LIES):
            reply = peer.speaker.good(request, self._value(request, happening))
        else:
            reply = peer.speaker.bad(request, happening)
        if happening == "half":
            self._send(peer, reply[: len(reply) // 2])
            self._close(peer)
            return
        row.write_ns = peer.written_ns = (
            _now()
        )  # before the system call: no client can have it earlier
        self._send(peer, reply)

    def _value(self, request: Request, happening: str) -> bytes | None:
        value = (self._before if happening == "stale" else self._store).get(request.key)
        if happening == "missing" or value is None:
            return None
        return value[:5] + b"X" + value[6:] if happening == "corrupt" else value

    # The socket.

    def _send(self, peer: Peer, data: bytes) -> None:
        if peer.fd not in self._peers or not data:
            return
        if not peer.outgoing:
            try:
                data = data[peer.sock.send(data) :]
            except WANT:
                pass
            except OSError:
                self._close(peer)
                return
        peer.outgoing += data
        wanted = select.EPOLLIN | (select.EPOLLOUT if peer.outgoing else 0)
        self._epoll.modify(peer.fd, wanted)

    def _close(self, peer: Peer, *, reset: bool = False) -> None:
        if self._peers.get(peer.fd) is not peer:
            return
        del self._peers[peer.fd]
        if peer.row is not None and not peer.row.next_ns:
            peer.row.next_ns = _now()
        self._epoll.unregister(peer.fd)
        if reset:  # no lingering: the kernel sends RST
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.sock.close()


def _tls_of(script: Script) -> ssl.SSLContext | None:
    if not script.cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(script.cert, script.key)
    context.load_verify_locations(script.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    if script.protocol != "resp":
        context.set_alpn_protocols(["h2"])
    return context


def main(arguments: list[str] | None = None) -> int:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser(prog="python -m tests.controls.scripted_server")
    parser.add_argument("script", type=Path, help="what to do (tests.controls.script)")
    parser.add_argument("--truth", type=Path, required=True, help="where to say what was done")
    asked = parser.parse_args(arguments)
    stop = sys.stdin.fileno()
    os.set_blocking(stop, False)
    server = ScriptedServer(Script.read_file(asked.script), stop)
    print(json.dumps({"ports": server.ports}), flush=True)
    server.serve()
    server.truth.write_file(asked.truth)
    return 0


if __name__ == "__main__":
    sys.exit(main())
