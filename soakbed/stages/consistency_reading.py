"""Recorded histories of one target -> its operations in order of time, and what is missing.

Blocks of all workers are read side by side, one of each in memory, so that what is given out next
ended no earlier than what was given before, but for as much as one block lasts.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from loadgen.contract.history import HISTORY, WRITE, HistoryBlock, read_history
from loadgen.contract.spool import SpoolDamaged
from soakbed.records.consistency import Gap
from soakbed.stages.consistency_rows import ATTEMPT_BITS, Rows
from soakbed.stages.consistency_zones import Missing

__all__ = ["Histories", "Session", "rows_of_block"]

_FILE = re.compile(rf"worker-(\d+)(?:\.(\d+))?{re.escape(HISTORY)}")
_OPEN = 10**12  # the file that is written to comes after every closed hour


@dataclass(frozen=True, slots=True)
class Session:
    """One session of load: its folder, how many workers pressed, and whose spool has no end."""

    folder: Path
    workers: int
    unfinished: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Its word."""
        return self.folder.name

    def files(self) -> dict[int, list[Path]]:
        """Rank -> its files in order of time."""
        found: dict[int, list[tuple[int, Path]]] = {}
        for path in self.folder.glob(f"worker-*{HISTORY}"):
            if match := _FILE.fullmatch(path.name):
                hour = int(match[2]) if match[2] else _OPEN
                found.setdefault(int(match[1]), []).append((hour, path))
        return {rank: [path for _, path in sorted(held)] for rank, held in found.items()}


@dataclass(slots=True)
class Histories:
    """All sessions of one target, in order of time. `gaps`, `missing` and `share` are whole once
    everything was read.
    """

    sessions: Sequence[Session]
    gaps: list[Gap] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    share: float = 0.0
    longest_us: int = 0
    _dropped: dict[tuple[str, int], tuple[int, frozenset[int] | None]] = field(default_factory=dict)
    _ways: set[tuple[float, int]] = field(default_factory=set)

    @property
    def recorded(self) -> bool:
        """Whether there is any history at all."""
        return any(one.files() for one in self.sessions)

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        every = (path for one in self.sessions for held in one.files().values() for path in held)
        return sum(path.stat().st_size for path in every)

    def stretches(self) -> Iterator[tuple[Rows, int]]:
        """(operations, until): all that ended by `until`, unix microseconds, have been given."""
        by_rank: dict[int, list[tuple[Session, list[Path]]]] = {}
        for session in self.sessions:
            files = session.files()
            self._what_is_not_there(session, files)
            for rank, paths in files.items():
                by_rank.setdefault(rank, []).append((session, paths))
        yield from _side_by_side({rank: self._of_rank(held) for rank, held in by_rank.items()})
        for (name, rank), (count, keys) in self._dropped.items():
            told = f"session {name}, worker {rank}: {count:,} operations were over its bound"
            named = None if keys is None else tuple(sorted(keys))
            self._gap(told, workers=(rank,), keys=named)
        if len(self._ways) > 1:
            self._gap("sessions sampled different keys", workers=())

    def _what_is_not_there(self, session: Session, files: Mapping[int, list[Path]]) -> None:
        name = session.name
        if not files:
            self._gap(f"session {name} recorded no history", workers=())
            return
        if gone := tuple(rank for rank in range(session.workers) if rank not in files):
            self._gap(f"session {name}: no history of {_workers(gone)} is there", workers=gone)
        if session.unfinished:
            told = f"session {name}: {_workers(session.unfinished)} never came to an end"
            self._gap(told, workers=session.unfinished)

    def _of_rank(self, held: Sequence[tuple[Session, list[Path]]]) -> Iterator[Rows]:
        for session, paths in held:
            before: tuple[int, int] = (0, -1)  # attempt and number of the last block
            for path in paths:
                for block in self._blocks(path):
                    self._follow(session.name, before, block)
                    before = (block.attempt, block.seq)
                    rows = rows_of_block(block)
                    if len(rows):
                        self.longest_us = max(self.longest_us, int((rows.done - rows.sent).max()))
                        yield rows

    def _blocks(self, path: Path) -> Iterator[HistoryBlock]:
        rank = int(path.name.split("-")[1].split(".")[0])

        def torn(left: int) -> None:
            told = f"{path.parent.name}/{path.name} is cut: {left} bytes of its last block"
            self._gap(told, workers=(rank,))

        try:
            yield from read_history(path, torn=torn)
        except SpoolDamaged as error:
            told = f"{path.parent.name}/{path.name} is damaged, what follows is not read: {error}"
            self._gap(told, workers=(rank,))

    def _follow(self, session: str, before: tuple[int, int], block: HistoryBlock) -> None:
        """What lies between two blocks, and in the second."""
        self.share = max(self.share, block.share)
        self._ways.add((block.share, block.seed))
        whose, rank = f"session {session}, worker {block.worker}", (block.worker,)
        if block.attempt != before[0]:
            told = "another engine went on; what the one before had not yet written is missing"
            self._gap(f"{whose}: {told}", workers=rank)
            before = (block.attempt, -1)
        if block.seq != before[1] + 1:
            self._gap(f"{whose}: blocks {before[1] + 1} to {block.seq - 1} missing", workers=rank)
        if block.dropped:
            count, keys = self._dropped.get((session, block.worker), (0, frozenset()))
            named = None if block.dropped_keys is None else frozenset(block.dropped_keys)
            both = None if keys is None or named is None else keys | named
            self._dropped[session, block.worker] = (count + block.dropped, both)

    def _gap(
        self, told: str, *, workers: tuple[int, ...], keys: tuple[int, ...] | None = None
    ) -> None:
        self.gaps.append(Gap(told=told, workers=workers, keys=keys))
        ranks = frozenset(workers) if workers else None
        self.missing.append(Missing(ranks, None if keys is None else frozenset(keys)))


def rows_of_block(block: HistoryBlock) -> Rows:
    """The operations of a block. Ends are rounded up and beginnings down to the microsecond."""
    sent, done = (np.array(column, dtype=np.int64) for column in (block.sent_ns, block.done_ns))
    # An engine's attempts have connections of the same numbers.
    connection = np.array(block.process, dtype=np.uint32) + np.uint32(
        block.attempt % 256 << ATTEMPT_BITS
    )
    return Rows(
        key=np.array(block.key, dtype=np.int64),
        value=np.array(block.value, dtype=np.int64),
        sent=sent // 1000,
        done=-(-done // 1000),
        process=Rows.process_of(block.worker, connection),
        is_write=np.array(block.kind, dtype=np.uint8) == WRITE,
        outcome=np.array(block.outcome, dtype=np.uint8),
        revision=np.array(block.revision, dtype=np.int64),
    )


def _side_by_side(ways: Mapping[int, Iterator[Rows]]) -> Iterator[tuple[Rows, int]]:
    """The block next that holds what ended first; until: what ended first of all that is left."""
    heap: list[tuple[int, int, Rows]] = []

    def next_of(rank: int) -> None:
        rows = next(ways[rank], None)
        if rows is not None:
            heapq.heappush(heap, (int(rows.done.min()), rank, rows))

    for rank in ways:
        next_of(rank)
    while heap:
        _, rank, rows = heapq.heappop(heap)
        next_of(rank)
        yield rows, heap[0][0] - 1 if heap else int(rows.done.max())


def _workers(ranks: Sequence[int]) -> str:
    return f"worker{'' if len(ranks) == 1 else 's'} {', '.join(map(str, ranks))}"
