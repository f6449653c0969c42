"""`python -m tests.benchmarks.alternatives`: what each part of the hot path costs, and what else it
could be. The table in `loadgen/README.md` is its output.

Each line is the least of many short runs: other work on the machine only ever adds.
"""

from __future__ import annotations

import gc
import selectors
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hiredis

from loadgen.contract.histogram import bucket_of
from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import GeneratorState, OperationWindow, Window
from loadgen.engine.resp import encoder, value_check
from loadgen.engine.spooling import SWITCH_S, Spool
from loadgen.keyspace import Values
from loadgen.recorder import _BUCKET
from tests.benchmarks.throwaway import Pki

VALUES = Values("/bench/", 1024, rank=0)
ROUNDS = 40

_now = time.monotonic_ns


def least_us(work: Callable[[], None], times: int) -> float:
    """Microseconds of CPU for one `work`, at best."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(times):
            work()
        best = min(best, time.process_time() - begun)
    return best / times * 1e6


def line(part: str, way: str, figure: float, unit: str = "us", *, chosen: bool = False) -> None:
    """One line of the table."""
    print(
        f"| {part} | {way}{' **(chosen)**' if chosen else ''} | {figure:.2f} {unit} |", flush=True
    )


@contextmanager
def tls_pair(folder: Path) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """(client, server) of one TLS connection over a socket pair."""
    pki = Pki.make(folder)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pki.path("host.crt"), pki.path("host.key"))
    ours = ssl.create_default_context(cafile=pki.path("ca.crt"))
    near, far = socket.socketpair()
    made: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: made.append(theirs.wrap_socket(far, server_side=True)))
    thread.start()
    client = ours.wrap_socket(near, server_hostname="127.0.0.1")
    thread.join()
    made[0].send(b"x")
    client.recv(1)  # takes the session tickets, too
    yield client, made[0]
    client.close()
    made[0].close()


def transports() -> None:
    """One request out and one reply of 1 KB in, through TLS; the server's side included."""
    request, reply = b"*2" + b"x" * 45, b"$1024\r\n" + b"x" * 1026
    with tempfile.TemporaryDirectory() as folder, tls_pair(Path(folder)) as (client, server):
        give, take, buffer = server._sslobj.write, server._sslobj.read, bytearray(65536)  # type: ignore[attr-defined]
        inner = client._sslobj  # type: ignore[attr-defined]

        def round_trip(send: Callable[[bytes], object], receive: Callable[[], object]) -> None:
            send(request)
            take(1024)
            give(reply)
            receive()

        ways: list[tuple[str, Callable[[bytes], object], Callable[[], object], bool]] = [
            ("SSLSocket.send, .recv", client.send, lambda: client.recv(16384), False),
            ("the inner object's write, read", inner.write, lambda: inner.read(16384), True),
            (
                "the same, read into one buffer",
                inner.write,
                lambda: inner.read(65536, buffer),
                False,
            ),
        ]
        for name, send, receive, chosen in ways:
            figure = least_us(lambda s=send, r=receive: round_trip(s, r), 500)  # type: ignore[misc]
            line("TLS round trip, both ends", name, figure, chosen=chosen)
    memory_bio(request, reply)


@contextmanager
def bio_pair(
    folder: Path,
) -> Iterator[tuple[socket.socket, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO, ssl.SSLSocket]]:
    """(socket, TLS object, its incoming and outgoing bytes, server) of one connection."""
    pki = Pki.make(folder)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pki.path("host.crt"), pki.path("host.key"))
    ours = ssl.create_default_context(cafile=pki.path("ca.crt"))
    near, far = socket.socketpair()
    made: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: made.append(theirs.wrap_socket(far, server_side=True)))
    thread.start()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            near.send(outgoing.read())
            incoming.write(near.recv(65536))
    near.send(outgoing.read())
    thread.join()
    yield near, client, incoming, outgoing, made[0]
    near.close()
    made[0].close()


