"""Were the sampled keys linearizable? The zone check over what was recorded, and what it found told
in words: a stale read, a lost write, a value that came back.

What is missing from a history limits what it can prove. A value whose write is in no history is no
proof where the writer's rows have a gap: such a write is taken to have been there, begun before
everything. All other contradictions stand: operations that are missing can only add to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from soakbed.histories.register import INITIAL, OK, UNKNOWN
from soakbed.histories.zones import Witness as Zoned
from soakbed.histories.zones import check_zones
from soakbed.records.consistency import Witness
from soakbed.stages.consistency_rows import FOREIGN, RANK, Bools, Ints, Rows, around, told

__all__ = ["Found", "Kind", "Missing", "contradictions", "segments"]

Kind = Literal["lost", "resurrected", "stale", "order", "unwritten", "failed_write", "early"]

MOST_KEPT = 100  # witnesses
# How far the time of a failover in a member's journal may lie from what clients saw of it: the
# cluster's own time limit for calling a master failing, and what telling it about takes.
_SLACK_US = 5_000_000


@dataclass(frozen=True, slots=True)
class Missing:
    """Whose writes may be in no history. `ranks` None: anybody's; `keys` None: of any key."""

    ranks: frozenset[int] | None = frozenset()
    keys: frozenset[int] | None = None

    def __bool__(self) -> bool:
        return self.ranks is None or bool(self.ranks)

    @classmethod
    def merged(cls, many: Iterable[Missing]) -> tuple[Missing, ...]:
        """The same in as few as say it."""
        by_ranks: dict[frozenset[int] | None, frozenset[int] | None] = {}
        whole: frozenset[int] = frozenset()
        for one in many:
            if one.keys is None and one.ranks is not None:
                whole |= one.ranks
                continue
            held = by_ranks.get(one.ranks, frozenset())
            both = None if one.keys is None or held is None else held | one.keys
            by_ranks[one.ranks] = both
        if None in by_ranks and by_ranks[None] is None:
            return (cls(ranks=None),)
        made = [cls(ranks, keys) for ranks, keys in by_ranks.items()]
        return (*([cls(whole)] if whole else []), *made)

    def concerns(self, rows: Rows) -> Bools:
        """Which values may have been written by an operation that is missing, bool[n]."""
        concerned = np.ones(len(rows), dtype=np.bool_)
        if self.ranks is not None:
            concerned &= np.isin(rows.writer, list(self.ranks))
        if self.keys is not None:
            concerned &= np.isin(rows.key, list(self.keys))
        return concerned


