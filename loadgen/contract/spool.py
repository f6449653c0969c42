"""Frames on disk: length + CRC + compressed content, appended and fsynced, safe against a crash.

The content is JSON or, after the byte `P`, a packed window (`packed_window`). A reader takes
every whole frame and reports a torn tail instead of failing on it.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loadgen.contract.packed_window import pack, unpack
from loadgen.contract.window import Window

__all__ = [
    "HEAD",
    "MAX_FRAME_BYTES",
    "PACKED",
    "SpoolDamaged",
    "SpoolWriter",
    "read_spool",
    "read_spool_from",
    "sync_folder",
]

PACKED = b"P"  # zlib's own first byte is 0x78
HEAD = struct.Struct("<II")  # payload bytes, CRC-32 of the payload
MAX_FRAME_BYTES = 64 * 1024 * 1024


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
    """Appends frames to one file; one fsync per frame, so a crash loses at most the last."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and make it durable."""
        self._write(zlib.compress(json.dumps(record, separators=(",", ":")).encode(), 1))

    def append_window(self, window: Window) -> None:
        """The same for a window, in a form that costs the engine less than JSON."""
        self._write(PACKED + zlib.compress(pack(window), 1))

    def _write(self, payload: bytes) -> None:
        os.write(self._fd, HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file; a second call is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


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
