"""One session on its way into the tables, and what of earlier tables is kept or goes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from loadgen.contract.plan import Plan
from soakbed.archive.data.chunks import Chunk, ChunkDone, do_chunk
from soakbed.archive.data.hours import chunks_of
from soakbed.archive.data.order import Order, order_of
from soakbed.archive.data.schema import SCHEMA
from soakbed.archive.run_folder import write_whole
from soakbed.errors import ArchiveError
from soakbed.records.collated import CollatedChunk, CollatedSession, Damage, SpoolEnd

__all__ = ["SessionTables", "sessions_of", "without_strangers"]

_ORDER = ("fill", "capacity", "knee", "steady")  # then whatever else there is, by name
_TABLES = ("windows", "workers", "counters", "generator")


def sessions_of(target_folder: Path, data: Path) -> dict[str, SessionTables]:
    """Sessions with a plan, by name in their order. Raises ArchiveError when one cannot be read."""
    load = target_folder / "load"
    return {name: SessionTables(plan, load / name, data) for name, plan in _plans(target_folder)}


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


class SessionTables:
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


def without_strangers(data: Path, sessions: Iterable[CollatedSession]) -> None:
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