@dataclass(frozen=True, slots=True)
class Found:
    """Contradictions: how many there are, and the first of them. `one_host`: of each, whether all
    of its operations have their times from one clock.
    """

    violations: int
    kinds: tuple[Kind, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    one_host: tuple[bool, ...] = ()

    def __add__(self, other: Found) -> Found:
        """Of two parts of a history."""
        return Found(
            self.violations + other.violations,
            (*self.kinds, *other.kinds)[:MOST_KEPT],
            (*self.witnesses, *other.witnesses)[:MOST_KEPT],
            (*self.one_host, *other.one_host)[:MOST_KEPT],
        )

    def only(self, which: Iterable[bool]) -> Found:
        """Some of the witnesses, and no more of them than are shown."""
        held = [at for at, taken in enumerate(which) if taken]
        return Found(
            len(held),
            tuple(self.kinds[at] for at in held),
            tuple(self.witnesses[at] for at in held),
            tuple(self.one_host[at] for at in held),
        )

    def of(self, kind: Kind) -> Found:
        """Those of one kind."""
        return self.only(one == kind for one in self.kinds)


def contradictions(
    rows: Rows,
    *,
    apart_us: int,
    missing: Sequence[Missing] = (),
    hosts: Sequence[int] = (),
) -> Found:
    """What no linearizable register can have answered.

    `apart_us`: by how much the clocks of the load hosts differ at most. `hosts`: of each rank, a
    number of its load host; all of one where empty. Raises ValueError if a value is written twice.
    """
    foreign = ~rows.is_write & rows.ok & (rows.value == FOREIGN)
    strange = np.flatnonzero(foreign)
    kept = rows.taken(~(rows.value == FOREIGN)) if (rows.value == FOREIGN).any() else rows
    shown = _with_doubts(kept, missing)
    verdict = check_zones(shown.registers(apart_us=apart_us))
    told_of = [_alien(rows, int(at)) for at in strange[:10]]
    told_of += [_in_words(shown, one) for one in verdict.witnesses]
    of_rank = np.array(hosts if len(hosts) else [0])
    return Found(
        violations=len(strange) + verdict.violations,
        kinds=tuple(kind for kind, _ in told_of),
        witnesses=tuple(one for _, one in told_of),
        one_host=tuple(_one_host(one, of_rank) for _, one in told_of),
    )


def segments(rows: Rows, at_s: Sequence[float]) -> list[Rows]:
    """What began and ended between failovers, or before the first, or after the last.

    Redis Cluster keeps the word of a register in such a stretch alone: which of the writes before
    a failover are there after it, it does not promise.
    """
    cuts = sorted(int(one * 1_000_000) for one in at_s)
    begins = [int(np.iinfo(np.int64).min), *(one + _SLACK_US for one in cuts)]
    ends = [*(one - _SLACK_US for one in cuts), int(np.iinfo(np.int64).max)]
    made = []
    for from_us, until_us in zip(begins, ends, strict=True):
        inside = (rows.sent >= from_us) & (rows.done <= until_us)
        if inside.any():
            made.append(rows.taken(inside))
    return made


def _with_doubts(rows: Rows, missing: Sequence[Missing]) -> Rows:
    """With a write, begun before everything, for each value whose own write may be missing."""
    if not any(missing):
        return rows
    read = ~rows.is_write & rows.ok & (rows.value != INITIAL)
    doubtful = np.zeros(len(rows), dtype=np.bool_)
    for one in missing:
        doubtful |= one.concerns(rows)
    at = np.flatnonzero(read & doubtful & ~np.isin(rows.value, rows.value[rows.is_write]))
    if not len(at):
        return rows
    pairs = np.unique(np.column_stack((rows.key[at], rows.value[at])), axis=0)
    count = len(pairs)
    zeros = np.zeros(count, dtype=np.int64)
    supposed = Rows(
        key=pairs[:, 0],
        value=pairs[:, 1],
        sent=zeros,
        done=zeros,
        process=Rows.process_of(0, zeros.astype(np.uint32)),
        is_write=np.ones(count, dtype=np.bool_),
        outcome=np.full(count, UNKNOWN, dtype=np.uint8),
        revision=zeros,
    )
    return Rows.joined([rows, supposed])


def _one_host(one: Witness, of_rank: Ints) -> bool:
    ranks = [int(row.process.split(".")[0]) for row in one.rows]
    return len({int(of_rank[rank]) if rank < len(of_rank) else -1 for rank in ranks}) == 1


def _alien(rows: Rows, at: int) -> tuple[Kind, Witness]:
    row = told(rows, at, "read what no worker of this run wrote")
    return "unwritten", Witness(
        sentence=f"key {row.key}: a value was read that is none of ours",
        rows=(row,),
        from_us=row.sent_us,
        until_us=row.done_us,
        around=around(rows, [at], key=row.key),
    )


def _in_words(rows: Rows, found: Zoned) -> tuple[Kind, Witness]:
    """A witness of the zone check for people: who, what, when, and why it cannot be."""
    if found.fault == "order":
        kind, sentence, words = _of_order(rows, found)
    else:
        kind, sentence, words = _of_one_value(rows, found)
    order = sorted(words, key=lambda at: (int(rows.sent[at]), at))
    return kind, Witness(
        sentence=f"key {found.key}: {sentence}",
        rows=tuple(told(rows, at, words[at]) for at in order),
        from_us=min(int(rows.sent[at]) for at in order),
        until_us=max(int(rows.done[at]) for at in order),
        staleness_us=found.staleness,
        around=around(rows, order, key=found.key),
    )


_Told = tuple[Kind, str, dict[int, str]]


def _of_one_value(rows: Rows, found: Zoned) -> _Told:
    read = next(at for at in found.operations if not rows.is_write[at])
    value = int(rows.value[read])
    name = _name(value)
    if found.fault == "unwritten":
        return "unwritten", f"{name} was read, which nobody wrote", {read: f"read {name}"}
    write = next(at for at in found.operations if rows.is_write[at])
    if found.fault == "failed_write":
        sentence = f"{name} was read, whose write surely was not applied by its own reply"
        words = {write: f"refused the write of {name}", read: f"read {name} all the same"}
        return "failed_write", sentence, words
    words = {read: f"read {name} and was over", write: f"began to write {name} only then"}
    return "early", f"{name} was read before its write began", words


def _of_order(rows: Rows, found: Zoned) -> _Told:
    """Two values, each of which must have come before the other: which came back?"""
    values = list(dict.fromkeys(int(rows.value[at]) for at in found.operations))
    older, newer = _by_age(rows, found.key, values)
    if older is None or newer is None:
        one, other = values
        sentence = f"{_name(one)} and {_name(other)} must each have come before the other"
        return "order", sentence, {at: _plain(rows, at) for at in found.operations}
    of_key = rows.key == found.key
    # The reply that showed the newer one first, and the last read of the older one.
    shown = _first_done(rows, of_key & (rows.value == newer))
    back = _last_read(rows, of_key & (rows.value == older))
    words = {at: _plain(rows, at) for at in _writes(rows, of_key, (older, newer))}
    words[shown] = (
        f"had {_name(newer)} acknowledged" if rows.is_write[shown] else f"read {_name(newer)}"
    )
    words[back] = f"read {_name(older)}, the older value, after that"
    again = of_key & (rows.value == newer) & ~rows.is_write & rows.ok
    seen_later = bool((again & (rows.done > rows.sent[back])).any())
    if not rows.is_write[shown]:
        sentence = f"{_name(older)} was read after the newer {_name(newer)} had been read"
        return "resurrected", f"{sentence}: an older value came back", words
    if seen_later:
        sentence = f"{_name(older)} was read after the newer {_name(newer)} was acknowledged"
        return "stale", f"{sentence}: a stale read", words
    sentence = f"the acknowledged write of {_name(newer)} is lost: {_name(older)}, older, was read"
    return "lost", f"{sentence} after it, and {_name(newer)} never again", words


def _by_age(rows: Rows, key: int, values: Sequence[int]) -> tuple[int | None, int | None]:
    """(older, newer), where one's write was over before the other's began; None where not."""
    one, other = values
    if INITIAL in values:
        return INITIAL, one if other == INITIAL else other
    spans = []
    for value in values:
        at = np.flatnonzero((rows.key == key) & (rows.value == value) & rows.is_write)
        is_over = bool(rows.outcome[at[0]] == OK)
        spans.append((int(rows.sent[at[0]]), int(rows.done[at[0]]), is_over))
    if spans[0][2] and spans[0][1] < spans[1][0]:
        return one, other
    if spans[1][2] and spans[1][1] < spans[0][0]:
        return other, one
    if not spans[0][0] or not spans[1][0]:  # only supposed: begun before everything
        return (one, other) if not spans[0][0] else (other, one)
    return None, None


def _first_done(rows: Rows, which: Bools) -> int:
    at = np.flatnonzero(which & rows.ok)
    return int(at[np.argmin(rows.done[at])])


def _last_read(rows: Rows, which: Bools) -> int:
    at = np.flatnonzero(which & ~rows.is_write & rows.ok)
    return int(at[np.argmax(rows.sent[at])])


def _writes(rows: Rows, of_key: Bools, values: Sequence[int]) -> list[int]:
    """Their writes, as far as there are any."""
    which = of_key & rows.is_write & np.isin(rows.value, values) & (rows.sent > 0)
    return [int(at) for at in np.flatnonzero(which)]


def _plain(rows: Rows, at: int) -> str:
    verb = "wrote" if rows.is_write[at] else "read"
    unknown = " (no reply)" if rows.outcome[at] == UNKNOWN else ""
    return f"{verb} {_name(int(rows.value[at]))}{unknown}"


def _name(value: int) -> str:
    """A value as people read it: who wrote it, and which of its writes it was."""
    if value == INITIAL:
        return "nothing"
    return f"{value // RANK}:{value % RANK}"
