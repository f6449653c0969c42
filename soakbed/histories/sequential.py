"""Are registers with unique writes sequentially consistent, all of them together?

Lamport, "How to make a multiprocessor computer ...", IEEE Trans. Comput. 28(9), 1979: one order of
all operations explains what was read, and has those of each process in its own order. It is not
local: keys that are in order one by one need not be so together. To decide it is NP-complete even
where it is known which write each read saw (Gibbons and Korach 1997), so there are three answers:

- an order was found: `ok`;
- an order would have to put an operation before itself, or all orders were tried: `violation`;
- neither, in the time and memory that there are: `unknown`.

Orders are built write by write. A read is placed as soon as its process comes to it, and a write
only once nobody is left who has still to read the value that it covers; so only writes are
choices, and the earliest in real time is taken first. Where that leads nowhere it is told first
which operations must precede which (`contradictions.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from soakbed.histories.contradictions import Work, contradiction_in
from soakbed.histories.register import INITIAL, OK, UNKNOWN, RegisterHistory
from soakbed.histories.search import Answer

__all__ = ["Ordered", "order_of"]

_NEVER = np.iinfo(np.int64).max
_MOST_REMEMBERED = 40_000_000  # numbers, of all that led nowhere
_LOOK_AT_CLOCK_EVERY = 256


@dataclass(frozen=True, slots=True)
class Ordered:
    """`order`: of `ok`, rows of the history in an order that explains it; `against`: of a
    `violation`, rows that contradict each other, where they were told; not the fewest.
    """

    answer: Answer
    order: tuple[int, ...] = ()
    against: tuple[int, ...] = ()


def order_of(history: RegisterHistory, until_s: float) -> Ordered:
    """Decide, until `until_s` of time.monotonic.

    Every value that is read must have been written. Raises ValueError if processes are not told.
    """
    if len(history) and not len(history.process):
        raise ValueError("sequential consistency is of processes, and the history names none")
    work = _work_of(history)
    if not work.rows:
        return Ordered("ok")
    for after in (_in_real_time(work), work.after):
        first = _Search(work, after, until_s)
        if first.run(backtracks=False) == "ok":
            return Ordered("ok", tuple(work.rows[one] for one in first.placed))
    against = contradiction_in(work, until_s)
    if against is not None:
        return Ordered("violation", against=tuple(work.rows[one] for one in against))
    search = _Search(work, work.after, until_s)
    answer = search.run(backtracks=True)
    rows = tuple(work.rows[one] for one in search.placed)
    return Ordered(answer, rows if answer == "ok" else ())


def _work_of(history: RegisterHistory) -> Work:
    read = ~history.is_write & (history.outcome == OK)
    seen = set(zip(history.key[read].tolist(), history.value[read].tolist(), strict=True))
    maybe = history.is_write & (history.outcome == UNKNOWN)
    # An unknown write that nobody read never had to happen.
    happened = [
        row for row in np.flatnonzero(maybe).tolist()
        if (int(history.key[row]), int(history.value[row])) in seen
    ]  # fmt: skip
    kept = history.outcome == OK
    kept[happened] = True
    rows = np.flatnonzero(kept)
    rows = rows[np.lexsort((history.start[rows], history.process[rows]))]
    key, value = history.key[rows].tolist(), history.value[rows].tolist()
    is_write = history.is_write[rows].tolist()
    finish = np.where(history.outcome == UNKNOWN, _NEVER, history.finish)[rows].tolist()
    start = history.start[rows].tolist()
    writes = {(key[at], value[at]): at for at in range(len(rows)) if is_write[at]}
    source = [
        -1 if is_write[at] or value[at] == INITIAL else writes[key[at], value[at]]
        for at in range(len(rows))
    ]
    lane, place, lanes, before = _lanes(history.process[rows].tolist(), start, finish)
    moment = _moments(start, finish, source)
    work = Work(rows.tolist(), key, moment, is_write, lane, place, lanes, source)
    work.after = [[] for _ in rows]
    for at, earlier in enumerate(before):
        for one in earlier:
            work.after[one].append(at)
        if source[at] >= 0:
            work.after[source[at]].append(at)
    return work


def _moments(start: list[int], finish: list[int], source: list[int]) -> list[int]:
    """When a value's write and reads first ended, or last began if that was earlier.

    In this order writes stand wherever a key is linearizable (`zones.py`), and a late read of an
    old value does not move its write.
    """
    ended, began = list(finish), list(start)
    for read, write in enumerate(source):
        if write >= 0:
            ended[write] = min(ended[write], finish[read])
            began[write] = max(began[write], start[read])
    return [min(pair) for pair in zip(ended, began, strict=True)]


def _in_real_time(work: Work) -> list[list[int]]:
    """What comes after what if the writes of each key have the order of their moments."""
    after = [list(one) for one in work.after]
    last: dict[int, int] = {}
    for one in sorted(range(len(work)), key=work.moment.__getitem__):
        if work.is_write[one]:
            if work.key[one] in last:
                after[last[work.key[one]]].append(one)
            last[work.key[one]] = one
    return after


def _lanes(
    process: list[int], start: list[int], finish: list[int]
) -> tuple[list[int], list[int], int, list[list[int]]]:
    """Per operation its lane, a chain without overlaps of one process, its place there, and those
    right before it in each lane of its process; sorted by process and start.
    """
    lane, place, before = [], [], []
    members: list[list[int]] = []
    own: list[int] = []
    for at, of in enumerate(process):
        if at == 0 or of != process[at - 1]:
            own = []
        earlier, free = [], -1
        for one in own:
            last = members[one][-1]
            if finish[last] < start[at]:
                free = one if free < 0 else free
            else:
                last = _over_before(members[one], finish, start[at])
            if last >= 0:
                earlier.append(last)
        if free < 0:
            free = len(members)
            own.append(free)
            members.append([])
        lane.append(free)
        place.append(len(members[free]))
        members[free].append(at)
        before.append(earlier)
    return lane, place, len(members), before


def _over_before(lane: list[int], finish: list[int], moment: int) -> int:
    for one in reversed(lane):
        if finish[one] < moment:
            return one
    return -1


class _Search:
    """Orders, write by write. `placed`: the order so far."""

    def __init__(self, work: Work, after: list[list[int]], until_s: float) -> None:
        self._work = work
        self._after = after
        self._until_s = until_s
        self._missing = [0] * len(work)
        for later in after:
            for one in later:
                self._missing[one] += 1
        # By write, and by -1 - key for initial values: who has still to read it.
        self._unread: dict[int, int] = {}
        for one in range(len(work)):
            if not work.is_write[one]:
                read = self._covers(one)
                self._unread[read] = self._unread.get(read, 0) + 1
        self._held = {key: -1 - key for key in work.key}
        self._counts = [0] * work.lanes
        self._ready: set[int] = set()
        self._covered: list[int] = []
        self.placed: list[int] = []

    def _covers(self, read: int) -> int:
        source = self._work.source[read]
        return source if source >= 0 else -1 - self._work.key[read]

    def run(self, *, backtracks: bool) -> Answer:
        """An order; without backtracking `unknown` where the first attempt ends."""
        self._settle([one for one, missing in enumerate(self._missing) if not missing])
        frames: list[tuple[int, list[int]]] = []
        dead: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
        steps = 0
        while len(self.placed) < len(self._work):
            steps += 1
            if not steps % _LOOK_AT_CLOCK_EVERY and time.monotonic() > self._until_s:
                return "unknown"
            choices = [] if dead and self._state() in dead else self._choices()
            while not choices:
                if (
                    not backtracks
                    or len(dead) * (self._work.lanes + len(self._held)) > _MOST_REMEMBERED
                ):
                    return "unknown"
                dead.add(self._state())
                if not frames:
                    return "violation"
                length, choices = frames.pop()
                self._back_to(length)
            write = choices.pop()
            frames.append((len(self.placed), choices))
            self._settle(self._place(write))
        return "ok"

    def _state(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(self._counts), tuple(self._held.values())

    def _choices(self) -> list[int]:
        """Writes that can be next, the best last."""
        key, held, unread = self._work.key, self._held, self._unread
        free = [one for one in self._ready if not unread.get(held[key[one]])]
        return sorted(free, key=self._work.moment.__getitem__, reverse=True)

    def _place(self, one: int) -> list[int]:
        """Put it next; those that wait for nothing any more."""
        work = self._work
        if work.is_write[one]:
            self._ready.discard(one)
            self._covered.append(self._held[work.key[one]])
            self._held[work.key[one]] = one
        else:
            self._unread[self._covers(one)] -= 1
        self._counts[work.lane[one]] += 1
        self.placed.append(one)
        free = []
        for after in self._after[one]:
            self._missing[after] -= 1
            if not self._missing[after]:
                free.append(after)
        return free

    def _settle(self, free: Iterable[int]) -> None:
        """Reads that can be next are, and what they let come; writes wait to be chosen."""
        waiting = list(free)
        while waiting:
            one = waiting.pop()
            if self._work.is_write[one]:
                self._ready.add(one)
            else:
                waiting += self._place(one)

    def _back_to(self, length: int) -> None:
        work = self._work
        while len(self.placed) > length:
            one = self.placed.pop()
            for after in self._after[one]:
                if not self._missing[after]:
                    self._ready.discard(after)
                self._missing[after] += 1
            self._counts[work.lane[one]] -= 1
            if work.is_write[one]:
                self._held[work.key[one]] = self._covered.pop()
                self._ready.add(one)
            else:
                self._unread[self._covers(one)] += 1
