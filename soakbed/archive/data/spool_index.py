"""Where the frames of a spool lie and which hour each belongs to.

`hop` reads sizes alone and finds the hours by bisection, which holds for a sound spool. Whatever
it or the merging stumbles over sends the spool to `inspection.inspect`, which reads every frame.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from isal import isal_zlib
from numpy.typing import NDArray

from loadgen.contract.spool import MAX_FRAME_BYTES
from soakbed.records.collated import Damage, EngineEnd

__all__ = [
    "HEAD",
    "HOUR_S",
    "SpoolIndex",
    "Suspicious",
    "hop",
    "inflated",
    "mapped",
    "plain_of",
]

HEAD = struct.Struct("<II")
HOUR_S = 3600
PACKED = 0x50  # "P"
_SIZE = struct.Struct("<I")


class Suspicious(ValueError):
    """The spool is not as a sound one is; it has to be inspected frame by frame."""


@dataclass(slots=True)
class SpoolIndex:
    """Frames in the order of the file: offset of the head, bytes with the head, hour since 1970.

    Only windows; the engine's end is beside them. `ordered`: no window is older than the one
    before it.
    """

    session: str
    worker: int
    path: Path
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    hours: NDArray[np.int32]
    heads: bytes  # of all these frames, eight bytes each
    end: EngineEnd | None = None
    ordered: bool = True
    inspected: bool = False  # every frame was read, and what is wrong is among the damages
    damages: list[Damage] = field(default_factory=list)

    def fingerprint(self, chosen: NDArray[np.bool_] | None = None) -> int:
        """CRC-32 of the heads of all or the `chosen` frames; each holds its frame's CRC-32."""
        if chosen is None:
            return zlib.crc32(self.heads)
        heads = np.frombuffer(self.heads, dtype=np.uint64)
        return zlib.crc32(heads[chosen].tobytes())

    def ranges(self, chosen: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
        """Byte ranges of the `chosen` frames, neighbours as one."""
        begins = self.offsets[chosen]
        ends = begins + self.sizes[chosen]
        if not len(begins):
            return ()
        breaks = np.flatnonzero(begins[1:] != ends[:-1]) + 1
        firsts = np.concatenate(([0], breaks))
        lasts = np.concatenate((breaks - 1, [len(begins) - 1]))
        return tuple((int(begins[a]), int(ends[b])) for a, b in zip(firsts, lasts, strict=True))


def mapped(path: Path) -> mmap.mmap | bytes:
    """The file as memory, read as it is touched; an empty file cannot be mapped."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def inflated(payload: bytes) -> tuple[bytes, bool]:
    """Content of a frame, and whether it is packed. Raises isal_zlib.error."""
    if payload[0] == PACKED:
        return isal_zlib.decompress(payload[1:]), True
    return isal_zlib.decompress(payload), False


def plain_of(content: bytes, *, packed: bool) -> dict[str, Any]:
    """The JSON of a frame: all of it, or what a packed one has beside its counts."""
    if packed:
        (size,) = _SIZE.unpack_from(content)
        content = content[_SIZE.size : _SIZE.size + size]
    plain: dict[str, Any] = orjson.loads(content)
    return plain


def hop(session: str, worker: int, path: Path) -> SpoolIndex:
    """The index of a sound spool. Raises Suspicious where it is not one."""
    data = mapped(path)
    offsets, whole = _offsets(data)
    if not whole:
        raise Suspicious(f"{path.name}: bytes at its end are no frame")
    end = None
    if len(offsets) > 1:
        last = _plain_at(data, int(offsets[-2]))
        if last.get("kind") == "end":
            end = _end(last)
            offsets = offsets[:-1]
    begins, sizes = offsets[:-1], np.diff(offsets)
    heads = b"".join(data[at : at + HEAD.size] for at in begins.tolist())
    return SpoolIndex(session, worker, path, begins, sizes, _hours(data, begins), heads, end)


def _offsets(data: mmap.mmap | bytes) -> tuple[NDArray[np.int64], bool]:
    """Begins of all frames and the end of the last; whether the file ends there."""
    offsets, at, length = [0], 0, len(data)
    unpack, head = HEAD.unpack_from, HEAD.size
    while at + head <= length:
        size = unpack(data, at)[0]
        at += head + size
        if at > length or size > MAX_FRAME_BYTES:
            break
        offsets.append(at)
    return np.array(offsets, dtype=np.int64), offsets[-1] == length


def _plain_at(data: mmap.mmap | bytes, at: int) -> dict[str, Any]:
    size, _ = HEAD.unpack_from(data, at)
    try:
        content, packed = inflated(data[at + HEAD.size : at + HEAD.size + size])
        return plain_of(content, packed=packed)
    except (ValueError, IndexError, struct.error, isal_zlib.error) as error:
        raise Suspicious(f"frame at byte {at}: {error}") from error


def _end(plain: dict[str, Any]) -> EngineEnd:
    try:
        return EngineEnd(**{k: v for k, v in plain.items() if k not in ("kind", "schema")})
    except ValueError as error:
        raise Suspicious(f"end frame: {error}") from error


def _hours(data: mmap.mmap | bytes, begins: NDArray[np.int64]) -> NDArray[np.int32]:
    """Hour of each frame, by bisection: a sound spool's windows only get younger."""

    def hour(index: int) -> int:
        plain = _plain_at(data, int(begins[index]))
        if plain.get("kind") != "window" or plain.get("schema") != 1:
            raise Suspicious("not a window of schema 1")
        return int(plain["start_s"]) // HOUR_S

    hours = np.zeros(len(begins), dtype=np.int32)
    low = 0
    last = hour(len(begins) - 1) if len(begins) else 0
    while low < len(begins):
        now = hour(low)
        above, high = low, len(begins)
        if now == last:
            above = high
        while above < high:
            middle = (above + high) // 2
            if hour(middle) > now:
                high = middle
            else:
                above = middle + 1
        hours[low:above] = now
        low = above
    return hours
