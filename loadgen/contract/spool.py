"""Frames on disk: length + CRC + compressed content, appended and fsynced, safe against a crash.

The content is JSON or, after the byte `P`, a packed window (`packed_window`). A reader takes
every whole frame and reports a torn tail instead of failing on it.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from loadgen.contract.packed_window import pack, unpack
from loadgen.contract.window import Window

__all__ = [
    "HEAD",
    "HOUR_S",
    "MAX_FRAME_BYTES",
    "PACKED",
    "SPOOL",
    "SpoolDamaged",
    "SpoolWriter",
    "read_opened",
    "payload_of",
    "payload_of_window",
    "read_spool",
    "read_spool_from",
    "sync_folder",
]

PACKED = b"P"  # zlib's own first byte is 0x78
HEAD = struct.Struct("<II")  # payload bytes, CRC-32 of the payload
MAX_FRAME_BYTES = 64 * 1024 * 1024
SPOOL = ".spool"
HOUR_S = 3600


class SpoolDamaged(ValueError):
    """A frame before the end of the file is damaged: bytes were changed, not merely cut."""


def sync_folder(folder: Path) -> None:
    """Make names in `folder` durable: of files made, renamed or removed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SpoolWriter:
    """Appends frames to one file; one fsync per frame, so a crash loses at most the last.

    `hourly`: the first window of a later UTC hour closes the file, which gets the hour into its
    name (`worker-0.472222.spool`), and begins a new one. A clock that is set back closes nothing,
    so hours in names only grow. What is in the file already is gone on with.
    """

    def __init__(
        self,
        path: Path,
        *,
        hourly: bool = True,
        first_hour: Callable[[Path], int | None] | None = None,
    ) -> None:
        """`first_hour` finds the hour of what is in the file, if that is no spool."""
        self._path = path
        self._hourly = hourly
        self._fd = self._opened()
        self._hour = (first_hour or _first_hour)(path) if hourly else None

    def _opened(self) -> int:
        return os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and make it durable. Raises OSError, as all that writes does."""
        self.write(payload_of(record))

    def append_window(self, window: Window) -> None:
        """The same for a window, in a form that costs the engine less than JSON."""
        self.write(payload_of_window(window), start_s=window.start_s)

    def write(self, payload: bytes, *, start_s: int | None = None) -> None:
        """Write the payload of one frame, of a window if it has a begin.

        After an OSError the file is as it was: the same may be tried again when there is room.
        """
        if self._hourly and start_s is not None:
            self._begin(start_s // HOUR_S)
        before = os.fstat(self._fd).st_size
        frame = HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        try:
            if os.write(self._fd, frame) < len(frame):  # the disk is full, or nearly so
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, before)
            raise

    def _begin(self, hour: int) -> None:
        """Close the file if what it holds is of an earlier hour."""
        before = self._hour
        self._hour = hour if before is None else max(before, hour)
        if before is None or hour <= before:
            return
        closed = self._path.with_suffix(f".{before}{self._path.suffix}")
        sealed = closed.with_suffix(".sealed")
        if closed.exists() or (closed.suffix == SPOOL and sealed.exists()):
            return  # of an engine before this one, and a clock before it was set back
        self._path.rename(closed)
        try:
            fd = self._opened()
        except OSError:
            closed.rename(self._path)  # as if nothing had been tried: the next window tries again
            self._hour = before
            raise
        os.close(self._fd)
        self._fd = fd
        sync_folder(self._path.parent)

    def close(self) -> None:
        """Close the file; a second call is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def payload_of(record: Mapping[str, Any]) -> bytes:
    """What a frame holds of any record."""
    return zlib.compress(json.dumps(record, separators=(",", ":")).encode(), 1)


def payload_of_window(window: Window) -> bytes:
    """What a frame holds of a window."""
    return PACKED + zlib.compress(pack(window), 1)


def _first_hour(spool: Path) -> int | None:
    """The hour of the first window of a spool; None when it has none that can be read."""
    try:
        for record in read_spool(spool):
            if record.get("kind") == "window":
                return int(record["start_s"]) // HOUR_S
    except SpoolDamaged:
        return None
    return None


def read_spool(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole frame of `path`, in order. A cut last frame ends the iteration quietly.

    Raises SpoolDamaged when a frame's CRC is wrong, naming the byte offset.
    """
    for record, _ in read_spool_from(path, 0):
        yield record


def read_spool_from(path: Path, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Every whole frame from byte `offset` on, each with the offset that follows it.

    For a reader beside the writer: come back with the last offset to get what was added since.
    """
    with path.open("rb") as file:
        yield from read_opened(file, path, offset)


def read_opened(file: BinaryIO, path: Path, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
    """The same of a file that is open, whatever is called `path` by now."""
    file.seek(offset)
    while len(head := file.read(HEAD.size)) == HEAD.size:
        size, crc = HEAD.unpack(head)
        if size > MAX_FRAME_BYTES:
            raise SpoolDamaged(f"{path}: frame at byte {offset} claims {size} bytes")
        payload = file.read(size)
        if len(payload) < size:
            return
        if zlib.crc32(payload) != crc:
            raise SpoolDamaged(f"{path}: frame at byte {offset} has a wrong checksum")
        try:
            content = _content(payload)
        except (ValueError, KeyError, TypeError, struct.error, zlib.error) as error:
            raise SpoolDamaged(f"{path}: frame at byte {offset}: {error}") from error
        offset += HEAD.size + size
        yield content, offset


def _content(payload: bytes) -> dict[str, Any]:
    if payload[:1] == PACKED:
        return unpack(zlib.decompress(payload[1:]))
    content: dict[str, Any] = json.loads(zlib.decompress(payload))
    return content
