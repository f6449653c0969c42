"""What was collated of a target's spools, and what was wrong with them: `data/collated.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = [
    "Collated",
    "CollatedChunk",
    "CollatedSession",
    "Damage",
    "DamageKind",
    "SpoolBegin",
    "SpoolEnd",
]

DamageKind = Literal[
    "missing_spool",  # a planned worker left no file
    "cut_frame",  # the file ends inside a frame
    "chain",  # the length of a frame cannot be right; bytes up to the next whole frame are lost
    "checksum",  # bytes of a frame were changed; it is left out
    "content",  # a frame cannot be read although its checksum is right; it is left out
    "schema",  # a frame of another schema; it is left out
    "sealed_hour",  # an hour in columns that was cut, changed or is of another schema; it is lost
    "duplicate_window",  # a window that was there before; it is left out
    "missing_windows",  # numbers of windows are missing: lost, or left out for one of the above
    "time_step",  # a window begins before the one before it ended, or long after
    "no_end",  # the engine's own totals are missing: it died, or its last frame was cut
]


class Damage(Frozen):
    """One kind of damage in one spool. `count` frames or windows; times are unix time or null."""

    session: str
    worker: int
    kind: DamageKind
    count: int
    sentence: str
    from_s: float | None = None
    until_s: float | None = None


class SpoolEnd(Frozen):
    """One worker's spool: what is in it, and the engine's own totals from its last frame."""

    worker: int
    windows: int
    windows_lost: int  # gaps in the sequence numbers
    outcome: str = "missing"  # as the engine said it, missing: it said nothing
    reason: str = ""
    sent: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0
    notes: dict[str, str] = {}
    engines: int = 1  # one after the other, each in the place of one that died


class SpoolBegin(Frozen):
    """An engine's start, as it wrote it: attempt 0 first, and one more where it died or stopped."""

    worker: int
    attempt: int
    at_s: float
    reason: str = ""


class CollatedChunk(Frozen):
    """Frames of one hour of one session. Same `frames` and `fingerprints`: nothing to do again.

    Also a file of its own as soon as the hour is done, `data/chunks/<session>-<hour>.json`, so
    that an interruption costs the hours under way alone.
    """

    data_schema: int
    hour: str
    frames: dict[int, tuple[int, int]]  # worker -> (first, last + 1)
    fingerprints: dict[int, int]  # worker -> checksum over the frames' headers
    files: tuple[str, ...]  # below data/
    damages: tuple[Damage, ...] = ()
    ends: tuple[SpoolEnd, ...] = ()  # of last frames in this chunk; their counts of windows are 0
    begins: tuple[SpoolBegin, ...] = ()
    left_out: dict[int, tuple[int, ...]] = {}  # worker -> windows that an earlier chunk has


class CollatedSession(Frozen):
    """One session. `phases`: (phase, mode) in order of their first window."""

    session: str
    phases: tuple[tuple[str, str], ...]
    workers: tuple[SpoolEnd, ...]
    begins: tuple[SpoolBegin, ...] = ()
    chunks: tuple[CollatedChunk, ...]


class Collated(Frozen):
    """The whole file; written last, so its presence says that the tables are whole."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: str
    data_schema: int
    sessions: dict[str, CollatedSession]
    damages: tuple[Damage, ...] = ()
    rows: dict[str, int] = {}  # by table
    unread: dict[str, int] = {}  # lines that read like events and could not be placed in time
