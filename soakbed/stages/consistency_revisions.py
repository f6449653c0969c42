"""What etcd says of itself: a revision per write, the same for all clients, and never going back.

A put is answered with its own revision, a read with that of the value it found, so these orders
are the store's own. They need no values, and what is missing from a history takes nothing from
what the rest contradicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from soakbed.records.consistency import Witness
from soakbed.stages.consistency_rows import Bools, Ints, Rows, around, told

__all__ = ["MOST_TOLD", "Against", "WriteOrder", "of_clients", "of_values"]

MOST_TOLD = 20
# Operations that ended so long ago are kept as one: only what lasted longer can have begun before.
_KEPT_US = 60_000_000
_FIRST = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Against:
    """What contradicts a promise: how often, and the first few."""

    violations: int = 0
    witnesses: tuple[Witness, ...] = ()
    operations: int = 0

    def __add__(self, other: Against) -> Against:
        """Of two parts of a history."""
        return Against(
            self.violations + other.violations,
            (*self.witnesses, *other.witnesses)[:MOST_TOLD],
            self.operations + other.operations,
        )


def of_clients(rows: Rows) -> Against:
    """Does a client see a key go back? One process, one clock: no bound is needed."""
    seen = rows.taken(rows.ok & (rows.revision > 0))
    if not len(seen):
        return Against()
    _, group = np.unique(np.column_stack((seen.process, seen.key)), axis=0, return_inverse=True)
    later, before = _went_back(group.reshape(-1), seen, np.ones(len(seen), np.bool_), strict=False)
    return Against(
        len(later),
        tuple(_one_client(seen, a, b) for a, b in _first(seen, before, later)),
        len(seen),
    )


def of_values(rows: Rows) -> Against:
    """Do all see one value at one revision?"""
    seen = rows.taken(rows.ok & (rows.revision > 0))
    order = np.lexsort((seen.sent, seen.revision))
    one, other = order[:-1], order[1:]
    same = seen.revision[one] == seen.revision[other]
    differ = (seen.value[one] != seen.value[other]) | (seen.key[one] != seen.key[other])
    at = np.flatnonzero(same & differ)
    pairs = _first(seen, one[at], other[at])
    return Against(len(at), tuple(_two_values(seen, a, b) for a, b in pairs), len(seen))


@dataclass(slots=True)
class WriteOrder:
    """Is a write's revision above all that anybody had seen before it was sent? Fed as time goes.

    `apart_us`: by how much the clocks of the load hosts differ at most; None: nobody knows, so
    that operations are compared with those of the same host alone. `hosts`: of each rank, a number
    of its load host.
    """

    apart_us: int | None
    hosts: Sequence[int] = ()
    found: Against = field(default_factory=Against)
    at_once: int = 50_000  # operations: what is kept is sorted anew each time
    _waiting: list[Rows] = field(default_factory=list)
    _open: Rows = field(default_factory=Rows.none)
    _kept: Rows = field(default_factory=Rows.none)

    def feed(self, rows: Rows, until_us: int) -> None:
        """Take operations; all that ended by `until_us` have now been fed."""
        self._waiting.append(rows.taken(rows.ok & (rows.revision > 0)))
        if sum(map(len, self._waiting)) >= self.at_once:
            self._ask(until_us)

    def _ask(self, until_us: int) -> None:
        seen = Rows.joined(self._waiting)
        self._waiting.clear()
        writes = Rows.joined([self._open, seen.taken(seen.is_write)])
        kept = Rows.joined([self._kept, seen])
        ripe = writes.sent <= until_us
        self.found = self.found + self._asked(kept, writes.taken(ripe))
        self._open = writes.taken(~ripe)
        self._kept = kept.taken(_needed(kept, self._group(kept), until_us - _KEPT_US))

    def end(self) -> Against:
        """Nothing more comes."""
        self._ask(int(np.iinfo(np.int64).max))
        return self.found

    def _group(self, rows: Rows) -> Ints:
        if self.apart_us is not None or not len(self.hosts):
            return np.zeros(len(rows), dtype=np.int64)
        return np.array(self.hosts, dtype=np.int64)[rows.worker]

    def _asked(self, kept: Rows, writes: Rows) -> Against:
        if not len(writes):
            return Against()
        both = Rows.joined([kept, writes])
        asked = np.zeros(len(both), dtype=np.bool_)
        asked[len(kept) :] = True
        group, apart = self._group(both), self.apart_us or 0
        later, before = _went_back(group, both, asked, strict=True, apart_us=apart)
        told_of = tuple(_two_writes(both, a, b) for a, b in _first(both, before, later))
        return Against(len(later), told_of[:MOST_TOLD], len(writes))


def _needed(rows: Rows, group: Ints, horizon_us: int) -> Bools:
    """Rows that ended since, and of each group the one before that had seen most."""
    needed = rows.done >= horizon_us
    for one in np.unique(group[~needed]).tolist():
        old = np.flatnonzero(~needed & (group == one))
        needed[old[np.argmax(rows.revision[old])]] = True
    return needed


def _went_back(
    group: Ints, rows: Rows, asked: Bools, *, strict: bool, apart_us: int = 0
) -> tuple[Ints, Ints]:
    """Rows among `asked` whose revision is below (`strict`: not above) one that a row of their
    group had seen when it ended, before they were sent; and for each the row that had seen most.
    """
    seen = np.flatnonzero(~asked) if strict else np.arange(len(rows))
    at = np.flatnonzero(asked)
    if not len(seen) or not len(at):
        return at[:0], at[:0]
    _, names = np.unique(group, return_inverse=True)
    names = names.reshape(-1).astype(np.int64)
    earliest = int(min(rows.sent.min(), rows.done.min()))
    span = int(rows.done.max()) + apart_us - earliest + 2
    ends = names[seen] * span + (rows.done[seen] + apart_us - earliest)
    order = np.argsort(ends, kind="stable")
    seen, ends = seen[order], ends[order]
    most = _running_most(names[seen], rows.revision[seen])
    place = np.searchsorted(ends, names[at] * span + (rows.sent[at] - earliest), side="left") - 1
    had = seen[most[np.maximum(place, 0)]]
    known = (place >= 0) & (names[seen[np.maximum(place, 0)]] == names[at])
    least = rows.revision[at] - (1 if strict else 0)
    bad = known & (rows.revision[had] > least) & (had != at)
    return at[bad], had[bad]


def _running_most(group: Ints, value: Ints) -> Ints:
    """Per row the place of the largest `value` so far in its group; groups lie together."""
    count = len(value)
    rank = np.empty(count, dtype=np.int64)
    order = np.argsort(value, kind="stable")
    rank[order] = np.arange(count)
    new = np.ones(count, dtype=np.int64)
    new[1:] = group[1:] != group[:-1]
    highest = np.maximum.accumulate(np.cumsum(new) * count + rank)
    made: Ints = order[highest % count]
    return made


def _first(rows: Rows, before: Ints, later: Ints) -> list[tuple[int, int]]:
    """The first pairs by time."""
    order = np.argsort(rows.sent[later], kind="stable")[:MOST_TOLD]
    return [(int(before[at]), int(later[at])) for at in order]


def _one_client(rows: Rows, before: int, later: int) -> Witness:
    key, had, got = rows.key[later], rows.revision[before], rows.revision[later]
    return _pair(
        rows,
        (before, f"saw revision {had}"),
        (later, f"saw revision {got} after that"),
        f"key {key}: a client saw revision {got} after it had seen {had}",
    )


def _two_writes(rows: Rows, before: int, later: int) -> Witness:
    had, got = rows.revision[before], rows.revision[later]
    return _pair(
        rows,
        (before, f"had seen revision {had} when it ended"),
        (later, f"was sent after that and got revision {got}"),
        f"key {rows.key[later]}: a write got revision {got}, though {had} had been seen before it "
        "was sent",
    )


def _two_values(rows: Rows, one: int, other: int) -> Witness:
    revision = rows.revision[one]
    return _pair(
        rows,
        (one, f"revision {revision} is this value"),
        (other, f"revision {revision} is that one"),
        f"key {rows.key[one]}: revision {revision} was seen with two values",
    )


def _pair(rows: Rows, one: tuple[int, str], other: tuple[int, str], sentence: str) -> Witness:
    at = [one[0], other[0]]
    marked = tuple(told(rows, place, words) for place, words in (one, other))
    mine = {(row.process, row.sent_us) for row in marked}
    near = dict.fromkeys(around(rows, at, key=int(rows.key[other[0]])))
    return Witness(
        sentence=sentence,
        rows=marked,
        from_us=int(rows.sent[at].min()),
        until_us=int(rows.done[at].max()),
        staleness_us=max(int(rows.sent[other[0]] - rows.done[one[0]]), 0),
        around=tuple(row for row in near if (row.process, row.sent_us) not in mine),
    )
