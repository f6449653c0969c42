"""Are registers with unique writes linearizable? In O(n log n), with a witness of four operations.

Gibbons and Korach, "Testing Shared Memories", SIAM J. Comput. 26(4), 1997; zones in the words of
Golab, Li and Shah, PODC 2011. All operations that write or read one value are its cluster. With `f`
the first finish in it and `s` the last start, its zone runs from f to s: forward if f < s, else
backward. A history is linearizable if and only if

0. every value that is read was written, and no operation of a cluster finishes before its write
   starts;
1. no two forward zones of a key overlap;
2. no backward zone lies inside a forward zone of its key.

Why it is enough: in a linearization a cluster is contiguous, and A comes before B exactly where an
operation of A finishes before one of B starts, f_A < s_B. The order exists if these arrows have no
cycle, and every cycle holds one of two clusters (take the one with the smallest f, its predecessor,
and that one's): f_A < s_B and f_B < s_A, which is 1 and 2. Touching intervals are concurrent.

An unknown write that nobody read may never have happened; one that was read happened some time
after it was sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from soakbed.histories.register import FAILED, INITIAL, OK, UNKNOWN, RegisterHistory

__all__ = [
    "FAULTS",
    "MOST_WITNESSES",
    "Clusters",
    "Fault",
    "Verdict",
    "Witness",
    "check_zones",
    "clusters_of",
]

Fault = Literal["unwritten", "failed_write", "before_its_write", "order"]
FAULTS: dict[Fault, str] = {
    "unwritten": "a value was read that nobody wrote",
    "failed_write": "a value was read whose write surely was not applied",
    "before_its_write": "a value was read before its write began",
    "order": "of two values, each must have come before the other",
}
_Ints = NDArray[np.int64]

MOST_WITNESSES = 100
_LAST = np.iinfo(np.int64).max
_FIRST = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Witness:
    """At most four operations that no order can hold together; rows of the history.

    `unwritten`: a read of a value that nobody wrote; `failed_write`: of one whose write surely was
    not applied; `before_its_write`: an operation was over before the write of its value began;
    `order`: of two values each must have come before the other. `from_`, `until`: first start and
    last finish among the operations, in the unit of the history. `staleness`: by how much the
    times would have to move; 0 where it has no meaning.
    """

    fault: Fault
    key: int
    operations: tuple[int, ...]
    from_: int
    until: int
    staleness: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`violations` counts all that the test found; `witnesses` are the first of them by time."""

    operations: int
    keys: int
    violations: int
    witnesses: tuple[Witness, ...]

    @property
    def linearizable(self) -> bool:
        """Whether some order of the operations explains what clients saw."""
        return not self.violations


@dataclass(frozen=True, slots=True)
class Clusters:
    """Per value of a key: its zone, when its write began, and its rows, `rows[at:at + count]`."""

    rows: _Ints
    at: _Ints
    key: _Ints
    first_finish: _Ints
    last_start: _Ints
    write_start: _Ints  # _LAST: it was not written
    write_failed: NDArray[np.bool_]

    def rows_of(self, cluster: int) -> _Ints:
        """Rows of the history."""
        end = self.at[cluster + 1] if cluster + 1 < len(self.at) else len(self.rows)
        return self.rows[self.at[cluster] : end]


def check_zones(history: RegisterHistory) -> Verdict:
    """Whether the registers of a history are linearizable, every one of them.

    Raises ValueError if a value is written twice.
    """
    if not len(history):
        return Verdict(0, 0, 0, ())
    clusters = clusters_of(history)
    unsound = _unsound(clusters)
    pairs = _crossing(clusters, unsound)
    found = [_alone(history, clusters, int(one)) for one in unsound[:MOST_WITNESSES]]
    found += [_both(history, clusters, a, b) for a, b in pairs[:MOST_WITNESSES].tolist()]
    found.sort(key=lambda one: (one.from_, one.key))
    keys = int(np.count_nonzero(np.diff(np.sort(history.key)))) + 1
    return Verdict(len(history), keys, len(unsound) + len(pairs), tuple(found[:MOST_WITNESSES]))


