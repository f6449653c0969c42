"""What the scripted server's protocols have in common: requests in, bytes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["NUMBER_AT", "Request", "Speaker", "number_in"]

# A value is "k" key(12) "w" worker(4) "s" number(14) filler (loadgen/README.md, `value_bytes`).
NUMBER_AT = slice(19, 33)


@dataclass(slots=True)
class Request:
    """One request. `word` is "read", "write" or what else the client asked ("ping", ...)."""

    word: str
    key: bytes = b""
    value: bytes = b""
    token: int = 0  # gRPC: the stream
    asking: bool = False  # RESP: ASKING came right before it
    extra: list[bytes] = field(default_factory=list)


class Speaker(Protocol):
    """One connection's protocol."""

    def take(self, data: bytes) -> list[Request]:
        """Whole requests in what has come so far; the rest is kept."""

    def good(self, request: Request, value: bytes | None) -> bytes:
        """A reply that says yes: for a read `value`, or that there is none."""

    def bad(self, request: Request, happening: str) -> bytes:
        """An error reply, by the script's word."""

    def own(self, request: Request) -> bytes:
        """The answer to what is no operation."""

    def outgoing(self) -> bytes:
        """What the protocol itself has to say (HTTP/2 settings, acknowledgements)."""


def number_in(value: bytes) -> int:
    """The number that the writer gave this value; -1 if it is none of ours."""
    digits = value[NUMBER_AT]
    return int(digits) if digits.isdigit() else -1
