"""Where the hours of a session begin in each of its spools: chunks, and what the spools lack.

Windows stand in a spool in order of time, so the first of an hour is found by halving; where a
clock was set back it may be found a little early or late, which costs nothing (see `chunks`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from soakbed.archive.data.chunks import Chunk, SpoolPart
from soakbed.archive.data.frames import FrameDamaged, Frames, scan, window_of
from soakbed.archive.data.tables import hour_of
from soakbed.records.collated import Damage

__all__ = ["chunks_of"]

HOUR_S = 3600


def chunks_of(session: str, spools: Sequence[Path], data: Path) -> tuple[list[Chunk], list[Damage]]:
    """Chunks of one session, an hour each, of the spools of its workers by rank.

    Every frame is in exactly one chunk. Also what is wrong with the files as such.
    """
    found = [scan(path) for path in spools]
    damages = [
        damage for rank, frames in enumerate(found) for damage in _damages(session, rank, frames)
    ]
    edges = [_edges(frames) for frames in found]
    hours = sorted({hour for held in edges for hour in held})
    chunks = []
    at = [0] * len(found)
    for index, hour in enumerate(hours):
        last_hour = index + 1 == len(hours)
        parts = []
        for rank, frames in enumerate(found):
            end = len(frames.starts) if last_hour else edges[rank].get(hour, at[rank])
            end = max(end, at[rank])
            parts.append(SpoolPart(rank, frames.between(at[rank], end), at[rank], end))
            at[rank] = end
        chunks.append(Chunk(session, hour_of(hour * HOUR_S), data, tuple(parts)))
    return chunks, damages


def _damages(session: str, rank: int, frames: Frames) -> Iterator[Damage]:
    name = frames.path.name
    told = {"session": session, "worker": rank, "count": 1}
    if not frames.path.is_file():
        yield Damage(**told, kind="missing_spool", sentence=f"{name} is not there")
    if frames.cut_bytes:
        yield Damage(
            **told,
            kind="cut_frame",
            sentence=f"{name}: the last {frames.cut_bytes} bytes are part of a frame",
        )
    if frames.broken:
        yield Damage(**told, kind="chain", sentence=f"{name}: {frames.broken}")


def _edges(frames: Frames) -> dict[int, int]:
    """Hour (since 1970) -> the frame behind the last of its windows."""
    count = len(frames.starts)
    if not count:
        return {}
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
        if edges:
            edges[max(edges)] = count
        else:
            edges[0] = count  # nothing can be read: the damages are found all the same
    return edges
