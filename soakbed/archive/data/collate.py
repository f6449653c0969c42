"""Spools -> tables, hour by hour; what is done already and did not change is not done again.

An hour is written under a name of its own and moved into place, its record after it and
`collated.json` last, so an interruption costs the hours under way. Spools are only read.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from loadgen.contract.plan import Plan
from soakbed.archive.data.host_tables import write_host_tables
from soakbed.archive.data.hour import HourTask, SuspiciousSpool, hour_name, merge_hour
from soakbed.archive.data.inspection import inspect
from soakbed.archive.data.spool_index import SpoolIndex, Suspicious, hop
from soakbed.archive.data.summing import collated
from soakbed.archive.data.tables import TABLES
from soakbed.archive.run_folder import write_whole
from soakbed.errors import ArchiveError
from soakbed.records.collated import DATA_SCHEMA, Collated, CollatedHour, HourSource

__all__ = ["collate"]

_PROCESSES = 2
_HOURLY = tuple(table.name for table in TABLES if table.hourly)


def collate(
    target_folder: Path, progress: Callable[[str], None] = lambda _message: None
) -> Collated:
    """Bring `target_folder`/data up to its spools; nothing to do takes a second per GB of them.

    Raises ArchiveError when a plan cannot be read or another process collates the same target.
    """
    data = target_folder / "data"
    data.mkdir(exist_ok=True)
    with _alone(data):
        _remove_other_schemas(data)
        for leftover in data.glob(".making-*"):
            shutil.rmtree(leftover)
        return _Collation(target_folder, progress).run()


class _Collation:
    def __init__(self, folder: Path, progress: Callable[[str], None]) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._progress = progress
        self._plans = _plans(folder)
        self._indexes: dict[tuple[str, int], SpoolIndex] = {}
        self._inspected: set[tuple[str, int]] = set()

    def run(self) -> Collated:
        for session, plan in self._plans.items():
            for rank in range(plan.workers):
                path = self._folder / "load" / session / f"worker-{rank}.spool"
                if path.is_file():
                    self._index(session, rank, path)
        hours = self._hours()
        while True:
            wanted = self._wanted()
            todo = [hour for hour in wanted if hours.get(hour_name(hour)) != wanted[hour]]
            gone = [name for name in hours if name not in {hour_name(hour) for hour in wanted}]
            if todo or gone:
                (self._data / "collated.json").unlink(missing_ok=True)
            for name in gone:
                self._remove(name)
                del hours[name]
            suspicious = self._merge({hour: wanted[hour] for hour in todo})
            if not suspicious:
                break
            for session, rank in suspicious:
                self._inspect(session, rank)
            hours = self._hours()
        return self._sum_up([hour_name(hour) for hour in sorted(wanted)])

    def _index(self, session: str, rank: int, path: Path) -> None:
        try:
            self._indexes[session, rank] = hop(session, rank, path)
        except Suspicious:
            self._inspect(session, rank)

    def _inspect(self, session: str, rank: int) -> None:
        for known in [(session, rank)] if rank >= 0 else list(self._indexes):
            if known[0] == session and known not in self._inspected:
                path = self._folder / "load" / session / f"worker-{known[1]}.spool"
                self._progress(f"reading {session}/{path.name} frame by frame: it is damaged")
                self._indexes[known] = inspect(session, known[1], path)
                self._inspected.add(known)

    def _wanted(self) -> dict[int, tuple[HourSource, ...]]:
        """What each hour should be made of."""
        wanted: dict[int, list[HourSource]] = {}
        for (session, rank), index in sorted(self._indexes.items()):
            for hour in np.unique(index.hours).tolist():
                chosen = index.hours == hour
                source = HourSource(
                    session=session,
                    worker=rank,
                    ranges=index.ranges(chosen),
                    frames=int(chosen.sum()),
                    fingerprint=index.fingerprint(chosen),
                )
                wanted.setdefault(hour, []).append(source)
        return {hour: tuple(sources) for hour, sources in wanted.items()}

    def _hours(self) -> dict[str, tuple[HourSource, ...]]:
        """Hours that are whole on disk, and what they were made of."""
        return {one.hour: one.sources for one in self._records()}

    def _records(self) -> Iterator[CollatedHour]:
        for path in sorted(self._data.glob("hours/*.json")):
            yield CollatedHour.model_validate_json(path.read_bytes())

    def _merge(self, todo: dict[int, tuple[HourSource, ...]]) -> set[tuple[str, int]]:
        """Make these hours; the spools that must be inspected before the rest can be made."""
        making = self._data / f".making-{os.getpid()}"
        unordered = {key for key, index in self._indexes.items() if not index.ordered}
        tasks = [
            HourTask(
                folder=self._folder,
                into=making / hour_name(hour),
                hour=hour,
                sources=sources,
                ordered=not any((one.session, one.worker) in unordered for one in sources),
                inspected=frozenset(self._inspected),
            )
            for hour, sources in todo.items()
        ]
        suspicious: set[tuple[str, int]] = set()
        try:
            for done, made in enumerate(_merged(tasks), 1):
                if isinstance(made, SuspiciousSpool):
                    suspicious.add((made.session, made.worker))
                    continue
                self._place(making / made.hour, made)
                self._progress(f"{self._folder.name}: {done} of {len(tasks)} hours collated")
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return suspicious

    def _place(self, made: Path, record: CollatedHour) -> None:
        """Move an hour's files into place, its record last."""
        self._remove(record.hour)
        for table in _HOURLY:
            into = self._data / table
            into.mkdir(exist_ok=True)
            (made / table / f"hour={record.hour}").rename(into / f"hour={record.hour}")
        text = record.model_dump_json(by_alias=True) + "\n"
        write_whole(self._data / "hours" / f"{record.hour}.json", text)

    def _remove(self, hour: str) -> None:
        (self._data / "hours" / f"{hour}.json").unlink(missing_ok=True)
        for table in _HOURLY:
            shutil.rmtree(self._data / table / f"hour={hour}", ignore_errors=True)

    def _sum_up(self, names: list[str]) -> Collated:
        records = [one for one in self._records() if one.hour in names]
        made = collated(self._folder, self._plans, records, self._indexes)
        path = self._data / "collated.json"
        text = made.model_dump_json(by_alias=True, indent=1) + "\n"
        if not path.is_file() or path.read_text() != text:
            path.unlink(missing_ok=True)
            write_host_tables(self._folder, made)
            write_whole(path, text)
        return made


