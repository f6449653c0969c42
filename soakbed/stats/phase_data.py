"""What a phase's numbers are made from: columns of many windows, never one object per window.

`stages.measure` reads them from the archive; `of_windows` makes the same from a few windows in
hand, for a calibration of seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS, Histogram
from loadgen.contract.limits import DELAY_PERCENTILE
from loadgen.contract.window import CAUSES, OperationWindow, Window
from soakbed.stats.percentiles import Counts

__all__ = [
    "COUNTERS",
    "COUNTS",
    "GENERATOR",
    "KEYS",
    "Columns",
    "PhaseData",
    "Spans",
    "StepCounts",
    "inside",
    "of_windows",
]

Columns = Mapping[str, NDArray[Any]]
Spans = Sequence[tuple[int, int]]  # unix time, from and up to, in order and apart

# Whose window it is; `seq` tells two windows of one second apart (a clock that was set back).
KEYS = ("worker", "seq", "start_s", "length_s")
COUNTS = ("due", "sent", "ok", "failed", "unknown", "dropped")
COUNTERS = (*COUNTS, *CAUSES)
# `*_p95_us` are percentiles of this one window: the engine's own delay, and its response with all
# operations merged. Shares are NaN where no engine could tell.
GENERATOR = (
    "complete",
    "cpu_share",
    "wait_share",
    "nic_share",
    "loop_lag_max_us",
    "overdue_max",
    "in_flight_max",
    "reconnects",
    "moved",
    "ask",
    "late_count",
    "late_p95_us",
    "response_count",
    "response_p95_us",
)


@dataclass(frozen=True, slots=True)
class StepCounts:
    """Histograms of equal stretches in order of time; a stretch without a window is absent.

    `starts_s` int64[n], multiples of the stretch's length; `counts` int64[n, BUCKETS]; `max_us`
    int64[n].
    """

    starts_s: NDArray[np.int64]
    counts: NDArray[np.int64]
    max_us: NDArray[np.int64]


class PhaseData(Protocol):
    """One phase of one session, all workers. Parts may come in any number and order."""

    phase: str
    mode: str

    def generator(
        self, names: Sequence[str] = GENERATOR, *, at_s: NDArray[np.int64] | None = None
    ) -> Iterator[Columns]:
        """One row per window of a worker: KEYS and `names`. Parts without a window that begins at
        one of `at_s` (sorted) may be missing, and columns that nobody asked for be there.
        """
        ...

    def counters(
        self, names: Sequence[str] = COUNTERS, *, at_s: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[str, Columns]]:
        """(operation, one row per window of a worker: KEYS and `names`), as for `generator`."""
        ...

    def steps(self, operation: str, step_s: int) -> StepCounts:
        """Response of one operation in steps of `step_s` seconds, aligned to unix time."""
        ...

    def total(self, operation: str, kind: str) -> Counts:
        """The whole phase of one operation and kind; operation "", kind "late": own delay."""
        ...

    def without(self, spans: Spans) -> PhaseData:
        """The same phase without every window that a span touches."""
        ...


def inside(starts_s: NDArray[Any], lengths_s: NDArray[Any], spans: Spans) -> NDArray[np.bool_]:
    """Which windows a span touches: bool[n] for n windows.

    >>> inside(np.array([0, 10, 20]), np.array([10, 10, 10]), [(12, 13)]).tolist()
    [False, True, False]
    """
    edges = np.array(spans, dtype=np.int64).reshape(-1, 2)
    # The only span that can touch a window is the last that begins before the window ends.
    last = np.searchsorted(edges[:, 0], starts_s + lengths_s, side="left") - 1
    ends_s = np.append(edges[:, 1], -1)[last]
    touched: NDArray[np.bool_] = (last >= 0) & (ends_s > starts_s)
    return touched


class _WindowsInHand:
    """`PhaseData` of window objects."""

    def __init__(self, windows: list[Window]) -> None:
        self.phase = windows[0].phase
        self.mode = windows[0].mode
        self._windows = windows

    def generator(
        self, names: Sequence[str] = GENERATOR, *, at_s: NDArray[np.int64] | None = None
    ) -> Iterator[Columns]:
        yield _columns({**_keys(one), **_state(one)} for one in self._windows)

    def counters(
        self, names: Sequence[str] = COUNTERS, *, at_s: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[str, Columns]]:
        rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for window in self._windows:
            for name, operation in window.operations.items():
                rows[name].append(_keys(window) | _counts(operation))
        for name, held in rows.items():
            every = dict.fromkeys(key for row in held for key in row)
            yield name, _columns({key: row.get(key, 0) for key in every} for row in held)

    def steps(self, operation: str, step_s: int) -> StepCounts:
        held: defaultdict[int, Counts] = defaultdict(Counts)
        for window in self._windows:
            if operation in window.operations:
                response = window.operations[operation].response
                held[window.start_s // step_s].add(Counts.of(response))
        keys = sorted(held)
        return StepCounts(
            starts_s=np.array(keys, dtype=np.int64) * step_s,
            counts=np.array([held[key].buckets for key in keys], np.int64).reshape(-1, BUCKETS),
            max_us=np.array([held[key].max_us for key in keys], dtype=np.int64),
        )

    def total(self, operation: str, kind: str) -> Counts:
        if kind == "late":
            return Counts.merged(Counts.of(one.late) for one in self._windows)
        held = [one.operations[operation] for one in self._windows if operation in one.operations]
        return Counts.merged(Counts.of(getattr(one, kind)) for one in held)

    def without(self, spans: Spans) -> PhaseData:
        made = _WindowsInHand(self._windows)
        made._windows = [
            one
            for one in self._windows
            if not inside(np.array([one.start_s]), np.array([one.length_s]), spans)[0]
        ]
        return made


def _keys(window: Window) -> dict[str, Any]:
    return {name: getattr(window, name) for name in KEYS}


def _state(window: Window) -> dict[str, Any]:
    response = Histogram.merged(one.response for one in window.operations.values())
    made = {
        "complete": window.complete,
        "late_count": window.late.total,
        "late_p95_us": window.late.percentile_us(DELAY_PERCENTILE),
        "response_count": response.total,
        "response_p95_us": response.percentile_us(DELAY_PERCENTILE),
    }
    held = {name: getattr(window.generator, name) for name in GENERATOR if name not in made}
    return made | {name: np.nan if value is None else value for name, value in held.items()}


def _counts(operation: OperationWindow) -> dict[str, Any]:
    return {name: getattr(operation, name) for name in COUNTS} | operation.causes


def _columns(rows: Iterable[dict[str, Any]]) -> Columns:
    held = list(rows)
    return {name: np.array([row[name] for row in held]) for name in held[0]}


def of_windows(windows: Iterable[Window]) -> dict[str, PhaseData]:
    """Phases by name in order of first appearance, of windows that fit in memory."""
    phases: defaultdict[str, list[Window]] = defaultdict(list)
    for window in windows:
        phases[window.phase].append(window)
    return {name: _WindowsInHand(held) for name, held in phases.items()}
