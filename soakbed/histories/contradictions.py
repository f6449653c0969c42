"""What must come before what in a sequentially consistent order, and where that contradicts itself.

Operations of a process are in its order, and a read comes after the write whose value it saw. From
that follows more: if a write of a key precedes a read of another value of it, it precedes that
value's write as well; if it follows that write, it follows the read. Nothing precedes an initial
value. What must precede itself is a contradiction, and a proof; where there is none there may still
be no order.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soakbed.histories.sessions import Told, cycle_in

__all__ = ["Work", "contradiction_in"]

_Ints = NDArray[np.int64]

_MOST_CELLS = 40_000_000  # of what precedes what: operations by lanes, and pairs of one key


@dataclass(slots=True)
class Work:
    """Operations 0..n-1, those that count; `after`: what must come after each."""

    rows: list[int]
    key: list[int]
    moment: list[int]
    is_write: list[bool]
    lane: list[int]
    place: list[int]  # within its lane
    lanes: int
    source: list[int]  # of a read its write; -1: the initial value, or a write
    after: list[list[int]] = field(default_factory=list)
    # What followed from the rest: in which round, and of a write before a write the read between.
    followed: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many operations."""
        return len(self.rows)


def contradiction_in(work: Work, until_s: float) -> list[int] | None:
    """Add to `work` what follows; operations that contradict each other, if there are any.

    None also where that is too large to be told, or the time ran out.
    """
    if not _fits(work):
        return None
    rounds = 0
    while time.monotonic() < until_s:
        reach = _reached(work)
        if reach is None:
            return _against(work)
        fresh = _must(work, reach)
        if not fresh:
            return None
        rounds += 1
        for (first, then), between in fresh.items():
            work.after[first].append(then)
            work.followed[first, then] = (rounds, between)
    return None


def _against(work: Work) -> list[int]:
    """The operations of a cycle, and those from which its facts follow, back to what was seen."""
    pairs = [(first, then) for first, after in enumerate(work.after) for then in after]
    first, then = np.array(pairs, dtype=np.int64).T
    cycle = cycle_in(Told(first, then, first, then, np.zeros_like(first)))
    todo, told = [pairs[at] for at in cycle], set()
    while todo:
        pair = todo.pop()
        if pair in told:
            continue
        told.add(pair)
        if pair in work.followed:
            before, between = work.followed[pair]
            begin, end = (pair[0], between) if between >= 0 else (work.source[pair[0]], pair[1])
            if begin >= 0:
                todo += _way(work, begin, end, before)
    return sorted({one for pair in told for one in pair})


def _way(work: Work, begin: int, end: int, before: int) -> list[tuple[int, int]]:
    """The shortest way from one operation to a later one, by what was known before a round."""
    came = {begin: begin}
    queue = deque([begin])
    while end not in came:
        one = queue.popleft()
        for then in work.after[one]:
            if then not in came and work.followed.get((one, then), (0, 0))[0] < before:
                came[then] = one
                queue.append(then)
    way = []
    while end != begin:
        way.append((came[end], end))
        end = came[end]
    return way


def _fits(work: Work) -> bool:
    _, counts = np.unique(np.array(work.key), return_counts=True)
    return len(work) * work.lanes <= _MOST_CELLS and int((counts**2).sum()) <= _MOST_CELLS


def _reached(work: Work) -> NDArray[np.int32] | None:
    """Per operation and lane the last place there that comes before it, or is it; -1: none.

    None if there is a cycle.
    """
    reach = np.full((len(work), work.lanes), -1, dtype=np.int32)
    missing = [0] * len(work)
    for after in work.after:
        for one in after:
            missing[one] += 1
    free = [one for one, count in enumerate(missing) if not count]
    done = 0
    while free:
        one = free.pop()
        done += 1
        own = reach[one]
        lane, place = work.lane[one], work.place[one]
        if own[lane] < place:
            own[lane] = place
        for then in work.after[one]:
            np.maximum(reach[then], own, out=reach[then])
            missing[then] -= 1
            if not missing[then]:
                free.append(then)
    return reach if done == len(work) else None


def _must(work: Work, reach: NDArray[np.int32]) -> dict[tuple[int, int], int]:
    """What follows from `reach` and is not in it yet: pairs, and the read between, or -1."""
    lane, place = np.array(work.lane), np.array(work.place)
    by_key: dict[int, tuple[list[int], list[int]]] = {}
    for one, key in enumerate(work.key):
        by_key.setdefault(key, ([], []))[0 if work.is_write[one] else 1].append(one)

    fresh: dict[tuple[int, int], int] = {}
    for held, read in by_key.values():
        if held and read:
            fresh |= _must_of_key(work, reach, lane, place, held, read)
    return fresh


def _must_of_key(
    work: Work,
    reach: NDArray[np.int32],
    lane: _Ints,
    place: _Ints,
    held: list[int],
    read: list[int],
) -> dict[tuple[int, int], int]:
    """Of each lane the nearest write alone: the rest of it follows."""

    def before(first: _Ints, then: _Ints) -> NDArray[np.bool_]:
        reached: NDArray[np.bool_] = reach[then[:, None], lane[first]] >= place[first]
        return reached

    writes, reads = np.array(held), np.array(read)
    source = np.array([work.source[one] for one in read])
    written = (source >= 0)[:, None]
    sources = np.where(source >= 0, source, writes[0])
    # Rows are reads, columns are writes of another value than theirs.
    other = writes != source[:, None]
    ahead = before(writes, reads) & other & written & ~before(writes, sources)
    behind = (before(sources, writes).T | ~written) & other & ~before(reads, writes).T
    columns = np.arange(len(writes))
    fresh: dict[tuple[int, int], int] = {}
    for one in np.unique(lane[writes]).tolist():
        inside = columns[lane[writes] == one]
        inside = inside[np.argsort(place[writes[inside]])]
        some = np.flatnonzero(behind[:, inside].any(axis=1))
        first = behind[np.ix_(some, inside)].argmax(axis=1)
        pairs = zip(reads[some].tolist(), writes[inside[first]].tolist(), strict=True)
        fresh |= dict.fromkeys(pairs, -1)
        turned = inside[::-1]
        some = np.flatnonzero(ahead[:, turned].any(axis=1))
        last = ahead[np.ix_(some, turned)].argmax(axis=1)
        pairs = zip(writes[turned[last]].tolist(), sources[some].tolist(), strict=True)
        fresh |= dict(zip(pairs, reads[some].tolist(), strict=True))
    return fresh
