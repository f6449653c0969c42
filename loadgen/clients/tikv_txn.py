"""Transactions on TiKV for checks: two-phase commit, optimistic and pessimistic, over TLS.

Only what a check needs: no async commit, no one-phase commit, no heartbeat (a transaction must end
within its locks' 20 s). Not for a cluster whose raw keys are measured: API V1 allows one of both.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from loadgen.clients import tikv_txn_messages as messages
from loadgen.clients.grpc_call import CallLost
from loadgen.clients.pd import LOGICAL_BITS
from loadgen.clients.region_calls import OK, Ask, RegionCalls, Result, ended
from loadgen.clients.tikv_txn_messages import (
    LOCK_TTL_MS,
    OP_DELETE,
    OP_LOCK,
    OP_PUT,
    Locked,
    Mutation,
    Refused,
    encoded_key,
)
from loadgen.engine.outcome import FAILED, Lost

__all__ = ["Transaction", "TransactionClient"]

DEADLINE_S = 5.0
PAUSE_S = 0.02


class TransactionClient:
    """Begins transactions. Not for several threads.

    ::

        with TransactionClient(endpoints, tls) as client, client.begin() as moved:
            balance = int(moved.get(b"account").needed())
            moved.put(b"account", b"%d" % (balance - 5))
            result = moved.commit()     # ok, failed (surely not applied) or unknown
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: ssl.SSLContext | None,
        *,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.deadline_s = deadline_s
        self.calls = RegionCalls(endpoints, tls)

    def __enter__(self) -> TransactionClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.calls.close()

    def begin(self, *, pessimistic: bool = False) -> Transaction:
        """A transaction that sees what is committed now. Raises CallLost when PD cannot be had."""
        start = self.calls.pd.timestamp(monotonic() + self.deadline_s)
        return Transaction(self.calls, start, self.deadline_s, pessimistic=pessimistic)


