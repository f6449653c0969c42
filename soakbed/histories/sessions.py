"""What each process saw of a register, one operation after the other: session guarantees.

Terry et al., "Session guarantees for weakly consistent replicated data", PDIS 1994, in the form of
Viotti and Vukolic, "Consistency in non-transactional distributed storage systems", ACM Computing
Surveys 49(1), 2016: the versions of a key have one order, the same for everybody, and it begins
with the initial one. A process that finished one operation on a key before it began another tells
of that order, in four ways:

- `writes`: it wrote a, then b: a is older than b;
- `follows`: it read a, then wrote b: a is older than b;
- `own`: it wrote a, then read b: b is no older than a;
- `reads`: it read a, then read b: b is no older than a.

Monotonic reads hold if some order agrees with `writes`, `follows` and `reads`; read your writes, if
with `writes`, `follows` and `own`. Some order agrees with all four if and only if each key by
itself is sequentially consistent: a read may then stand right behind the write of its value. Such
an order exists if what was told has no cycle, so all of it takes linear time. Monotonic writes are
broken where one process saw two writes of another the other way round.

Operations of one process that overlap, or touch, tell of no order; an unknown write follows what
came before it, and nothing follows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soakbed.histories.register import FAILED, INITIAL, OK, UNKNOWN, RegisterHistory
from soakbed.histories.zones import Clusters

__all__ = ["Told", "cycle_in", "out_of_order", "rows_of", "told_by_sessions"]

_Ints = NDArray[np.int64]
_LAST = np.iinfo(np.int64).max
_FIRST = np.iinfo(np.int64).min

KINDS = ("writes", "follows", "own", "reads")
_TRIES = 32


@dataclass(frozen=True, slots=True)
class Told:
    """Per fact: cluster `older` is older than `newer`, by the operations `first` and `then`.

    `kind`: place in KINDS, or len(KINDS) for the initial version, which is older than any.
    """

    older: _Ints
    newer: _Ints
    first: _Ints
    then: _Ints
    kind: _Ints

    def of(self, *kinds: str) -> Told:
        """Facts of these kinds, and of initial versions."""
        wanted = [KINDS.index(kind) for kind in kinds]
        kept = np.isin(self.kind, [*wanted, len(KINDS)])
        columns = (self.older, self.newer, self.first, self.then, self.kind)
        return Told(*(column[kept] for column in columns))


def told_by_sessions(history: RegisterHistory, clusters: Clusters) -> Told:
    """What the sessions of `history` tell, without what follows from the rest."""
    cluster = _cluster_of_rows(history, clusters)
    rows = np.flatnonzero(_counts(history))
    finish = np.where(history.outcome == UNKNOWN, _LAST, history.finish)
    order = np.lexsort((history.start[rows], history.key[rows], history.process[rows]))
    rows = rows[order]
    begins = np.ones(len(rows), dtype=np.bool_)
    for column in (history.process, history.key):
        begins[1:] &= column[rows[1:]] == column[rows[:-1]]
    begins = ~begins
    begins[:1] = True
    touching = ~begins
    touching[1:] &= finish[rows[:-1]] >= history.start[rows[1:]]
    group = np.cumsum(begins) - 1
    mixed = np.zeros(int(group[-1]) + 1 if len(group) else 0, dtype=np.bool_)
    mixed[group[touching]] = True
    plain = ~mixed[group]
    found = [_one_after_the_other(rows[plain], group[plain], history.is_write)]
    found += [_overlapping(part, history, finish) for part in _parts(rows[~plain], group[~plain])]
    first, then, kind = (np.concatenate(column) for column in zip(*found, strict=True))
    return _facts(cluster[first], cluster[then], first, then, kind, clusters)


def _counts(history: RegisterHistory) -> NDArray[np.bool_]:
    """Reads with an answer, and writes that may have happened."""
    failed_write = history.is_write & (history.outcome == FAILED)
    counts: NDArray[np.bool_] = (history.is_write | (history.outcome == OK)) & ~failed_write
    return counts


def _cluster_of_rows(history: RegisterHistory, clusters: Clusters) -> _Ints:
    cluster = np.full(len(history), -1, dtype=np.int64)
    counts = np.diff(clusters.at, append=len(clusters.rows))
    cluster[clusters.rows] = np.repeat(np.arange(len(clusters.at)), counts)
    return cluster


def _facts(
    older: _Ints, newer: _Ints, first: _Ints, then: _Ints, kind: _Ints, clusters: Clusters
) -> Told:
    # One value seen twice says nothing, but a process that read what it wrote afterwards does.
    kept = (older != newer) | (kind == KINDS.index("follows"))
    older, newer, first, then, kind = (column[kept] for column in (older, newer, first, then, kind))
    initial = clusters.write_start == _FIRST
    back = initial[newer]
    always = np.full(int(back.sum()), len(KINDS))
    return Told(
        np.concatenate((older, newer[back])),
        np.concatenate((newer, older[back])),
        np.concatenate((first, then[back])),
        np.concatenate((then, first[back])),
        np.concatenate((kind, always)),
    )


def _one_after_the_other(
    rows: _Ints, group: _Ints, is_write: NDArray[np.bool_]
) -> tuple[_Ints, _Ints, _Ints]:
    """Of sessions whose operations are apart: each tells of the last of a kind before it."""
    count = len(rows)
    place = np.arange(count)
    begin = np.searchsorted(group, group, side="left")
    writes = is_write[rows]
    pairs = []
    for kind, sources, sinks in (("writes", writes, writes), ("own", writes, ~writes),
                                 ("reads", ~writes, ~writes)):  # fmt: skip
        last = np.maximum.accumulate(np.where(sources, place, -1))
        before = np.concatenate(([-1], last[:-1]))[:count]
        sink = np.flatnonzero(sinks & (before >= begin))
        pairs.append((rows[before[sink]], rows[sink], KINDS.index(kind)))
    coming = np.minimum.accumulate(np.where(writes, place, count)[::-1])[::-1]
    read = np.flatnonzero(~writes & (coming < count))
    read = read[group[coming[read]] == group[read]]
    pairs.append((rows[read], rows[coming[read]], KINDS.index("follows")))
    return (
        np.concatenate([first for first, _, _ in pairs]),
        np.concatenate([then for _, then, _ in pairs]),
        np.concatenate([np.full(len(first), kind) for first, _, kind in pairs]),
    )


def _parts(rows: _Ints, group: _Ints) -> list[_Ints]:
    return np.split(rows, np.flatnonzero(np.diff(group)) + 1) if len(rows) else []


def _overlapping(
    rows: _Ints, history: RegisterHistory, finish: _Ints
) -> tuple[_Ints, _Ints, _Ints]:
    """Of one session in which operations overlap, as under pipelining."""
    spans = [(int(history.start[row]), int(finish[row]), int(row)) for row in rows]
    writes = [span for span in spans if history.is_write[span[2]]]
    reads = [span for span in spans if not history.is_write[span[2]]]
    found = [(a, b, KINDS.index("writes")) for a, b in _latest(writes, writes)]
    found += [(a, b, KINDS.index("own")) for a, b in _latest(writes, reads)]
    found += [(a, b, KINDS.index("reads")) for a, b in _latest(reads, reads)]
    # The earliest writes after each read: the same with time turned round.
    turned = [[(-end, -start, row) for start, end, row in part] for part in (writes, reads)]
    found += [(b, a, KINDS.index("follows")) for a, b in _latest(*turned)]
    columns = np.array(found, dtype=np.int64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]


_Span = tuple[int, int, int]


def _latest(sources: list[_Span], sinks: list[_Span]) -> Iterator[tuple[int, int]]:
    """Per sink the sources over before it, without those over before another such one began."""
    waiting = deque(sorted(sources, key=lambda span: span[1]))
    front: list[_Span] = []
    for start, _, sink in sorted(sinks):
        while waiting and waiting[0][1] < start:
            one = waiting.popleft()
            front = [kept for kept in front if kept[1] >= one[0]]
            front.append(one)
        for _, _, source in front:
            yield source, sink


def cycle_in(told: Told) -> tuple[int, ...]:
    """Places in `told` of facts that contradict each other, as few as were found; () if none do."""
    alone = np.flatnonzero(told.older == told.newer)
    if len(alone):
        return (int(alone[0]),)
    if not len(told.older):
        return ()
    # Imported here: it takes longer than to check most files.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = int(max(told.older.max(), told.newer.max())) + 1
    ones = np.ones(len(told.older), dtype=np.int8)
    graph = coo_array((ones, (told.older, told.newer)), shape=(nodes, nodes)).tocsr()
    _, part = connected_components(graph, directed=True, connection="strong")
    sizes = np.bincount(part)
    if sizes.max() == 1:
        return ()
    # Small knots are read most easily.
    sizes[sizes == 1] = nodes + 1
    knot = int(np.argmin(sizes))
    inside = np.flatnonzero((part[told.older] == knot) & (part[told.newer] == knot))
    leads: dict[int, list[tuple[int, int]]] = {}
    for fact in inside.tolist():
        leads.setdefault(int(told.older[fact]), []).append((int(told.newer[fact]), fact))
    cycles = (_shortest(leads, node) for node in list(leads)[:_TRIES])
    return min(cycles, key=len)


def _shortest(leads: dict[int, list[tuple[int, int]]], home: int) -> tuple[int, ...]:
    """Facts on the shortest way from a node back to itself, of a part where there is one."""
    came: dict[int, tuple[int, int]] = {}
    queue = deque([home])
    while home not in came:
        node = queue.popleft()
        for after, fact in leads.get(node, ()):
            if after not in came:
                came[after] = (node, fact)
                queue.append(after)
    way: list[int] = []
    node = home
    while not way or node != home:
        node, fact = came[node]
        way.append(fact)
    return tuple(reversed(way))


def out_of_order(history: RegisterHistory, clusters: Clusters) -> tuple[int, ...]:
    """Rows of the two writes of one process and of the two reads, by one, that saw them turned.

    () where monotonic writes hold.
    """
    cluster = _cluster_of_rows(history, clusters)
    write_of = np.full(len(clusters.at), -1, dtype=np.int64)
    written = np.flatnonzero(history.is_write & (history.outcome != FAILED))
    write_of[cluster[written]] = written
    reads = np.flatnonzero(~history.is_write & (history.outcome == OK))
    reads = reads[(history.value[reads] != INITIAL) & (write_of[cluster[reads]] >= 0)]
    if not len(reads):
        return ()
    write = write_of[cluster[reads]]
    over = np.where(history.outcome[write] == UNKNOWN, _LAST, history.finish[write])
    seen = _seen_before(history, reads, write)
    bad = np.flatnonzero((seen >= 0) & (history.start[write[np.maximum(seen, 0)]] > over))
    if not len(bad):
        return ()
    then = int(bad[np.argmin(history.finish[reads[bad]])])
    first = int(seen[then])
    return tuple(int(row) for row in (write[then], write[first], reads[first], reads[then]))


def _seen_before(history: RegisterHistory, reads: _Ints, write: _Ints) -> _Ints:
    """Per read the place of the read, over before by the same process, of the latest write by the
    same writer to the same key; -1: none.
    """
    count = len(reads)
    columns = (history.process[write], history.key[reads], history.process[reads])
    order = np.lexsort(columns)
    new = np.zeros(count, dtype=np.int64)
    for column in columns:
        new[1:] |= column[order[1:]] != column[order[:-1]]
    group = np.empty(count, dtype=np.int64)
    group[order] = np.cumsum(new)
    # Begins and ends of reads in one line of time; at equal times begins come first.
    place = np.concatenate((np.arange(count), np.arange(count)))
    ends = np.repeat([0, 1], count)
    moments = np.concatenate((history.start[reads], history.finish[reads]))
    line = np.lexsort((ends, moments, group[place]))
    by_start = np.argsort(history.start[write], kind="stable")
    rank = np.empty(count, dtype=np.int64)
    rank[by_start] = np.arange(count)
    lift = group[place[line]] * (count + 1)
    reached = np.maximum.accumulate(lift + np.where(ends[line] == 1, rank[place[line]] + 1, 0))
    highest = reached - lift
    found = np.full(count, -1, dtype=np.int64)
    begins = np.flatnonzero(ends[line] == 0)
    some = begins[highest[begins] > 0]
    found[place[line[some]]] = by_start[highest[some] - 1]
    return found


def rows_of(told: Told, facts: Iterable[int]) -> tuple[int, ...]:
    """The operations that tell of `facts`, each once."""
    rows = [int(row) for fact in facts for row in (told.first[fact], told.then[fact])]
    return tuple(dict.fromkeys(rows))