def memory_bio(request: bytes, reply: bytes) -> None:
    """The same through MemoryBIO and a plain socket; server's side as above."""
    with tempfile.TemporaryDirectory() as folder, bio_pair(Path(folder)) as pair:
        near, client, incoming, outgoing, server = pair
        give, take = server._sslobj.write, server._sslobj.read  # type: ignore[attr-defined]

        def round_trip() -> None:
            client.write(request)
            near.send(outgoing.read())
            take(1024)
            give(reply)
            incoming.write(near.recv(65536))
            client.read(16384)

        line("TLS round trip, both ends", "MemoryBIO and a plain socket", least_us(round_trip, 500))


def records() -> None:
    """A reply of etcd's: three TLS records, all of them there; the server's side included."""
    parts = (b"h" * 23, b"d" * 1100, b"t" * 33)
    part = "reply in three TLS records, both ends"
    with tempfile.TemporaryDirectory() as folder, tls_pair(Path(folder)) as (client, server):
        give, read = server._sslobj.write, client._sslobj.read  # type: ignore[attr-defined]

        def by_record() -> None:
            for one in parts:
                give(one)
            for _ in parts:
                read(16384)

        line(part, "the inner object's read, one a record", least_us(by_record, 300), chosen=True)
    with tempfile.TemporaryDirectory() as folder, bio_pair(Path(folder)) as pair:
        near, inner, incoming, _, server = pair
        give, take = server._sslobj.write, inner.read  # type: ignore[attr-defined]

        def at_once() -> None:
            for one in parts:
                give(one)
            incoming.write(near.recv(65536))
            for _ in parts:
                take(16384)

        line(part, "one recv into a MemoryBIO, then read", least_us(at_once, 300))


def plain_sockets() -> None:
    """A GET's reply of 1 KB from a plain socket, and is it what belongs to the key?"""
    reply = b"$1024\r\n" + VALUES.identity(7) + VALUES.filler + b"\r\n"
    holds, near_far = value_check(VALUES), socket.socketpair()
    near, far = near_far
    buffer = bytearray(16384)
    view, size = memoryview(buffer), len(reply)
    head, tail = b"$1024\r\nk", VALUES.filler + b"\r\n"

    def new_bytes() -> None:
        far.send(reply)
        holds(7, near.recv(16384))

    def copied() -> None:
        far.send(reply)
        holds(7, bytes(view[: near.recv_into(buffer)]))

    def in_place() -> None:
        far.send(reply)
        got = near.recv_into(buffer)
        assert got == size and buffer.startswith(head + VALUES.digits[7] + b"w")
        assert buffer.endswith(tail, 0, got)

    part = "reply from a plain socket, both ends"
    line(part, "recv", least_us(new_bytes, 500), chosen=True)
    line(part, "recv_into one buffer, copied out", least_us(copied, 500))
    line(part, "recv_into one buffer, compared in place", least_us(in_place, 500))
    near.close()
    far.close()


def replies() -> None:
    """A GET's reply of 1 KB: is it what belongs to the key?"""
    data = b"$1024\r\n" + VALUES.identity(7) + VALUES.filler + b"\r\n"
    reader, holds = hiredis.Reader(), value_check(VALUES)

    def parsed() -> None:
        reader.feed(data)
        assert VALUES.belongs(7, reader.gets())

    line("reply to a read", "hiredis, then compare the value", least_us(parsed, 2000))
    line(
        "reply to a read", "compare the bytes", least_us(lambda: holds(7, data), 2000), chosen=True
    )


def requests() -> None:
    """A SET of 1 KB."""
    encode = encoder("/bench/", VALUES)
    pattern = b"*3\r\n$3\r\nSET\r\n$19\r\n/bench/%012d\r\n$1024\r\nk%012dw0000s%014d"
    pattern += VALUES.filler + b"\r\n"
    key, value = b"/bench/000000000007", VALUES.identity(7) + VALUES.filler
    ways = [
        ("hiredis.pack_command", lambda: hiredis.pack_command((b"SET", key, value)), False),
        ("one pattern, formatted", lambda: pattern % (7, 7, 7), False),
        ("join of prebuilt pieces, digits kept", lambda: encode(15), True),
    ]
    for name, work, chosen in ways:
        line("request of a write", name, least_us(work, 2000), chosen=chosen)


