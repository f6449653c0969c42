"""A target that does nothing: answers each request at once, from memory, so that what is measured
against it is the load generator's own ceiling (`soakbed calibrate`).

Speaks as much RESP and gRPC (etcd's, PD's, TiKV's) as the engine sends, with mutual TLS, and keeps
nothing. It runs on a data host for a few seconds, from the standard library and these modules
alone, and ends by itself; `null_replies` and `null_tikv` hold the protocols.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

from loadgen.engine.tls import WANT, bind_transport
from loadgen.null_replies import Replies, grpc_replies, resp_replies
from loadgen.null_tikv import tikv_replies

__all__ = ["NullServer", "main"]

READ_BYTES = 16384  # one TLS record at most, so nothing stays behind in OpenSSL
SECOND_NS = 1_000_000_000


class _Client:
    """One connection: its handshake, then bytes in and bytes out."""

    __slots__ = ("handshaking", "left", "receive", "replies", "send", "sock")

    def __init__(self, sock: socket.socket, replies: Replies) -> None:
        self.sock = sock
        self.replies = replies
        self.left = b""
        self.handshaking = isinstance(sock, ssl.SSLSocket)
        self.receive, self.send = bind_transport(sock)
        if not self.handshaking:
            self.left = replies.greeting

    def ready(self) -> None:
        """The handshake is done: from here on as directly as Python offers it."""
        self.handshaking = False
        self.receive, self.send = bind_transport(self.sock)
        self.left = self.replies.greeting


class NullServer:
    """One thread, one epoll. `replies` makes the protocol's side of a connection."""

    def __init__(
        self,
        address: tuple[str, int],
        replies: Callable[[], Replies],
        *,
        context: ssl.SSLContext | None,
        tell: Callable[[dict[str, float]], None],
    ) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family, backlog=1024)
        self._listener.settimeout(0)
        self._replies = replies
        self._context = context
        self._tell = tell
        self._clients: dict[int, _Client] = {}
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        self.stopping = False

    def run(self, seconds: float) -> None:
        """Serve until the time is up or `stopping` is set; tells its CPU share each second."""
        now_ns = time.monotonic_ns()
        ends_ns, tell_ns = now_ns + int(seconds * SECOND_NS), now_ns + SECOND_NS
        told_ns, cpu_s = now_ns, time.process_time()
        while now_ns < ends_ns and not self.stopping:
            for fd, mask in self._epoll.poll(max(0.0, (tell_ns - now_ns) / SECOND_NS)):
                client = self._clients.get(fd)
                if client is None:
                    self._accept()
                else:
                    self._serve(fd, client, mask)
            now_ns = time.monotonic_ns()
            if now_ns >= tell_ns:
                used_s = time.process_time()
                share = (used_s - cpu_s) * SECOND_NS / (now_ns - told_ns)
                self._tell({"until_s": time.time(), "cpu_share": round(share, 4)})
                told_ns, cpu_s, tell_ns = now_ns, used_s, now_ns + SECOND_NS
        self._close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:  # it went away again
            return
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        client = _Client(sock, self._replies())
        self._clients[sock.fileno()] = client
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        if not client.handshaking:
            self._flush(sock.fileno(), client)

    def _serve(self, fd: int, client: _Client, mask: int) -> None:
        """Hot: once per event."""
        try:
            if client.handshaking:
                assert isinstance(client.sock, ssl.SSLSocket)
                client.sock.do_handshake()
                client.ready()
                self._flush(fd, client)
                return
            if mask & select.EPOLLOUT:
                self._flush(fd, client)
            data = client.receive(READ_BYTES)
            if not data:
                self._drop(fd)
                return
            made = client.replies.answer(data)
            if made:
                self._send(fd, client, made)
        except WANT:
            return
        except (
            OSError,
            ValueError,
            IndexError,
        ):  # gone, refused by TLS, or nothing that the engine sends
            self._drop(fd)

    def _send(self, fd: int, client: _Client, data: bytes) -> None:
        """Send, or keep what the socket would not take."""
        sent = 0
        if not client.left:
            with contextlib.suppress(*WANT):
                sent = client.send(data)
        if sent < len(data):
            client.left += data[sent:]
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def _flush(self, fd: int, client: _Client) -> None:
        """Send what is left; watch for room while something stays."""
        if client.left:
            with contextlib.suppress(*WANT):
                client.left = client.left[client.send(client.left) :]
        self._epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if client.left else 0))

    def _drop(self, fd: int) -> None:
        client = self._clients.pop(fd)
        self._epoll.unregister(fd)
        client.sock.close()

    def _close(self) -> None:
        for fd in list(self._clients):
            self._drop(fd)
        self._listener.close()
        self._epoll.close()


def server_context(ca: str, cert: str, key: str, *, protocols: tuple[str, ...]) -> ssl.SSLContext:
    """As the targets ask for it: our certificate shown, the client's required (design D10)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def main(arguments: list[str] | None = None) -> int:
    """Serve for a while; each second goes to `--told` as a line of JSON."""
    asked = _parser().parse_args(arguments)
    host, _, port = asked.listen.rpartition(":")
    context = None
    if asked.tls:
        context = server_context(
            *asked.tls, protocols=() if asked.target == "redis_cluster" else ("h2",)
        )
    members = asked.members or [asked.listen]
    if asked.target == "tikv":
        replies = tikv_replies(
            asked.prefix, asked.value_bytes, members, listen=asked.listen, keys=asked.keys
        )
    else:
        make = grpc_replies if asked.target == "etcd" else resp_replies
        replies = make(asked.prefix, asked.value_bytes, members)
    with Path(asked.told).open("a", buffering=1, encoding="utf-8") as told:

        def tell(second: dict[str, float]) -> None:
            told.write(json.dumps(second) + "\n")

        server = NullServer((host.strip("[]"), int(port)), replies, context=context, tell=tell)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(server, "stopping", True))
        tell({"until_s": time.time(), "cpu_share": 0.0})  # we listen
        server.run(asked.seconds)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadgen.null_server", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--target", choices=("etcd", "redis_cluster", "tikv"), required=True)
    parser.add_argument("--listen", required=True, help="address:port")
    parser.add_argument("--members", nargs="*", help="address:port of all null servers")
    parser.add_argument("--tls", nargs=3, metavar=("CA", "CERT", "KEY"), help="files")
    parser.add_argument("--prefix", required=True, help="of the keys, as in the plan")
    parser.add_argument("--value-bytes", type=int, default=1024)
    parser.add_argument("--keys", type=int, default=20_000, help="how many, as in the plan (tikv)")
    parser.add_argument("--seconds", type=float, default=60.0, help="then it ends by itself")
    parser.add_argument("--told", default="/dev/stdout", help="file for its CPU share, by second")
    return parser


if __name__ == "__main__":
    sys.exit(main())
