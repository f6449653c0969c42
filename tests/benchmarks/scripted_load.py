"""A small load whose every operation is recorded: a few clients in threads, values that are unique.

It presses the real servers of the failover shows and says what its clients saw, as
`soakbed.histories` reads it. Nothing is retried: an operation without a reply stays unknown.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from soakbed.histories.register import FAILED, OK, UNKNOWN, RegisterHistory

__all__ = ["KEYS", "Client", "Refused", "Row", "ScriptedLoad", "Unanswered", "history_of", "waited"]

KEYS = 64
VALUES_PER_WORKER = 10**14  # as the engine numbers what it writes: rank * 10^14 + sequence
# A server that is away is asked again after this; a pause between attempts, no limit on anything.
PAUSE_S = 0.01
# Far beyond what any condition takes, on a machine ten times as slow too.
NEVER_S = 300.0

Made = TypeVar("Made")


class Refused(Exception):
    """The server said no, and surely applied nothing."""


class Unanswered(Exception):
    """No reply: a write may have been applied."""


class Client(Protocol):
    """One connection to a target, made anew wherever it was lost."""

    def get(self, key: int) -> int:
        """The value, 0 where there is none. Raises Refused or Unanswered."""

    def put(self, key: int, value: int) -> None:
        """Write it. Raises Refused or Unanswered."""

    def close(self) -> None:
        """Hang up."""


@dataclass(frozen=True, slots=True)
class Row:
    """One operation as its client saw it; times in ns of the wall clock."""

    key: int
    value: int
    sent_ns: int
    done_ns: int
    is_write: bool
    outcome: int
    worker: int


@dataclass(slots=True)
class _Worker:
    """What one client did, in order. `acknowledged`: writes, for whoever waits for them."""

    rank: int
    client: Client
    read_share: float
    rows: list[Row] = field(default_factory=list)
    acknowledged: int = 0
    last_sent_ns: int = 0  # of the newest acknowledged write
    sequence: int = 0

    def operate(self, key: int, *, is_write: bool) -> Row:
        """One operation, recorded whatever comes of it."""
        self.sequence += is_write
        value = self.rank * VALUES_PER_WORKER + self.sequence if is_write else 0
        sent_ns = time.time_ns()
        outcome = OK
        try:
            if is_write:
                self.client.put(key, value)
            else:
                value = self.client.get(key)
        except Refused:
            outcome = FAILED
        except Unanswered:
            outcome = UNKNOWN
        row = Row(key, value, sent_ns, time.time_ns(), is_write, outcome, self.rank)
        self.rows.append(row)
        if is_write and outcome == OK:
            self.last_sent_ns = sent_ns
            self.acknowledged += 1
        return row


class ScriptedLoad:
    """Clients that read and write random keys from `start` to `stop`, each in its own thread."""

    def __init__(
        self, dial: Callable[[int], Client], *, workers: int = 4, read_share: float = 0.5
    ) -> None:
        self._workers = [_Worker(rank, dial(rank), read_share) for rank in range(workers)]
        self._reader = _Worker(workers, dial(workers), 1.0)
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._press, args=(worker,), daemon=True)
            for worker in self._workers
        ]

    def _press(self, worker: _Worker) -> None:
        drawn = random.Random(worker.rank)
        while not self._over.is_set():
            is_write = drawn.random() >= worker.read_share
            row = worker.operate(drawn.randrange(KEYS), is_write=is_write)
            if row.outcome != OK:
                self._over.wait(PAUSE_S)

    @property
    def acknowledged(self) -> int:
        """Writes so far, of all clients."""
        return sum(worker.acknowledged for worker in self._workers)

    def wait_for_writes(
        self, more: int, *, sent_after_ns: int = 0, keys: Iterable[int] = range(KEYS)
    ) -> None:
        """Until so many more are acknowledged, and each client has had one that it sent after.

        `keys`: of these alone, as an engine's load may say; here all of them are one member's.
        """
        wanted = self.acknowledged + more

        def they_are() -> bool:
            last = [worker.last_sent_ns for worker in self._workers]
            return self.acknowledged >= wanted and min(last) >= sent_after_ns

        waited(they_are, f"{more} more acknowledged writes")

    @contextmanager
    def pressing(self):
        """On during the block; stopped and joined after it, also when the block fails."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def read_back(self) -> None:
        """Every key once, until each has been answered; after the block."""
        for key in range(KEYS):
            waited(
                lambda key=key: self._reader.operate(key, is_write=False).outcome == OK,
                f"a read of key {key}",
            )

    def close(self) -> None:
        """Hang up everywhere."""
        for worker in (*self._workers, self._reader):
            worker.client.close()

    def rows(self) -> list[Row]:
        """All operations, by the time they were sent."""
        workers = (*self._workers, self._reader)
        return sorted((row for one in workers for row in one.rows), key=lambda row: row.sent_ns)


def waited(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so. Raises TimeoutError when it never is."""
    ends_s = time.monotonic() + NEVER_S
    while not condition():
        if time.monotonic() > ends_s:
            raise TimeoutError(f"within {NEVER_S:.0f} s never: {what}")
        time.sleep(PAUSE_S)


def history_of(rows: Sequence[Row]) -> RegisterHistory:
    """As arrays, times in microseconds; row for row."""
    return RegisterHistory(
        key=np.array([row.key for row in rows], dtype=np.int64),
        value=np.array([row.value for row in rows], dtype=np.int64),
        start=np.array([row.sent_ns // 1000 for row in rows], dtype=np.int64),
        finish=np.array([-(-row.done_ns // 1000) for row in rows], dtype=np.int64),
        is_write=np.array([row.is_write for row in rows], dtype=np.bool_),
        outcome=np.array([row.outcome for row in rows], dtype=np.uint8),
        process=np.array([row.worker for row in rows], dtype=np.int64),
    )
