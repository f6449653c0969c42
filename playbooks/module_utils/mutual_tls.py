"""HTTPS and RESP over mutual TLS with nothing but the standard library: hosts have no packages."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import BinaryIO


class ReplyError(Exception):
    """The server answered with an error."""


def context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    """A client's context that checks the server's certificate and shows its own."""
    made = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    made.load_cert_chain(cert, key)
    return made


def https_get(address: str, port: int, path: str, tls: ssl.SSLContext) -> tuple[int, str]:
    """Status and body of one GET."""
    connection = http.client.HTTPSConnection(address, port, timeout=5, context=tls)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


class Resp:
    """One connection to a Redis member, authenticated."""

    def __init__(
        self, address: str, port: int, tls: ssl.SSLContext, user: str, password: str
    ) -> None:
        raw = socket.create_connection((address, port), timeout=5)
        self._socket = tls.wrap_socket(raw, server_hostname=address)
        self._stream: BinaryIO = self._socket.makefile("rb")
        self.call("AUTH", user, password)

    def call(self, *words: object) -> object:
        """One command, one reply. Raises ReplyError."""
        parts = [str(word).encode() for word in words]
        frame = b"*%d\r\n" % len(parts)
        frame += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(frame)
        return self._read()

    def text(self, *words: object) -> str:
        """One command whose reply is text."""
        return str(self.call(*words))

    def info(self, section: str) -> dict[str, str]:
        """INFO of one section as a mapping."""
        return fields(self.text("INFO", section))

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()

    def _read(self) -> object:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the member hung up")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise ReplyError(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        return [self._read() for _ in range(int(rest))] if int(rest) >= 0 else None

    def _bulk(self, size: int) -> str | None:
        if size < 0:
            return None
        body = self._stream.read(size + 2)
        if len(body) != size + 2:
            raise ConnectionError("the member hung up")
        return body[:-2].decode(errors="replace")


def fields(text: str) -> dict[str, str]:
    """Lines of `key:value` as a mapping."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split(":", 1) for line in lines if ":" in line)


def admits_strangers(address: str, port: int, ca: str) -> bool:
    """Whether a client that shows no certificate gets even one byte of an answer.

    With TLS 1.3 the handshake looks fine to the client; the refusal comes with the first read.
    """
    tls = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    try:
        with (
            socket.create_connection((address, port), timeout=5) as raw,
            tls.wrap_socket(raw, server_hostname=address) as connection,
        ):
            connection.sendall(b"PING\r\n\r\n")
            return bool(connection.recv(1))
    except (ssl.SSLError, ConnectionError):
        return False