def counting() -> None:
    """Two hundred latencies into a histogram."""
    values = [100 + 3 * at for at in range(200)]
    counts = [0] * 4096
    counter: Counter[int] = Counter()

    def arithmetic() -> None:
        for us in values:
            counts[bucket_of(us)] += 1

    def table() -> None:
        for us in values:
            counts[_BUCKET[us]] += 1

    line("count one latency", "bucket_of each time", least_us(arithmetic, 100) / 200)
    line("count one latency", "Counter of us, folded later",
         least_us(lambda: counter.update(values), 100) / 200)  # fmt: skip
    line("count one latency", "list as table", least_us(table, 100) / 200, chosen=True)


def polling() -> None:
    """Twenty sockets are readable: hear of it."""
    import select

    pairs = [socket.socketpair() for _ in range(50)]
    epoll, selector = select.epoll(), selectors.DefaultSelector()
    for number, (near, far) in enumerate(pairs):
        epoll.register(near.fileno(), select.EPOLLIN)
        selector.register(near, selectors.EVENT_READ, near)
        if number < 20:
            far.send(b"x")
    line("hear of 20 readable sockets", "selectors", least_us(lambda: selector.select(0), 500))
    line("hear of 20 readable sockets", "epoll", least_us(lambda: epoll.poll(0), 500), chosen=True)
    for near, far in pairs:
        near.close()
        far.close()
    epoll.close()
    selector.close()


def collecting() -> None:
    """What a full garbage collection would cost in the middle of a pass."""
    kept = [(at, str(at)) for at in range(200_000)]
    line("a full collection in a pass", "all objects", least_us(gc.collect, 1) / 1000, "ms")
    gc.freeze()
    line("a full collection in a pass", "start-up frozen; collector off in phases",
         least_us(gc.collect, 1) / 1000, "ms", chosen=True)  # fmt: skip
    gc.unfreeze()
    del kept


def spooling() -> None:
    """The longest pass of a loop that writes a window: ten windows, the median."""
    ways = [("in the loop", None, False), ("a thread, Python's 5 ms turns", 0.005, False),
            ("a thread, 50 us turns", SWITCH_S, True)]  # fmt: skip
    for name, switch_s, chosen in ways:
        with tempfile.TemporaryDirectory() as folder:
            writer = SpoolWriter(Path(folder) / "spool")
            spool = Spool(writer)
            if switch_s is not None:
                sys.setswitchinterval(switch_s)
            stalls = sorted(_stall_us(writer, spool if switch_s else None) for _ in range(11))
            line("longest pass while a window is written", name, stalls[5] / 1000, "ms",
                 chosen=chosen)  # fmt: skip
            spool.close()


def _stall_us(writer: SpoolWriter, spool: Spool | None) -> int:
    window = Window(
        worker=0, seq=0, phase="steady", mode="open", start_s=0, length_s=1,
        operations={"read": OperationWindow(), "write": OperationWindow()},
        generator=GeneratorState(),
    )  # fmt: skip
    for operation in window.operations.values():
        for histogram in (operation.response, operation.service, operation.lag):
            for us in range(50, 20_000, 17):
                histogram.record(us)
    begun = last = _now()
    longest = 0
    if spool is None:
        writer.append(window.to_json())
    else:
        spool.put(window)
    while last - begun < 30_000_000:
        time.sleep(0)  # as a system call of the loop would, it lets other threads run
        now = _now()
        longest = max(longest, now - last)
        last = now
    return longest // 1000


MEASURES = (transports, records, plain_sockets, replies, requests, counting, polling, collecting,
            spooling)  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| part | way | cost |\n|---|---|---|")
    for measure in MEASURES:
        measure()


if __name__ == "__main__":
    main()
