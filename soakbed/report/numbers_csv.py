"""Every number of a page in one long table, for spreadsheets and scripts: `report/numbers.csv`.

A row is a figure of one contender, or a difference: a ratio `against` a baseline, with its word.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from soakbed.records.comparison import Comparison
from soakbed.records.metrics import metric
from soakbed.records.numbers import Latency, PhaseNumbers
from soakbed.report.consistency import consistency_of
from soakbed.report.contenders import Contender, Reported
from soakbed.report.cost import cost_of_billion
from soakbed.report.tables import printed_us

__all__ = ["numbers_csv"]

HEADER = (
    "run",
    "contender",
    "target",
    "version",
    "verdict",
    "session",
    "phase",
    "mode",
    "operation",
    "metric",
    "unit",
    "value",
    "low",
    "high",
    "against",
    "word",
)
_COUNTS = ("ok", "failed", "unknown", "dropped")
_STEPS = ("p50", "p90", "p95", "p99", "p99_9", "p99_99")
_WHOLE = ("max", "mean")
_STATES = ("cpu_share", "bound_s", "dropping_s", "wait_share_max", "nic_share_max")
_RATES = ("offered_per_s", "sent_per_s", "throughput_per_s")

_Row = dict[str, Any]


def numbers_csv(reported: Reported) -> str:
    """One row per number; what a sample cannot carry is left out, not zero."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, restval="", lineterminator="\n")
    writer.writeheader()
    for entry in reported.contenders:
        named = {
            "run": entry.run.run_id,
            "contender": entry.label,
            "target": entry.one.name,
            "version": entry.one.summary.version,
            "verdict": entry.one.verdict.verdict,
        }
        for row in _rows(entry):
            writer.writerow(named | row)
    if reported.comparison is not None:
        writer.writerows(_differences(reported.comparison))
    return text.getvalue()


def _rows(entry: Contender) -> Iterator[_Row]:
    kept = consistency_of(entry)
    against = sum(one.violations for one in kept.violations)
    yield _figure("violations", "all", against) | {"word": kept.verdict}
    capacity = entry.one.capacity
    if capacity:
        where = {"session": "capacity", "phase": capacity.phase, "mode": capacity.mode}
        yield where | _figure("capacity_per_s", "all", capacity.throughput_per_s)
    if entry.one.summary.knee:
        for key in ("knee_per_s", "knee_below_per_s"):
            if (value := getattr(entry.one.summary.knee, key)) is not None:
                yield {"mode": "open", "phase": "knee"} | _figure(key, "all", value)
    if (found := cost_of_billion(entry)) is not None:
        figure = _figure("cost_per_billion", "all", found[0])
        yield {"session": "steady", "phase": "steady", "mode": "open"} | figure | {"unit": found[1]}
    for session in entry.one.numbers.sessions.values():
        for phase in session.phases.values():
            where = {"session": session.session, "phase": phase.phase, "mode": phase.mode}
            for row in _phase(phase):
                yield where | row
    for used in entry.one.used.phases:
        where = {"session": used.session, "phase": used.phase}
        for key, value in used.costs:
            if value is not None:
                yield where | _figure(key, "all", value)


def _figure(key: str, operation: str, value: float) -> _Row:
    return {"operation": operation, "metric": key, "unit": metric(key).unit, "value": value}


def _phase(phase: PhaseNumbers) -> Iterator[_Row]:
    for key in _RATES:
        if key == "offered_per_s" and phase.mode != "open":
            continue
        yield _figure(key, "all", getattr(phase, key))
    for key in _STATES:
        if (state := getattr(phase.generator, key)) is not None:
            yield _figure(key, "all", state)
    for name, operation in phase.operations.items():
        for key in _COUNTS:
            yield _figure(key, name, getattr(operation, key))
        for kind in ("response", "service", "lag"):
            yield from _latency(name, kind, getattr(operation, kind))


def _latency(operation: str, kind: str, held: Latency) -> Iterator[_Row]:
    for step in _STEPS:
        value = printed_us(held, kind, step)
        if value is None:
            continue
        row = _figure(f"{kind}_{step}_us", operation, value)
        if step == "p99" and held.p99_interval:
            row |= {"low": held.p99_interval.low_us, "high": held.p99_interval.high_us}
        yield row
    for step in _WHOLE:
        yield _figure(f"{kind}_{step}_us", operation, getattr(held, f"{step}_us"))


def _differences(comparison: Comparison) -> Iterator[_Row]:
    for one in comparison.differences:
        held = comparison.contender(one.contender)
        ratio = one.ratio
        yield {
            "run": " ".join(held.run_ids),
            "contender": one.contender,
            "target": held.target,
            "version": held.version,
            "verdict": held.verdict,
            "phase": one.phase,
            "operation": one.operation or "all",
            "metric": one.metric,
            "unit": "ratio",
            "value": ratio.ratio if ratio else "",
            "low": ratio.low if ratio else "",
            "high": ratio.high if ratio else "",
            "against": one.baseline,
            "word": one.word,
        }
