"""gRPC over HTTP/2: the headers of a call, and what its status says about the operation."""

from __future__ import annotations

from urllib.parse import unquote

from loadgen.engine.hpack import decode, indexed, literal
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.engine.protobuf import range_value

__all__ = ["CallHeaders", "PUT", "RANGE", "lost_by_status", "misread", "status_in"]

RANGE = b"/etcdserverpb.KV/Range"
PUT = b"/etcdserverpb.KV/Put"

_AUTHORITY, _POST, _PATH, _HTTP, _HTTPS, _CONTENT_TYPE = 1, 3, 4, 6, 7, 31
_TABLE = 62  # first index of the peer's dynamic table; the newest entry


class CallHeaders:
    """Header blocks of Range and Put on one connection.

    The first call puts its fields into the peer's table; all later ones name them by index,
    which is 6 bytes for Range. `remember=False` for a peer that keeps too small a table.
    """

    __slots__ = ("first_range", "put", "range")

    def __init__(self, authority: bytes, *, secure: bool, remember: bool) -> None:
        scheme = indexed(_HTTPS if secure else _HTTP)
        common = (
            literal(_AUTHORITY, authority, remember=remember),
            literal(_CONTENT_TYPE, b"application/grpc", remember=remember),
            literal(b"te", b"trailers", remember=remember),
        )
        head = indexed(_POST) + scheme
        self.first_range = head + literal(_PATH, RANGE, remember=remember) + b"".join(common)
        if remember:
            # Newest first: te 62, content-type 63, :authority 64, :path 65.
            rest = indexed(_TABLE + 2) + indexed(_TABLE + 1) + indexed(_TABLE)
            self.range = head + indexed(_TABLE + 3) + rest
        else:
            rest = b"".join(common)
            self.range = self.first_range
        self.put = head + literal(_PATH, PUT) + rest


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


# gRPC status -> outcome, where the message does not matter. A status that the server can also
# give after it proposed the write is `unknown`.
_BY_STATUS = {
    1: Lost(UNKNOWN, "other"),  # Canceled
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


def lost_by_status(status: int, message: str) -> Lost:
    """Outcome of a call that ended with this status, not 0."""
    for text, lost in _BY_TEXT:
        if text in message:
            return lost
    return _BY_STATUS.get(status, Lost(UNKNOWN, "other"))


def misread(body: bytes) -> Lost:
    """Why a Range that ended well did not carry the value that belongs to its key."""
    if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
        return Lost(FAILED, "protocol")
    try:
        value = range_value(body[5:])
    except TargetProtocolError:
        return Lost(FAILED, "protocol")
    return Lost(FAILED, "missing" if value is None else "corrupt")
