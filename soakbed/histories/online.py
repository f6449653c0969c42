"""The zone check as a history grows: memory for what may still matter, never for all that was.

Linearizability is local (Herlihy and Wing 1990), so a sample of keys can be watched for days, if
every operation on them is seen. Each cluster is kept as its zone alone. Three facts let it go:

- An operation lasts `longest` at most (the client's timeout). Once all that finished by `until`
  have been fed, what comes later started after `until - longest`, the horizon.
- A value is over once another of its key surely began after it and was seen before the horizon: no
  operation that is still to come may return it, so one that does is a violation without it.
- The zone of a value that is over can be crossed only by one that is not over and was first seen
  before the zone's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from soakbed.histories.register import FAILED, INITIAL, OK, UNKNOWN, RegisterHistory

__all__ = ["Crossing", "OnlineZones"]

_Ints = NDArray[np.int64]
_LAST = np.iinfo(np.int64).max
_FIRST = np.iinfo(np.int64).min

Found = Literal["order", "before_its_write", "not_there"]


@dataclass(frozen=True, slots=True)
class Crossing:
    """What was found: `values` of `key` that no order holds together, and when.

    `order`: two values, each of which must come before the other; `before_its_write`: a value that
    was read before its write began; `not_there`: one that nobody wrote, whose write failed, or that
    was over. The history on disk, checked for this key alone, gives the operations.
    """

    found: Found
    key: int
    values: tuple[int, ...]
    from_: int
    until: int


@dataclass(slots=True)
class _Zones:
    """Clusters that may still matter, sorted by key and value."""

    key: _Ints
    value: _Ints
    first_finish: _Ints
    last_start: _Ints
    write_start: _Ints  # _LAST: not seen yet

    def __len__(self) -> int:
        return len(self.key)

    def kept(self, which: NDArray[np.bool_]) -> _Zones:
        return _Zones(
            self.key[which],
            self.value[which],
            self.first_finish[which],
            self.last_start[which],
            self.write_start[which],
        )


class OnlineZones:
    """Feed what was seen, in any order within `longest`; each violation is told once.

    `longest`: the longest that an operation lasts, in the unit of the times; unknown writes start
    that long before they are told of, at most. Not for several threads.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        none = np.array([], dtype=np.int64)
        self._zones = _Zones(none, none, none, none, none)
        self.operations = 0

    def __len__(self) -> int:
        """How many clusters are kept."""
        return len(self._zones)

    def feed(self, history: RegisterHistory, *, until: int) -> list[Crossing]:
        """Take what was seen since; everything that finished by `until` has now been fed."""
        self.operations += len(history)
        zones = _joined(self._zones, _zones_of(history))
        horizon = until - self._longest
        early = (zones.first_finish < zones.write_start) & (zones.write_start < _LAST)
        absent = (zones.write_start == _LAST) & (zones.first_finish <= horizon)
        bad = early | absent
        found = [_alone(zones, at) for at in np.flatnonzero(bad).tolist()]
        zones = zones.kept(~bad)
        crossed, found_crossed = _crossings(zones)
        self._zones = _that_matter(zones.kept(~crossed), horizon)
        return [*found, *found_crossed]


def _zones_of(history: RegisterHistory) -> _Zones:
    """Zones of what is new; rows of what surely was not, and of reads without an answer, left."""
    unanswered = ~history.is_write & (history.outcome != OK)
    told = ~(unanswered | (history.is_write & (history.outcome == FAILED)))
    finish = np.where(history.outcome == UNKNOWN, _LAST, history.finish)[told]
    is_write, start = history.is_write[told], history.start[told]
    write_start = np.where(is_write, start, _LAST)
    return _Zones(history.key[told], history.value[told], finish, start, write_start)


