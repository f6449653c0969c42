"""What does hold, where linearizability does not? The strongest level of consistency of a history.

From strong to weak, for registers with unique writes:

- `linearizable`: one order explains all reads and keeps real time (zones, exact);
- `sequential`: one order for all keys, which keeps each process's own order (`sequential.py`: an
  order found, a contradiction proven, or unknown when time or memory run out);
- `sequential-by-key`: such an order for each key by itself, also called coherence (exact);
- `monotonic-reads`, `monotonic-writes`, `read-your-writes`: per process (`sessions.py`, exact). The
  three are not ordered among each other, and follow from each level above.

Every level asks that what was read was written: a value out of nowhere leaves none of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from soakbed.histories.register import FAILED, INITIAL, OK, RegisterHistory
from soakbed.histories.search import Answer
from soakbed.histories.sequential import order_of
from soakbed.histories.sessions import Told, cycle_in, out_of_order, rows_of, told_by_sessions
from soakbed.histories.zones import FAULTS, Clusters, check_zones, clusters_of

__all__ = ["LEVELS", "SESSION_LEVELS", "Level", "LevelName", "Tested", "strongest"]

LevelName = Literal[
    "linearizable",
    "sequential",
    "sequential-by-key",
    "monotonic-reads",
    "monotonic-writes",
    "read-your-writes",
]
LEVELS: tuple[LevelName, ...] = get_args(LevelName)
SESSION_LEVELS: tuple[LevelName, ...] = LEVELS[3:]

_SHRINKS_WITHIN_S = 10.0
_TRIES_WITHIN_S = 1.0

_NO_PROCESS = "the history does not say which process did what"
_WHY: dict[LevelName, str] = {
    "sequential": "no order of all keys together keeps the order of each process",
    "sequential-by-key": "what processes saw of one key contradicts itself",
    "monotonic-reads": "an older version was read after a newer one",
    "monotonic-writes": "two writes of one process were seen the other way round",
    "read-your-writes": "a process read an older version than it had written",
}


@dataclass(frozen=True, slots=True)
class Tested:
    """One level. `why` in words, unless it holds; `witness`: rows of the history that contradict
    the level by themselves, in the order of their starts; of `linearizable` as the zones have it.
    """

    name: LevelName
    answer: Answer
    why: str = ""
    witness: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """What holds of a history: `tested` has every level, from strong to weak."""

    tested: tuple[Tested, ...]
    seconds: float

    @property
    def strongest(self) -> LevelName | Literal["none"]:
        """The strongest of those proven to hold."""
        return next((one.name for one in self.tested if one.answer == "ok"), "none")

    @property
    def told(self) -> str:
        """In words, with what was not decided.

        >>> Level((Tested("linearizable", "violation"), Tested("sequential", "unknown"),
        ...        Tested("sequential-by-key", "ok")), 0.1).told
        'sequential-by-key; sequential is not decided'
        """
        holds = [self.strongest]
        if self.strongest in SESSION_LEVELS:
            holds = [one.name for one in self.tested if one.answer == "ok"]
        open_ = [one.name for one in self.tested if one.answer == "unknown"]
        undecided = f"; {', '.join(open_)} {'is' if len(open_) == 1 else 'are'} not decided"
        return " and ".join(holds) + (undecided if open_ else "")

    def of(self, name: LevelName) -> Tested:
        """One of them."""
        return next(one for one in self.tested if one.name == name)


def strongest(history: RegisterHistory, *, time_limit_s: float = 60.0) -> Level:
    """Test every level. Only `sequential` takes more than O(n log n), and heeds `time_limit_s`.

    Without processes nothing is known below `linearizable`, unless that holds. Raises ValueError if
    a value is written to a key twice.
    """
    began = time.monotonic()
    verdict = check_zones(history)
    if verdict.linearizable:
        return _level([Tested(name, "ok") for name in LEVELS], began)
    first = verdict.witnesses[0]
    whole = Tested("linearizable", "violation", FAULTS[first.fault], first.operations)
    strange = _out_of_nowhere(history)
    if strange:
        fault = FAULTS["failed_write" if len(strange) > 1 else "unwritten"]
        below = [Tested(name, "violation", fault, strange) for name in LEVELS[1:]]
        return _level([whole, *below], began)
    if not len(history.process):
        return _level(
            [whole, *(Tested(name, "unknown", _NO_PROCESS) for name in LEVELS[1:])], began
        )
    clusters = clusters_of(history)
    told = told_by_sessions(history, clusters)
    by_key = _tested(history, "sequential-by-key", told)
    sessions = [
        _tested(history, "monotonic-reads", told.of("writes", "follows", "reads")),
        _monotonic_writes(history, clusters),
        _tested(history, "read-your-writes", told.of("writes", "follows", "own")),
    ]
    sequential = (
        _sequential(history, began + time_limit_s)
        if by_key.answer == "ok"
        else Tested("sequential", "violation", by_key.why, by_key.witness)
    )
    return _level([whole, sequential, by_key, *sessions], began)


def _level(tested: list[Tested], began: float) -> Level:
    return Level(tuple(tested), time.monotonic() - began)


def _out_of_nowhere(history: RegisterHistory) -> tuple[int, ...]:
    """A read of what nobody wrote; with its write, if that surely was not applied."""
    read = np.flatnonzero(~history.is_write & (history.outcome == OK) & (history.value != INITIAL))
    written = np.flatnonzero(history.is_write & (history.outcome != FAILED))
    pairs = np.concatenate((written, read))
    order = np.lexsort((np.arange(len(pairs)) >= len(written), history.value[pairs],
                        history.key[pairs]))  # fmt: skip
    rows = pairs[order]
    begins = np.ones(len(rows), dtype=np.bool_)
    begins[1:] = (history.key[rows[1:]] != history.key[rows[:-1]]) | (
        history.value[rows[1:]] != history.value[rows[:-1]]
    )
    strange = rows[begins & ~history.is_write[rows]]
    if not len(strange):
        return ()
    one = int(strange[np.argmin(history.finish[strange])])
    failed = np.flatnonzero(
        history.is_write & (history.key == history.key[one]) & (history.value == history.value[one])
    )
    return (*(int(row) for row in failed[:1]), one)


def _tested(history: RegisterHistory, name: LevelName, told: Told) -> Tested:
    facts = cycle_in(told)
    if not facts:
        return Tested(name, "ok")
    return Tested(name, "violation", _WHY[name], _with_writes(history, rows_of(told, facts)))


def _monotonic_writes(history: RegisterHistory, clusters: Clusters) -> Tested:
    rows = out_of_order(history, clusters)
    if not rows:
        return Tested("monotonic-writes", "ok")
    why = _WHY["monotonic-writes"]
    return Tested("monotonic-writes", "violation", why, _with_writes(history, rows))


def _with_writes(history: RegisterHistory, rows: tuple[int, ...]) -> tuple[int, ...]:
    """And the writes of what was read, by start."""
    found = set(rows)
    kept = np.array(sorted(found), dtype=np.int64)
    own = history.is_write & (history.outcome != FAILED) & np.isin(history.key, history.key[kept])
    own &= np.isin(history.value, history.value[kept])
    told = set(zip(history.key[kept].tolist(), history.value[kept].tolist(), strict=True))
    for row in np.flatnonzero(own).tolist():
        if (int(history.key[row]), int(history.value[row])) in told:
            found.add(row)
    return tuple(sorted(found, key=lambda row: (int(history.start[row]), row)))


def _sequential(history: RegisterHistory, until_s: float) -> Tested:
    found = order_of(history, until_s)
    if found.answer == "ok":
        return Tested("sequential", "ok")
    if found.answer == "unknown":
        why = "no order was found and none ruled out in the time and memory there are"
        return Tested("sequential", "unknown", why)
    rows = np.array(_with_writes(history, found.against), dtype=np.int64)
    if not len(rows):
        rows = np.flatnonzero(history.outcome != FAILED)
        rows = rows[np.argsort(history.start[rows], kind="stable")]
    least = _least(history, rows, min(until_s, time.monotonic() + _SHRINKS_WITHIN_S))
    return Tested("sequential", "violation", _WHY["sequential"], tuple(least.tolist()))


def _least(
    history: RegisterHistory, rows: np.ndarray[tuple[int], np.dtype[np.int64]], until_s: float
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Fewer of `rows` that contradict the level; none can be spared, unless the time ran out."""
    size = max(1, len(rows) // 2)
    while True:
        at = len(rows)
        spared = False
        while at > 0 and time.monotonic() < until_s:
            at = max(0, at - size)
            rest = _closed(history, np.delete(rows, slice(at, at + size)))
            if len(rest) < len(rows) and _contradicts(history, rest, until_s):
                rows, spared = rest, True
        if time.monotonic() >= until_s or (size == 1 and not spared):
            return rows
        size = max(1, size // 2)


def _closed(
    history: RegisterHistory, rows: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Without reads whose writes are not among `rows`."""
    pairs = list(zip(history.key[rows].tolist(), history.value[rows].tolist(), strict=True))
    writes = {pair for row, pair in zip(rows.tolist(), pairs, strict=True)
              if history.is_write[row]}  # fmt: skip
    kept = [
        bool(history.is_write[row]) or pair[1] == INITIAL or pair in writes
        for row, pair in zip(rows.tolist(), pairs, strict=True)
    ]
    return rows[np.array(kept, dtype=np.bool_)] if len(rows) else rows


def _contradicts(
    history: RegisterHistory, rows: np.ndarray[tuple[int], np.dtype[np.int64]], until_s: float
) -> bool:
    part = history.only(rows)
    return order_of(part, min(until_s, time.monotonic() + _TRIES_WITHIN_S)).answer == "violation"