class Transaction:
    """Reads see the moment it began; writes wait here for the commit. Leaving it rolls it back."""

    def __init__(
        self, calls: RegionCalls, start: int, deadline_s: float, *, pessimistic: bool
    ) -> None:
        self.start = start
        self.pessimistic = pessimistic
        self._calls = calls
        self._deadline_s = deadline_s
        self._writes: dict[bytes, Mutation] = {}
        self._held: dict[bytes, int] = {}  # pessimistic locks: key -> for_update
        self._primary: bytes | None = None
        self._over = False
        self._followed: list[str] = []

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._over:
            self.rollback()

    # -- before the commit -------------------------------------------------------------------

    def get(self, key: bytes) -> Result:
        """The value as of the transaction's begin, or its own; None when there is none."""
        self._must_run()
        if key in self._writes:
            own = self._writes[key]
            return Result(OK, own.value if own.op == OP_PUT else None)

        def read(until: float) -> bytes | None:
            message = messages.get(key, self.start)
            reply = self._sent("KvGet", [key], _always(message), messages.one_error, until)[0]
            return None if reply.number(4) else reply.data(3)

        return self._ended(read, write=False)

    def get_for_update(self, key: bytes) -> Result:
        """Lock the key against others, then its newest value. Pessimistic transactions only."""
        self._must_run()
        if not self.pessimistic:
            raise ValueError("an optimistic transaction locks nothing before its commit")
        return self._ended(lambda until: self._lock(key, until), write=False)

    def put(self, key: bytes, value: bytes) -> Result:
        """Write at the commit; a pessimistic transaction locks the key now."""
        return self._change(Mutation(key, OP_PUT, value))

    def delete(self, key: bytes) -> Result:
        """Delete at the commit; likewise."""
        return self._change(Mutation(key, OP_DELETE))

    def _change(self, mutation: Mutation) -> Result:
        self._must_run()
        result = Result(OK)
        if self.pessimistic and mutation.key not in self._held:
            # TiKV checks no conflict on a key that a pessimistic transaction did not lock.
            result = self._ended(lambda until: self._lock(mutation.key, until), write=False)
        if result.outcome == OK:
            self._writes[mutation.key] = mutation
        return result._replace(value=None)

    def _lock(self, key: bytes, until: float) -> bytes | None:
        primary = self._primary if self._primary is not None else key
        while True:
            for_update = self._calls.pd.timestamp(until)
            message = messages.lock_for_update(key, primary, self.start, for_update)
            try:
                value: bytes | None
                (value,) = self._sent(
                    "KvPessimisticLock", [key], _always(message), messages.locked_value, until
                )
            except Refused as refused:
                if not refused.conflict:
                    raise
                self._pause(until, str(refused))  # a newer version came: lock that one
                continue
            self._primary = primary
            self._held[key] = for_update
            return value

    # -- the commit ----------------------------------------------------------------------------

    def commit(self) -> Result:
        """Write everything, or nothing: the value is the time of the commit.

        `failed` is surely not applied; its locks are removed as far as that can be done. Takes up
        to three deadlines.
        """
        self._must_run()
        self._over = True
        mutations = self._mutations()
        if not mutations:
            return Result(OK, self.start)
        result = self._ended(lambda until: self._prewrite(mutations, until), write=False)
        if result.outcome == OK:
            result = self._ended(self._commit_primary, write=True)
        if result.outcome == OK:
            rest = [m.key for m in mutations if m.key != self._primary]
            # Committed, whatever becomes of this: who meets a lock that stayed asks the primary.
            self._ended(lambda until: self._commit_keys(rest, result.value, until), write=True)
        elif result.outcome == FAILED:
            self._undo([mutation.key for mutation in mutations])
        return result

    def rollback(self) -> Result:
        """Give up: every lock goes, as far as that can be done; others clear away the rest."""
        self._must_run()
        self._over = True
        if not self._held:
            return Result(OK)
        newest = max(self._held.values())

        def undo(until: float) -> None:
            self._sent(
                "KVPessimisticRollback",
                list(self._held),
                lambda part: messages.rollback_pessimistic(part, self.start, newest),
                messages.every_error,
                until,
            )

        return self._ended(undo, write=False)

    def _mutations(self) -> list[Mutation]:
        """Everything that is to be committed, the primary first."""
        made = list(self._writes.values())
        made += [Mutation(key, OP_LOCK) for key in self._held if key not in self._writes]
        if self._primary is None and made:
            self._primary = made[0].key
        return sorted(made, key=lambda mutation: mutation.key != self._primary)

    def _prewrite(self, mutations: list[Mutation], until: float) -> None:
        assert self._primary is not None
        primary, by_key = self._primary, {mutation.key: mutation for mutation in mutations}
        for_update = max(self._held.values(), default=self.start) if self.pessimistic else 0

        def message(keys: list[bytes]) -> bytes:
            part = [by_key[key] for key in keys]
            return messages.prewrite(part, primary, self.start, for_update, LOCK_TTL_MS)

        self._sent("KvPrewrite", list(by_key), message, messages.every_error, until)

    def _commit_primary(self, until: float) -> int:
        assert self._primary is not None
        try:
            at = self._calls.pd.timestamp(until)
        except CallLost as lost:
            raise CallLost(Lost(FAILED, lost.lost.cause), str(lost)) from lost
        self._commit_keys([self._primary], at, until)
        return at

    def _commit_keys(self, keys: list[bytes], at: int, until: float) -> None:
        self._sent(
            "KvCommit",
            keys,
            lambda part: messages.commit(part, self.start, at),
            messages.one_error,
            until,
            write=True,
        )

    def _undo(self, keys: list[bytes]) -> None:
        """Remove the locks of a commit that came to nothing."""

        def undo(until: float) -> None:
            self._sent(
                "KvBatchRollback",
                keys,
                lambda part: messages.rollback(part, self.start),
                messages.one_error,
                until,
            )

        self._ended(undo, write=False)

    # -- the way there ---------------------------------------------------------------------------

    def _must_run(self) -> None:
        if self._over:
            raise ValueError("the transaction is over")

    def _ended(self, call: Callable[[float], Any], *, write: bool) -> Result:
        until = monotonic() + self._deadline_s
        self._followed = []

        def run() -> Any:  # noqa: ANN401
            try:
                return call(until)
            except Refused as refused:
                raise CallLost(Lost(FAILED, "other"), str(refused)) from refused

        return ended(run, self._followed, write=write)

    def _sent(
        self,
        method: str,
        keys: list[bytes],
        message: Callable[[list[bytes]], bytes],
        read: Callable[[bytes], Any],
        until: float,
        *,
        write: bool = False,
    ) -> list[Any]:
        """One call to each region of `keys`; locks of others are waited for, or cleared away."""
        replies = []
        todo = list(keys)
        while todo:
            region = self._calls.region(encoded_key(todo[0]), until)
            part = [k for k in todo if _inside(encoded_key(k), region.start, region.end)]
            ask = Ask(method, encoded_key(part[0]), message(part), read, write)
            body = self._calls.once(region, ask, b"", self._followed, until)
            if body is None:
                continue  # the region is another now: sort the keys anew
            try:
                replies.append(read(body))
            except Locked as lock:
                if str(lock) not in self._followed:
                    self._followed.append(str(lock))
                self._clear(lock, until)
                continue
            todo = [key for key in todo if key not in part]
        return replies

    def _pause(self, until: float, why: str) -> None:
        if monotonic() + PAUSE_S > until:
            raise CallLost(Lost(FAILED, "timeout"), why)
        sleep(PAUSE_S)

    def _clear(self, lock: Locked, until: float) -> None:
        """Find out what became of the lock's transaction; end it where that one did not."""
        if monotonic() + PAUSE_S > until:
            raise CallLost(Lost(FAILED, "timeout"), str(lock))
        now = self._calls.pd.timestamp(until)
        expired = (lock.start >> LOGICAL_BITS) + lock.ttl_ms < now >> LOGICAL_BITS
        ask = messages.check_txn_status(lock, self.start, now, undo_if_gone=expired)
        try:
            (status,) = self._sent(
                "KvCheckTxnStatus", [lock.primary], _always(ask), messages.status_in, until
            )
        except Refused as refused:
            if not refused.unknown_txn:
                raise
            self._pause(until, str(lock))  # its primary is not written yet
            return
        if status.ttl_ms:
            self._pause(until, str(lock))
        elif lock.pessimistic:
            undo = messages.rollback_pessimistic([lock.key], lock.start, lock.for_update)
            self._sent(
                "KVPessimisticRollback", [lock.key], _always(undo), messages.every_error, until
            )
        else:
            end = messages.resolve_lock(lock.key, lock.start, status.commit)
            self._sent("KvResolveLock", [lock.key], _always(end), messages.one_error, until)


def _always(message: bytes) -> Callable[[list[bytes]], bytes]:
    """The message of a call about one key."""
    return lambda _: message


def _inside(key: bytes, start: bytes, end: bytes) -> bool:
    return start <= key and (not end or key < end)