def clusters_of(history: RegisterHistory) -> Clusters:
    """Clusters of a history of at least one operation, by value. Raises ValueError as above."""
    rows, name, at = _grouped(history)
    is_write, outcome = history.is_write[rows], history.outcome[rows]
    finish = history.finish[rows]
    finish[outcome == UNKNOWN] = _LAST
    start = history.start[rows]
    failed = is_write & (outcome == FAILED)
    if failed.any():
        # It never was: its times may not narrow the zone.
        finish[failed], start[failed] = _LAST, _FIRST
    group = np.repeat(np.arange(len(at)), np.diff(at, append=len(rows)))
    return Clusters(
        rows=rows,
        at=at,
        key=history.key[rows[at]],
        first_finish=_first_finish(finish, at, name),
        last_start=np.maximum.reduceat(start, at),
        write_start=_write_start(start, is_write & ~failed, group, name, at),
        write_failed=np.bincount(group[failed], minlength=len(at)).astype(np.bool_),
    )


def _grouped(history: RegisterHistory) -> tuple[_Ints, _Ints, _Ints]:
    """Rows that tell something, cluster by cluster; each one's value, or -1 - key for the initial
    one; where clusters begin.
    """
    told = history.is_write | (history.outcome == OK)
    rows = np.arange(len(history)) if told.all() else np.flatnonzero(told)
    name = np.where(history.value == INITIAL, -1 - history.key, history.value)[rows]
    order = np.argsort(name)
    name, rows = name[order], rows[order]
    begins = np.concatenate((np.ones(min(len(rows), 1), np.bool_), name[1:] != name[:-1]))
    key = history.key[rows]
    if (key[1:] != key[:-1])[~begins[1:]].any():
        # A value of one key was read from another, or written to both: slower, and told apart.
        order = np.lexsort((key, name))
        name, rows, key = name[order], rows[order], key[order]
        begins[1:] = (name[1:] != name[:-1]) | (key[1:] != key[:-1])
    return rows, name, np.flatnonzero(begins)


def _first_finish(finish: _Ints, at: _Ints, name: _Ints) -> _Ints:
    """Of the initial value before everything: its write was over before the history began."""
    first = np.minimum.reduceat(finish, at)
    first[name[at] < 0] = _FIRST
    return first


def _write_start(
    start: _Ints, written: NDArray[np.bool_], group: _Ints, name: _Ints, at: _Ints
) -> _Ints:
    found = np.full(len(at), _LAST)
    groups = group[written]
    if len(groups) and (groups[1:] == groups[:-1]).any():
        twice = groups[1:][groups[1:] == groups[:-1]][0]
        raise ValueError(f"value {name[at[twice]]} is written twice; the zones need unique values")
    found[groups] = start[written]
    found[name[at] < 0] = _FIRST
    return found


def _unsound(clusters: Clusters) -> _Ints:
    """Clusters that break the first condition; one that nobody read cannot."""
    unwritten = clusters.write_start == _LAST
    # A write that failed and was not read is a cluster without a start, and no fault.
    unread = unwritten & (clusters.last_start == _FIRST)
    early = clusters.first_finish < clusters.write_start
    return np.flatnonzero((unwritten & ~unread) | (early & ~unwritten))


