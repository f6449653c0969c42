"""One hour of one target: frames of all workers in, four Parquet files out.

Counts are added in place, second by second, ten minutes at a time, so memory is bounded by the
hour, however long the run.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib

from loadgen.contract.window import CAUSES, SCHEMA
from soakbed.archive.data.gaps import Seen, damages_between
from soakbed.archive.data.grid import Grid
from soakbed.archive.data.rows import Rows
from soakbed.archive.data.spool_index import (
    HEAD,
    HOUR_S,
    Suspicious,
    inflated,
    mapped,
    plain_of,
)
from soakbed.records.collated import CollatedHour, CollatedPhase, CollatedWorker, Damage, HourSource

__all__ = ["HourTask", "SuspiciousSpool", "hour_name", "merge_hour"]

STEP_S = 600
_COUNTS = ("due", "sent", "ok", "failed", "unknown", "dropped")
_CAUSES = frozenset(CAUSES)


class SuspiciousSpool(Exception):
    """A spool that was taken for sound is not. Pickles, so that it can leave a process."""

    def __init__(self, session: str, worker: int, why: str) -> None:
        super().__init__(session, worker, why)
        self.session = session
        self.worker = worker
        self.why = why


@dataclass(frozen=True, slots=True)
class HourTask:
    """What to merge and where to put it. `ordered`: no spool of it goes back in time.

    `inspected`: the spools whose gaps are known already.
    """

    folder: Path  # of the target
    into: Path
    hour: int
    sources: tuple[HourSource, ...]
    ordered: bool
    inspected: frozenset[tuple[str, int]]


@dataclass(slots=True)
class _Worker:
    """One worker's frames of the hour, read on as the steps go."""

    source: HourSource
    frames: Iterator[tuple[dict[str, Any], bytes | None]]
    next: tuple[dict[str, Any], bytes | None] | None
    first: Seen | None = None
    last: Seen | None = None
    windows: int = 0
    lost: int = 0


def hour_name(hour: int) -> str:
    """`hour` (hours since 1970) as the folders have it, in UTC."""
    return str(np.datetime64(hour, "h"))


def merge_hour(task: HourTask) -> CollatedHour:
    """Write the hour's tables below `task.into` and say what is in them.

    Raises SuspiciousSpool when a spool needs inspection first.
    """
    merging = _Merging(task)
    while merging.step():
        pass
    return merging.finish()


