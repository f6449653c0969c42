"""Operations by key, as many at once as memory is given for: what is checked key by key.

A history that is too long for memory is laid down beside the target's evidence in parts, each of
some keys, and the parts are checked one after another; they are gone afterwards. A part holds about
MOST_ROWS operations, and needs at most some 0.7 GB while it is checked; more only where a single
key had more operations than that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import IO

import numpy as np

from soakbed.stages.consistency_rows import Rows

__all__ = ["MOST_ROWS", "Shards", "parts_for"]

MOST_ROWS = 4_000_000
# What a recorded operation takes on disk at least; measured: 13 with random keys and times.
_LEAST_BYTES_PER_ROW = 12
_LAID = np.dtype(
    [
        ("key", "<i8"),
        ("value", "<i8"),
        ("sent", "<i8"),
        ("done", "<i8"),
        ("process", "<i8"),
        ("is_write", "?"),
        ("outcome", "u1"),
        ("revision", "<i8"),
    ]
)


def parts_for(size_bytes: int) -> int:
    """How many parts histories of this size are checked in.

    >>> parts_for(10_000_000), parts_for(1_800_000_000)
    (1, 38)
    """
    return 1 + size_bytes // (_LEAST_BYTES_PER_ROW * MOST_ROWS)


class Shards:
    """Feed operations, then take them out part by part; a context, which removes what was laid.

    Raises OSError when there is no room.
    """

    def __init__(self, folder: Path, parts: int) -> None:
        self._folder = folder
        self._parts = parts
        self._held: list[Rows] = []
        self._files: list[IO[bytes]] = []
        self._undo = ExitStack()

    def __enter__(self) -> Shards:
        if self._parts > 1:
            made = tempfile.TemporaryDirectory(dir=self._folder, prefix=".histories-")
            place = Path(self._undo.enter_context(made))
            self._files = [
                self._undo.enter_context((place / str(part)).open("w+b"))
                for part in range(self._parts)
            ]
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()
        self._held.clear()

    def feed(self, rows: Rows) -> None:
        """Keep them until they are asked for."""
        if not self._files:
            self._held.append(rows)
            return
        # Neighbouring keys of a few hot ones fall apart.
        part = (rows.key * 0x9E3779B1 & 0xFFFFFFFF) % self._parts
        laid = np.empty(len(rows), dtype=_LAID)
        for one in fields(rows):
            laid[one.name] = getattr(rows, one.name)
        for number in np.unique(part).tolist():
            self._files[number].write(laid[part == number].tobytes())

    def parts(self) -> Iterator[Rows]:
        """Each part once; a key is in one of them."""
        if not self._files:
            yield Rows.joined(self._held)
            return
        for file in self._files:
            file.flush()
            file.seek(0)
            laid = np.frombuffer(file.read(), dtype=_LAID)
            yield Rows(*(np.ascontiguousarray(laid[one.name]) for one in fields(Rows)))
