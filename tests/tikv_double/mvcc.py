"""Versions and locks of transactional keys: what TiKV's storage/mvcc keeps, in memory."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Any

from tests.tikv_double.messages import more

__all__ = [
    "CHECK_NOT_EXISTS",
    "INSERT",
    "PESSIMISTIC",
    "PUT",
    "Lock",
    "Mvcc",
    "TxnRefused",
    "encoded",
]

PUT, DELETE, LOCK, ROLLBACK, INSERT, PESSIMISTIC, CHECK_NOT_EXISTS = range(7)  # kvrpcpb.Op
GROUP = 8


class TxnRefused(Exception):
    """A KeyError of kvrpcpb."""

    def __init__(self, **words: Any) -> None:
        super().__init__(str(words))
        self.error = more.TxnError(**words)


@dataclass
class Lock:
    """One lock; `value` is what the commit will write."""

    primary: bytes
    start: int
    ttl: int  # ms
    op: int
    value: bytes = b""
    for_update_ts: int = 0

    def expired(self, now: int) -> bool:
        return (self.start >> 18) + self.ttl < now >> 18 or not self.ttl

    def info(self, key: bytes) -> Any:
        return more.LockInfo(
            primary_lock=self.primary,
            lock_version=self.start,
            key=key,
            lock_ttl=self.ttl,
            lock_type=self.op,
            lock_for_update_ts=self.for_update_ts,
        )


@dataclass(order=True)
class Write:
    """A committed change, or the mark that a transaction was rolled back."""

    commit: int
    start: int
    op: int = field(compare=False)
    value: bytes = field(compare=False, default=b"")


@dataclass
class Mvcc:
    """key -> its lock; key -> its writes, oldest first."""

    locks: dict[bytes, Lock] = field(default_factory=dict)
    writes: dict[bytes, list[Write]] = field(default_factory=dict)

    def read(self, key: bytes, version: int) -> bytes | None:
        """The value at that time. Raises TxnRefused while it is not known yet."""
        lock = self.locks.get(key)
        if lock is not None and lock.start <= version and lock.op in (PUT, DELETE, INSERT):
            raise TxnRefused(locked=lock.info(key))
        return self.committed(key, version)

    def committed(self, key: bytes, version: int) -> bytes | None:
        """Likewise, whatever is locked."""
        for write in reversed(self.writes.get(key, ())):
            if write.commit <= version and write.op in (PUT, DELETE):
                return write.value if write.op == PUT else None
        return None

    def newest(self, key: bytes) -> Write | None:
        """The last commit that was no rollback."""
        written = (w for w in reversed(self.writes.get(key, ())) if w.op != ROLLBACK)
        return next(written, None)

    def of_txn(self, key: bytes, start: int) -> Write | None:
        """What became of that transaction on this key, as far as it has ended."""
        return next((w for w in self.writes.get(key, ()) if w.start == start), None)

    def commit(self, key: bytes, lock: Lock, commit: int) -> None:
        del self.locks[key]
        op = {INSERT: PUT, PESSIMISTIC: LOCK}.get(lock.op, lock.op)
        insort(self.writes.setdefault(key, []), Write(commit, lock.start, op, lock.value))

    def roll_back(self, key: bytes, start: int) -> None:
        """Remove the transaction's lock and remember, so that a late prewrite is refused."""
        lock = self.locks.get(key)
        if lock is not None and lock.start == start:
            del self.locks[key]
        if self.of_txn(key, start) is None:
            insort(self.writes.setdefault(key, []), Write(start, start, ROLLBACK))

    def refuse_newer(self, key: bytes, start: int, seen: int) -> None:
        """Raise TxnRefused when something was committed after `seen`, or it was rolled back."""
        ended = self.of_txn(key, start)
        if ended is not None and ended.op == ROLLBACK:
            raise self._conflict(key, start, ended, reason=3)
        newest = self.newest(key)
        if newest is not None and newest.commit > seen:
            raise self._conflict(key, start, newest, reason=1 if seen == start else 2)

    @staticmethod
    def _conflict(key: bytes, start: int, write: Write, *, reason: int) -> TxnRefused:
        return TxnRefused(
            conflict=more.WriteConflict(
                start_ts=start,
                conflict_ts=write.start,
                conflict_commit_ts=write.commit,
                key=key,
                reason=reason,
            )
        )


def encoded(key: bytes) -> bytes:
    """Where a transactional key lies: its eights, each with a mark of how many are filling."""
    made = bytearray()
    for at in range(0, len(key) + 1, GROUP):
        part = key[at : at + GROUP]
        made += part.ljust(GROUP, b"\0") + bytes([0xFF - (GROUP - len(part))])
    return bytes(made)
