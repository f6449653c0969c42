"""Everything that a target left -> its tables below `<target>/data/`.

Spools stay what they are: the evidence. The tables are made from them, hour by hour; an hour whose
frames are as they were is not done again, so a soak in progress can be collated as it goes, and
what an interrupted call has finished is kept. `collated.json` is written last.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from loadgen.contract.plan import Plan
from soakbed.archive.data.chunks import Chunk, ChunkDone, do_chunk
from soakbed.archive.data.happened import write_events, write_samples
from soakbed.archive.data.hours import chunks_of
from soakbed.archive.data.order import Order, order_of
from soakbed.archive.data.schema import SCHEMA
from soakbed.archive.run_folder import write_whole
from soakbed.errors import ArchiveError
from soakbed.records.collated import (
    Collated,
    CollatedChunk,
    CollatedSession,
    Damage,
    SpoolEnd,
)

__all__ = ["collate", "known"]

_ORDER = ("fill", "capacity", "knee", "steady")  # then whatever else there is, by name
_FILE = "collated.json"
_PROCESSES = 2
# Starting processes costs a second; so many frames are read in that time.
_WORTH_PROCESSES = 40_000
_TABLES = ("windows", "workers", "counters", "generator")

Progress = Callable[[int, int], None]


def known(target_folder: Path) -> Collated | None:
    """What was collated before; None when nothing was, or by a soakbed of another schema."""
    path = target_folder / "data" / _FILE
    try:
        found = Collated.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.data_schema == SCHEMA else None


def collate(
    target_folder: Path,
    *,
    duties: Mapping[str, str] | None = None,
    processes: int = _PROCESSES,
    progress: Progress = lambda _done, _all: None,
) -> Collated:
    """Bring the tables of `results/<run_id>/<target>` up to what its spools and hosts say.

    `duties`: host -> duty, for the samples. `progress` is called with frames done and to do.
    A session without a plan does not exist. Raises ArchiveError when a plan cannot be read or
    the disk is full.
    """
    data = target_folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    with FileLock(data / ".lock"):
        try:
            return _collate(target_folder, data, duties or {}, processes, progress)
        except OSError as error:
            raise ArchiveError(
                f"{data} could not be written: {error}",
                remedy="make room or mend the disk, then call it again: what was finished is kept",
            ) from error


def _collate(
    target_folder: Path,
    data: Path,
    duties: Mapping[str, str],
    processes: int,
    progress: Progress,
) -> Collated:
    plans = _plans(target_folder)
    done = {name: _Session(plan, target_folder / "load" / name, data) for name, plan in plans}
    if to_do := [chunk for one in done.values() for chunk in one.to_do()]:
        (data / _FILE).unlink(missing_ok=True)  # the tables are no longer those that it tells of
        _do(to_do, done, processes, progress)
    sessions: dict[str, CollatedSession] = {}
    damages: list[Damage] = []
    for name, session in done.items():
        sessions[name], found = session.close()
        damages += found
    _without_strangers(data, sessions.values())
    samples = write_samples(target_folder, data, duties)
    unread = write_events(target_folder, data, samples, damages)
    made = Collated(
        target=target_folder.name,
        data_schema=SCHEMA,
        sessions=sessions,
        damages=tuple(damages),
        unread=unread,
    )
    write_whole(data / _FILE, made.model_dump_json(by_alias=True, indent=1) + "\n")
    return made


def _plans(target_folder: Path) -> list[tuple[str, Plan]]:
    paths = {path.parent.name: path for path in target_folder.glob("load/*/plan.json")}
    names = sorted(paths, key=_place)
    return [(name, _plan(paths[name])) for name in names]


def _place(session: str) -> tuple[int, str, int]:
    """In the order in which they are pressed: knee-2 before knee-10."""
    word, _, number = session.partition("-")
    known = _ORDER.index(word) if word in _ORDER else len(_ORDER)
    return known, word, int(number) if number.isdigit() else 0


def _plan(path: Path) -> Plan:
    try:
        return Plan.read(path)
    except (KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
        raise ArchiveError(
            f"{path} is not a plan that this soakbed reads: {error}",
            remedy="restore the file from a copy, or delete the session's folder and measure again",
        ) from error


def _record(chunk: Chunk) -> Path:
    return chunk.data / "chunks" / f"{chunk.session}-{chunk.hour}.json"


def _kept(record: Path) -> CollatedChunk | None:
    """A chunk that was done before; None: it was not, or by a soakbed of another schema."""
    try:
        found = CollatedChunk.model_validate_json(record.read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.data_schema == SCHEMA else None


class _Session:
    """One session on its way into the tables."""

    def __init__(self, plan: Plan, folder: Path, data: Path) -> None:
        self._plan = plan
        self._data = data
        self._name = folder.name
        self._chunks, self._damages = chunks_of(folder.name, folder, plan.workers, data)
        self._kept = {chunk.hour: _kept(_record(chunk)) for chunk in self._chunks}
        self._made: dict[str, CollatedChunk] = {}

    def to_do(self) -> Iterator[Chunk]:
        """Chunks whose frames are not those of the tables."""
        for chunk in self._chunks:
            kept = self._kept.get(chunk.hour)
            if kept is not None and self._is_as_it_was(chunk, kept):
                self._made[chunk.hour] = kept
            else:
                yield chunk

    def _is_as_it_was(self, chunk: Chunk, kept: CollatedChunk) -> bool:
        if any(damage.kind == "sealed_hour" for damage in kept.damages):
            return False  # the file may have been brought anew, and its header is as it was
        frames = {part.worker: (part.first, part.last) for part in chunk.parts}
        prints = {part.worker: part.fingerprint() for part in chunk.parts}
        return (frames, prints) == (kept.frames, kept.fingerprints) and all(
            (self._data / name).is_file() for name in kept.files
        )

    def take(self, chunk: Chunk, done: ChunkDone) -> None:
        """A chunk is in the tables; files that it left there before and no longer has are not."""
        kept = self._made.get(chunk.hour) or self._kept.get(chunk.hour)
        for name in set(kept.files if kept else ()) - set(done.files):
            (self._data / name).unlink(missing_ok=True)
        made = self._made[chunk.hour] = CollatedChunk(
            data_schema=SCHEMA,
            hour=chunk.hour,
            frames={part.worker: (part.first, part.last) for part in chunk.parts},
            fingerprints={part.worker: part.fingerprint() for part in chunk.parts},
            files=done.files,
            damages=done.damages,
            ends=done.ends,
            begins=done.begins,
            left_out=chunk.left_out,
        )
        write_whole(_record(chunk), made.model_dump_json(indent=1) + "\n")

    def close(self) -> tuple[CollatedSession, list[Damage]]:
        """What all chunks together say, once each is there."""
        order = self._order()
        again = order.twice
        for chunk in self._chunks:
            if (left_out := again.get(chunk.hour)) is not None:
                skipping = Chunk(chunk.session, chunk.hour, chunk.data, chunk.parts, left_out)
                self.take(skipping, do_chunk(skipping))
        if again:
            order = self._order()
        chunks = [self._made[hour] for hour in sorted(self._made)]
        ends = {end.worker: end for one in chunks for end in one.ends}
        begins = tuple(begin for one in chunks for begin in one.begins)
        damages = [*self._damages, *(damage for one in chunks for damage in one.damages)]
        damages += order.damages
        workers = []
        for rank in range(self._plan.workers):
            windows, lost = order.windows.get(rank, (0, 0))
            told = ends.get(rank, SpoolEnd(worker=rank, windows=0, windows_lost=0))
            engines = 1 + max((one.attempt for one in begins if one.worker == rank), default=0)
            found = {"windows": windows, "windows_lost": lost, "engines": engines}
            workers.append(told.model_copy(update=found))
            if rank not in ends:
                damages.append(self._no_end(rank))
        made = CollatedSession(
            session=self._name,
            phases=order.phases,
            workers=tuple(workers),
            begins=begins,
            chunks=tuple(chunks),
        )
        return made, [order.placed(damage) for damage in damages]

    def _order(self) -> Order:
        files = {hour: one.files for hour, one in self._made.items()}
        return order_of(self._name, self._data, files)

    def _no_end(self, rank: int) -> Damage:
        return Damage(
            session=self._name,
            worker=rank,
            kind="no_end",
            count=1,
            sentence=f"worker-{rank}.spool has no end frame",
        )


def _do(
    chunks: list[Chunk], sessions: Mapping[str, _Session], processes: int, progress: Progress
) -> None:
    """Do `chunks`, in processes of their own when that is worth it."""
    sizes = {id(one): sum(part.last - part.first for part in one.parts) for one in chunks}
    whole = sum(sizes.values())
    ready = 0

    def take(chunk: Chunk, done: ChunkDone) -> None:
        nonlocal ready
        sessions[chunk.session].take(chunk, done)
        ready += sizes[id(chunk)]
        progress(ready, whole)

    if whole < _WORTH_PROCESSES or processes < 2 or len(chunks) < 2:
        for chunk in chunks:
            take(chunk, do_chunk(chunk))
        return
    # Spawned, not forked: the caller may hold threads, and Arrow has some of its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = {pool.submit(do_chunk, chunk): chunk for chunk in chunks}
        try:
            for job in as_completed(jobs):
                take(jobs[job], job.result())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _without_strangers(data: Path, sessions: Iterable[CollatedSession]) -> None:
    """Remove files that no chunk knows, such as of a session whose folder is gone."""
    held: dict[str, set[Path]] = defaultdict(set)
    records = set()
    for session in sessions:
        for chunk in session.chunks:
            records.add(f"{session.session}-{chunk.hour}.json")
            for name in chunk.files:
                held[name.split("/")[0]].add(data / name)
    for path in (data / "chunks").glob("*"):
        if path.name not in records:
            path.unlink()
    for table in _TABLES:
        for path in (data / table).glob("hour=*/*"):
            if path not in held[table]:
                path.unlink()
        for folder in (data / table).glob("hour=*"):
            if not any(folder.iterdir()):
                folder.rmdir()
