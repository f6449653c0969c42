"""What nearly every call looks like on the wire: frames of known shape, read and written at once.

A reply is three frames (header block, one message, trailers), and a server that has nothing new
to say uses the same two header blocks every time (our header table has size 0, so a block stands
alone). With the blocks of an earlier reply known, two unpackings read the next one, where frame by
frame takes a dozen steps. Whatever differs in any bit is left to the reader of single frames.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from loadgen.engine.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, MAX_FRAME_BYTES

__all__ = ["UsualReply", "request_head"]

PREFIX_BYTES = 5  # gRPC: a flag and the length of the message

# Blocks as long as this are no usual ones; it also bounds the shapes that are remembered.
LONGEST_BLOCK = 256


@lru_cache(maxsize=2 * LONGEST_BLOCK)
def _opening(size: int) -> struct.Struct:
    """HEADERS with a block of `size` bytes, the head of a DATA frame, and gRPC's prefix."""
    return struct.Struct(f">IBI{size}sIBIBI")


@lru_cache(maxsize=2 * LONGEST_BLOCK)
def _closing(size: int) -> struct.Struct:
    """HEADERS with a block of `size` bytes."""
    return struct.Struct(f">IBI{size}s")


class UsualReply:
    """Knows the header block and the trailers of one ordinary reply."""

    __slots__ = ("_close", "_close_bytes", "_closing", "_open", "_open_bytes", "_opening", "blocks")

    def __init__(self, block: bytes, trailers: bytes) -> None:
        self.blocks = (block, trailers)
        opening, closing = _opening(len(block)), _closing(len(trailers))
        self._opening = (len(block) << 8 | HEADERS, END_HEADERS, block)
        self._closing = (len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, trailers)
        self._open, self._open_bytes = opening.unpack_from, opening.size
        self._close, self._close_bytes = closing.unpack_from, closing.size

    @classmethod
    def learned(cls, block: bytes, trailers: bytes) -> UsualReply | None:
        """From one reply's blocks, both short."""
        if len(block) > LONGEST_BLOCK or len(trailers) > LONGEST_BLOCK:
            return None
        return cls(block, trailers)

    def at(self, data: bytes, at: int) -> tuple[int, int, int] | None:
        """Hot: `(stream, begin of the framed message, end of it)` of the ordinary reply at `at`.

        None where something else stands there, or not all of it. The frames of a reply are of one
        stream and without flags, the message is one, whole and not compressed.
        """
        message = at + self._open_bytes
        if message > len(data):
            return None
        word, flags, stream, block, size, more, same, packed, length = self._open(data, at)
        end = message + length
        if (
            (word, flags, block) != self._opening
            or size != length + PREFIX_BYTES << 8 | DATA
            or size > MAX_FRAME_BYTES << 8
            or more
            or packed
            or same != stream
            or end + self._close_bytes > len(data)
        ):
            return None
        word, flags, same, block = self._close(data, end)
        if (word, flags, block) != self._closing or same != stream:
            return None
        return stream, message - PREFIX_BYTES, end

    def after(self, end: int) -> int:
        """Where the next reply begins, after the message that ends at `end`."""
        return end + self._close_bytes


def request_head(block: bytes) -> struct.Struct:
    """HEADERS with this block and the head of the DATA frame after it."""
    return struct.Struct(f">IBI{len(block)}sIBI")
