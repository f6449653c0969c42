"""Windows of one worker's part of an hour, from a sealed hour or frame by frame.

A sealed hour in which time only goes on and no window is to be left out is added as columns. All
other windows are read one by one, and what is wrong with them is named and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from loadgen.contract.sealed import SealedDamaged, SealedHour, read_sealed
from loadgen.contract.spool import HEAD, HOUR_S
from loadgen.contract.window import SCHEMA
from soakbed.archive.data.adding import Stretch
from soakbed.archive.data.adding_columns import Run, own_rows, runs_of
from soakbed.archive.data.frames import FrameDamaged, Frames, as_window, ask_counts, window_of
from soakbed.archive.data.schema import HISTOGRAM_STEP_S
from soakbed.archive.data.sealed_hours import HourArrays
from soakbed.archive.data.spool_parts import SpoolPart
from soakbed.records.collated import Damage, SpoolBegin, SpoolEnd

__all__ = ["Hour", "Reader", "StretchAt", "columns_of", "sealed_damage"]

# Records beside windows. What else there is, is read one by one, and named if it is no record.
_OTHERS = ("begin", "end")

StretchAt = Callable[[int], Stretch]  # unix time at which one begins -> it


@dataclass(frozen=True, slots=True)
class Hour:
    """A sealed hour that needs no look at single windows: them as `runs`, and its other records."""

    runs: Sequence[Run]
    others: Sequence[Mapping[str, Any]]

    def add(self, stretch_at: StretchAt, step_s: int) -> None:
        """Add all windows; stretches are of `step_s` seconds."""
        for run in self.runs:
            stretches = run.start_s // step_s
            edges = [0, *(np.flatnonzero(np.diff(stretches)) + 1).tolist(), len(stretches)]
            for first, last in pairwise(edges):
                stretch_at(int(stretches[first]) * step_s).take_run(run.between(first, last))
        for start_s, worker, key, row in own_rows(self.runs, HISTOGRAM_STEP_S):
            stretch_at(start_s // step_s * step_s).take_own(start_s, worker, key, row)


def columns_of(part: SpoolPart, began_s: int, left_out: tuple[int, ...]) -> Hour | None:
    """A part that is one sealed hour, to be added all at once. None: read it window by window.

    Raises SealedDamaged.
    """
    if left_out or len(part.pieces) != 1 or not isinstance(part.pieces[0], SealedHour):
        return None
    others = [record for _, record in part.pieces[0].head["records"]]
    if any(one.get("kind") not in _OTHERS or one.get("schema") != SCHEMA for one in others):
        return None
    hour = HourArrays(part.pieces[0])
    runs = runs_of(hour)
    return Hour(runs, others) if _goes_on(hour, runs, began_s) else None


def _goes_on(hour: HourArrays, runs: list[Run], began_s: int) -> bool:
    """Whether no window is there twice or begins before an earlier one of its phase ended."""
    seq = hour.column("seq", 0, hour.windows)
    if (np.diff(seq.astype(np.int64)) <= 0).any():
        return False
    until_s: dict[str, int] = {}
    for run in runs:
        start_s = run.start_s
        ends_s = start_s + run.hour.column("length_s", run.first, run.last).astype(np.int64)
        if start_s[0] < until_s.get(run.phase, began_s) or (start_s[1:] < ends_s[:-1]).any():
            return False
        until_s[run.phase] = int(ends_s[-1])
    return True


def sealed_damage(session: str, worker: int, error: SealedDamaged, hour: int) -> Damage:
    """An hour in columns that cannot be read: all its windows are lost."""
    twin = error.path.with_suffix(".spool")
    more = (
        f"; its spool {twin.name} lies beside it: delete the sealed file" if twin.is_file() else ""
    )
    return Damage(
        session=session,
        worker=worker,
        kind="sealed_hour",
        count=error.windows or 1,
        sentence=f"{error.path.name}: {error.told}; what it held is lost{more}",
        from_s=float(hour * HOUR_S),
        until_s=float((hour + 1) * HOUR_S),
    )


class Reader:
    """Windows of one part, one by one, in the order of its files."""

    def __init__(
        self, session: str, part: SpoolPart, began_s: int, left_out: tuple[int, ...]
    ) -> None:
        self._part = part
        self._session = session
        self._began_s = began_s
        self._until_s: dict[str, int] = {}  # phase -> end of the latest window so far
        self._at_s: int | None = None  # end of the window read last
        self._seen = set(left_out)
        self._bad: dict[str, list[tuple[str, int | None]]] = {}
        self._twice: list[dict[str, Any]] = []
        self._lost: list[Damage] = []
        self._asking_each = False
        self.begins: list[SpoolBegin] = []
        self.ends: list[SpoolEnd] = []
        self.next: dict[str, Any] | None = None
        self._windows: Iterator[dict[str, Any]] = iter(())

    def begin(self, *, asking_each: bool) -> None:
        """Read the first window. `asking_each`: of each whether its counts add up."""
        self._asking_each = asking_each
        self._windows = self._read()
        self.next = next(self._windows, None)

    def before(self, end_s: int) -> Iterator[dict[str, Any]]:
        """Windows up to the first that begins at `end_s` or later."""
        while self.next is not None and self.next["start_s"] < end_s:
            yield self.next
            self.next = next(self._windows, None)

    def _read(self) -> Iterator[dict[str, Any]]:
        for piece in self._part.pieces:
            records = self._frames(piece) if isinstance(piece, Frames) else self._sealed(piece)
            for plain in records:
                if plain["kind"] != "window":
                    self.told(plain)
                else:
                    if plain["seq"] in self._seen:
                        self._twice.append(plain)
                        continue
                    self._seen.add(plain["seq"])
                    self._note_time(plain)
                    yield plain

    def _frames(self, frames: Frames) -> Iterator[dict[str, Any]]:
        if not len(frames.starts):
            return
        starts, sizes, sums = frames.starts.tolist(), frames.sizes.tolist(), frames.sums.tolist()
        with frames.path.open("rb") as file:
            file.seek(starts[0])
            content = file.read(starts[-1] + sizes[-1] - starts[0])
        for start, size, checksum in zip(starts, sizes, sums, strict=True):
            at = start - starts[0]
            try:
                plain = window_of(content[at : at + size], checksum)
                if self._asking_each:
                    ask_counts(plain)
                yield plain
            except FrameDamaged as error:
                told = f"{frames.path.name}: frame at byte {start - HEAD.size} {error}"
                self._bad.setdefault(error.kind, []).append((told, self._at_s))

    def _sealed(self, hour: SealedHour) -> Iterator[dict[str, Any]]:
        """Where columns will not do: the same records as its spool had."""
        try:
            for number, record in enumerate(read_sealed(hour.path)):
                try:
                    yield as_window(record)
                except FrameDamaged as error:
                    told = f"{hour.path.name}: record {number} {error}"
                    self._bad.setdefault(error.kind, []).append((told, self._at_s))
        except SealedDamaged as error:
            self.lost(error)

    def lost(self, error: SealedDamaged) -> None:
        """A sealed hour could not be read."""
        hour = self._began_s // HOUR_S
        self._lost.append(sealed_damage(self._session, self._part.worker, error, hour))

    def _note_time(self, window: dict[str, Any]) -> None:
        """Mark a window of seconds that lie behind: the clock was set back."""
        phase, start_s = window["phase"], window["start_s"]
        if start_s < self._until_s.get(phase, self._began_s):
            window["again"] = True
        self._at_s = start_s + window["length_s"]
        self._until_s[phase] = max(self._at_s, self._until_s.get(phase, 0))

    def told(self, plain: Mapping[str, Any]) -> None:
        """What an engine says of itself: its start, or its totals at its end."""
        if plain["kind"] == "begin":
            names = ("attempt", "at_s", "reason")
            words = {name: plain[name] for name in names if name in plain}
            self.begins.append(SpoolBegin(worker=self._part.worker, **words))
        elif plain["kind"] == "end":
            self._end(plain)

    def _end(self, plain: Mapping[str, Any]) -> None:
        told = {name: plain[name] for name in ("outcome", "reason", "sent", "ok", "failed")}
        self.ends.append(
            SpoolEnd(
                worker=self._part.worker,
                windows=0,
                windows_lost=0,
                unknown=plain["unknown"],
                notes=plain.get("notes", {}),
                **told,
            )
        )

    def damages(self) -> Iterator[Damage]:
        """What was left out, after all was read."""
        yield from self._lost
        for kind, told in self._bad.items():
            more = f", and {len(told) - 1} more" if len(told) > 1 else ""
            times = {} if told[0][1] is None else {"from_s": told[0][1], "until_s": told[-1][1]}
            yield self._damage(kind, len(told), told[0][0] + more, **times)
        if self._twice:
            first = self._twice[0]
            name = self._part.pieces[0].path.name
            yield self._damage(
                "duplicate_window",
                len(self._twice),
                f"{name}: {len(self._twice)} windows are there twice, the first with number "
                f"{first['seq']}",
                from_s=first["start_s"],
                until_s=self._twice[-1]["start_s"] + self._twice[-1]["length_s"],
            )

    def _damage(self, kind: Any, count: int, sentence: str, **times: float | None) -> Damage:  # noqa: ANN401
        return Damage(
            session=self._session,
            worker=self._part.worker,
            kind=kind,
            count=count,
            sentence=sentence,
            **times,
        )
