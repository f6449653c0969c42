"""Frames of a spool, read fast: where they lie, and what one holds as arrays instead of objects.

`loadgen.contract.spool` is the format and reads it at leisure; a soak leaves millions of frames.
What it says of a damaged file is said here too: named and counted, and what is whole is read.
"""

from __future__ import annotations

import re
import struct
import zlib
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.packed_window import holders, split
from loadgen.contract.spool import HEAD, MAX_FRAME_BYTES, PACKED
from loadgen.contract.window import SCHEMA

__all__ = ["DTYPES", "FrameDamaged", "Frames", "as_window", "ask_counts", "scan", "window_of"]

DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
# What a payload begins with: a packed window's mark, or zlib's own.
_MARKS = re.compile(rb"[" + re.escape(PACKED) + rb"\x78]")
_PIECE_BYTES = 1 << 20  # of a spool that is read for its headers
_BROKEN = (ValueError, KeyError, TypeError, IndexError, struct.error, zlib.error)


class FrameDamaged(ValueError):
    """A frame that cannot be read; `kind` is a word of the fixed set of damages."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Frames:
    """Where the frames of one spool lie. `starts` and `sizes` (payload bytes) are int64[n], `sums`
    uint32[n] the checksums; `cut_bytes` follow the last whole frame and are part of one that was
    cut, `broken` says where a length was wrong and how many bytes were lost by it.
    """

    path: Path
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    sums: NDArray[np.uint32]
    cut_bytes: int = 0
    broken: str = ""

    def between(self, first: int, last: int) -> Frames:
        """The frames from `first` to `last`, the end left out, on their own."""
        held = slice(first, last)
        return Frames(
            path=self.path,
            starts=self.starts[held].copy(),
            sizes=self.sizes[held].copy(),
            sums=self.sums[held].copy(),
        )

    def fingerprint(self) -> int:
        """Checksum over the headers."""
        return zlib.crc32(self.sums.tobytes(), zlib.crc32(self.sizes.tobytes()))


def scan(path: Path) -> Frames:
    """The frames of `path`, by their headers alone; a file that is not there has none.

    Behind a length that cannot be right the next whole frame is looked for.
    """
    if not path.is_file():
        return _frames(path, array("q"), 0, "")
    found = array("q")  # start, size, checksum of each: 24 bytes, where a tuple has 150
    broken: list[str] = []
    length = path.stat().st_size
    with path.open("rb") as file:
        at = _chain(file, 0, length, found)
        while at + HEAD.size <= length and (again := _next_whole(file, at + 1, length)) is not None:
            broken.append(f"frame at byte {at} has a wrong length, {again - at} bytes are lost")
            at = _chain(file, again, length, found)
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    return _frames(path, found, length - at, broken[0] + more if broken else "")


def _chain(file: BinaryIO, at: int, length: int, found: array[int]) -> int:
    """Follow the lengths from byte `at`; where no frame can stand any more."""
    piece, began = b"", 0
    while at + HEAD.size <= length:
        if not piece or at + HEAD.size > began + len(piece):
            began = at
            file.seek(at)
            piece = file.read(_PIECE_BYTES)
            if len(piece) < HEAD.size:
                break  # shorter than it was a moment ago
        size, checksum = HEAD.unpack_from(piece, at - began)
        if size > MAX_FRAME_BYTES or at + HEAD.size + size > length:
            break
        found.extend((at + HEAD.size, size, checksum))
        at += HEAD.size + size
    return at


def _next_whole(file: BinaryIO, at: int, length: int) -> int | None:
    """The first byte from `at` on at which a frame with a right checksum begins."""
    while at + HEAD.size < length:
        file.seek(at)
        piece = file.read(_PIECE_BYTES)
        for mark in _MARKS.finditer(piece, HEAD.size):
            head = mark.start() - HEAD.size
            size, checksum = HEAD.unpack_from(piece, head)
            if 0 < size <= min(MAX_FRAME_BYTES, length - at - mark.start()):
                file.seek(at + mark.start())
                if zlib.crc32(file.read(size)) == checksum:
                    return at + head
        if at + len(piece) >= length:
            return None
        at += max(len(piece) - HEAD.size, 1)
    return None


def _frames(path: Path, found: array[int], cut_bytes: int, broken: str) -> Frames:
    table = np.array(found, dtype=np.int64).reshape(-1, 3)
    return Frames(
        path=path,
        starts=table[:, 0].copy(),
        sizes=table[:, 1].copy(),
        sums=table[:, 2].astype(np.uint32),
        cut_bytes=cut_bytes,
        broken=broken,
    )


def window_of(payload: bytes, checksum: int) -> dict[str, Any]:
    """A window's JSON with the bytes of all counts in place of each histogram's counts, key `raw`
    (`size` counts of `width` bytes); or another record (the end of a session) as it is.
    Raises FrameDamaged.

    That the counts add up to `total` is for the reader of many to ask, once for all of them.
    """
    if zlib.crc32(payload) != checksum:
        raise FrameDamaged("checksum", "has a wrong checksum")
    try:
        packed = payload[:1] == PACKED
        content = zlib.decompress(payload[1:] if packed else payload)
        plain = _packed(content) if packed else orjson.loads(content)
    except _BROKEN as error:
        raise FrameDamaged("content", f"cannot be read: {error}") from error
    return plain if packed and _known(plain) else as_window(plain)


def as_window(plain: dict[str, Any]) -> dict[str, Any]:
    """The same of a record as JSON says it. Raises FrameDamaged."""
    if not _known(plain):
        told = {key: plain.get(key) for key in ("kind", "schema")}
        raise FrameDamaged("schema", f"is no window of schema {SCHEMA}: {told}")
    if plain["kind"] == "window":
        try:
            _from_sparse(plain)
        except _BROKEN as error:
            raise FrameDamaged("content", f"cannot be read: {error}") from error
    return plain


def _known(plain: dict[str, Any]) -> bool:
    return plain.get("schema") == SCHEMA and plain.get("kind") in ("window", "begin", "end")


def ask_counts(plain: dict[str, Any]) -> None:
    """Raises FrameDamaged when a window's counts are not what it says that they add up to."""
    if plain["kind"] != "window":
        return
    for holder, name in holders(plain):
        told = holder[name]
        if int(np.frombuffer(told["raw"], DTYPES[told.get("width", 4)]).sum()) != told["total"]:
            raise FrameDamaged("content", f"cannot be read: {name} does not add up to its total")


