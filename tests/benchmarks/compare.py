"""From figures to ratios, and from ratios to what was reached: pure, and readable from JSON.

The ratio of each repeat is taken first, then the median: a slow minute of the machine moves both
sides of a ratio, but not the ratio.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "METRICS",
    "TARGETS",
    "CaseResult",
    "Figures",
    "Judged",
    "Ratio",
    "Target",
    "exit_code",
    "from_json",
    "judge",
    "ratios",
    "to_json",
]

SCHEMA = 2
OURS = "engine"
REACHED, MISSED = 0, 7

# Field of Figures -> what it is called.
METRICS = {
    "ops_per_s": "operations /s",
    "per_cpu_s": "operations per client CPU second",
    "p50_us": "P50, us",
    "p99_us": "P99, us",
    "p50_in_flight": "P50 x operations /s",
    "p99_in_flight": "P99 x operations /s",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What one contender said of one repeat, closed loop.

    `per_cpu_s` is operations per second of client CPU; latencies are as the contender itself
    reports them, in the precision that it has.
    """

    contender: str
    ops_per_s: float
    per_cpu_s: float
    p50_us: float
    p99_us: float
    mean_us: float

    @property
    def p50_in_flight(self) -> float:
        """P50 in units of the time between two operations; see `p99_in_flight`."""
        return self.p50_us * self.ops_per_s / 1e6

    @property
    def p99_in_flight(self) -> float:
        """P99 in units of the time between two operations.

        In a closed loop of N connections each operation takes N / ops_per_s in all (Little's law):
        where the server is saturated, latencies grow as operations per second fall, whoever
        measures. This takes that out. Where it is not saturated, it takes out too much.
        """
        return self.p99_us * self.ops_per_s / 1e6


@dataclass(frozen=True, slots=True)
class CaseResult:
    """All repeats of one case; each holds every contender once, in the order they ran."""

    name: str
    conditions: Mapping[str, Any]
    repeats: Sequence[Sequence[Figures]]

    def contenders(self) -> list[str]:
        """The engine first."""
        names = sorted({one.contender for repeat in self.repeats for one in repeat})
        return sorted(names, key=lambda name: name != OURS)

    def values(self, contender: str, metric: str) -> list[float]:
        """One figure of one contender, a value for each repeat."""
        return [
            getattr(one, metric)
            for repeat in self.repeats
            for one in repeat
            if one.contender == contender
        ]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Engine over another contender: the median of the repeats' ratios, and their extremes."""

    case: str
    contender: str
    metric: str
    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio has to be: at least `at_least`, or within `within` of 1, whichever is given."""

    case: str
    contender: str
    metric: str
    says: str
    at_least: float | None = None
    within: float | None = None

    def wanted(self) -> str:
        """The limit in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return f"1 ± {self.within:g}"

    def reached_by(self, ratio: float) -> bool:
        """Whether a median ratio keeps the limit.

        >>> Target("c", "x", "p50_us", "", within=0.1).reached_by(1.1)
        True
        """
        if self.at_least is not None:
            return ratio >= self.at_least
        assert self.within is not None
        return abs(ratio - 1) <= self.within + 1e-9


@dataclass(frozen=True, slots=True)
class Judged:
    """A target with the ratio it was measured at; `ratio` is None when its case was not run."""

    target: Target
    ratio: Ratio | None

    @property
    def verdict(self) -> str:
        """reached, NOT reached or not measured."""
        if self.ratio is None:
            return "not measured"
        return "reached" if self.target.reached_by(self.ratio.median) else "NOT reached"


