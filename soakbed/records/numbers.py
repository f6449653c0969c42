"""What one target did, merged over workers and windows: `numbers.json`.

Made by `stages.measure` from the spools, read by `stages.judge` and by the report. Latencies are
whole microseconds; a percentile is null when the sample is too small to carry it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = [
    "GeneratorNumbers",
    "Interval",
    "Latency",
    "LatencyPoint",
    "LeftOut",
    "LimitBroken",
    "MarkedSeconds",
    "MissingShare",
    "Numbers",
    "OperationNumbers",
    "PhaseNumbers",
    "Point",
    "SessionNumbers",
    "WorkerEnd",
]


class Interval(Frozen):
    """Where a value lies with the stated confidence (0-1), within this run."""

    low_us: int
    high_us: int
    confidence: float
    method: str


class Latency(Frozen):
    """One kind of time of one operation. `curve` is (percentile, us), only as far as it carries."""

    count: int
    mean_us: float
    max_us: int
    clamped: int  # values above 60 s, which the percentiles show as 60 s
    p50_us: int | None
    p90_us: int | None
    p95_us: int | None
    p99_us: int | None
    p99_9_us: int | None
    p99_99_us: int | None
    p99_interval: Interval | None = None
    curve: tuple[tuple[float, int], ...] = ()


class OperationNumbers(Frozen):
    """One operation over one phase. Latencies hold `ok` operations only."""

    due: int
    sent: int
    ok: int
    failed: int
    unknown: int
    dropped: int
    causes: dict[str, int]
    response: Latency
    service: Latency
    lag: Latency

    @property
    def ended(self) -> int:
        """Operations that ended, however."""
        return self.ok + self.failed + self.unknown


class MarkedSeconds(Frozen):
    """One window of one worker that broke a limit of the engine, or in which requests were dropped.

    `broken`: reason (loadgen.contract.limits) -> the value found; empty where it only dropped.
    """

    at_s: int  # since the phase began
    seconds: int
    worker: int
    broken: dict[str, float]
    dropped: int
    due: int
    sent: int
    overdue_max: int


class LimitBroken(Frozen):
    """One limit of the engine over a phase: how many seconds broke it, and the worst of them."""

    reason: str
    seconds: int  # in which any worker broke it
    worst: float
    limit: float
    worker: int  # of the worst
    at_s: int  # of the worst, since the phase began


class GeneratorNumbers(Frozen):
    """How the load engines fared in one phase; of several workers, the worst.

    `judged_s` counts the seconds that could be judged, `bound_s` those in which any engine broke
    a limit, `dropping_s` those in which any request was dropped. `marked` holds the first of
    them, `marked_left_out` says how many windows it has no room for.
    """

    cpu_share: float  # mean over the phase, busiest worker
    cpu_share_max: float  # busiest single window
    loop_lag_max_us: int
    overdue_max: int
    in_flight_max: int
    reconnects: int
    redirects: int
    late: Latency | None = None  # open loop: the engines' own delay per operation, all merged
    wait_share_max: float | None = None  # worst window; None: no engine could tell
    nic_share_max: float | None = None  # worst window; None: no link with an honest speed
    judged_s: int = 0
    bound_s: int = 0
    dropping_s: int = 0
    broken: tuple[LimitBroken, ...] = ()
    marked: tuple[MarkedSeconds, ...] = ()
    marked_left_out: int = 0


class MissingShare(Frozen):
    """What one planned worker does not show of a phase: it came late, died, or never was there.

    `seconds` of whole windows that others have and it has not; `share` of them in all windows
    that the phase's workers should have, 0-1.
    """

    worker: int
    seconds: int
    share: float


class LeftOut(Frozen):
    """Windows that no figure of a phase holds, because of what happened in them (records.policy).

    `counts`: operation -> due, sent, ok, failed, unknown, dropped in them, so that accounts still
    add up. `spans`: (from, to) in seconds since the phase began.
    """

    seconds: int = 0
    counts: dict[str, dict[str, int]] = {}
    spans: tuple[tuple[int, int], ...] = ()

    def total(self, name: str) -> int:
        """Sum of one count over the operations."""
        return sum(held.get(name, 0) for held in self.counts.values())

    @property
    def ended(self) -> int:
        """Operations that ended in these windows."""
        return sum(self.total(name) for name in ("ok", "failed", "unknown"))


class Point(Frozen):
    """One step of a phase's rates over time, all workers merged."""

    at_s: int  # since the phase began
    seconds: int
    complete: bool  # False: a worker's phase began or ended inside this step, so it reads low
    sent_per_s: float
    ok_per_s: dict[str, float]
    errors_per_s: float


class LatencyPoint(Frozen):
    """One step of a phase's response times; longer than a step of rates where that is too thin.

    By operation; null where even this step does not carry the percentile.
    """

    at_s: int
    seconds: int
    p50_us: dict[str, int | None]
    p99_us: dict[str, int | None]


class PhaseNumbers(Frozen):
    """One phase of one session. `seconds` is the time over which rates are taken.

    Operations, their latencies and rates are without what `left_out` tells of; `series`,
    `latency_series`, `generator` and `missing` are of the whole phase.
    """

    phase: str
    mode: str  # fill, closed or open
    started_s: int
    seconds: float
    offered_per_s: float  # what the plan asked for; 0 unless open
    arrivals: str
    throughput_per_s: float  # ok operations; closed loop: of whole windows alone
    sent_per_s: float
    operations: dict[str, OperationNumbers]
    generator: GeneratorNumbers
    series: tuple[Point, ...]
    latency_series: tuple[LatencyPoint, ...]
    missing: tuple[MissingShare, ...] = ()
    left_out: LeftOut = LeftOut()
    uncovered_s: float = 0.0  # between its windows, of no worker; not in `seconds`

    @property
    def ended(self) -> int:
        """Operations that ended in this phase."""
        return sum(operation.ended for operation in self.operations.values())

    def total(self, name: str) -> int:
        """Sum of one count ("due", "sent", "ok", ...) over the operations."""
        return sum(getattr(operation, name) for operation in self.operations.values())


class WorkerEnd(Frozen):
    """What one engine said at its end, or that it said nothing (`outcome` missing)."""

    worker: int
    outcome: Literal["finished", "stopped", "failed", "missing"]
    reason: str
    sent: int
    ok: int
    failed: int
    unknown: int
    windows: int
    windows_lost: int  # gaps in the sequence numbers
    notes: dict[str, str] = {}
    engines: int = 1  # one after the other, each in the place of one that died


class SessionNumbers(Frozen):
    """One session: its phases in order, and each worker's own account."""

    session: str
    planned_workers: int
    planned_phases: tuple[str, ...]
    workers: tuple[WorkerEnd, ...]
    phases: dict[str, PhaseNumbers]

    @property
    def ended(self) -> int:
        """Operations that ended in any phase, those of windows that were left out too."""
        return sum(phase.ended + phase.left_out.ended for phase in self.phases.values())

    def total(self, name: str) -> int:
        """Sum of one count ("sent", "ok", ...) over all phases and operations, from all windows."""
        return sum(phase.total(name) + phase.left_out.total(name) for phase in self.phases.values())


class Numbers(Frozen):
    """Everything measured of one target."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: str
    sessions: dict[str, SessionNumbers]
    damaged: tuple[str, ...] = ()  # spools that could not be read to their end, and why

    def phase(self, session: str, phase: str) -> PhaseNumbers | None:
        """One phase, or None when it never ran."""
        held = self.sessions.get(session)
        return held.phases.get(phase) if held else None
