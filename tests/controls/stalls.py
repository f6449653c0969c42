"""What a stall must do to the figures of an open loop, and what hides it (measuring.md 1.3)."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import grpc
import redis

from loadgen.keyspace import key_bytes
from tests.benchmarks.throwaway import Etcd, Pki, Redis
from tests.tikv_double import Double

__all__ = [
    "NaiveClient",
    "Pausable",
    "Pause",
    "PausableTikv",
    "analytic_p99_us",
    "assert_the_stall_shows",
    "pause",
]


class PausableTikv:
    """The double of PD and TiKV: PD and three stores in one process, which a signal stills."""

    def __init__(self, pki: Pki, *, prefix: str, keys: int, core: int | None = None) -> None:
        edges = [key_bytes(prefix, keys * part // 6) for part in range(1, 6)]
        self.pki = pki
        self._double = Double(stores=3, tls=pki.tls("host"), split_at=edges, core=core)

    @property
    def endpoint(self) -> str:
        """address:port of PD."""
        return self._double.pds[0]

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._double.pid

    def signal(self, number: int) -> None:
        """To PD and all stores at once."""
        os.kill(self.pid, number)

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._double.start()

    def stop(self, *, kill: bool = False) -> None:
        """End it; a second call is fine."""
        self._double.stop()


Pausable = Redis | Etcd | PausableTikv


def analytic_p99_us(stall_s: float, seconds: float) -> float:
    """Response P99 of a constant rate over `seconds` that met one stall.

    The share p = S/T of the operations is delayed, evenly over (0, S), so the 99th percentile is
    S * (1 - 0.01 / p).

    >>> round(analytic_p99_us(1.4, 30))
    1100000
    """
    hit = stall_s / seconds
    assert hit > 0.01, "too short a stall to reach the 99th percentile"
    return stall_s * (1 - 0.01 / hit) * 1e6


def assert_the_stall_shows(p99_us: float, analytic_us: float, most_us: float = 0.0) -> None:
    """The instrument's P99 is the analytic one, within 5 %.

    `most_us` is what it may be at most where the machine is known to have added something.
    """
    most_us = max(1.05 * analytic_us, 1.01 * most_us)  # a bucket is 0.8 % wide
    assert 0.95 * analytic_us <= p99_us <= most_us, (p99_us, analytic_us, most_us)


class Pause:
    """How long a server was paused: from SIGSTOP to SIGCONT, and until it answered again.

    A server that may go on has not gone on yet: a busy machine gives it a core some time later.
    """

    def __init__(self, paused_s: float, unanswered_s: float) -> None:
        self.paused_s = paused_s
        self.unanswered_s = unanswered_s


def pause(servers: Sequence[Pausable], seconds: float) -> list[Pause]:
    """Stop them all, wait, let them go on; asks each, through another client than the engine."""
    with ExitStack() as stack:
        asks = [_asker(server, stack) for server in servers]
        for ask in asks:
            ask()
        began_s = time.monotonic()
        for server in servers:
            server.signal(signal.SIGSTOP)
        time.sleep(seconds)
        for server in servers:
            server.signal(signal.SIGCONT)
        paused_s = time.monotonic() - began_s
        answered: dict[int, float] = {}

        def wait(at: int) -> None:
            asks[at]()
            answered[at] = time.monotonic() - began_s

        threads = [threading.Thread(target=wait, args=(at,)) for at in range(len(asks))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [Pause(paused_s, answered[at]) for at in range(len(asks))]


def _asker(server: Pausable, stack: ExitStack) -> Callable[[], object]:
    """A function that asks the server something, and comes back with its answer."""
    assert server.pki is not None
    ca, cert, key = (server.pki.path(name) for name in ("ca.crt", "client.crt", "client.key"))
    if isinstance(server, Redis):
        client = redis.Redis(port=server.port, host="127.0.0.1", ssl=True, ssl_ca_certs=ca,
                             ssl_certfile=cert, ssl_keyfile=key)  # fmt: skip
        stack.callback(client.close)
        return client.ping
    credentials = grpc.ssl_channel_credentials(
        *(Path(name).read_bytes() for name in (ca, key, cert))
    )
    channel = stack.enter_context(grpc.secure_channel(server.endpoint, credentials))
    # Of the double PD is asked: one process and one event loop are PD and all stores.
    path, said = "/pdpb.PD/GetMembers", b""
    if isinstance(server, Etcd):
        path, said = "/etcdserverpb.KV/Range", b"\x0a\x01k"
    ask = channel.unary_unary(path)
    return lambda: ask(said, timeout=30)


class NaiveClient(threading.Thread):
    """What most load generators do: one request after the other at a pace, timed from its
    sending, and what a stall made it miss is never sent. A control must be able to catch it.
    """

    def __init__(self, port: int, rate_per_s: float, seconds: float) -> None:
        super().__init__(daemon=True)
        self.latencies_us: list[int] = []
        self._address = ("127.0.0.1", port)
        self._gap_s = 1 / rate_per_s
        self._seconds = seconds

    def run(self) -> None:
        """Until its time is over."""
        with socket.create_connection(self._address, timeout=10) as sock:
            began_s = time.monotonic()
            while (now_s := time.monotonic()) < began_s + self._seconds:
                sock.sendall(b"*3\r\n$3\r\nSET\r\n$5\r\nnaive\r\n$1\r\nx\r\n")
                assert sock.recv(100) == b"+OK\r\n"
                self.latencies_us.append(round((time.monotonic() - now_s) * 1e6))
                elapsed_s = time.monotonic() - began_s
                time.sleep(self._gap_s - elapsed_s % self._gap_s)
