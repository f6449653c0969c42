"""gRPC over HTTP/2: the headers of a call, and what its status says about the operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import unquote

from loadgen.engine.connection import Op
from loadgen.engine.hpack import decode, indexed, integer, literal
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.engine.protobuf import range_value

__all__ = [
    "Call",
    "CallHeaders",
    "KnownBlocks",
    "MAX_HEADER_BYTES",
    "OwnCall",
    "TABLE_USUAL",
    "lost_by_reset",
    "lost_by_status",
    "misread",
    "status_in",
]

# A reply's headers take some 60 bytes; gRPC's own limit for them is 8 KB, too.
MAX_HEADER_BYTES = 8192

# Header blocks seen are few and short (they stand alone and repeat); a target that varies them
# without end must not fill our memory: at most 64 KB here.
MAX_KNOWN_BLOCKS = 256
KNOWN_BLOCK_BYTES = 256

_REFUSED_STREAM, _ENHANCE_YOUR_CALM = 7, 11

_AUTHORITY, _POST, _PATH, _HTTP, _HTTPS, _CONTENT_TYPE = 1, 3, 4, 6, 7, 31
TABLE_USUAL = 4096  # bytes of header table, unless the peer says otherwise
TABLE_WANTED = 1024  # that the remembered fields need, with room
_TABLE = 62  # first index of the peer's dynamic table; the newest entry


class Call:
    """One stream: its operation, and the reply as far as it has come."""

    __slots__ = ("body", "op", "started")

    def __init__(self, op: Op) -> None:
        self.op = op
        self.body: bytes | bytearray = b""
        self.started = False  # the reply's first header block is in

    def grow(self, more: bytes) -> None:
        """One more part of the body; many small ones must not cost the square of their number."""
        if isinstance(self.body, bytes):
            self.body = bytearray(self.body)
        self.body += more


class OwnCall(Call):
    """A call of the engine's own; `then` gets its status, what it says of it, and the body."""

    __slots__ = ("then",)

    def __init__(self, op: Op, then: Callable[[int, str, bytes], None]) -> None:
        super().__init__(op)
        self.then = then


class CallHeaders:
    """Header blocks of the calls of one connection, one for each path.

    The first call (`first`, of the first path) puts its fields into the peer's table; all later
    ones name them by index, which is 6 bytes for the first path. A peer whose table is too small
    is told everything every time.
    """

    __slots__ = ("blocks", "first")

    def __init__(
        self, authority: bytes, paths: Sequence[bytes], *, secure: bool, table_bytes: int
    ) -> None:
        remember = table_bytes >= TABLE_WANTED
        scheme = indexed(_HTTPS if secure else _HTTP)
        common = (
            literal(_AUTHORITY, authority, remember=remember),
            literal(_CONTENT_TYPE, b"application/grpc", remember=remember),
            literal(b"te", b"trailers", remember=remember),
        )
        head = indexed(_POST) + scheme
        # A table below the usual size must be acknowledged by the first block (RFC 7541, 4.2).
        opening = integer(table_bytes, 5, 0x20) if table_bytes < TABLE_USUAL else b""
        self.first = opening + head + literal(_PATH, paths[0], remember=remember) + b"".join(common)
        if remember:
            # Newest first: te 62, content-type 63, :authority 64, :path 65.
            rest = indexed(_TABLE + 2) + indexed(_TABLE + 1) + indexed(_TABLE)
            again = head + indexed(_TABLE + 3) + rest
        else:
            rest = b"".join(common)
            again = self.first.removeprefix(opening)
        others = (head + literal(_PATH, path) + rest for path in paths[1:])
        self.blocks: tuple[bytes, ...] = (again, *others)


def status_in(block: bytes) -> tuple[int | None, str]:
    """(gRPC status, message) in a header block; None when it has no status, as a first block.

    Raises TargetProtocolError when the block is damaged or is not gRPC's.
    """
    status, message = None, ""
    for name, value in decode(block):
        if name == ":status" and value != "200":
            raise TargetProtocolError("an HTTP status other than 200")
        if name == "grpc-status":
            if not value.isdecimal() or len(value) > 3:
                raise TargetProtocolError("a gRPC status that is no number")
            status = int(value)
        elif name == "grpc-message":
            message = unquote(value)
    return status, message