def _merged(tasks: Sequence[HourTask]) -> Iterator[CollatedHour | SuspiciousSpool]:
    """Hours as they become ready, two at a time; few are not worth processes of their own."""
    if len(tasks) < 2:
        for task in tasks:
            yield _tried(task)
        return
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("forkserver")) as pool:
        for job in as_completed([pool.submit(_tried, task) for task in tasks]):
            yield job.result()


def _tried(task: HourTask) -> CollatedHour | SuspiciousSpool:
    try:
        return merge_hour(task)
    except SuspiciousSpool as found:
        return found


def _plans(folder: Path) -> dict[str, Plan]:
    plans = {}
    for path in sorted(folder.glob("load/*/plan.json")):
        try:
            plans[path.parent.name] = Plan.read(path)
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"{path} is not a plan that this soakbed reads: {error}",
                remedy="restore the file from a copy, or delete the session's folder and measure "
                "again",
            ) from error
    return plans


def _remove_other_schemas(data: Path) -> None:
    """Tables of another schema are made again: they can be, the spools are there."""
    mark = data / "schema"
    if not mark.is_file() or mark.read_text() != f"{DATA_SCHEMA}\n":
        for path in data.iterdir():
            if path.name != "lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_whole(mark, f"{DATA_SCHEMA}\n")


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """One collation of a target at a time; the second waits for the first."""
    handle = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
