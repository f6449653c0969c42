"""The short form of a run: `summary.json`, a contract: names are added, never changed.

Latencies and counts of `read` and `write` are those of the steady, open-loop phase.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.consistency import Consistency, ConsistencyWord
from soakbed.records.frozen import Frozen
from soakbed.records.knee import Knee, KneeWord
from soakbed.records.verdict import VerdictWord

__all__ = [
    "ConsistencySummary",
    "CostSummary",
    "GapSummary",
    "KneeSummary",
    "MeasuredTarget",
    "OperationSummary",
    "Summary",
    "SummaryTestbed",
    "UnmeasuredTarget",
]


class OperationSummary(Frozen):
    """One operation in the steady phase; a percentile that the sample cannot carry is null."""

    count: int
    failed: int
    unknown: int
    response_p50_us: int | None
    response_p99_us: int | None
    service_p99_us: int | None
    response_p99_9_us: int | None = None
    service_p50_us: int | None = None
    service_p99_9_us: int | None = None
    lag_p99_us: int | None = None
    causes: dict[str, int] = {}


class GapSummary(Frozen):
    """A stretch of the steady phase, unix time, of which some workers left no window."""

    from_s: int
    until_s: int
    workers: tuple[int, ...]
    cause: str
    told: str


class KneeSummary(Frozen):
    """Where the knee lies; see records.knee. `p99_ms`, `error_share`, `achieved_share`: the
    objective that it was held against.
    """

    word: KneeWord
    knee_per_s: float | None
    knee_below_per_s: float | None
    sentence: str
    p99_ms: float
    error_share: float
    achieved_share: float

    @classmethod
    def of(cls, knee: Knee) -> KneeSummary:
        """In short."""
        return cls(
            word=knee.word,
            knee_per_s=knee.held_per_s,
            knee_below_per_s=knee.broke_per_s,
            sentence=knee.sentence,
            **knee.asked.slo.model_dump(),
        )


class ConsistencySummary(Frozen):
    """Whether the target kept its word; see records.consistency. `level`: "" where nobody knows.

    `violations`: contradictions that were found, promised or not.
    """

    verdict: ConsistencyWord
    sentence: str
    level: str = ""
    operations: int = 0
    keys: int = 0
    violations: int = 0

    @classmethod
    def of(cls, held: Consistency) -> ConsistencySummary:
        """In short."""
        return cls(
            verdict=held.verdict,
            sentence=held.sentence,
            level=held.level,
            operations=held.recorded.operations,
            keys=held.recorded.keys,
            violations=sum(one.violations for one in held.violations),
        )


class CostSummary(Frozen):
    """What a run cost; `amount` null: nobody knows. `dated`: the oldest price, "" by the user.

    `at_most`: the bill may be less (spot). `hours`: that it lasted.
    """

    amount: float | None
    per_hour: float | None
    currency: str
    hours: float
    basis: str
    dated: str = ""
    at_most: bool = False
    budget: float | None = None


class MeasuredTarget(Frozen):
    """A target that was pressed. `count` is of the measured phases (capacity and steady)."""

    status: Literal["measured"] = "measured"
    version: str
    substituted: bool
    verdict: VerdictWord
    reasons: tuple[str, ...]
    capacity_per_s: float
    offered_per_s: float
    throughput_per_s: float
    read: OperationSummary
    write: OperationSummary
    count: int
    total_operations: int
    capacity_is_at_least: bool = False
    capacity_mode: Literal["closed"] = "closed"
    latency_mode: Literal["open"] = "open"
    caveats: tuple[str, ...] = ()
    knee: KneeSummary | None = None  # where the workload asked for it
    # Of the steady phase: planned worker-seconds that are in the archive, and the rest by cause.
    coverage_percent: float | None = None
    gaps: tuple[GapSummary, ...] = ()
    consistency: ConsistencySummary | None = None  # None: judged before anybody asked
    cost_per_billion: float | None = None  # ok operations at the steady rate, in cost.currency

    @property
    def broke_its_word(self) -> bool:
        """Whether what clients saw contradicts its promise; it is then called better by nobody."""
        return self.consistency is not None and self.consistency.verdict == "violation"


class UnmeasuredTarget(Frozen):
    """A target that was asked for and could not be pressed."""

    status: Literal["not_measured"] = "not_measured"
    reason: str
    remedy: str = ""


class SummaryTestbed(Frozen):
    """The hosts, in two words."""

    provider: str
    hosts: int
    name: str = ""
    shares_machine: bool = False


class Summary(Frozen):
    """The whole file."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    run_id: str
    testbed: SummaryTestbed
    targets: dict[str, MeasuredTarget | UnmeasuredTarget]
    profile: str = ""
    workload: str = ""
    cost: CostSummary | None = None