def _joined(kept: _Zones, new: _Zones) -> _Zones:
    key = np.concatenate((kept.key, new.key))
    value = np.concatenate((kept.value, new.value))
    if not len(key):
        return kept
    order = _by_key_and_value(key, value)
    key, value = key[order], value[order]
    begins = np.ones(len(key), dtype=np.bool_)
    begins[1:] = (key[1:] != key[:-1]) | (value[1:] != value[:-1])
    at = np.flatnonzero(begins)
    columns = [
        function.reduceat(np.concatenate((old, fresh))[order], at)
        for function, old, fresh in (
            (np.minimum, kept.first_finish, new.first_finish),
            (np.maximum, kept.last_start, new.last_start),
            (np.minimum, kept.write_start, new.write_start),
        )
    ]
    key, value = key[at], value[at]
    initial = value == INITIAL
    columns[0][initial] = columns[2][initial] = _FIRST
    return _Zones(key, value, *columns)


def _by_key_and_value(key: _Ints, value: _Ints) -> _Ints:
    """One number sorts several times faster than two, where both fit in it."""
    most = int(value.max()) + 1
    if most * (int(key.max()) + 1) < _LAST:
        return np.argsort(key * most + value)
    return np.lexsort((value, key))


def _alone(zones: _Zones, at: int) -> Crossing:
    early = bool(zones.write_start[at] < _LAST)
    seen = int(zones.first_finish[at])
    until = int(zones.write_start[at]) if early else seen
    found: Found = "before_its_write" if early else "not_there"
    return Crossing(found, int(zones.key[at]), (int(zones.value[at]),), seen, until)


def _crossings(zones: _Zones) -> tuple[NDArray[np.bool_], list[Crossing]]:
    """Which clusters to let go of since they are told of, and what is told.

    Of two that cross, the one first seen later goes: the earlier one may cross more.
    """
    first, last, key = zones.first_finish, zones.last_start, zones.key
    gone = np.zeros(len(zones), dtype=np.bool_)
    seen = np.flatnonzero(first < _LAST)
    order = seen[np.lexsort((first[seen], key[seen]))]
    # The end of the widest zone of the key that was first seen before: it may hold what follows.
    told: list[Crossing] = []
    reach, holder = _running_reach(key[order], last[order])
    inside = (holder >= 0) & (first[order] < reach) & (first[order[holder]] < last[order])
    for at in np.flatnonzero(inside).tolist():
        a, b = int(order[holder[at]]), int(order[at])
        gone[b] = True
        values = (int(zones.value[a]), int(zones.value[b]))
        told.append(Crossing("order", int(key[b]), values, int(first[b]), int(last[b])))
    return gone, told


def _running_reach(key: _Ints, last: _Ints) -> tuple[_Ints, _Ints]:
    """Per row the largest `last` among rows of its key before it, and that row; -1: none."""
    count = len(key)
    if not count:
        return last, last
    # Ranks of `last`, lifted by key, so that one running maximum serves all keys.
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(last, kind="stable")] = np.arange(count)
    new_key = np.ones(count, dtype=np.bool_)
    new_key[1:] = key[1:] != key[:-1]
    lifted = np.cumsum(new_key) * count + rank
    highest = np.maximum.accumulate(lifted)
    place = np.empty(count, dtype=np.int64)
    place[rank] = np.arange(count)
    holder = np.full(count, -1, dtype=np.int64)
    holder[1:] = np.where(new_key[1:], -1, place[highest[:-1] % count])
    return np.where(holder >= 0, last[holder], _FIRST), holder


def _that_matter(zones: _Zones, horizon: int) -> _Zones:
    """Without the clusters that are over and that nothing can cross any more."""
    if not len(zones):
        return zones
    first, last = zones.first_finish, zones.last_start
    at = np.flatnonzero(np.concatenate(([True], zones.key[1:] != zones.key[:-1])))
    of_key = np.repeat(np.arange(len(at)), np.diff(at, append=len(zones)))
    follows = np.where(first <= horizon, last, _FIRST)
    best = np.maximum.reduceat(follows, at)
    is_best = follows == best[of_key]
    second = np.maximum.reduceat(np.where(is_best, _FIRST, follows), at)
    alone = np.add.reduceat(is_best.astype(np.int64), at) == 1
    others = np.where(is_best & alone[of_key], second[of_key], best[of_key])
    # One whose write is still to come is waited for.
    over = (others > first) & (zones.write_start < _LAST)
    earliest_open = np.minimum.reduceat(np.where(over, _LAST, first), at)
    return zones.kept(~over | (last > earliest_open[of_key]))