_CPU = "per_cpu_s"
TARGETS = (
    Target("redis-tls", "redis-benchmark", _CPU,
           "Redis, TLS: per client CPU second over redis-benchmark", at_least=1.0),
    Target("redis-plain", "redis-benchmark", _CPU,
           "Redis, plain: per client CPU second over redis-benchmark", at_least=0.9),
    Target("redis-tls-16", "redis-benchmark", _CPU,
           "Redis, TLS, pipeline 16: per client CPU second over redis-benchmark", at_least=0.5),
    Target("redis-tls", "Locust, redis-py", _CPU,
           "Redis, TLS: per client CPU second over a plain Locust user", at_least=12),
    Target("etcd", "grpcio asyncio", _CPU,
           "etcd, mutual TLS: per client CPU second over grpcio asyncio", at_least=6),
    Target("tikv", "tikv-python", _CPU,
           "TiKV's double, answers together: per client CPU second over tikv-python", at_least=6),
    Target("tikv-singly", "tikv-python", _CPU,
           "TiKV's double, each answer alone: per client CPU second over tikv-python", at_least=6),
    Target("tikv-stream", "tikv-python", _CPU,
           "TiKV's double, batched stream: per client CPU second over tikv-python", at_least=6),
    Target("redis-tls", "redis-benchmark", "ops_per_s",
           "Redis, TLS: operations per second over redis-benchmark", at_least=0.8),
    Target("redis-tls", "redis-benchmark", "p50_us",
           "Redis, TLS: P50, 50 connections, over redis-benchmark's", within=0.2),
    Target("truth-reads", "redis-benchmark", "p50_us",
           "P50 of reads, 16 connections, over redis-benchmark's", within=0.1),
    Target("truth-reads", "redis-benchmark", "p99_us",
           "P99 of reads, 16 connections, over redis-benchmark's", within=0.1),
    Target("truth-writes", "redis-benchmark", "p50_us",
           "P50 of writes, 16 connections, over redis-benchmark's", within=0.1),
    Target("truth-writes", "redis-benchmark", "p99_us",
           "P99 of writes, 16 connections, over redis-benchmark's", within=0.1),
)  # fmt: skip


def ratios(result: CaseResult) -> list[Ratio]:
    """Engine over each other contender, every metric."""
    made = []
    for contender in result.contenders()[1:]:
        for metric in METRICS:
            ours, theirs = result.values(OURS, metric), result.values(contender, metric)
            each = [mine / other for mine, other in zip(ours, theirs, strict=True)]
            made.append(
                Ratio(result.name, contender, metric, statistics.median(each), min(each), max(each))
            )
    return made


def judge(results: Iterable[CaseResult]) -> list[Judged]:
    """Every target, in order; those whose case is not among `results` are not measured."""
    measured = {
        (one.case, one.contender, one.metric): one
        for result in results
        for one in ratios(result)
    }  # fmt: skip
    return [
        Judged(target, measured.get((target.case, target.contender, target.metric)))
        for target in TARGETS
    ]


def exit_code(judged: Iterable[Judged], asked: Iterable[str]) -> int:
    """0 when every target of the cases asked for is reached, else 7."""
    cases = set(asked)
    verdicts = [one.verdict for one in judged if one.target.case in cases]
    return REACHED if all(verdict == "reached" for verdict in verdicts) else MISSED


def to_json(results: Mapping[str, CaseResult]) -> dict[str, Any]:
    """Plain data: the figures of all cases, and for readers the ratios and targets made of them."""
    return {
        "schema": SCHEMA,
        "cases": [
            {
                "name": result.name,
                "conditions": dict(result.conditions),
                "repeats": [[asdict(one) for one in repeat] for repeat in result.repeats],
                "ratios": [asdict(one) for one in ratios(result)],
            }
            for result in results.values()
        ],
        "targets": [
            {
                "says": one.target.says,
                "wanted": one.target.wanted(),
                "ratio": asdict(one.ratio) if one.ratio else None,
                "verdict": one.verdict,
            }
            for one in judge(results.values())
        ],
    }


def from_json(data: Mapping[str, Any]) -> dict[str, CaseResult]:
    """The figures back, by case. Raises ValueError on another schema."""
    if data.get("schema") != SCHEMA:
        raise ValueError(f"engine-bench schema {data.get('schema')!r}, this one reads {SCHEMA}")
    made = {}
    for case in data["cases"]:
        repeats = [[Figures(**one) for one in repeat] for repeat in case["repeats"]]
        made[case["name"]] = CaseResult(case["name"], case["conditions"], repeats)
    return made
