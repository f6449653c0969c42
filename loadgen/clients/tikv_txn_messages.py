"""The messages of TiKV's two-phase commit (kvrpcpb.proto of kvproto), written and read by hand.

Requests are what follows the context; a reply's KeyError becomes one of the exceptions here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from loadgen.engine.protobuf import Fields, as_bytes, bytes_field, fields_of, uint_field

__all__ = [
    "LOCK_TTL_MS",
    "Locked",
    "Mutation",
    "OP_DELETE",
    "OP_LOCK",
    "OP_PUT",
    "Refused",
    "TxnStatus",
    "check_txn_status",
    "commit",
    "encoded_key",
    "every_error",
    "get",
    "lock_for_update",
    "locked_value",
    "one_error",
    "prewrite",
    "resolve_lock",
    "rollback",
    "rollback_pessimistic",
    "status_in",
]

OP_PUT, OP_DELETE, OP_LOCK, OP_PESSIMISTIC = 0, 1, 2, 5
# Others may undo a transaction that holds its locks longer. There is no heartbeat here.
LOCK_TTL_MS = 20_000

_DO_PESSIMISTIC_CHECK = 1
_GROUP = 8


class Mutation(NamedTuple):
    """What a transaction will do to a key."""

    key: bytes
    op: int
    value: bytes = b""

    def message(self) -> bytes:
        """As it is sent."""
        value = bytes_field(3, self.value) if self.op == OP_PUT else b""
        return uint_field(1, self.op) + bytes_field(2, self.key) + value


class Locked(Exception):
    """Another transaction's lock: it must be waited for, or cleared away."""

    def __init__(self, info: bytes) -> None:
        lock = Fields(info)
        self.primary = lock.data(1)
        self.start = lock.number(2)
        self.key = lock.data(3)
        self.ttl_ms = lock.number(4)
        self.pessimistic = lock.number(6) == OP_PESSIMISTIC
        self.for_update = lock.number(7)
        super().__init__(f"key {self.key!r} is locked by transaction {self.start}")


class Refused(Exception):
    """Any other KeyError. `conflict`: somebody committed since; `unknown_txn`: TxnNotFound."""

    def __init__(self, text: str, *, conflict: bool = False, unknown_txn: bool = False) -> None:
        super().__init__(text)
        self.conflict = conflict
        self.unknown_txn = unknown_txn


class TxnStatus(NamedTuple):
    """What became of a transaction: alive for `ttl_ms`, or committed, or (both 0) rolled back."""

    ttl_ms: int
    commit: int


def encoded_key(key: bytes) -> bytes:
    """Where a transactional key lies: in eights, each with a mark of how many bytes only fill it.

    >>> encoded_key(b"ab").hex()
    '6162000000000000f9'
    """
    made = bytearray()
    for at in range(0, len(key) + 1, _GROUP):
        part = key[at : at + _GROUP]
        made += part.ljust(_GROUP, b"\x00")
        made.append(0xFF - (_GROUP - len(part)))
    return bytes(made)


# Requests.


def get(key: bytes, version: int) -> bytes:
    """GetRequest."""
    return bytes_field(2, key) + uint_field(3, version)


def prewrite(
    mutations: Sequence[Mutation], primary: bytes, start: int, for_update: int, ttl_ms: int
) -> bytes:
    """PrewriteRequest; `for_update` is 0 in an optimistic transaction, else every key is locked."""
    made = b"".join(bytes_field(2, mutation.message()) for mutation in mutations)
    made += bytes_field(3, primary) + uint_field(4, start) + uint_field(5, ttl_ms)
    if for_update:
        made += bytes_field(7, bytes([_DO_PESSIMISTIC_CHECK] * len(mutations)))
    return made + uint_field(8, len(mutations)) + uint_field(9, for_update)


def commit(keys: Sequence[bytes], start: int, at: int) -> bytes:
    """CommitRequest."""
    return uint_field(2, start) + _keys(3, keys) + uint_field(4, at)


def rollback(keys: Sequence[bytes], start: int) -> bytes:
    """BatchRollbackRequest."""
    return uint_field(2, start) + _keys(3, keys)


def rollback_pessimistic(keys: Sequence[bytes], start: int, for_update: int) -> bytes:
    """PessimisticRollbackRequest."""
    return uint_field(2, start) + uint_field(3, for_update) + _keys(4, keys)


def lock_for_update(key: bytes, primary: bytes, start: int, for_update: int) -> bytes:
    """PessimisticLockRequest that does not wait in the store, and returns the value."""
    mutation = uint_field(1, OP_PESSIMISTIC) + bytes_field(2, key)
    made = bytes_field(2, mutation) + bytes_field(3, primary) + uint_field(4, start)
    made += uint_field(5, LOCK_TTL_MS) + uint_field(6, for_update)
    no_wait = uint_field(8, (1 << 64) - 1)  # -1
    return made + no_wait + uint_field(10, 1)


def check_txn_status(lock: Locked, caller: int, now: int, *, undo_if_gone: bool) -> bytes:
    """CheckTxnStatusRequest: ask the lock's primary, which speaks for the transaction."""
    made = bytes_field(2, lock.primary) + uint_field(3, lock.start) + uint_field(4, caller)
    made += uint_field(5, now) + uint_field(6, undo_if_gone)
    return made + uint_field(8, lock.pessimistic)


def resolve_lock(key: bytes, start: int, at: int) -> bytes:
    """ResolveLockRequest: commit the key at that time, or roll it back (0)."""
    return uint_field(2, start) + uint_field(3, at) + bytes_field(5, key)


def _keys(field: int, keys: Sequence[bytes]) -> bytes:
    return b"".join(bytes_field(field, key) for key in keys)


# Replies.


def one_error(body: bytes) -> Fields:
    """A reply whose field 2 is the one KeyError. Raises Locked, Refused."""
    reply = Fields(body)
    if 2 in reply:
        _raise(reply.data(2))
    return reply


def every_error(body: bytes) -> Fields:
    """A reply whose field 2 is all KeyErrors; locks come first, as they may go. Raises as above."""
    errors = [as_bytes(value) for number, value in fields_of(body) if number == 2]
    for error in sorted(errors, key=lambda error: 1 not in Fields(error)):
        _raise(error)
    return Fields(body)


def _raise(error: bytes) -> None:
    fields = Fields(error)
    if 1 in fields:
        raise Locked(fields.data(1))
    if 4 in fields:
        conflict = Fields(fields.data(4))
        at = conflict.number(5) or conflict.number(2)
        raise Refused(f"key {conflict.data(3)!r} was written at {at}", conflict=True)
    text = (fields.data(2) or fields.data(3)).decode(errors="replace")
    numbers = ", ".join(str(number) for number in sorted(fields))
    raise Refused(text or f"KeyError with field {numbers}", unknown_txn=8 in fields)


def locked_value(body: bytes) -> bytes | None:
    """The value that PessimisticLockResponse tells of its one key. Raises Locked, Refused."""
    reply = every_error(body)
    # A repeated bool comes packed, or as a plain number.
    return None if reply.get(6) in (1, b"\x01") else reply.data(5)


def status_in(body: bytes) -> TxnStatus:
    """What CheckTxnStatusResponse says. Raises Refused."""
    reply = one_error(body)
    return TxnStatus(ttl_ms=reply.number(3), commit=reply.number(4))
