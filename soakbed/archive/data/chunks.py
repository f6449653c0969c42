"""One hour of one session: frames of all workers -> Parquet files, in one process of its own.

Rows go to the hour in which they happened, whatever chunk they came in, so that a clock that was
set back costs no row. The files of a chunk bear its name, so doing it again replaces them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.contract.spool import HEAD
from soakbed.archive.data.adding import CountsDiffer, Stretch
from soakbed.archive.data.frames import FrameDamaged, Frames, ask_counts, window_of
from soakbed.archive.data.schema import HISTOGRAM_STEP_S
from soakbed.archive.data.tables import TableWriter, began_s
from soakbed.records.collated import Damage, SpoolEnd

__all__ = ["Chunk", "ChunkDone", "SpoolPart", "do_chunk"]


@dataclass(frozen=True, slots=True)
class SpoolPart:
    """Frames from `first` to `last` (left out) of one worker's spool, and no others.

    It is sent to another process: all frames of 72 hours with each hour would fill the memory.
    """

    worker: int
    frames: Frames
    first: int
    last: int

    def fingerprint(self) -> int:
        """Changes when any frame does."""
        return self.frames.fingerprint()


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
    """What was made: files below the data folder, damages, the engines' own totals."""

    files: tuple[str, ...]
    damages: tuple[Damage, ...]
    ends: tuple[SpoolEnd, ...]


class _Reader:
    """Windows of one part, in the order of the file."""

    def __init__(self, chunk: Chunk, part: SpoolPart, *, asking_each: bool) -> None:
        self._part = part
        self._asking_each = asking_each
        self._until_s: dict[str, int] = {}  # phase -> end of the latest window so far
        self._at_s: int | None = None  # end of the window read last
        self._session = chunk.session
        self._began_s = began_s(chunk.hour)
        self._seen = set(chunk.left_out.get(part.worker, ()))
        self._bad: dict[str, list[tuple[str, int | None]]] = {}
        self._twice: list[dict[str, Any]] = []
        self.ends: list[SpoolEnd] = []
        self._windows = self._read()
        self.next = next(self._windows, None)

    def before(self, end_s: int) -> Iterator[dict[str, Any]]:
        """Windows up to the first that begins at `end_s` or later."""
        while self.next is not None and self.next["start_s"] < end_s:
            yield self.next
            self.next = next(self._windows, None)

    def _read(self) -> Iterator[dict[str, Any]]:
        part, frames = self._part, self._part.frames
        if part.first == part.last:
            return
        starts, sizes, sums = frames.starts.tolist(), frames.sizes.tolist(), frames.sums.tolist()
        with frames.path.open("rb") as file:
            file.seek(starts[0])
            content = file.read(starts[-1] + sizes[-1] - starts[0])
        for start, size, checksum in zip(starts, sizes, sums, strict=True):
            at = start - starts[0]
            try:
                plain = window_of(content[at : at + size], checksum)
                if self._asking_each:
                    ask_counts(plain)
                if plain["kind"] == "end":
                    self._end(plain)
                elif plain["kind"] == "begin":
                    continue
                elif plain["seq"] in self._seen:
                    self._twice.append(plain)
                else:
                    self._seen.add(plain["seq"])
                    self._note_time(plain)
                    yield plain
            except FrameDamaged as error:
                told = f"frame at byte {start - HEAD.size} {error}"
                self._bad.setdefault(error.kind, []).append((told, self._at_s))

    def _note_time(self, window: dict[str, Any]) -> None:
        """Mark a window of seconds that lie behind: the clock was set back."""
        phase, start_s = window["phase"], window["start_s"]
        if start_s < self._until_s.get(phase, self._began_s):
            window["again"] = True
        self._at_s = start_s + window["length_s"]
        self._until_s[phase] = max(self._at_s, self._until_s.get(phase, 0))

    def _end(self, plain: dict[str, Any]) -> None:
        told = {name: plain[name] for name in ("outcome", "reason", "sent", "ok", "failed")}
        self.ends.append(
            SpoolEnd(
                worker=self._part.worker,
                windows=0,
                windows_lost=0,
                unknown=plain["unknown"],
                notes=plain.get("notes", {}),
                **told,
            )
        )

    def damages(self) -> Iterator[Damage]:
        """What was left out, after all was read."""
        for kind, told in self._bad.items():
            more = f", and {len(told) - 1} more" if len(told) > 1 else ""
            times = {} if told[0][1] is None else {"from_s": told[0][1], "until_s": told[-1][1]}
            yield self._damage(kind, len(told), told[0][0] + more, **times)
        if self._twice:
            first = self._twice[0]
            yield self._damage(
                "duplicate_window",
                len(self._twice),
                f"{len(self._twice)} windows are there twice, the first with number {first['seq']}",
                from_s=first["start_s"],
                until_s=self._twice[-1]["start_s"] + self._twice[-1]["length_s"],
            )

    def _damage(self, kind: Any, count: int, sentence: str, **times: float | None) -> Damage:  # noqa: ANN401
        return Damage(
            session=self._session,
            worker=self._part.worker,
            kind=kind,
            count=count,
            sentence=f"{self._part.frames.path.name}: {sentence}",
            **times,
        )


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
    readers = [_Reader(chunk, part, asking_each=asking_each) for part in chunk.parts]
    writer = TableWriter(chunk.data, f"{chunk.session}-{chunk.hour}", chunk.session)
    strays: dict[int, Stretch] = {}
    while waiting := [one.next["start_s"] for one in readers if one.next is not None]:
        start_s = min(waiting) // HISTOGRAM_STEP_S * HISTOGRAM_STEP_S
        stretch = strays.pop(start_s, None) or Stretch(start_s)
        for reader in readers:
            for window in reader.before(start_s + HISTOGRAM_STEP_S):
                began_s = window["start_s"] // HISTOGRAM_STEP_S * HISTOGRAM_STEP_S
                if began_s == start_s:
                    stretch.take(window)
                else:  # the clock was set back in between
                    strays.setdefault(began_s, Stretch(began_s)).take(window)
        writer.take(stretch)
    for stretch in strays.values():
        writer.take(stretch)
    return ChunkDone(
        files=tuple(writer.close()),
        damages=tuple(damage for one in readers for damage in one.damages()),
        ends=tuple(end for one in readers for end in one.ends),
    )