class _Merging:
    def __init__(self, task: HourTask) -> None:
        self._task = task
        self._grid = Grid(STEP_S if task.ordered else HOUR_S)
        self._rows = Rows()
        self._phases: dict[tuple[str, str, str, int], list[int]] = {}
        self._damages: list[Damage] = []
        self._workers = []
        for source in task.sources:
            path = task.folder / "load" / source.session / f"worker-{source.worker}.spool"
            frames = _frames(path, source)
            self._workers.append(_Worker(source, frames, next(frames, None)))

    def step(self) -> bool:
        """The next ten minutes of all workers, or the whole hour where time went back."""
        waiting = [one.next[0]["start_s"] for one in self._workers if one.next is not None]
        if not waiting:
            return False
        until_s = (min(waiting) // STEP_S + 1) * STEP_S if self._task.ordered else None
        for worker in self._workers:
            try:
                self._take(worker, until_s)
            except (ValueError, KeyError, TypeError, IndexError, struct.error) as error:
                source = worker.source
                raise SuspiciousSpool(source.session, source.worker, str(error)) from error
            self._rows.states.append(self._grid.own_states())
        if not self._grid.flush(self._rows):
            source = self._workers[0].source
            raise SuspiciousSpool(source.session, -1, "counts do not add up")
        return True

    def _take(self, worker: _Worker, until_s: int | None) -> None:
        session, rank = worker.source.session, worker.source.worker
        while worker.next is not None:
            plain, content = worker.next
            start_s = plain["start_s"]
            if until_s is not None and start_s >= until_s:
                return
            self._check(worker, plain)
            self._grid.add(session, rank, plain, content)
            self._columns(session, rank, plain)
            worker.windows += 1
            worker.next = next(worker.frames, None)

    def _check(self, worker: _Worker, plain: dict[str, Any]) -> None:
        if plain["schema"] != SCHEMA or plain["kind"] != "window":
            raise Suspicious("not a window of schema 1")
        seen = Seen(plain["seq"], plain["phase"], plain["start_s"], plain["length_s"])
        if seen.start_s // HOUR_S != self._task.hour:
            raise Suspicious("a window of another hour")
        before = worker.last
        worker.last = seen
        source = worker.source
        if before is None:
            worker.first = seen
        elif (source.session, source.worker) not in self._task.inspected:
            if not seen.follows(before):
                raise Suspicious("windows are not in order")
            if seen.seq != before.seq + 1 or seen.start_s != before.start_s + before.length_s:
                self._damages += damages_between(before, seen, source.session, source.worker)
                worker.lost += seen.seq - before.seq - 1
        key = (source.session, seen.phase, plain["mode"], seen.length_s)
        span = self._phases.setdefault(key, [seen.start_s, seen.start_s, 0])
        span[0] = min(span[0], seen.start_s)
        span[1] = max(span[1], seen.start_s + seen.length_s)
        span[2] += 1

    def _columns(self, session: str, rank: int, plain: dict[str, Any]) -> None:
        when = (
            session,
            plain["phase"],
            plain["mode"],
            plain["start_s"],
            plain["length_s"],
            rank,
            plain["complete"],
            plain["seq"],
        )
        state = plain["generator"]
        self._rows.generator.append(
            (
                *when,
                state["cpu_share"],
                state["loop_lag_max_us"],
                state["overdue_max"],
                state["in_flight_max"],
                state["reconnects"],
                state["moved"],
                state["ask"],
                state.get("wait_share"),
                state.get("nic_share"),
            )
        )
        for name, held in plain["operations"].items():
            causes = held["causes"]
            if causes and not _CAUSES.issuperset(causes):
                raise Suspicious("a cause outside the fixed set")
            told = tuple(causes.get(cause, 0) for cause in CAUSES) if causes else _NO_CAUSES
            self._rows.counters.append((*when, name, *(held[one] for one in _COUNTS), *told))

    def finish(self) -> CollatedHour:
        """Write everything, and say what it is."""
        hour = hour_name(self._task.hour)
        self._rows.write(self._task.into, hour)
        return CollatedHour(
            hour=hour,
            sources=self._task.sources,
            workers=tuple(
                CollatedWorker(
                    session=one.source.session,
                    worker=one.source.worker,
                    windows=one.windows,
                    first_seq=one.first.seq,
                    last_seq=one.last.seq,
                    first_s=one.first.start_s,
                    first_phase=one.first.phase,
                    last_s=one.last.start_s,
                    last_phase=one.last.phase,
                    last_length_s=one.last.length_s,
                    windows_lost=one.lost,
                )
                for one in self._workers
                if one.first is not None and one.last is not None
            ),
            phases=tuple(
                (
                    session,
                    CollatedPhase(
                        phase=phase,
                        mode=mode,
                        start_s=span[0],
                        end_s=span[1],
                        length_s=length_s,
                        windows=span[2],
                    ),
                )
                for (session, phase, mode, length_s), span in self._phases.items()
            ),
            damages=tuple(self._damages),
        )


_NO_CAUSES = (0,) * len(CAUSES)


def _frames(path: Path, source: HourSource) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """Plain part of each frame, and the whole content where the counts are packed behind it."""
    data = mapped(path)
    for begin, end in source.ranges:
        at = begin
        while at < end:
            size, crc = HEAD.unpack_from(data, at)
            at += HEAD.size
            payload = data[at : at + size]
            at += size
            if zlib.crc32(payload) != crc:
                raise SuspiciousSpool(source.session, source.worker, "a wrong checksum")
            try:
                content, packed = inflated(payload)
                plain = plain_of(content, packed=packed)
                if "late" not in plain:
                    plain["late"] = _NO_HISTOGRAM
            except (ValueError, KeyError, TypeError, struct.error, isal_zlib.error) as error:
                raise SuspiciousSpool(source.session, source.worker, str(error)) from error
            yield plain, content if packed else None


_NO_HISTOGRAM = {"buckets": [], "counts": [], "sum_us": 0, "max_us": 0, "clamped": 0}
