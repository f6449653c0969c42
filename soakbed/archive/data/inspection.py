"""A spool read frame by frame, because something in it is not as it should be.

Every frame that cannot be trusted is named and left out, and reading goes on at the next one whose
checksum is right. Slower than `hop` by far, and needed for damaged spools alone.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib

from loadgen.contract.packed_window import COUNT_BYTES
from loadgen.contract.spool import MAX_FRAME_BYTES
from loadgen.contract.window import HISTOGRAMS, SCHEMA, SessionEnd, Window
from soakbed.archive.data.gaps import Seen, damages_between
from soakbed.archive.data.spool_index import (
    HEAD,
    HOUR_S,
    SpoolIndex,
    inflated,
    mapped,
    plain_of,
)
from soakbed.records.collated import Damage, EngineEnd

__all__ = ["inspect"]

# How the payload of a frame begins: zlib's first byte, alone or after the mark of a packed window.
_BEGINNINGS = (b"Px", b"x")


@dataclass(slots=True)
class _Found:
    """What a spool holds, while it is read."""

    session: str
    worker: int
    path: Path
    frames: list[tuple[int, int, int]] = field(default_factory=list)  # offset, size, hour
    damages: list[Damage] = field(default_factory=list)
    keys: set[tuple[int, str, int]] = field(default_factory=set)  # seq, phase, start
    last: Seen | None = None
    end: EngineEnd | None = None
    ordered: bool = True

    def damage(self, kind: str, at: int, count: int, text: str) -> None:
        known_s = None if self.last is None else self.last.start_s + self.last.length_s
        self.damages.append(
            Damage(
                kind=kind,  # type: ignore[arg-type]
                treatment="excluded",
                session=self.session,
                worker=self.worker,
                count=count,
                at_s=known_s,
                until_s=None,
                text=f"{self.session}/{self.path.name}, byte {at}: {text}",
            )
        )

    def take(self, at: int, size: int, payload: bytes) -> None:
        """One frame whose checksum is right."""
        try:
            plain = _checked(payload)
            if plain.get("schema") != SCHEMA:
                number = plain.get("schema")
                text = f"a frame of schema {number!r}, this soakbed reads {SCHEMA}; left out"
                self.damage("wrong_schema", at, 1, text)
                return
            if plain.get("kind") == "end":
                SessionEnd.from_json(plain)
                told = {k: v for k, v in plain.items() if k not in ("kind", "schema")}
                self.end = EngineEnd(**told)
                return
            self._window(at, size, plain)
        except (ValueError, KeyError, TypeError, struct.error, isal_zlib.error) as error:
            self.damage("unreadable_frame", at, 1, f"a frame that cannot be read: {error}")

    def _window(self, at: int, size: int, plain: dict[str, Any]) -> None:
        seen = Seen.of(plain)
        key = (seen.seq, seen.phase, seen.start_s)
        if key in self.keys:
            text = f"window {seen.seq} is there again; the second one is left out"
            self.damage("duplicate_window", at, 1, text)
            return
        self.keys.add(key)
        if self.last is not None:
            self.ordered = self.ordered and seen.follows(self.last)
            self.damages += damages_between(self.last, seen, self.session, self.worker)
        self.last = seen
        self.frames.append((at, size, seen.start_s // HOUR_S))


def inspect(session: str, worker: int, path: Path) -> SpoolIndex:
    """The index of whatever can be trusted in the spool, with a Damage for all that cannot."""
    data = mapped(path)
    found = _Found(session, worker, path)
    at, length = 0, len(data)
    while at < length:
        payload = _payload(data, at)
        if payload is None:
            begin, at = at, _next_frame(data, at + 1)
            kind = "cut_frame" if at >= length else "changed_frame"
            said = "is cut" if at >= length else "was changed after it was written"
            text = f"a frame {said}; {at - begin} bytes left out"
            found.damage(kind, begin, at - begin if at >= length else 1, text)
            continue
        found.take(at, HEAD.size + len(payload), payload)
        at += HEAD.size + len(payload)
    frames = np.array(found.frames, dtype=np.int64).reshape(-1, 3)
    heads = b"".join(data[at : at + HEAD.size] for at in frames[:, 0].tolist())
    return SpoolIndex(
        session,
        worker,
        path,
        frames[:, 0],
        frames[:, 1],
        frames[:, 2].astype(np.int32),
        heads,
        found.end,
        found.ordered,
        inspected=True,
        damages=found.damages,
    )


def _payload(data: mmap.mmap | bytes, at: int) -> bytes | None:
    """Payload of the frame at `at` if it is whole and its checksum right."""
    if at + HEAD.size > len(data):
        return None
    size, crc = HEAD.unpack_from(data, at)
    if not size or size > MAX_FRAME_BYTES or at + HEAD.size + size > len(data):
        return None
    payload = data[at + HEAD.size : at + HEAD.size + size]
    return payload if zlib.crc32(payload) == crc else None


def _next_frame(data: mmap.mmap | bytes, at: int) -> int:
    """Where the next whole frame begins at or after `at`; the end of the file if there is none."""
    best = len(data)
    for beginning in _BEGINNINGS:
        found = data.find(beginning, at + HEAD.size)
        while found >= 0 and found - HEAD.size < best:
            if _payload(data, found - HEAD.size) is not None:
                best = found - HEAD.size
                break
            found = data.find(beginning, found + 1)
    return best


def _checked(payload: bytes) -> dict[str, Any]:
    """The plain part of a frame, after its counts were added up. Raises ValueError."""
    content, packed = inflated(payload)
    plain = plain_of(content, packed=packed)
    if plain.get("kind") != "window" or plain.get("schema") != SCHEMA:
        return plain
    if not packed:
        Window.from_json(plain)
        return plain
    at = COUNT_BYTES + int.from_bytes(content[:COUNT_BYTES], "little")
    holders = [(plain, "late")]
    holders += [(one, name) for one in plain["operations"].values() for name in HISTOGRAMS]
    for holder, name in holders:
        size = holder[name]["size"]
        counts = np.frombuffer(content, "<u4", size, at)
        if int(counts.sum()) != holder[name]["total"]:
            raise ValueError(f"{name}: its counts do not add up to its total")
        at += size * COUNT_BYTES
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes after the last histogram")
    return plain
