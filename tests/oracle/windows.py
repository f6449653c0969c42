"""Windows of workers merged into phases; merging adds, so the whole is the sum of its parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from loadgen.contract.window import OperationWindow, Window
from soakbed.records.numbers import (
    GeneratorNumbers,
    Interval,
    Latency,
    LatencyPoint,
    MissingShare,
    OperationNumbers,
    PhaseNumbers,
    Point,
)
from soakbed.stats.intervals import CONFIDENCE, REPLICATES, bootstrap_us
from soakbed.stats.percentiles import LADDER, Counts, curve, percentile_us
from tests.oracle.marks import Marks
from tests.oracle.timeline import Step, Timeline, steps_that_carry

__all__ = ["MergedOperation", "MergedPhase", "merge_windows"]

_COUNTS = ("due", "sent", "ok", "failed", "unknown", "dropped")


@dataclass(slots=True)
class MergedOperation:
    """One operation over many windows."""

    due: int = 0
    sent: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0
    dropped: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    response: Counts = field(default_factory=Counts)
    service: Counts = field(default_factory=Counts)
    lag: Counts = field(default_factory=Counts)

    def take(self, part: OperationWindow) -> None:
        """Add the same operation of one window; exact."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(part, name))
        for cause, count in part.causes.items():
            self.causes[cause] = self.causes.get(cause, 0) + count
        self.response.add(Counts.of(part.response))
        self.service.add(Counts.of(part.service))
        self.lag.add(Counts.of(part.lag))


@dataclass(slots=True)
class _Engine:
    """One worker's engine over the whole windows of one phase."""

    cpu_s: float = 0.0
    seconds: int = 0
    cpu_share_max: float = 0.0


