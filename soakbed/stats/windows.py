"""Columns of windows -> the numbers of a phase; merging adds, so the whole is the sum of its parts.

The cost is linear in the windows, and no window becomes a Python object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soakbed.records.numbers import (
    GeneratorNumbers,
    Interval,
    Latency,
    LatencyPoint,
    LeftOut,
    MissingShare,
    OperationNumbers,
    PhaseNumbers,
    Point,
)
from soakbed.stats.distinct import distinct
from soakbed.stats.engines import Engines
from soakbed.stats.intervals import CONFIDENCE, REPLICATES, bootstrap_us
from soakbed.stats.marks import Marks
from soakbed.stats.percentiles import LADDER, Counts, curve, percentile_us, percentiles_us
from soakbed.stats.phase_data import (
    COUNTS,
    KEYS,
    Columns,
    PhaseData,
    Spans,
    StepCounts,
    inside,
)
from soakbed.stats.timeline import Steps, Timeline, joined_to_carry

__all__ = ["phase_numbers"]

_Ints = NDArray[np.int64]


def phase_numbers(
    data: PhaseData,
    *,
    planned_s: float,
    offered_per_s: float,
    arrivals: str,
    workers: int = 1,
    without: Spans = (),
) -> PhaseNumbers:
    """The phase as plain data. `planned_s` 0: as long as it took; `workers` as planned.

    Figures are without every window that a span of `without` touches. Raises ValueError when the
    phase has no window.
    """
    return _Phase(data, workers, without).numbers(planned_s, offered_per_s, arrivals)


class _Phase:
    """One phase of one session, all workers, gathered in one pass over its columns."""

    def __init__(self, data: PhaseData, workers: int, without: Spans) -> None:
        self._data = data
        self._kept = data.without(without) if without else data
        self._without = without
        self._workers = workers
        self._engines = Engines()
        self._marks = Marks()
        self._counted: dict[str, dict[str, int]] = {}
        self._left: dict[str, dict[str, int]] = {}
        self._left_starts_s: list[_Ints] = []
        self._starts_s: list[_Ints] = []
        timeline = Timeline()
        for part in data.generator():
            self._engines.take(part)
            self._marks.take_windows(part)
            timeline.take_windows(part)
            self._starts_s.append(distinct(part["start_s"])[0])
            if without:
                spoiled = inside(part["start_s"], part["length_s"], without)
                self._left_starts_s.append(distinct(part["start_s"][spoiled])[0])
        for operation, part in data.counters():
            self._marks.take_counters(part)
            timeline.take_counters(operation, part)
            self._count(operation, part)
        self._steps = timeline.steps()
        self._responses = {
            name: _on_steps(data.steps(name, self._steps.step_s), self._steps)
            for name in self._steps.ok
        }

    def _count(self, operation: str, part: Columns) -> None:
        """Add the counts of all windows, and apart those of windows that are left out."""
        sums = self._counted.setdefault(operation, {})
        for name in part.keys() - set(KEYS):
            sums[name] = sums.get(name, 0) + int(part[name].sum())
        if not self._without:
            return
        spoiled = inside(part["start_s"], part["length_s"], self._without)
        left = self._left.setdefault(operation, {})
        for name in part.keys() - set(KEYS):
            here = int(part[name][spoiled].sum())
            sums[name] -= here
            left[name] = left.get(name, 0) + here

    def _left_out(self) -> LeftOut:
        starts_s = np.unique(np.concatenate(self._left_starts_s or [np.zeros(0, np.int64)]))
        if not len(starts_s):
            return LeftOut()
        began_s, ended_s = int(self._steps.start_s[0]), int(self._steps.end_s[-1])
        length_s = self._marks.window_s
        return LeftOut(
            seconds=len(starts_s) * length_s,
            counts={name: {key: held[key] for key in COUNTS} for name, held in self._left.items()},
            spans=tuple(
                (max(from_s, began_s) - began_s, min(to_s, ended_s) - began_s)
                for from_s, to_s in self._without
                if from_s < ended_s and to_s > began_s
            ),
        )

    def numbers(self, planned_s: float, offered_per_s: float, arrivals: str) -> PhaseNumbers:
        steps, data = self._steps, self._data
        began_s = int(steps.start_s[0])
        spanned_s = float(steps.end_s[-1] - began_s)
        # A phase begins and ends inside a window, so windows span up to two of them more than
        # the phase lasted; the plan knows better, unless the phase was cut short.
        uncovered_s = self._uncovered_s()
        covered_s = spanned_s - uncovered_s
        seconds = min(planned_s, covered_s) if planned_s else covered_s
        left = self._left_out()
        # Rates are over the time that is kept; where nothing is kept they are of the whole.
        seconds = seconds - left.seconds if left.seconds < seconds else seconds
        made = {name: self._operation(name) for name in steps.ok}
        return PhaseNumbers(
            phase=data.phase,
            mode=data.mode,
            started_s=began_s,
            seconds=seconds,
            offered_per_s=offered_per_s,
            arrivals=arrivals,
            throughput_per_s=round(self._throughput_per_s(seconds), 3),
            sent_per_s=round(sum(op.sent for op in made.values()) / seconds, 3),
            operations=made,
            generator=self._generator(began_s),
            series=_series(steps, self._workers),
            latency_series=_latency_series(steps, self._responses),
            missing=self._missing(),
            left_out=left,
            uncovered_s=uncovered_s,
        )

    def _uncovered_s(self) -> float:
        """Seconds inside the phase of which no worker has a window: nobody pressed or nobody knows.

        Rates are not over them; what they mean for the run is a matter of coverage.
        """
        starts_s, length_s = distinct(np.concatenate(self._starts_s))[0], self._marks.window_s
        between_s = np.diff(starts_s) - length_s
        return float(between_s[between_s > 0].sum())

    def _operation(self, name: str) -> OperationNumbers:
        sums = self._counted[name]
        causes = {cause: sums[cause] for cause in sorted(sums.keys() - set(COUNTS)) if sums[cause]}
        response, service, lag = (
            self._kept.total(name, kind) for kind in ("response", "service", "lag")
        )
        return OperationNumbers(
            **{count: sums[count] for count in COUNTS},
            causes=causes,
            response=_latency(response, p99_interval_us=self._p99_interval_us(name)),
            service=_latency(service),
            lag=_latency(lag),
        )

    def _p99_interval_us(self, name: str) -> tuple[int, int] | None:
        # Intervals are for latency figures, and those come from the open loop alone (design D6).
        if self._data.mode != "open":
            return None
        held = self._responses[name]
        if self._without:
            held = _on_steps(self._kept.steps(name, self._steps.step_s), self._steps)
        drawn = np.flatnonzero(self._steps.complete & (self._steps.ok[name] >= 0))
        return bootstrap_us([Counts.of_row(held.counts[i], held.max_us[i]) for i in drawn], 99.0)

    def _missing(self) -> tuple[MissingShare, ...]:
        """Whole windows that each planned worker should have and has not."""
        steps, workers = self._steps, self._workers
        should_s = int(steps.seconds[steps.complete].sum())
        if not should_s or self._data.mode == "fill":  # a fill ends for each when it is done
            return ()
        lacks = {rank: should_s - self._engines.whole_s(rank) for rank in range(workers)}
        return tuple(
            MissingShare(worker=rank, seconds=lack, share=round(lack / should_s / workers, 4))
            for rank, lack in lacks.items()
            if lack > 0
        )

    def _throughput_per_s(self, seconds: float) -> float:
        """Ok operations per second.

        Open loop: all of the phase's operations over its time. Closed loop: whole windows alone,
        because what was under way at the end still ends, and would count as if it fitted in; and
        only such in which all workers pressed, because one alone finds the target half idle.
        """
        steps = self._steps
        whole = steps.complete & (steps.windows_s >= self._workers * steps.seconds)
        if self._data.mode == "open" or not whole.any():
            return sum(sums["ok"] for sums in self._counted.values()) / seconds
        return int(steps.ok_of_all[whole].sum()) / int(steps.seconds[whole].sum())

    def _generator(self, began_s: int) -> GeneratorNumbers:
        open_loop = self._data.mode == "open"
        return GeneratorNumbers(
            **self._engines.numbers(),
            late=_latency(self._kept.total("", "late")) if open_loop else None,
            **self._marks.numbers(self._data, began_s),
        )


def _on_steps(held: StepCounts, steps: Steps) -> StepCounts:
    """`held` with one row for each of `steps`; zeros where it has none."""
    if np.array_equal(held.starts_s, steps.keys * steps.step_s):
        return held
    counts = np.zeros((len(steps.keys), held.counts.shape[1]), dtype=np.int64)
    max_us = np.zeros(len(steps.keys), dtype=np.int64)
    rows = np.searchsorted(steps.keys, held.starts_s // steps.step_s)
    counts[rows], max_us[rows] = held.counts, held.max_us
    return StepCounts(starts_s=steps.keys * steps.step_s, counts=counts, max_us=max_us)


def _latency(counts: Counts, *, p99_interval_us: tuple[int, int] | None = None) -> Latency:
    interval = p99_interval_us and Interval(
        low_us=p99_interval_us[0],
        high_us=p99_interval_us[1],
        confidence=CONFIDENCE,
        method=f"circular block bootstrap over time, {REPLICATES} replicates",
    )
    p50, p90, p95, p99, p99_9, p99_99 = (percentile_us(counts, step) for step in LADDER)
    return Latency(
        count=counts.total,
        mean_us=round(counts.mean_us, 1),
        max_us=counts.max_us,
        clamped=counts.clamped,
        p50_us=p50,
        p90_us=p90,
        p95_us=p95,
        p99_us=p99,
        p99_9_us=p99_9,
        p99_99_us=p99_99,
        p99_interval=interval,
        curve=curve(counts),
    )


def _series(steps: Steps, workers: int) -> tuple[Point, ...]:
    began_s, lengths_s = int(steps.start_s[0]), steps.seconds
    whole = steps.complete & (steps.windows_s >= workers * lengths_s)
    rows: dict[str, Any] = {
        "at_s": steps.start_s - began_s,
        "seconds": lengths_s,
        "complete": whole,
        "sent": steps.sent,
        "errors": steps.errors,
    }
    held = {name: column.tolist() for name, column in rows.items()}
    ok = {name: column.tolist() for name, column in steps.ok.items()}
    return tuple(
        Point(
            at_s=at_s,
            seconds=seconds,
            complete=complete,
            sent_per_s=round(sent / seconds, 2),
            ok_per_s={
                name: round(counts[index] / seconds, 2)
                for name, counts in ok.items()
                if counts[index] >= 0
            },
            errors_per_s=round(errors / seconds, 2),
        )
        for index, (at_s, seconds, complete, sent, errors) in enumerate(
            zip(*held.values(), strict=True)
        )
    )


def _latency_series(steps: Steps, responses: Mapping[str, StepCounts]) -> tuple[LatencyPoint, ...]:
    """Percentiles over time, in steps long enough to carry them where that can be."""
    begins = joined_to_carry(list(steps.ok.values()), 99.0, count=len(steps.keys))
    ends = np.append(begins[1:], len(steps.keys)) - 1
    start_s, end_s = steps.start_s[begins], steps.end_s[ends]
    p50: dict[str, list[int | None]] = {}
    p99: dict[str, list[int | None]] = {}
    present: dict[str, list[bool]] = {}
    for name, held in responses.items():
        counts, max_us = held.counts, held.max_us
        if len(begins) < len(counts):
            counts = np.add.reduceat(counts, begins, axis=0)
            max_us = np.maximum.reduceat(max_us, begins)
        p50[name] = percentiles_us(counts, max_us, 50.0)
        p99[name] = percentiles_us(counts, max_us, 99.0)
        present[name] = np.logical_or.reduceat(steps.ok[name] >= 0, begins).tolist()
    return tuple(
        LatencyPoint(
            at_s=int(start_s[index] - steps.start_s[0]),
            seconds=int(end_s[index] - start_s[index]),
            p50_us={name: held[index] for name, held in p50.items() if present[name][index]},
            p99_us={name: held[index] for name, held in p99.items() if present[name][index]},
        )
        for index in range(len(begins))
    )
