"""What the tables of one target were made from, and what was wrong with it: `data/collated.json`.

Times are unix seconds. `collated.json` is written last, so its presence says that the tables are
whole; `hours/<hour>.json` say the same of one hour each, for a collation that was interrupted.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = [
    "DATA_SCHEMA",
    "Collated",
    "CollatedHour",
    "CollatedPhase",
    "CollatedSession",
    "CollatedWorker",
    "Damage",
    "EngineEnd",
    "HourSource",
    "SourceFile",
]

# Of the tables; another number, and everything is collated again.
DATA_SCHEMA = 1

Treatment = Literal["excluded", "marked", "named"]


class Damage(Frozen):
    """One thing wrong with the evidence of one worker.

    `excluded`: `count` frames or bytes are in no table. `marked`: they are, in rows that are not
    `complete`. `named`: nothing could be done but say so.
    """

    kind: Literal[
        "cut_frame",
        "changed_frame",
        "unreadable_frame",
        "wrong_schema",
        "duplicate_window",
        "missing_windows",
        "clock_step",
        "no_spool",
    ]
    treatment: Treatment
    session: str
    worker: int
    count: int
    at_s: int | None  # None: the evidence does not say when
    until_s: int | None
    text: str


class HourSource(Frozen):
    """The frames of one worker that went into one hour: bytes of its spool, and their checksum.

    `fingerprint` is the CRC-32 of the frames' heads, each of which holds the CRC-32 of its frame.
    """

    session: str
    worker: int
    ranges: tuple[tuple[int, int], ...]
    frames: int
    fingerprint: int


class CollatedPhase(Frozen):
    """One phase as it was found: from the first window's begin to the last one's end."""

    phase: str
    mode: str
    start_s: int
    end_s: int
    length_s: int  # of its windows
    windows: int


class CollatedWorker(Frozen):
    """The windows of one worker. `windows_lost` are numbers between first and last not seen."""

    session: str
    worker: int
    windows: int
    first_seq: int
    last_seq: int
    first_s: int
    first_phase: str
    last_s: int
    last_phase: str
    last_length_s: int
    windows_lost: int = 0


class EngineEnd(Frozen):
    """The engine's own totals, as in the last frame of its spool."""

    worker: int
    outcome: str
    reason: str
    sent: int
    ok: int
    failed: int
    unknown: int
    notes: dict[str, str] = {}


class CollatedHour(Frozen):
    """One hour's tables, written after them: `data/hours/<hour>.json`."""

    schema_: int = Field(default=DATA_SCHEMA, alias="schema")
    hour: str  # UTC, "2026-11-24T09"
    sources: tuple[HourSource, ...]
    workers: tuple[CollatedWorker, ...]
    phases: tuple[tuple[str, CollatedPhase], ...]  # session, phase
    damages: tuple[Damage, ...] = ()


class CollatedSession(Frozen):
    """One session: what was planned, what was found. Phases are in order of time."""

    session: str
    planned_workers: int
    phases: tuple[CollatedPhase, ...]
    workers: tuple[CollatedWorker, ...]
    ends: tuple[EngineEnd, ...]


class SourceFile(Frozen):
    """A file as it was when it was collated; `path` below the target's folder.

    `fingerprint` is the CRC-32 of a spool's heads of frames, or of all of another file.
    """

    path: str
    bytes: int
    fingerprint: int
    frames: int = 0  # of a spool: windows that can be trusted


class Collated(Frozen):
    """Everything about the tables of one target that is not in them."""

    schema_: int = Field(default=DATA_SCHEMA, alias="schema")
    target: str
    hours: tuple[str, ...]
    sessions: tuple[CollatedSession, ...]
    sources: tuple[SourceFile, ...]
    damages: tuple[Damage, ...]
