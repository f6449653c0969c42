"""Recorded operations: all of those on a sampled set of keys, in blocks for the checkers.

`worker-<rank>.history` beside the worker's spool holds frames as the spool does (length + CRC),
one block each. A block is JSON for the little that all its rows share, then columns by planes of
equal bytes (all lowest bytes first), which zlib packs to some 13 bytes a row. Stdlib only.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import add, sub
from pathlib import Path
from typing import Any

from loadgen.contract.spool import HEAD, MAX_FRAME_BYTES, SpoolDamaged
from loadgen.contract.value_ids import ABSENT, FOREIGN

__all__ = [
    "ABSENT",
    "FAILED",
    "FOREIGN",
    "HISTORY",
    "HistoryBlock",
    "OK",
    "READ",
    "UNKNOWN",
    "VALUES_PER_RANK",
    "WRITE",
    "payload_of_block",
    "read_history",
    "sampled",
    "sampled_keys",
]

HISTORY = ".history"
SCHEMA = 1
MARK = b"H"  # zlib's own first byte is 0x78, a packed window's is "P"
_SIZE = struct.Struct("<I")

READ, WRITE = 0, 1
OK, FAILED, UNKNOWN = 0, 1, 2  # as soakbed.histories.register has them

# The id of a written value is rank * VALUES_PER_RANK + its sequence, from 1 (`keyspace.Values`).
VALUES_PER_RANK = 10**14

# Column -> its type: I u32, q i64, B u8, all little-endian on disk.
COLUMNS = {
    "key": "I",
    "value": "q",
    "due_ns": "q",
    "sent_ns": "q",
    "done_ns": "q",
    "process": "I",
    "kind": "B",
    "outcome": "B",
    "cause": "B",
    "revision": "q",
}
_BYTES = {"I": 4, "q": 8, "B": 1}

# Asking costs 0.6 us a key, and a sampled one 150 bytes.
MOST_CANDIDATES = 2_000_000

_MASK = (1 << 64) - 1


def _column(kind: str) -> Callable[[], array[int]]:
    return lambda: array(kind)


@dataclass(slots=True)
class HistoryBlock:
    """Operations of one worker on sampled keys that ended one after another; columns of n rows.

    Times are unix ns by the engine's own clock; `done_ns` of an unknown one is when it was given
    up. `value` of a write is its id, of a read the id that was read, ABSENT or FOREIGN. `process`
    is one connection as dialled, unique in (worker, attempt). `cause` counts into `causes`, 0 is
    none. `revision` is what the store says of itself (etcd: mod_revision of what was read, the
    header's of a put), 0 where it says nothing.
    """

    worker: int
    attempt: int  # which engine of its rank this is, from 0
    session: str
    phase: str
    seq: int  # of the block, from 0 for each engine
    share: float  # of the keys that are sampled, by `sampled(key, share, seed)`
    seed: int
    # All that ended from here to there is in the block (but for `dropped`); unix ns.
    from_ns: int = 0
    until_ns: int = 0
    # Operations on sampled keys that a bound kept out since the last block, on which keys; None:
    # too many to name, so that nothing in the block's time can be relied on.
    dropped: int = 0
    dropped_keys: tuple[int, ...] | None = ()
    causes: tuple[str, ...] = ("",)
    key: array[int] = field(default_factory=_column("I"))
    value: array[int] = field(default_factory=_column("q"))
    due_ns: array[int] = field(default_factory=_column("q"))
    sent_ns: array[int] = field(default_factory=_column("q"))
    done_ns: array[int] = field(default_factory=_column("q"))
    process: array[int] = field(default_factory=_column("I"))
    kind: array[int] = field(default_factory=_column("B"))
    outcome: array[int] = field(default_factory=_column("B"))
    cause: array[int] = field(default_factory=_column("B"))
    revision: array[int] = field(default_factory=_column("q"))

    def __len__(self) -> int:
        """Rows."""
        return len(self.key)

    def head(self) -> dict[str, Any]:
        """All but the columns, as it is written."""
        told = {name: getattr(self, name) for name in HistoryBlock.__slots__ if name not in COLUMNS}
        return {"schema": SCHEMA, "rows": len(self), **told}


def sampled(key: int, share: float, *, seed: int) -> bool:
    """Whether operations on `key` are recorded: a pure function, the same on every host.

    The finisher of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
    generators", 2014) over key + seed * golden ratio, all modulo 2^64, below share * 2^64.
    """
    mixed = (key + (seed + 1) * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
    return (mixed ^ mixed >> 31) < share * (1 << 64)


def sampled_keys(keys: int, share: float, *, seed: int) -> Iterator[int]:
    """The keys below `keys` that are recorded.

    Of more than `MOST_CANDIDATES` only every second, third, ... is asked about, so that an engine
    is ready in time and knows its sample by heart; the share of all keys is smaller then.
    """
    if share <= 0:
        return iter(())
    step = -(-keys // MOST_CANDIDATES)
    return (key for key in range(0, keys, step) if sampled(key, share, seed=seed))


def payload_of_block(block: HistoryBlock) -> bytes:
    """What a frame holds of a block. Raises ValueError when its columns differ in length."""
    rows = len(block)
    columns = {name: getattr(block, name) for name in COLUMNS}
    if any(len(column) != rows for column in columns.values()):
        raise ValueError("columns of a history block differ in length")
    # What took how long is small where the times are not: two bytes or three instead of eight.
    columns["done_ns"] = array("q", map(sub, block.done_ns, block.sent_ns))
    columns["sent_ns"] = array("q", map(sub, block.sent_ns, block.due_ns))
    head = json.dumps(block.head(), separators=(",", ":")).encode()
    planes = b"".join(_planes(column) for column in columns.values())
    return MARK + zlib.compress(_SIZE.pack(len(head)) + head + planes, 1)


def _planes(column: array[int]) -> bytes:
    """All lowest bytes, then all second lowest, and so on; slices are made without a loop."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    plain, width = column.tobytes(), column.itemsize
    return b"".join(plain[at::width] for at in range(width))


def _from_planes(kind: str, planes: bytes, rows: int) -> array[int]:
    width = _BYTES[kind]
    plain = bytearray(rows * width)
    for at in range(width):
        plain[at::width] = planes[at * rows : (at + 1) * rows]
    column = array(kind, bytes(plain))
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _block(payload: bytes) -> HistoryBlock:
    """The block of a payload. Raises ValueError when it is none."""
    if payload[:1] != MARK:
        raise ValueError("not a block of a history")
    content = zlib.decompress(payload[1:])
    (size,) = _SIZE.unpack_from(content)
    at = _SIZE.size + size
    head = json.loads(content[_SIZE.size : at])
    if head.pop("schema") != SCHEMA:
        raise ValueError(f"not a history block of schema {SCHEMA}")
    rows = head.pop("rows")
    keys = head.pop("dropped_keys")
    head["dropped_keys"] = None if keys is None else tuple(keys)
    head["causes"] = tuple(head["causes"])
    block = HistoryBlock(**head)
    for name, kind in COLUMNS.items():
        end = at + rows * _BYTES[kind]
        setattr(block, name, _from_planes(kind, content[at:end], rows))
        at = end
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes after the last column")
    block.sent_ns = array("q", map(add, block.due_ns, block.sent_ns))
    block.done_ns = array("q", map(add, block.sent_ns, block.done_ns))
    return block


def read_history(
    path: Path, *, torn: Callable[[int], None] | None = None
) -> Iterator[HistoryBlock]:
    """Every whole block of one file, in order.

    A cut last frame, as a crash leaves it, ends the iteration; `torn` is then called with the bytes
    left over. Raises SpoolDamaged when a frame's bytes were changed, naming the offset.
    """
    offset = 0
    with path.open("rb") as file:
        while head := file.read(HEAD.size):
            size, crc = HEAD.unpack(head) if len(head) == HEAD.size else (0, 0)
            if size > MAX_FRAME_BYTES:
                raise SpoolDamaged(f"{path}: frame at byte {offset} claims {size} bytes")
            payload = file.read(size)
            if len(head) < HEAD.size or len(payload) < size:
                if torn is not None:
                    torn(len(head) + len(payload))
                return
            if zlib.crc32(payload) != crc:
                raise SpoolDamaged(f"{path}: frame at byte {offset} has a wrong checksum")
            try:
                block = _block(payload)
            except (ValueError, KeyError, TypeError, struct.error, zlib.error) as error:
                raise SpoolDamaged(f"{path}: frame at byte {offset}: {error}") from error
            offset += HEAD.size + size
            yield block