class MergedPhase:
    """One phase of one session, all workers."""

    def __init__(self, phase: str, mode: str) -> None:
        self.phase = phase
        self.mode = mode
        self.operations: dict[str, MergedOperation] = {}
        self.timeline = Timeline()
        self._marks = Marks()
        self._shares: dict[str, float] = {}  # wait_share, nic_share: the worst whole window
        self._engines: dict[int, _Engine] = {}
        self._peaks = dict.fromkeys(("loop_lag_max_us", "overdue_max", "in_flight_max"), 0)
        self._late = Counts()
        self._reconnects = 0
        self._redirects = 0
        self._seconds: set[int] = set()  # of which any worker has a window

    def take(self, window: Window) -> None:
        """Add one window; the order of calls does not matter."""
        for name, operation in window.operations.items():
            self.operations.setdefault(name, MergedOperation()).take(operation)
        self.timeline.take(window)
        self._seconds.update(range(window.start_s, window.start_s + window.length_s))
        self._marks.take(window)
        state = window.generator
        engine = self._engines.setdefault(window.worker, _Engine())
        if window.complete:  # the last, cut window has a share of less than its length
            engine.cpu_s += state.cpu_share * window.length_s
            engine.seconds += window.length_s
            engine.cpu_share_max = max(engine.cpu_share_max, state.cpu_share)
            for name in ("wait_share", "nic_share"):
                if (share := getattr(state, name)) is not None:
                    self._shares[name] = max(share, self._shares.get(name, 0.0))
        for name, peak in self._peaks.items():
            self._peaks[name] = max(peak, getattr(state, name))
        self._late.add(Counts.of(window.late))
        self._reconnects += state.reconnects
        self._redirects += state.moved + state.ask

    def numbers(
        self, *, planned_s: float, offered_per_s: float, arrivals: str, workers: int = 1
    ) -> PhaseNumbers:
        """The phase as plain data. `planned_s` 0: as long as it took; `workers` as planned."""
        steps = self.timeline.steps()
        spanned_s = float(steps[-1].end_s - steps[0].start_s)
        # A phase begins and ends inside a window, so windows span up to two of them more than
        # the phase lasted; the plan knows better, unless the phase was cut short.
        covered_s = float(len(self._seconds))
        seconds = min(planned_s, covered_s) if planned_s else covered_s
        # Intervals are for latency figures, and those come from the open loop alone (design D6).
        drawn = [step for step in steps if step.complete] if self.mode == "open" else []
        made = {name: _operation(name, op, drawn) for name, op in self.operations.items()}
        return PhaseNumbers(
            phase=self.phase,
            mode=self.mode,
            started_s=steps[0].start_s,
            seconds=seconds,
            offered_per_s=offered_per_s,
            arrivals=arrivals,
            throughput_per_s=round(self._throughput_per_s(steps, seconds, workers), 3),
            sent_per_s=round(sum(op.sent for op in made.values()) / seconds, 3),
            operations=made,
            generator=self._generator(steps[0].start_s),
            series=tuple(_point(step, steps[0].start_s, workers) for step in steps),
            latency_series=tuple(
                _latency_point(step, steps[0].start_s) for step in steps_that_carry(steps, 99.0)
            ),
            missing=self._missing(steps, workers),
            uncovered_s=spanned_s - covered_s,
        )

    def _missing(self, steps: list[Step], workers: int) -> tuple[MissingShare, ...]:
        """Whole windows that each planned worker should have and has not."""
        whole = [step for step in steps if step.complete]
        if not whole or self.mode == "fill":  # a fill ends for each worker when it is done
            return ()
        should_s = sum(step.seconds for step in whole)
        lacks = {
            rank: should_s - self._engines.get(rank, _Engine()).seconds for rank in range(workers)
        }
        return tuple(
            MissingShare(worker=rank, seconds=lack, share=round(lack / should_s / workers, 4))
            for rank, lack in lacks.items()
            if lack > 0
        )

    def _throughput_per_s(self, steps: list[Step], seconds: float, workers: int) -> float:
        """Ok operations per second.

        Open loop: all of the phase's operations over its time. Closed loop: whole windows alone,
        because what was under way at the end still ends, and would count as if it fitted in; and
        only such in which all workers pressed, because one alone finds the target half idle.
        """
        whole = [step for step in steps if step.complete and step.windows >= workers * step.seconds]
        if self.mode == "open" or not whole:
            return sum(op.ok for op in self.operations.values()) / seconds
        ok = sum(sum(step.ok.values()) for step in whole)
        return ok / sum(step.seconds for step in whole)

    def _generator(self, began_s: int) -> GeneratorNumbers:
        means = [one.cpu_s / one.seconds for one in self._engines.values() if one.seconds]
        return GeneratorNumbers(
            cpu_share=round(max(means, default=0.0), 4),
            cpu_share_max=round(max(one.cpu_share_max for one in self._engines.values()), 4),
            loop_lag_max_us=self._peaks["loop_lag_max_us"],
            overdue_max=self._peaks["overdue_max"],
            in_flight_max=self._peaks["in_flight_max"],
            reconnects=self._reconnects,
            redirects=self._redirects,
            late=_latency(self._late) if self.mode == "open" else None,
            wait_share_max=self._shares.get("wait_share"),
            nic_share_max=self._shares.get("nic_share"),
            **self._marks.numbers(began_s),
        )


def merge_windows(windows: Iterable[Window]) -> dict[str, MergedPhase]:
    """Phases by name, each the sum of its windows, in order of first appearance."""
    phases: dict[str, MergedPhase] = {}
    for window in windows:
        held = phases.setdefault(window.phase, MergedPhase(window.phase, window.mode))
        held.take(window)
    return phases


def _operation(name: str, merged: MergedOperation, drawn: list[Step]) -> OperationNumbers:
    found = bootstrap_us([step.response[name] for step in drawn if name in step.response], 99.0)
    return OperationNumbers(
        **{count: getattr(merged, count) for count in _COUNTS},
        causes=dict(sorted(merged.causes.items())),
        response=_latency(merged.response, p99_interval_us=found),
        service=_latency(merged.service),
        lag=_latency(merged.lag),
    )


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


def _point(step: Step, began_s: int, workers: int) -> Point:
    seconds = step.seconds
    return Point(
        at_s=step.start_s - began_s,
        seconds=seconds,
        complete=step.complete and step.windows >= workers * seconds,
        sent_per_s=round(step.sent / seconds, 2),
        ok_per_s={name: round(count / seconds, 2) for name, count in step.ok.items()},
        errors_per_s=round(step.errors / seconds, 2),
    )


def _latency_point(step: Step, began_s: int) -> LatencyPoint:
    return LatencyPoint(
        at_s=step.start_s - began_s,
        seconds=step.seconds,
        p50_us={name: percentile_us(held, 50.0) for name, held in step.response.items()},
        p99_us={name: percentile_us(held, 99.0) for name, held in step.response.items()},
    )
