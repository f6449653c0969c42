"""One hour of one session: frames of all workers -> Parquet files, in one process of its own.

Rows go to the hour in which they happened, whatever chunk they came in, so that a clock that was
set back costs no row. The files of a chunk bear its name, so doing it again replaces them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from loadgen.contract.sealed import SealedDamaged
from loadgen.contract.spool import HOUR_S
from soakbed.archive.data.adding import Stretch
from soakbed.archive.data.histogram_rows import CountsDiffer
from soakbed.archive.data.readers import Hour, Reader, columns_of
from soakbed.archive.data.schema import HISTOGRAM_STEP_S
from soakbed.archive.data.spool_parts import SpoolPart
from soakbed.archive.data.tables import TableWriter, began_s
from soakbed.records.collated import Damage, SpoolBegin, SpoolEnd

__all__ = ["Chunk", "ChunkDone", "do_chunk"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What to do: `data` is the folder of the tables, `left_out` windows to skip, by worker."""

    session: str
    hour: str
    data: Path
    parts: tuple[SpoolPart, ...]
    left_out: dict[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """What was made: files below the data folder, damages, the engines' starts and own totals."""

    files: tuple[str, ...]
    damages: tuple[Damage, ...]
    ends: tuple[SpoolEnd, ...]
    begins: tuple[SpoolBegin, ...] = ()


def do_chunk(chunk: Chunk) -> ChunkDone:
    """Read, add, write. The files stand under their names when it returns.

    Whether counts are what their windows say is asked of the sums; only where they are not is every
    window asked, and the wrong ones are left out.
    """
    try:
        return _done(chunk, asking_each=False)
    except CountsDiffer:
        return _done(chunk, asking_each=True)


def _done(chunk: Chunk, *, asking_each: bool) -> ChunkDone:
    hours, readers = _begun(chunk, asking_each=asking_each)
    # Windows that are read one by one need a row of counts for each second.
    step_s = HISTOGRAM_STEP_S if any(one.next for one in readers) else HOUR_S
    stretches: dict[int, Stretch] = {}

    def stretch_at(began_s: int) -> Stretch:
        return stretches.setdefault(began_s, Stretch(began_s, step_s))

    while hours:
        hours.pop(0).add(stretch_at, step_s)
    writer = TableWriter(chunk.data, f"{chunk.session}-{chunk.hour}", chunk.session)
    while waiting := [one.next["start_s"] for one in readers if one.next is not None]:
        start_s = min(waiting) // HISTOGRAM_STEP_S * HISTOGRAM_STEP_S
        stretch = stretch_at(start_s)
        for reader in readers:
            for window in reader.before(start_s + HISTOGRAM_STEP_S):
                began_s = window["start_s"] // HISTOGRAM_STEP_S * HISTOGRAM_STEP_S
                # Another stretch where the clock was set back in between.
                (stretch if began_s == start_s else stretch_at(began_s)).take(window)
        writer.take(stretches.pop(start_s))
    for start_s in sorted(stretches):
        writer.take(stretches.pop(start_s))
    return ChunkDone(
        files=tuple(writer.close()),
        damages=tuple(damage for one in readers for damage in one.damages()),
        ends=tuple(end for one in readers for end in one.ends),
        begins=tuple(begin for one in readers for begin in one.begins),
    )


def _begun(chunk: Chunk, *, asking_each: bool) -> tuple[list[Hour], list[Reader]]:
    """Parts that are added as columns, and readers of all: the others have their first window
    ready.
    """
    hours, readers = [], []
    for part in chunk.parts:
        left_out = chunk.left_out.get(part.worker, ())
        reader = Reader(chunk.session, part, began_s(chunk.hour), left_out)
        readers.append(reader)
        try:
            hour = columns_of(part, began_s(chunk.hour), left_out)
        except SealedDamaged as error:
            reader.lost(error)
            continue
        if hour is None:
            reader.begin(asking_each=asking_each)
            continue
        hours.append(hour)
        for record in hour.others:
            reader.told(record)
    return hours, readers
