"""Frames on disk: length + CRC + compressed JSON, appended and fsynced, safe against a crash.

A reader takes every whole frame and reports a torn tail instead of failing on it.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["SpoolDamaged", "SpoolWriter", "read_spool"]

_HEAD = struct.Struct("<II")  # payload bytes, CRC-32 of the payload
MAX_FRAME_BYTES = 64 * 1024 * 1024


class SpoolDamaged(ValueError):
    """A frame before the end of the file is damaged: bytes were changed, not merely cut."""


class SpoolWriter:
    """Appends frames to one file; one fsync per frame, so a crash loses at most the last."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and make it durable."""
        payload = zlib.compress(json.dumps(record, separators=(",", ":")).encode(), 1)
        os.write(self._fd, _HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
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
    data = path.read_bytes()
    offset = 0
    while offset + _HEAD.size <= len(data):
        size, crc = _HEAD.unpack_from(data, offset)
        start, end = offset + _HEAD.size, offset + _HEAD.size + size
        if size > MAX_FRAME_BYTES:
            raise SpoolDamaged(f"{path}: frame at byte {offset} claims {size} bytes")
        if end > len(data):
            return
        payload = data[start:end]
        if zlib.crc32(payload) != crc:
            raise SpoolDamaged(f"{path}: frame at byte {offset} has a wrong checksum")
        yield json.loads(zlib.decompress(payload))
        offset = end
