"""TLS for the engine's sockets: always verified, never older than 1.2."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from loadgen.contract.plan import Tls

__all__ = ["WANT", "bind_transport", "client_context", "refused_by_tls"]

# What a non-blocking socket raises instead of waiting, plain or TLS.
WANT = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


def client_context(tls: Tls, *, protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A context that requires the target's certificate: our CA, and the address we dial in it."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.cert, tls.key)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def bind_transport(
    sock: socket.socket,
) -> tuple[Callable[[int], bytes], Callable[[bytes], int]]:
    """`(receive, send)` of a connected socket, as directly as Python offers them.

    For TLS these are the methods of the object inside SSLSocket: SSLSocket.recv and .send add
    checks worth 0.5 us a request (loadgen/README.md, table). Where that attribute is absent the
    public methods serve.
    """
    inner = cast(Any, getattr(sock, "_sslobj", None))
    if inner is None:
        return sock.recv, sock.send
    return inner.read, inner.write


def refused_by_tls(error: OSError) -> bool:
    """Whether `error` is TLS saying no, rather than a connection that broke."""
    if not isinstance(error, ssl.SSLError):
        return False
    return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
