"""RESP as far as the engine needs it: requests from templates, replies to outcomes."""

from __future__ import annotations

import binascii
import ipaddress
import re
from array import array
from collections.abc import Callable

from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.keyspace import ID_BYTES, KEY_DIGITS, Values, key_bytes

__all__ = [
    "SLOTS",
    "command",
    "encoder",
    "long_arrays",
    "lost_by",
    "read_slot_map",
    "redirect_of",
    "slots_of_keys",
    "value_check",
]

SLOTS = 16384

# hiredis reserves a list of the length that an array claims, and nests up to 1,024 of them:
# "*999999999" takes 8 GB before its first element, "*99999" a thousand times 0.4 s to let go of.
# A slot map has at most 16384 entries, each of a few; no value of ours contains these bytes.
_LONG_ARRAY = re.compile(rb"[*~>]\d{4,}")
_HUGE_DIGITS = 6
_LONG_ARRAYS = 4

# First word of an error reply -> how the operation ended. Redis checks all of these before it
# executes, so the write was not applied.
_ERRORS = {
    "CLUSTERDOWN": Lost(FAILED, "cluster_down"),
    "MASTERDOWN": Lost(FAILED, "cluster_down"),
    "LOADING": Lost(FAILED, "busy"),
    "TRYAGAIN": Lost(FAILED, "busy"),
    "BUSY": Lost(FAILED, "busy"),
    "OOM": Lost(FAILED, "no_space"),
    "READONLY": Lost(FAILED, "read_only"),
    "MISCONF": Lost(FAILED, "read_only"),
    "NOAUTH": Lost(FAILED, "auth"),
    "NOPERM": Lost(FAILED, "auth"),
    "WRONGPASS": Lost(FAILED, "auth"),
    # The write was applied, but to fewer replicas than asked for.
    "NOREPLICAS": Lost(FAILED, "busy"),
    "UNBLOCKED": Lost(UNKNOWN, "other"),
}


def command(*words: bytes) -> bytes:
    r"""One command as RESP.

    >>> command(b"PING")
    b'*1\r\n$4\r\nPING\r\n'
    """
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def encoder(prefix: str, values: Values) -> Callable[[int], bytes]:
    """A function from code to request bytes; only key number and value id are formatted."""
    before = prefix.encode()
    key_size = len(before) + KEY_DIGITS
    size = ID_BYTES + len(values.filler)
    get = b"*2\r\n$3\r\nGET\r\n$%d\r\n%b" % (key_size, before)
    put = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b" % (key_size, before)
    middle = b"\r\n$%d\r\nk" % size
    marker, tail = values.marker, values.filler + b"\r\n"
    digits, next_number = values.digits, values.next_number

    def encode(code: int) -> bytes:
        key = digits[code >> 1]
        if code & 1:
            return b"".join((put, key, middle, key, marker, b"%014d" % next_number(), tail))
        return get + key + b"\r\n"

    return encode


def value_check(values: Values) -> Callable[[int, bytes], bool]:
    """A function that says whether bytes are exactly one bulk reply with a value of this key."""
    head = b"$%d\r\nk" % values.value_bytes
    size = len(head) - 1 + values.value_bytes + 2
    tail = values.filler + b"\r\n"
    digits = values.digits

    def holds(key: int, data: bytes) -> bool:
        return (
            len(data) == size and data.startswith(head + digits[key] + b"w") and data.endswith(tail)
        )

    return holds


def slots_of_keys(prefix: str, keys: int) -> array[int]:
    """Hash slot of every key: CRC-16/XMODEM modulo 16384, over the part in {} if there is one."""
    crc = binascii.crc_hqx
    before = prefix.encode()
    opened = before.find(b"{")
    closed = before.find(b"}", opened + 1) if opened >= 0 else -1
    if closed > opened + 1:  # "{}" is no tag: the whole key counts
        return array("H", [crc(before[opened + 1 : closed], 0) % SLOTS]) * keys
    return array("H", (crc(key_bytes(prefix, key), 0) % SLOTS for key in range(keys)))


def lost_by(message: str) -> Lost:
    """Outcome of an operation answered with this error."""
    return _ERRORS.get(message.split(" ", 1)[0], Lost(FAILED, "other"))


def redirect_of(message: str, *, asked: str) -> tuple[bool, int, str] | None:
    """(is ASK, slot, endpoint) of "MOVED 3999 10.0.0.1:6379"; None if it is no redirect.

    An empty host means the one that was `asked`. Raises TargetProtocolError on nonsense.
    """
    words = message.split(" ", 3)
    if words[0] not in ("MOVED", "ASK"):
        return None
    slot = _number(words[1], SLOTS) if len(words) > 2 else None
    if slot is None:
        raise TargetProtocolError("a redirect without slot and endpoint")
    host, _, port = words[2].rpartition(":")
    return words[0] == "ASK", slot, _endpoint(host, port, asked)


def long_arrays(tail: bytes, data: bytes, before: int) -> int:
    """Arrays of 1,000 elements or more so far, of which `before` were seen up to `tail`.

    Call before hiredis sees `data`. Raises TargetProtocolError on more than a reply can have.
    """
    for found in _LONG_ARRAY.finditer(tail + data):
        if found.end() > len(tail):
            before += 1
        if len(found[0]) > _HUGE_DIGITS or before > _LONG_ARRAYS:
            raise TargetProtocolError("more elements than any reply has")
    return before


def read_slot_map(reply: object, *, asked: str) -> dict[str, list[tuple[int, int]]]:
    """Slot ranges by master endpoint, of a CLUSTER SLOTS reply got from `asked`.

    Raises TargetProtocolError when the reply is anything else.
    """
    ranges: dict[str, list[tuple[int, int]]] = {}
    taken = bytearray(SLOTS)
    if not isinstance(reply, list):
        raise TargetProtocolError("CLUSTER SLOTS was not answered with a list")
    for entry in reply:
        try:
            low, high, (host, port, *_), *_replicas = entry
        except (TypeError, ValueError):
            raise TargetProtocolError("CLUSTER SLOTS has an entry of another shape") from None
        sound = isinstance(low, int) and isinstance(high, int) and isinstance(port, int)
        if not sound or not 0 <= low <= high < SLOTS or not isinstance(host, bytes | None):
            raise TargetProtocolError("CLUSTER SLOTS has an entry out of range")
        if any(taken[low : high + 1]):
            raise TargetProtocolError("CLUSTER SLOTS gives a slot to two masters")
        taken[low : high + 1] = b"\1" * (high - low + 1)
        name = (host or b"").decode("ascii", "replace")
        ranges.setdefault(_endpoint(name, str(port), asked), []).append((low, high))
    return ranges


def _endpoint(host: str, port: str, asked: str) -> str:
    number = _number(port, 65536)
    if not number:
        raise TargetProtocolError("an endpoint without a port")
    if not host or host == "?":
        return f"{asked.rpartition(':')[0]}:{number}"
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise TargetProtocolError("an endpoint that is no address") from None
    if getattr(address, "scope_id", None):  # names an interface of another machine
        raise TargetProtocolError("an endpoint that is no address")
    return f"[{address}]:{number}" if address.version == 6 else f"{address}:{number}"


def _number(text: str, limit: int) -> int | None:
    """A plain number below `limit`; None if it is none, however many digits it has."""
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or int(text) >= limit:
        return None
    return int(text)
