"""Where the hours of a session begin in the files of its workers: chunks, and what the files lack.

A sealed hour is an hour. In a spool windows stand in order of time, so the first of an hour is
found by halving; where a clock was set back it may be found a little early or late, which costs
nothing (see `chunks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from loadgen.contract.parts import hour_of_part, parts_of
from loadgen.contract.sealed import SEALED, SealedDamaged, SealedHour
from loadgen.contract.spool import HOUR_S
from soakbed.archive.data.chunks import Chunk
from soakbed.archive.data.frames import FrameDamaged, Frames, scan, window_of
from soakbed.archive.data.readers import sealed_damage
from soakbed.archive.data.spool_parts import Piece, SpoolPart
from soakbed.archive.data.tables import hour_of
from soakbed.records.collated import Damage

__all__ = ["chunks_of"]


@dataclass(slots=True)
class _Files:
    """The files of one worker in order of time. `edges`: hour since 1970 -> the frame behind the
    last of its windows; frames are numbered over all files.
    """

    rank: int
    pieces: list[tuple[int, Piece]] = field(default_factory=list)  # number of its first frame
    edges: dict[int, int] = field(default_factory=dict)
    frames: int = 0
    damages: list[Damage] = field(default_factory=list)

    def add_spool(self, frames: Frames) -> None:
        """The next file, a spool."""
        for began, end in _edges(frames):
            # Frames without a window, such as an engine's end alone, are of the hour before.
            hour = max(self.edges, default=0) if began is None else began
            self.edges[hour] = max(self.frames + end, self.edges.get(hour, 0))
        self.pieces.append((self.frames, frames))
        self.frames += len(frames.starts)

    def add_sealed(self, sealed: SealedHour, hour: int) -> None:
        """The next file, a sealed hour."""
        self.pieces.append((self.frames, sealed))
        self.frames += sealed.records
        self.edges[hour] = self.frames

    def between(self, first: int, last: int) -> SpoolPart:
        """Frames `first` to `last`, the end left out; no sealed hour is ever cut."""
        held: list[Piece] = []
        for begins, piece in self.pieces:
            if isinstance(piece, SealedHour):
                if first <= begins and begins + piece.records <= last:
                    held.append(piece)
            elif (low := max(first - begins, 0)) < (high := min(last - begins, len(piece.starts))):
                held.append(piece.between(low, high))
        return SpoolPart(self.rank, tuple(held), first, last)


def chunks_of(
    session: str, folder: Path, workers: int, data: Path
) -> tuple[list[Chunk], list[Damage]]:
    """Chunks of one session, an hour each, of the files of its workers in `folder`.

    Every frame is in exactly one chunk. Also what is wrong with the files as such.
    """
    found = [_files(session, folder, rank) for rank in range(workers)]
    hours = sorted({hour for held in found for hour in held.edges})
    chunks = []
    at = [0] * workers
    for index, hour in enumerate(hours):
        last_hour = index + 1 == len(hours)
        parts = []
        for rank, files in enumerate(found):
            end = files.frames if last_hour else files.edges.get(hour, at[rank])
            end = max(end, at[rank])
            parts.append(files.between(at[rank], end))
            at[rank] = end
        chunks.append(Chunk(session, hour_of(hour * HOUR_S), data, tuple(parts)))
    return chunks, [damage for files in found for damage in files.damages]


def _files(session: str, folder: Path, rank: int) -> _Files:
    made = _Files(rank)
    paths = parts_of(folder, rank)
    for path in paths:
        if path.suffix != SEALED:
            frames = scan(path)
            made.damages += _damages(session, rank, frames)
            made.add_spool(frames)
            continue
        hour = hour_of_part(path) or 0
        try:
            made.add_sealed(SealedHour.of(path), hour)
        except SealedDamaged as error:
            made.damages.append(sealed_damage(session, rank, error, hour))
    if not paths:
        told = {"session": session, "worker": rank, "count": 1}
        sentence = f"worker-{rank}.spool is not there"
        made.damages.append(Damage(**told, kind="missing_spool", sentence=sentence))
    return made


def _damages(session: str, rank: int, frames: Frames) -> Iterator[Damage]:
    name = frames.path.name
    told = {"session": session, "worker": rank, "count": 1}
    if frames.cut_bytes:
        yield Damage(
            **told,
            kind="cut_frame",
            sentence=f"{name}: the last {frames.cut_bytes} bytes are part of a frame",
        )
    if frames.broken:
        yield Damage(**told, kind="chain", sentence=f"{name}: {frames.broken}")


def _edges(frames: Frames) -> tuple[tuple[int | None, int], ...]:
    """(hour since 1970, the frame behind the last of its windows); None: no window was found."""
    count = len(frames.starts)
    if not count:
        return ()
    with frames.path.open("rb") as file:

        def start_s(index: int) -> int | None:
            """Of the window at `index` or the next that can be read; None: there is none."""
            for held in range(index, count):
                file.seek(int(frames.starts[held]))
                payload = file.read(int(frames.sizes[held]))
                try:
                    plain = window_of(payload, int(frames.sums[held]))
                except FrameDamaged:
                    continue
                if plain["kind"] == "begin":
                    continue
                return int(plain["start_s"]) if plain["kind"] == "window" else None
            return None

        edges: dict[int, int] = {}
        at = 0
        while at < count and (began_s := start_s(at)) is not None:
            hour = began_s // HOUR_S
            low, high = at, count  # the first frame that begins in a later hour lies in between
            while low < high:
                middle = (low + high) // 2
                held_s = start_s(middle)
                if held_s is None or held_s >= (hour + 1) * HOUR_S:
                    high = middle
                else:
                    low = middle + 1
            at = max(low, at + 1)
            edges[hour] = max(at, edges.get(hour, 0))
    if not edges:  # nothing can be read: the damages are found all the same
        return ((None, count),)
    edges[max(edges)] = count
    return tuple(edges.items())