class KnownBlocks(dict[bytes, tuple[int | None, str]]):
    """Header block -> what `status_in` reads in it, each short one read once."""

    def __missing__(self, block: bytes) -> tuple[int | None, str]:
        if len(block) > MAX_HEADER_BYTES:
            raise TargetProtocolError("a header block larger than any reply's")
        meaning = status_in(block)
        if len(block) <= KNOWN_BLOCK_BYTES:
            if len(self) >= MAX_KNOWN_BLOCKS:
                self.clear()
            self[block] = meaning
        return meaning


# gRPC status -> outcome, where the message does not matter. A status that the server can also
# give after it proposed the write is `unknown`. We cancel no call and announce no deadline, so
# Canceled is a server that stops: of the calls on one connection it ends those whose handlers had
# begun with Canceled, and the others with Unavailable (seen with gRPC's C core, which is TiKV's).
_BY_STATUS = {
    1: Lost(UNKNOWN, "cluster_down"),  # Canceled
    2: Lost(UNKNOWN, "other"),  # Unknown
    3: Lost(FAILED, "other"),  # InvalidArgument
    4: Lost(UNKNOWN, "timeout"),  # DeadlineExceeded
    5: Lost(FAILED, "other"),  # NotFound
    6: Lost(FAILED, "other"),  # AlreadyExists
    7: Lost(FAILED, "auth"),  # PermissionDenied
    8: Lost(FAILED, "busy"),  # ResourceExhausted
    9: Lost(FAILED, "other"),  # FailedPrecondition
    10: Lost(UNKNOWN, "other"),  # Aborted
    11: Lost(FAILED, "other"),  # OutOfRange
    12: Lost(FAILED, "other"),  # Unimplemented
    13: Lost(UNKNOWN, "other"),  # Internal
    14: Lost(UNKNOWN, "cluster_down"),  # Unavailable
    15: Lost(UNKNOWN, "corrupt"),  # DataLoss
    16: Lost(FAILED, "auth"),  # Unauthenticated
}

# Texts of etcd 3.5 (api/v3rpc/rpctypes/error.go) that say more than their status. A write that
# hit NOSPACE may yet be applied (etcd maintenance guide), so it is unknown.
_BY_TEXT = (
    ("database space exceeded", Lost(UNKNOWN, "no_space")),
    ("too many requests", Lost(FAILED, "busy")),
    ("request timed out", Lost(UNKNOWN, "timeout")),
    ("user name is empty", Lost(FAILED, "auth")),
    ("request is too large", Lost(FAILED, "other")),
    ("larger than max", Lost(FAILED, "other")),
)


def lost_by_reset(reason: int) -> Lost:
    """Outcome of a call whose stream was reset, by HTTP/2 error code (RFC 9113, 7)."""
    if reason == _REFUSED_STREAM:  # surely not processed (RFC 9113, 8.7)
        return Lost(FAILED, "busy")
    return Lost(UNKNOWN, "busy" if reason == _ENHANCE_YOUR_CALM else "other")


def lost_by_status(status: int, message: str) -> Lost:
    """Outcome of a call that ended with this status, not 0."""
    for text, lost in _BY_TEXT:
        if text in message:
            return lost
    return _BY_STATUS.get(status, Lost(UNKNOWN, "other"))


def misread(body: bytes, *, write: bool) -> Lost:
    """Why a call that ended well is not ok: not one message, or not the value of its key.

    `body` is the whole reply: one plain message after its five bytes of flag and length.
    """
    if write:
        return Lost(UNKNOWN, "protocol")
    if len(body) < 5 or int.from_bytes(body[:5], "big") != len(body) - 5:
        return Lost(FAILED, "protocol")
    try:
        value = range_value(body[5:])
    except TargetProtocolError:
        return Lost(FAILED, "protocol")
    return Lost(FAILED, "missing" if value is None else "corrupt")
