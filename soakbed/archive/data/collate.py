"""Everything that targets left -> their tables below `<target>/data/`.

Spools stay what they are: the evidence. The tables are made from them, hour by hour; an hour whose
frames are as they were is not done again, so a soak in progress can be collated as it goes, and
what an interrupted call has finished is kept. `collated.json` is written last.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pyarrow as pa
from filelock import FileLock
from pydantic import ValidationError

from soakbed.archive.data.chunks import Chunk, ChunkDone, do_chunk
from soakbed.archive.data.happened import write_events, write_samples
from soakbed.archive.data.schema import SCHEMA
from soakbed.archive.data.sessions import SessionTables, sessions_of, without_strangers
from soakbed.archive.run_folder import write_whole
from soakbed.errors import ArchiveError
from soakbed.records.collated import Collated, CollatedSession, Damage

__all__ = ["collate", "collate_each", "known"]

_FILE = "collated.json"
_PROCESSES = 2
# Starting processes costs a second; so many frames are read in that time.
_WORTH_PROCESSES = 40_000

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
    each = collate_each([target_folder], duties=duties, processes=processes, progress=progress)
    with closing(each):
        return next(each)[1]


def collate_each(
    target_folders: Sequence[Path],
    *,
    duties: Mapping[str, str] | None = None,
    processes: int = _PROCESSES,
    progress: Progress = lambda _done, _all: None,
) -> Generator[tuple[Path, Collated], None, None]:
    """The same of several targets, in their order, each as soon as it is done.

    While the caller works on one, processes do the next; close the iterator to end them.
    """
    _spare_memory()
    with ExitStack() as undo:
        targets = {folder: _Target(folder) for folder in target_folders}
        for folder in sorted(targets):  # in one order, so that two calls cannot wait for each other
            undo.callback(targets[folder].release)
            targets[folder].begin()
        work = undo.enter_context(_work([one.to_do for one in targets.values()], processes))
        whole, ready = sum(one.frames for one in targets.values()), 0
        for (folder, target), done in zip(targets.items(), work, strict=True):
            with _writing(target.data):
                for chunk, made in done:
                    target.sessions[chunk.session].take(chunk, made)
                    ready += _frames(chunk)
                    progress(ready, whole)
                collated = target.close(duties or {})
            target.release()
            yield folder, collated
            pa.default_memory_pool().release_unused()


@contextmanager
def _writing(data: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"{data} could not be written: {error}",
            remedy="make room or mend the disk, then call it again: what was finished is kept",
        ) from error


class _Target:
    """One target on its way into its tables, which nobody else touches meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.data = folder / "data"
        self._lock = FileLock(self.data / ".lock")
        self.sessions: dict[str, SessionTables] = {}
        self.to_do: list[Chunk] = []

    def begin(self) -> None:
        """Find what is to be done."""
        with _writing(self.data):
            self.data.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self.sessions = sessions_of(self._folder, self.data)
            self.to_do = [chunk for one in self.sessions.values() for chunk in one.to_do()]
            if self.to_do:  # the tables are no longer those that it tells of
                (self.data / _FILE).unlink(missing_ok=True)

    @property
    def frames(self) -> int:
        """How many are to be read."""
        return sum(_frames(chunk) for chunk in self.to_do)

    def close(self, duties: Mapping[str, str]) -> Collated:
        """All chunks are done: what they say together, and what else the target left."""
        sessions: dict[str, CollatedSession] = {}
        damages: list[Damage] = []
        for name, session in self.sessions.items():
            sessions[name], found = session.close()
            damages += found
        without_strangers(self.data, sessions.values())
        samples = write_samples(self._folder, self.data, duties)
        unread = write_events(self._folder, self.data, samples, damages)
        made = Collated(
            target=self._folder.name,
            data_schema=SCHEMA,
            sessions=sessions,
            damages=tuple(damages),
            unread=unread,
        )
        write_whole(self.data / _FILE, made.model_dump_json(by_alias=True, indent=1) + "\n")
        return made

    def release(self) -> None:
        """Others may touch it again; a second call is fine."""
        self._lock.release()


def _frames(chunk: Chunk) -> int:
    return sum(part.last - part.first for part in chunk.parts)


Done = Iterable[tuple[Chunk, ChunkDone]]


@contextmanager
def _work(to_do: Sequence[Sequence[Chunk]], processes: int) -> Iterator[Iterable[Done]]:
    """Chunks of each target with what was made of them, in processes where that is worth it."""
    chunks = [chunk for one in to_do for chunk in one]
    if sum(map(_frames, chunks)) < _WORTH_PROCESSES or processes < 2 or len(chunks) < 2:
        yield [((chunk, do_chunk(chunk)) for chunk in one) for one in to_do]
        return
    # Spawned, not forked: the caller may hold threads, and Arrow has some of its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_process) as pool:
        jobs = [{pool.submit(do_chunk, chunk): chunk for chunk in one} for one in to_do]
        try:
            yield [_finished(one) for one in jobs]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _spare_memory() -> None:
    """Arrow's own pool keeps what it once had: a sixth of the memory of a process that collates."""
    pa.set_memory_pool(pa.system_memory_pool())


def _begin_process() -> None:
    """A process of its own makes nothing that only a search for cycles would find."""
    _spare_memory()
    gc.freeze()
    gc.set_threshold(50_000)


def _finished(jobs: dict[Future[ChunkDone], Chunk]) -> Done:
    for job in as_completed(jobs):
        yield jobs.pop(job), job.result()
