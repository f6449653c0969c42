"""Whether the windows of a session follow each other: what is missing, twice, or out of time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from soakbed.records.collated import Damage
from soakbed.stats.distinct import distinct

__all__ = ["Order", "order_of"]

_COLUMNS = ["phase", "mode", "start_s", "length_s", "worker", "seq"]
# A window that begins so much later than the one before it ended tells of a clock that was set, or
# of an engine that stood still; less than that is rounding to whole seconds.
_LEAST_STEP_S = 2

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Order:
    """`phases`: (phase, mode) in order. `windows`: worker -> (windows, missing numbers). `twice`:
    hour of a chunk -> worker -> numbers of windows that an earlier chunk has too. `spans`: worker
    -> (first begin, last end) of its windows, unix time.
    """

    phases: tuple[tuple[str, str], ...]
    windows: dict[int, tuple[int, int]]
    twice: dict[str, dict[int, tuple[int, ...]]]
    damages: tuple[Damage, ...]
    spans: dict[int, tuple[int, int]]

    def placed(self, damage: Damage) -> Damage:
        """With a time, if it has none: a spool's end is where what it lacks begins; a worker that
        left no window lacks them all.
        """
        if damage.from_s is not None or not self.spans:
            return damage
        began_s = min(first for first, _ in self.spans.values())
        ended_s = max(last for _, last in self.spans.values())
        _, from_s = self.spans.get(damage.worker, (began_s, began_s))
        times = {"from_s": float(from_s), "until_s": float(max(from_s, ended_s))}
        return damage.model_copy(update=times)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Windows of one worker by number; `chunk` is the index of the chunk that has each."""

    seq: _Ints
    start_s: _Ints
    length_s: _Ints
    chunk: _Ints


def order_of(session: str, data: Path, files: Mapping[str, Sequence[str]]) -> Order:
    """Look at all windows of `session`; `files`: hour of a chunk -> files below `data`."""
    hours = sorted(files)
    first: dict[tuple[str, str], tuple[int, int]] = {}
    parts: dict[int, list[_Rows]] = defaultdict(list)
    for index, hour in enumerate(hours):
        for name in files[hour]:
            if name.startswith("generator/"):
                _take(data / name, index, first, parts)
    windows, spans, damages = {}, {}, []
    twice: dict[str, dict[int, tuple[int, ...]]] = {}
    for rank, held in sorted(parts.items()):
        rows = _sorted(held)
        again = np.flatnonzero(rows.seq[1:] == rows.seq[:-1]) + 1
        for index in np.unique(rows.chunk[again]).tolist():
            numbers = rows.seq[again][rows.chunk[again] == index]
            twice.setdefault(hours[index], {})[rank] = tuple(numbers.tolist())
        lost = int(rows.seq[-1] - rows.seq[0]) + 1 - (len(rows.seq) - len(again))
        windows[rank] = (len(rows.seq), lost)
        spans[rank] = (int(rows.start_s.min()), int((rows.start_s + rows.length_s).max()))
        damages += list(_damages(session, rank, rows))
    phases = tuple(sorted(first, key=lambda key: first[key]))
    return Order(phases, windows, twice, tuple(damages), spans)


def _take(
    path: Path,
    index: int,
    first: dict[tuple[str, str], tuple[int, int]],
    parts: dict[int, list[_Rows]],
) -> None:
    with pq.ParquetFile(path) as file:
        table = file.read(columns=_COLUMNS, use_threads=False)
    columns: dict[str, Any] = {
        name: table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
        for name in ("start_s", "length_s", "worker", "seq")
    }
    phases, phase_of = _words(table.column("phase"))
    modes, mode_of = _words(table.column("mode"))
    both = phase_of * len(modes) + mode_of
    for one in distinct(both)[0].tolist():
        phase, mode = phases[one // len(modes)], modes[one % len(modes)]
        here = both == one
        worker = int(columns["worker"][here].min())
        place = (worker, int(columns["seq"][here & (columns["worker"] == worker)].min()))
        first[phase, mode] = min(place, first.get((phase, mode), place))
    for rank in distinct(columns["worker"])[0].tolist():
        here = columns["worker"] == rank
        seq, start_s, length_s = (
            columns[name][here].astype(np.int64) for name in ("seq", "start_s", "length_s")
        )
        parts[rank].append(_Rows(seq, start_s, length_s, np.full(len(seq), index)))


def _words(column: pa.ChunkedArray) -> tuple[list[str], _Ints]:
    """The words of a column and which of them each row has: no object for each row."""
    whole = column.unify_dictionaries().combine_chunks()
    return whole.dictionary.to_pylist(), whole.indices.to_numpy().astype(np.int64)


def _sorted(parts: list[_Rows]) -> _Rows:
    whole = _Rows(
        *(
            np.concatenate([getattr(one, name) for one in parts])
            for name in ("seq", "start_s", "length_s", "chunk")
        )
    )
    if (whole.seq[1:] > whole.seq[:-1]).all():
        return whole
    order = np.lexsort((whole.chunk, whole.seq))
    return _Rows(*(getattr(whole, name)[order] for name in _Rows.__slots__))


def _damages(session: str, rank: int, rows: _Rows) -> Iterator[Damage]:
    step = np.diff(rows.seq)
    ends_s = rows.start_s + rows.length_s
    for at in np.flatnonzero(step > 1).tolist():
        count = int(step[at]) - 1
        yield Damage(
            session=session,
            worker=rank,
            kind="missing_windows",
            count=count,
            sentence=f"worker-{rank}.spool: {count} windows are missing behind "
            f"number {rows.seq[at]}",
            from_s=float(ends_s[at]),
            until_s=float(rows.start_s[at + 1]),
        )
    late_s = rows.start_s[1:] - ends_s[:-1]
    # The last window of a phase and the first of the next may share a second.
    early = rows.start_s[1:] < rows.start_s[:-1]
    for at in np.flatnonzero((step == 1) & (early | (late_s >= _LEAST_STEP_S))).tolist():
        told = f"{late_s[at]} s after" if late_s[at] > 0 else f"{-late_s[at]} s before"
        yield Damage(
            session=session,
            worker=rank,
            kind="time_step",
            count=1,
            sentence=f"worker-{rank}.spool: window {rows.seq[at + 1]} begins {told} the one before "
            "it ended: the clock was set, or the engine stood still",
            from_s=float(min(ends_s[at], rows.start_s[at + 1])),
            until_s=float(max(ends_s[at], rows.start_s[at + 1])),
        )
