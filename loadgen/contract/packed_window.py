"""Windows as bytes, for the spool: whole arrays of counts, and JSON for the little that is left.

Sparse JSON of a busy window takes Python's lock for 1.5 ms, half a millisecond of it in one piece,
in every window, while the engine has requests to send. Arrays take it for 0.2 ms in pieces of 20
us; compressing them needs no lock at all. A reader gets what `Window.to_json` would have said.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from typing import Any

from loadgen.contract.histogram import Histogram, sparse
from loadgen.contract.window import HISTOGRAMS, Window

__all__ = ["TYPECODES", "holders", "pack", "split", "unpack"]

_SIZE = struct.Struct("<I")
# Bytes of one count -> its array type. Windows of before `width` was written have four.
TYPECODES = {1: "B", 2: "H", 4: "I"}


def _width(total: int) -> int:
    """No count is above the total, so most windows need a quarter of the bytes that any might."""
    return 1 if total < 1 << 8 else 2 if total < 1 << 16 else 4


def pack(window: Window) -> bytes:
    """`window` without loss: size of the JSON, the JSON, then the counts of each histogram.

    Counts are little-endian, `width` bytes each, in the order in which the JSON names the
    histograms; there `size` is how many buckets follow and `total` their sum.
    """
    arrays: list[array[int]] = []

    def named(histogram: Histogram) -> dict[str, object]:
        width = _width(histogram.total)
        counts = histogram.dense(TYPECODES[width])
        if sys.byteorder == "big":
            counts.byteswap()
        arrays.append(counts)
        told = {"size": len(counts), "width": width, "total": histogram.total}
        return told | histogram.scalars()

    plain = json.dumps(window.plain(named), separators=(",", ":")).encode()
    return b"".join((_SIZE.pack(len(plain)), plain, *(counts.tobytes() for counts in arrays)))


def split(packed: bytes) -> tuple[bytes, int]:
    """The JSON of a packed window, and where its counts begin."""
    (size,) = _SIZE.unpack_from(packed)
    at = _SIZE.size + size
    return packed[_SIZE.size : at], at


def holders(plain: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Where the histograms of a window stand (holder, name), in the order of their counts."""
    made = [(plain, "late")]
    made += [(one, name) for one in plain["operations"].values() for name in HISTOGRAMS]
    return made


def unpack(packed: bytes) -> dict[str, Any]:
    """What `Window.to_json` says of the packed window. Raises ValueError when it is damaged."""
    head, at = split(packed)
    plain: dict[str, Any] = json.loads(head)
    for holder, name in holders(plain):
        scalars = holder[name]
        width = scalars.pop("width", 4)
        end = at + scalars.pop("size") * width
        counts = array(TYPECODES[width], packed[at:end])
        if sys.byteorder == "big":
            counts.byteswap()
        if sum(counts) != scalars.pop("total"):
            raise ValueError(f"{name}: its counts do not add up to its total")
        holder[name] = sparse(counts) | scalars
        at = end
    if at != len(packed):
        raise ValueError(f"{len(packed) - at} bytes after the last histogram")
    return plain
