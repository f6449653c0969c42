"""Commands to one Redis member over one connection, pipelined, with a time limit; for checks.

It blocks, and shares RESP and TLS with the engine. A reply that is an error is handed back as
hiredis' ReplyError, in its place: what it means is for the caller to say.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from time import monotonic
from typing import Any

import hiredis

from loadgen.engine.connection import split_endpoint
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.redis_connection import NOT_RESP
from loadgen.engine.resp import command

__all__ = ["RedisCalls"]

READ_BYTES = 65536
# All replies of one `ask` together; who asks for keys or values asks for few enough at a time.
MAX_REPLY_BYTES = 256 * 1024 * 1024

_MORE = object()


class RedisCalls:
    """A connection to one member; it is made at the first call, and anew after one that was lost.

    Not for several threads. `context`: None for a member without TLS. `credentials`: user and
    password, or nothing. `opening`: commands that every new connection begins with.
    """

    def __init__(
        self,
        endpoint: str,
        context: ssl.SSLContext | None,
        credentials: tuple[bytes, ...] = (),
        *,
        opening: Sequence[tuple[bytes, ...]] = (),
    ) -> None:
        self.endpoint = endpoint
        self._context = context
        self._opening = [*([(b"AUTH", *credentials)] if credentials else []), *opening]
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader(notEnoughData=_MORE)

    def close(self) -> None:
        """Hang up; a later call dials anew."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def dial(self, until: float) -> None:
        """Connect, if there is no connection, and be let in. `until`: of time.monotonic().

        Raises OSError or TargetProtocolError, as `ask` does; until here nothing was asked.
        """
        if self._socket is not None:
            return
        host, port = split_endpoint(self.endpoint)
        sock = socket.create_connection((host, port), timeout=_left(until))
        self._socket, self._reader = sock, hiredis.Reader(notEnoughData=_MORE)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                self._socket = self._context.wrap_socket(sock, server_hostname=host)
            for reply in self._exchange(self._opening, until):
                if isinstance(reply, hiredis.ReplyError):
                    raise TargetProtocolError(f"it does not let us in: {reply}")
        except (OSError, TargetProtocolError):
            sock.close()
            self.close()
            raise

    def ask(self, commands: Sequence[tuple[bytes, ...]], *, until: float) -> list[Any]:
        """The replies, one for each command. Raises OSError (TimeoutError) when they do not come,
        TargetProtocolError when they are no RESP; the connection is closed then.
        """
        self.dial(until)
        try:
            return self._exchange(commands, until)
        except (OSError, TargetProtocolError):
            self.close()
            raise

    def one(self, *words: bytes, until: float) -> Any:  # noqa: ANN401  RESP is of any shape
        """The reply to one command."""
        return self.ask([words], until=until)[0]

    def _exchange(self, commands: Sequence[tuple[bytes, ...]], until: float) -> list[Any]:
        assert self._socket is not None
        if not commands:
            return []
        self._socket.settimeout(_left(until))
        self._socket.sendall(b"".join(command(*words) for words in commands))
        replies: list[Any] = []
        taken = 0
        while len(replies) < len(commands):
            self._socket.settimeout(_left(until))
            data = self._socket.recv(READ_BYTES)
            taken += len(data)
            if not data:
                raise ConnectionError("the member hung up")
            if taken > MAX_REPLY_BYTES:
                raise TargetProtocolError("replies without end")
            try:
                self._reader.feed(data)
                while (reply := self._reader.gets()) is not _MORE:
                    replies.append(reply)
            except NOT_RESP as error:
                raise TargetProtocolError("not RESP") from error
        if len(replies) > len(commands):
            raise TargetProtocolError("more replies than commands")
        return replies


def _left(until: float) -> float:
    """Seconds until then. Raises TimeoutError when none is left."""
    left = until - monotonic()
    if left <= 0:
        raise TimeoutError("no time left")
    return left