def _packed(content: bytes) -> dict[str, Any]:
    head, at = split(content)
    plain: dict[str, Any] = orjson.loads(head)
    for holder, name in holders(plain):
        told = holder[name]
        size, width = told["size"], told.get("width", 4)
        if size > BUCKETS:
            raise ValueError(f"{name}: {size} buckets are outside the layout")
        if width not in DTYPES:
            raise ValueError(f"{name}: counts of {width} bytes")
        end = at + size * width
        told["raw"] = content[at:end]
        at = end
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes after the last histogram")
    return plain


def _from_sparse(plain: dict[str, Any]) -> None:
    """A window as JSON, of before windows were packed."""
    plain.setdefault("late", {"buckets": [], "counts": [], "sum_us": 0, "max_us": 0, "clamped": 0})
    for holder, name in holders(plain):
        told = holder[name]
        buckets = np.array(told["buckets"], dtype=np.int64)
        counts = np.array(told["counts"], dtype=np.int64)
        if len(buckets) != len(counts) or (len(buckets) and counts.min() < 0):
            raise ValueError(f"{name}: {len(buckets)} buckets, {len(counts)} counts")
        dense = np.zeros(BUCKETS, dtype=np.uint32)
        np.add.at(dense, buckets, counts.astype(np.uint32))
        told |= {"raw": dense.astype("<u4").tobytes(), "size": BUCKETS, "total": int(counts.sum())}
