"""Operations of a recorded history as arrays, and what is needed to tell of them in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from soakbed.histories.register import FAILED, OK, UNKNOWN, RegisterHistory
from soakbed.records.consistency import WitnessRow

__all__ = ["ATTEMPT_BITS", "FOREIGN", "MOST_AROUND", "RANK", "Rows", "around", "told"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FOREIGN = -1  # a value that no worker of ours wrote
RANK = 10**14  # a value is its writer's rank times this, plus a sequence number of that writer
MOST_AROUND = 60
# What happened to the key so long before and after is shown beside a contradiction, at least.
_LEAST_AROUND_US = 5_000
_PROCESS_BITS = 32
ATTEMPT_BITS = 24  # of a connection's number; above them the attempt of its engine
_WORDS: dict[int, Literal["ok", "failed", "unknown"]] = {
    OK: "ok",
    FAILED: "failed",
    UNKNOWN: "unknown",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """`n` operations, in any order; every column has length n.

    `sent`, `done`: int64 unix microseconds by the clock of the load host, rounded so that an
    interval never gets shorter; `done` of an unknown one: when its client gave up. `value`: id
    that was written or read, 0: nothing was there, FOREIGN: no id of ours. `process`: int64, the
    worker's rank and its connection. `outcome`: OK, FAILED or UNKNOWN. `revision`: 0 where the
    store says none.
    """

    key: Ints
    value: Ints
    sent: Ints
    done: Ints
    process: Ints
    is_write: Bools
    outcome: NDArray[np.uint8]
    revision: Ints

    def __len__(self) -> int:
        """How many operations."""
        return len(self.key)

    @property
    def worker(self) -> Ints:
        """The rank of the worker that did each, int64[n]."""
        return self.process >> _PROCESS_BITS

    @property
    def writer(self) -> Ints:
        """The rank that wrote each value, int64[n]; meaningless where nothing was read."""
        return self.value // RANK

    @property
    def ok(self) -> Bools:
        """Which had a reply that they were done."""
        return np.equal(self.outcome, OK)

    def taken(self, which: Bools | Ints) -> Rows:
        """Some of them."""
        return Rows(*(column[which] for column in self._columns()))

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """All of them, one after another."""
        if len(parts) == 1:
            return parts[0]
        columns = zip(*(one._columns() for one in parts), strict=True)
        return cls(*(np.concatenate(held) for held in columns)) if parts else cls.none()

    @classmethod
    def none(cls) -> Rows:
        """No operation at all."""
        none = np.array([], dtype=np.int64)
        is_write, outcome = none.astype(np.bool_), none.astype(np.uint8)
        return cls(none, none, none, none, none, is_write, outcome, none)

    def _columns(self) -> tuple[Any, ...]:
        """In the order of the fields."""
        return tuple(getattr(self, one.name) for one in fields(self))

    @staticmethod
    def process_of(worker: int, connection: NDArray[np.unsignedinteger]) -> Ints:
        """Processes of one worker; `connection`: its number for each."""
        return connection.astype(np.int64) + (worker << _PROCESS_BITS)

    def registers(self, *, apart_us: int = 0) -> RegisterHistory:
        """The same for the zone check. `apart_us`: by how much the clocks differ at most.

        Half of it at both ends of every interval: two hosts then hide what is shorter than it.
        """
        half = (apart_us + 1) // 2
        history = RegisterHistory(
            key=self.key,
            value=self.value,
            start=self.sent,
            finish=self.done,
            is_write=self.is_write,
            outcome=self.outcome,
            process=self.process,
        )
        return history.widened(half) if half else history


def told(rows: Rows, at: int, words: str = "", *, marked: bool = True) -> WitnessRow:
    """One operation for people."""
    return WitnessRow(
        process=_client(int(rows.process[at])),
        action="write" if rows.is_write[at] else "read",
        key=int(rows.key[at]),
        value=int(rows.value[at]),
        sent_us=int(rows.sent[at]),
        done_us=int(rows.done[at]),
        outcome=_WORDS[int(rows.outcome[at])],
        revision=int(rows.revision[at]),
        words=words,
        marked=marked,
    )


def _client(process: int) -> str:
    """Worker and connection; of an engine that went on in another's place, its number between."""
    worker, connection = process >> _PROCESS_BITS, process & ((1 << _PROCESS_BITS) - 1)
    attempt, number = connection >> ATTEMPT_BITS, connection & ((1 << ATTEMPT_BITS) - 1)
    return f"{worker}.{attempt}.{number}" if attempt else f"{worker}.{number}"


def around(rows: Rows, marked: Sequence[int], *, key: int) -> tuple[WitnessRow, ...]:
    """What else happened to `key` near some operations, in order; the nearest where it is much."""
    at = np.array(marked)
    from_us, until_us = int(rows.sent[at].min()), int(rows.done[at].max())
    more = max(until_us - from_us, _LEAST_AROUND_US)
    near = (rows.key == key) & (rows.sent <= until_us + more) & (rows.done >= from_us - more)
    near[at] = False
    found = np.flatnonzero(near)
    if len(found) > MOST_AROUND:
        away = np.maximum(from_us - rows.done[found], rows.sent[found] - until_us)
        found = found[np.argsort(np.maximum(away, 0), kind="stable")[:MOST_AROUND]]
    found = found[np.argsort(rows.sent[found], kind="stable")]
    return tuple(told(rows, int(one), marked=False) for one in found)
