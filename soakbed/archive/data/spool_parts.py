"""What of a worker's files belongs to one hour's chunk; it is sent to another process."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from loadgen.contract.sealed import SealedHour
from soakbed.archive.data.frames import Frames

__all__ = ["Piece", "SpoolPart"]

Piece = Frames | SealedHour


@dataclass(frozen=True, slots=True)
class SpoolPart:
    """Frames from `first` to `last` (left out) of one worker, counted over all its files, and no
    others: all frames of 72 hours with each hour would fill the memory.

    `pieces` are in order of time: frames of spools, and sealed hours as a whole.
    """

    worker: int
    pieces: tuple[Piece, ...]
    first: int
    last: int

    def fingerprint(self) -> int:
        """Changes when any frame does; that of a sealed hour is that of its spool."""
        prints = [_fingerprint(piece) for piece in self.pieces]
        if len(prints) == 1:
            return prints[0]
        return zlib.crc32(b"".join(one.to_bytes(4, "little") for one in prints))


def _fingerprint(piece: Piece) -> int:
    if isinstance(piece, SealedHour):
        return int(piece.head["spool"]["fingerprint"])
    return piece.fingerprint()
