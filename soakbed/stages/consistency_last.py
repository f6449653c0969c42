"""Is every acknowledged write still there at the end? Over all keys, not the sampled ones alone.

Each worker keeps the last acknowledged write of each key, and after the load every key is read
once. What was read is no loss if its write may have come last. It surely did not where it was over
before another that was acknowledged began. Of a value that is nobody's last write, only a bound of
its time is known: its worker numbers its writes as it sends them, so it was sent before the next
one that is known, and an acknowledged write takes no longer than the longest that was measured.
A write without a reply may take effect at any later time; so many keys it may explain, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soakbed.records.consistency import Witness, WitnessRow
from soakbed.stages.consistency_rows import FOREIGN, RANK, Bools, Ints

__all__ = ["MOST_TOLD", "LastWrites", "Lost", "lost_writes"]

MOST_TOLD = 20
# How far a failover's time in a journal may lie from what clients saw of it.
_SLACK_US = 5_000_000
_NEVER = np.iinfo(np.int64).min
_ALWAYS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class LastWrites:
    """Of one worker: int64[n] columns of what it had acknowledged last per key, int64[m] columns
    of what it read at the end; unix microseconds. `value`: 0: nothing was there.
    """

    worker: int
    key: Ints
    value: Ints
    sent: Ints
    done: Ints
    read_key: Ints
    read_value: Ints
    read_sent: Ints
    read_done: Ints


@dataclass(frozen=True, slots=True)
class Lost:
    """`keys` that had an acknowledged write, `read` of them at the end, `lost` of those surely.

    `doubtful`: keys that hold an older value, as many as writes without a reply may explain.
    `excused`: of the lost ones, those whose write lies before a failover.
    """

    keys: int
    read: int
    lost: int = 0
    doubtful: int = 0
    excused: int = 0
    witnesses: tuple[Witness, ...] = ()


@dataclass(frozen=True, slots=True)
class _Writes:
    """All last acknowledged writes, by key and then by when they were sent."""

    worker: Ints
    key: Ints
    value: Ints
    sent: Ints
    done: Ints


def lost_writes(
    lasts: Sequence[LastWrites],
    *,
    apart_us: int,
    longest_us: int,
    unknown_writes: int,
    failovers_s: Sequence[float] = (),
) -> Lost:
    """Acknowledged writes that the reads at the end surely ought to have shown, and did not.

    `longest_us`: the longest that an acknowledged write took; `unknown_writes`: how many of the
    run had no reply; `failovers_s`: when masters changed, where the target loses writes then.
    """
    writes = _writes_of(lasts)
    key, value, sent, done, reader = _reads_of(lasts)
    ends = np.searchsorted(writes.key, key, side="right")
    newest = ends - 1  # of the key: the acknowledged write that was sent last
    covered = newest >= np.searchsorted(writes.key, key, side="left")
    covered &= writes.done[np.maximum(newest, 0)] + apart_us < sent if len(ends) else covered
    over, is_known = _over_by(writes, key, value, longest_us=longest_us)
    began = writes.sent[np.maximum(newest, 0)] if len(writes.sent) else np.zeros(len(key), np.int64)
    gone = covered & (over + apart_us < began)
    maybe = gone & ~is_known
    doubtful = min(int(maybe.sum()), unknown_writes)
    cuts = np.array([int(one * 1_000_000) for one in failovers_s], dtype=np.int64)
    latest = int(cuts.max()) if len(cuts) else int(_NEVER)
    excused = gone & (began <= latest + _SLACK_US)
    lost = int(gone.sum()) - doubtful
    order = np.lexsort((began, excused, maybe))
    told = [int(at) for at in order if gone[at]][: min(MOST_TOLD, lost)]
    read = (key, value, sent, done, reader)
    return Lost(
        keys=len(np.unique(writes.key)),
        read=int(np.isin(np.unique(writes.key), key).sum()),
        lost=lost,
        doubtful=doubtful,
        excused=lost - max(int((gone & ~excused).sum()) - doubtful, 0),
        witnesses=tuple(_witness(writes, int(newest[at]), read, at) for at in told),
    )


def _writes_of(lasts: Sequence[LastWrites]) -> _Writes:
    worker = _all([np.full(len(one.key), one.worker) for one in lasts])
    columns = [
        _all([getattr(one, name) for one in lasts]) for name in ("key", "value", "sent", "done")
    ]
    order = np.lexsort((columns[2], columns[0]))
    return _Writes(worker[order], *(column[order] for column in columns))


def _reads_of(lasts: Sequence[LastWrites]) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    names = ("read_key", "read_value", "read_sent", "read_done")
    columns = [_all([getattr(one, name) for one in lasts]) for name in names]
    reader = _all([np.full(len(one.read_key), one.worker) for one in lasts])
    return columns[0], columns[1], columns[2], columns[3], reader


def _all(parts: Sequence[NDArray[np.int64]]) -> Ints:
    return np.concatenate([*parts, np.array([], dtype=np.int64)]).astype(np.int64)


def _over_by(writes: _Writes, key: Ints, value: Ints, *, longest_us: int) -> tuple[Ints, Bools]:
    """Of each value that was read: when its write was over at the latest, if it was acknowledged;
    and whether it surely was. Nothing is older than everything; what is none of ours is, too.
    """
    over = np.full(len(key), _ALWAYS)
    known = np.zeros(len(key), dtype=np.bool_)
    strange = (value == 0) | (value == FOREIGN)
    over[strange], known[strange] = _NEVER // 2, True
    by_value = np.argsort(writes.value)
    values = writes.value[by_value]
    place = np.searchsorted(values, value)
    inside = np.minimum(place, max(len(values) - 1, 0))
    last = (values[inside] == value) & ~strange if len(values) else strange & False
    over[last], known[last] = writes.done[by_value[inside[last]]], True
    # An earlier write of its worker: sent before the next one that is known.
    earlier = ~last & ~strange & (place < len(values))
    following = by_value[inside]
    earlier &= (values[inside] // RANK == value // RANK) if len(values) else False
    over[earlier] = writes.sent[following[earlier]] + longest_us
    return over, known


def _witness(
    writes: _Writes, newest: int, read: tuple[Ints, Ints, Ints, Ints, Ints], at: int
) -> Witness:
    key, value, sent, done, reader = (int(column[at]) for column in read)
    lost = int(writes.value[newest])
    name = f"{lost // RANK}:{lost % RANK}"
    held = "nothing"
    if value:
        held = "no value of ours" if value == FOREIGN else f"{value // RANK}:{value % RANK}, older"
    rows = [
        WitnessRow(
            process=f"{int(writes.worker[newest])}",
            action="write",
            key=key,
            value=lost,
            sent_us=int(writes.sent[newest]),
            done_us=int(writes.done[newest]),
            outcome="ok",
            words=f"had {name} acknowledged",
        ),
        WitnessRow(
            process=f"{reader}",
            action="read",
            key=key,
            value=value,
            sent_us=sent,
            done_us=done,
            outcome="ok",
            words=f"read {held}, after the load was over",
        ),
    ]
    return Witness(
        sentence=f"key {key}: the acknowledged write of {name} is lost: at the end the key held "
        f"{held}",
        rows=tuple(rows),
        from_us=rows[0].sent_us,
        until_us=done,
        staleness_us=max(sent - rows[0].done_us, 0),
    )
