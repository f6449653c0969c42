"""The gRPC servers of all stores and PD members, in one process and one event loop."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from tests.tikv_double.http2_server import LoopServer

__all__ = ["GRPCIO", "LOOP", "LOOP_SINGLY", "SERVED_BY", "Servers", "TlsFiles"]

# What speaks gRPC: grpcio, as TiKV does; or http2_server.py, for clients that are measured.
SERVED_BY = GRPCIO, LOOP, LOOP_SINGLY = "grpcio", "loop", "loop-singly"

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not shared
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Clients ping as often as they like; that is not what is tested here.
    ("grpc.http2.min_ping_interval_without_data_ms", 1),
    ("grpc.http2.max_ping_strikes", 0),
)


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a server: every client must show a certificate of this CA."""

    ca: Path
    cert: Path
    key: Path

    def credentials(self) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.cert.read_bytes())],
            root_certificates=self.ca.read_bytes(),
            require_client_auth=True,
        )

    def context(self) -> ssl.SSLContext:
        """The same for Python's own TLS."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.load_cert_chain(self.cert, self.key)
        made.load_verify_locations(self.ca)
        made.verify_mode = ssl.CERT_REQUIRED
        made.set_alpn_protocols(["h2"])
        return made


class Servers:
    """Starts, stops and starts again, each server always on its own port."""

    def __init__(self, listen: str, tls: TlsFiles | None, served_by: str = GRPCIO) -> None:
        self.listen = listen
        self.tls = tls
        self.served_by = served_by
        self._handlers: dict[str, grpc.GenericRpcHandler] = {}
        self._opened: dict[str, grpc.aio.Server | LoopServer] = {}
        self._running: dict[str, grpc.aio.Server | LoopServer] = {}
        self._ports: dict[str, int] = {}

    def open(self, name: str, port: int = 0) -> str:
        """Take a port, before there is a service for it; the address."""
        self._opened[name], self._ports[name] = self._listen(port)
        return f"{self.listen}:{self._ports[name]}"

    def _listen(self, port: int) -> tuple[grpc.aio.Server | LoopServer, int]:
        if self.served_by != GRPCIO:
            context = self.tls.context() if self.tls is not None else None
            together = self.served_by == LOOP
            loop_server = LoopServer((self.listen, port), context, together=together)
            return loop_server, loop_server.port
        server = grpc.aio.server(options=_OPTIONS)
        address = f"{self.listen}:{port}"
        if self.tls is None:
            return server, server.add_insecure_port(address)
        return server, server.add_secure_port(address, self.tls.credentials())

    async def start(self, name: str, handlers: grpc.GenericRpcHandler | None = None) -> None:
        """Serve; with the handlers it had, unless others are given."""
        if name in self._running:
            return
        handlers = self._handlers[name] = handlers or self._handlers[name]
        server = self._opened.pop(name, None)
        if server is None:
            server, _ = self._listen(self._ports[name])
        server.add_generic_rpc_handlers((handlers,))
        await server.start()
        self._running[name] = server

    async def stop(self, name: str) -> None:
        """Close its port and every connection, at once."""
        server = self._running.pop(name, None)
        if server is not None:
            await server.stop(None)

    async def stop_all(self) -> None:
        for name in list(self._running):
            await self.stop(name)