def _crossing(clusters: Clusters, unsound: _Ints) -> _Ints:
    """Pairs of clusters (A, B) with f_A < s_B and f_B < s_A, but for `unsound`; shape (n, 2)."""
    first, last, key = clusters.first_finish, clusters.last_start, clusters.key
    sound = np.ones(len(key), dtype=np.bool_)
    sound[unsound] = False
    is_forward = first < last
    forward = np.flatnonzero(is_forward & sound)
    # A zone that never ends comes before nothing, and nothing follows one that never began.
    backward = np.flatnonzero(~is_forward & sound & (first < _LAST) & (last > _FIRST))
    place, at_s = _places(key, first, last, forward, backward)
    order = np.argsort(place)
    forward, place = forward[order], place[order]
    after = np.flatnonzero(
        (key[forward[1:]] == key[forward[:-1]]) & (last[forward[:-1]] > first[forward[1:]])
    )
    overlapping = np.column_stack((forward[after], forward[after + 1]))
    if not len(forward):
        return overlapping
    # The last forward zone of the key that begins before the backward one does.
    holder = np.searchsorted(place, at_s, side="left") - 1
    zone = forward[np.maximum(holder, 0)]
    inside = (holder >= 0) & (key[zone] == key[backward]) & (first[backward] < last[zone])
    return np.vstack((overlapping, np.column_stack((zone[inside], backward[inside]))))


def _places(
    key: _Ints, first: _Ints, last: _Ints, forward: _Ints, backward: _Ints
) -> tuple[_Ints, _Ints]:
    """Numbers that sort by key and time: of forward zones by f, of backward ones by s.

    One number sorts several times faster than two.
    """
    times = np.concatenate((first[forward], last[backward]))
    if not len(times):
        return times, times
    known = times[times > _FIRST]
    earliest, latest = (int(known.min()), int(known.max())) if len(known) else (0, 0)
    span = latest - earliest + 2
    keys = np.concatenate((key[forward], key[backward]))
    low = int(keys.min())
    if span * (int(keys.max()) - low + 1) < _LAST:
        told = np.where(times == _FIRST, 0, np.maximum(times, earliest) - earliest + 1)
    else:
        distinct, told = np.unique(times, return_inverse=True)
        _, keys = np.unique(keys, return_inverse=True)
        span, low = len(distinct), 0
    placed = (keys - low) * span + told
    return placed[: len(forward)], placed[len(forward) :]


def _alone(history: RegisterHistory, clusters: Clusters, cluster: int) -> Witness:
    rows = clusters.rows_of(cluster)
    writes = rows[history.is_write[rows]]
    reads = rows[~history.is_write[rows]]
    if clusters.write_start[cluster] == _LAST:
        read = reads[np.argmin(history.finish[reads])]
        if clusters.write_failed[cluster]:
            return _witness(history, "failed_write", (writes[0], read), 0)
        return _witness(history, "unwritten", (read,), 0)
    write = writes[history.outcome[writes] != FAILED][0]
    read = reads[np.argmin(history.finish[reads])]
    early = int(clusters.write_start[cluster] - history.finish[read])
    return _witness(history, "before_its_write", (write, read), early)


def _both(history: RegisterHistory, clusters: Clusters, a: int, b: int) -> Witness:
    operations = [row for cluster in (a, b) for row in _ends(history, clusters, cluster)]
    first, last = clusters.first_finish, clusters.last_start
    gaps = [int(last[x]) - int(first[y]) for x, y in ((a, b), (b, a)) if first[y] > _FIRST]
    return _witness(history, "order", tuple(dict.fromkeys(operations)), min(gaps))


def _ends(history: RegisterHistory, clusters: Clusters, cluster: int) -> Iterator[int]:
    """The operation of a cluster that finished first, and the one that started last."""
    rows = clusters.rows_of(cluster)
    rows = rows[history.outcome[rows] != FAILED]
    over = rows[history.outcome[rows] == OK]
    if len(over) and clusters.first_finish[cluster] > _FIRST:
        yield int(over[np.argmin(history.finish[over])])
    yield int(rows[np.argmax(history.start[rows])])


def _witness(
    history: RegisterHistory, fault: Fault, rows: tuple[int, ...], staleness: int
) -> Witness:
    kept = np.array(rows)
    over = kept[history.outcome[kept] != UNKNOWN]
    return Witness(
        fault=fault,
        key=int(history.key[kept[0]]),
        operations=tuple(int(row) for row in rows),
        from_=int(history.start[kept].min()),
        until=int(history.finish[over if len(over) else kept].max()),
        staleness=staleness,
    )
