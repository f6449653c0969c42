"""One finished hour of one worker in columns: all that its spool said, read in a few steps.

A spool is written so that a crash costs one window; read back, each of its windows costs an
inflate, a parse and eight arrays. Here an hour is `SOAKHOUR`, length + CRC + deflated JSON (the
header), and a body with one CRC in the header: a deflated block of columns, and for each kind of
histogram a block of codes. A code is one entry of a histogram, the distance to the bucket before
and the count, by their number among the commonest pairs; `RARE` stands for one
of the rest, which columns of their own hold. Of a made-up soak with 250 operations/s and worker,
codes are 0.34 KB a window, distances and counts apart 0.42 KB, and the spool 1.15 KB.

The file is written whole or not at all, and names the spool that it stands for. Standard library
only; `soakbed.archive.data` reads the same with numpy.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen.contract.columns import decoded, encoded, stored_bytes
from loadgen.contract.spool import HEAD, MAX_FRAME_BYTES, SpoolDamaged
from loadgen.contract.window import HISTOGRAMS, SCHEMA, GeneratorState

__all__ = [
    "COUNTS",
    "RARE",
    "SEALED",
    "SealedDamaged",
    "SealedHour",
    "assembled",
    "histogram_names",
    "read_sealed",
]

Checksum = Callable[[bytes], int]

SEALED = ".sealed"
MAGIC = b"SOAKHOUR"
SEALED_SCHEMA = 1
RARE = 255
COUNTS = ("due", "sent", "ok", "failed", "unknown", "dropped")
SCALARS = ("sum_us", "max_us", "clamped")
PLAIN = ("worker", "seq", "start_s", "length_s", "complete")
_RAW = -zlib.MAX_WBITS  # deflate without a checksum of its own: the body has one
_BROKEN = (ValueError, KeyError, TypeError, IndexError, OverflowError, zlib.error)


class SealedDamaged(SpoolDamaged):
    """An hour in columns that cannot be read. `windows`: how many it held; None: unknown."""

    def __init__(self, path: Path, told: str, windows: int | None = None) -> None:
        super().__init__(f"{path}: {told}")
        self.path = path
        self.told = told
        self.windows = windows


def histogram_names(shapes: Sequence[Sequence[str]]) -> list[str]:
    """The kinds of histogram that windows have, `shapes` being their lists of operations."""
    operations = dict.fromkeys(name for shape in shapes for name in shape)
    return ["late", *(f"{name}.{kind}" for name in operations for kind in HISTOGRAMS)]


def assembled(
    head: Mapping[str, Any], columns: Mapping[str, Sequence[Any]], codes: Mapping[str, bytes]
) -> bytes:
    """A whole file. `head`: windows, spool, records, phases, shapes (see
    `hour_columns`); `columns`: name -> values; `codes`: histogram -> one byte per entry.
    """
    told, blocks = [], []
    for name, values in columns.items():
        how, content = encoded(values)
        told.append({"name": name} | how)
        blocks.append(content)
    plain = b"".join(blocks)
    body = [_deflated(plain, zlib.Z_DEFAULT_STRATEGY)]
    stored = {}
    for name, content in codes.items():
        # Without looking for repetitions: there are none, and it is smaller and faster for it.
        body.append(_deflated(content, zlib.Z_HUFFMAN_ONLY))
        stored[name] = [len(content), len(body[-1])]
    whole = b"".join(body)
    text = json.dumps(
        {"kind": "hour", "schema": SEALED_SCHEMA}
        | dict(head)
        | {"columns": told, "plain": [len(plain), len(body[0])], "codes": stored}
        | {"body": [len(whole), zlib.crc32(whole)]},
        separators=(",", ":"),
    )
    packed = zlib.compress(text.encode(), 6)
    return b"".join((MAGIC, HEAD.pack(len(packed), zlib.crc32(packed)), packed, whole))


def _deflated(content: bytes, strategy: int) -> bytes:
    made = zlib.compressobj(6, zlib.DEFLATED, _RAW, 9, strategy)
    return made.compress(content) + made.flush()


@dataclass(frozen=True, slots=True)
class SealedHour:
    """A file whose header is whole and whose length is right. `head` as `assembled` wrote it."""

    path: Path
    head: Mapping[str, Any]
    body_at: int

    @classmethod
    def of(cls, path: Path) -> SealedHour:
        """The header alone. Raises SealedDamaged; OSError when there is no such file."""
        length = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(len(MAGIC) + HEAD.size)
            if len(first) < len(MAGIC) + HEAD.size or first[: len(MAGIC)] != MAGIC:
                raise SealedDamaged(path, "is no sealed hour")
            size, checksum = HEAD.unpack_from(first, len(MAGIC))
            packed = file.read(size) if size <= MAX_FRAME_BYTES else b""
        if len(packed) < size or zlib.crc32(packed) != checksum:
            raise SealedDamaged(path, "its header was cut or changed")
        try:
            head = json.loads(zlib.decompress(packed))
            schema, told = head["schema"], head["body"][0]
        except _BROKEN as error:
            raise SealedDamaged(path, f"its header cannot be read: {error}") from error
        if schema != SEALED_SCHEMA or head.get("kind") != "hour":
            raise SealedDamaged(path, f"is of schema {schema!r}, this one reads {SEALED_SCHEMA}")
        made = cls(path, head, len(first) + size)
        if length != made.body_at + told:
            lost = f"has {length:,} bytes of {made.body_at + told:,}"
            raise SealedDamaged(path, lost, made.records)
        return made

    @property
    def records(self) -> int:
        """Records in it, windows and others."""
        return int(self.head["windows"]) + len(self.head["records"])

    def body(self, checksum: Checksum = zlib.crc32) -> bytes:
        """The blocks behind the header. `checksum` computes a CRC-32. Raises SealedDamaged."""
        with self.path.open("rb") as file:
            file.seek(self.body_at)
            body = file.read()
        if [len(body), checksum(body)] != list(self.head["body"]):
            raise SealedDamaged(self.path, "has a wrong checksum", self.records)
        return body

    def blocks(self, checksum: Checksum = zlib.crc32) -> Iterator[tuple[str, bytes, int]]:
        """(histogram, its codes still deflated, bytes when inflated); columns first, name ""."""
        body, at = self.body(checksum), 0
        for name, (length, size) in {"": self.head["plain"], **self.head["codes"]}.items():
            yield name, body[at : at + size], length
            at += size

    def columns_in(self, plain: bytes) -> Iterator[tuple[Mapping[str, Any], bytes]]:
        """(what the header says of a column, its bytes), of the inflated block of columns."""
        at = 0
        for told in self.head["columns"]:
            end = at + stored_bytes(told)
            yield told, plain[at:end]
            at = end
        if at != len(plain):
            raise SealedDamaged(self.path, "its columns are of another length", self.records)


def read_sealed(path: Path) -> Iterator[dict[str, Any]]:
    """Every record, as `read_spool` gave it before. Raises SealedDamaged before the first."""
    hour = SealedHour.of(path)
    try:
        windows = _Windows(hour)
    except _BROKEN as error:
        if isinstance(error, SealedDamaged):
            raise
        raise SealedDamaged(path, f"cannot be read: {error}", hour.records) from error
    others = dict(hour.head["records"])
    for place in range(hour.records):
        yield others[place] if place in others else windows.next()


class _Windows:
    """The windows of an hour, one after the other."""

    def __init__(self, hour: SealedHour) -> None:
        blocks = {
            name: zlib.decompress(packed, _RAW, length) for name, packed, length in hour.blocks()
        }
        columns = hour.columns_in(blocks.pop(""))
        self._columns = {told["name"]: iter(decoded(told, held)) for told, held in columns}
        self._head = hour.head
        self._causes: dict[str, list[str]] = {}
        for name in self._columns:
            operation, _, cause = name.partition(".cause.")
            if cause:
                self._causes.setdefault(operation, []).append(cause)
        self._codes = {name: iter(codes) for name, codes in blocks.items()}
        self._pairs = {name: self._coding(name) for name in blocks}

    def _coding(self, name: str) -> list[tuple[int, int]]:
        """Distance and count by code."""
        gaps, counts = (self._columns[f"{name}.{one}"] for one in ("gap", "count"))
        return list(zip(gaps, counts, strict=True))

    def next(self) -> dict[str, Any]:
        """The next window, as `Window.to_json` said it."""
        take = self._take
        phase, mode = self._head["phases"][take("phase")]
        made = {"kind": "window", "schema": SCHEMA, "phase": phase, "mode": mode}
        made |= {name: take(name) for name in PLAIN}
        made["late"] = self._histogram("late")
        shape = self._head["shapes"][take("shape")]
        made["operations"] = {name: self._operation(name) for name in shape}
        made["generator"] = {name: take(f"generator.{name}") for name in GeneratorState.__slots__}
        return made

    def _take(self, name: str) -> Any:  # noqa: ANN401
        return next(self._columns[name])

    def _operation(self, operation: str) -> dict[str, Any]:
        made: dict[str, Any] = {name: self._take(f"{operation}.{name}") for name in COUNTS}
        causes = {
            cause: self._take(f"{operation}.cause.{cause}")
            for cause in self._causes.get(operation, ())
        }
        made["causes"] = {cause: count for cause, count in causes.items() if count}
        for kind in HISTOGRAMS:
            made[kind] = self._histogram(f"{operation}.{kind}")
        return made

    def _histogram(self, name: str) -> dict[str, Any]:
        codes, pairs = self._codes[name], self._pairs[name]
        buckets, counts = [], []
        entries = self._take(f"{name}.entries")
        bucket = self._take(f"{name}.first") if entries else 0
        for _ in range(entries):
            code = next(codes)
            if code == RARE:
                gap, count = self._take(f"{name}.rare_gap"), self._take(f"{name}.rare_count")
            else:
                gap, count = pairs[code]
            bucket += gap
            buckets.append(bucket)
            counts.append(count)
        told = {"buckets": buckets, "counts": counts}
        return told | {scalar: self._take(f"{name}.{scalar}") for scalar in SCALARS}
