"""Every number of a run in one long table, for spreadsheets and scripts: `report/numbers.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from soakbed.records.metrics import metric
from soakbed.records.numbers import PhaseNumbers
from soakbed.report.reading import MeasuredRun, ReportedRun

__all__ = ["numbers_csv"]

_HEADER = (
    "target",
    "version",
    "verdict",
    "session",
    "phase",
    "mode",
    "operation",
    "metric",
    "unit",
)
_COUNTS = ("ok", "failed", "unknown", "dropped")
_STEPS = ("p50", "p90", "p95", "p99", "p99_9", "p99_99", "max", "mean")
_STATES = ("cpu_share", "bound_s", "dropping_s", "wait_share_max", "nic_share_max")
_RATES = ("offered_per_s", "sent_per_s", "throughput_per_s")


def numbers_csv(run: ReportedRun) -> str:
    """One row per number; what a sample cannot carry is left out, not zero."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_HEADER, "value"))
    for one in run.measured:
        named = (one.name, one.summary.version, one.verdict.verdict)
        for row in _rows(one):
            writer.writerow((*named, *row))
    return text.getvalue()


def _rows(one: MeasuredRun) -> Iterator[tuple[str | float, ...]]:
    capacity = one.capacity
    if capacity:
        known = metric("capacity_per_s")
        named = ("capacity", capacity.phase, capacity.mode, "all")
        yield (*named, known.key, known.unit, capacity.throughput_per_s)
    for session in one.numbers.sessions.values():
        for phase in session.phases.values():
            where = (session.session, phase.phase, phase.mode)
            for key, unit, operation, value in _phase(phase):
                yield (*where, operation, key, unit, value)


def _phase(phase: PhaseNumbers) -> Iterator[tuple[str, str, str, float]]:
    for key in _RATES:
        if key == "offered_per_s" and phase.mode != "open":
            continue
        yield key, metric(key).unit, "all", getattr(phase, key)
    for key in _STATES:
        if (state := getattr(phase.generator, key)) is not None:
            yield key, metric(key).unit, "all", state
    for name, operation in phase.operations.items():
        for key in _COUNTS:
            yield key, metric(key).unit, name, getattr(operation, key)
        for kind in ("response", "service", "lag"):
            latency = getattr(operation, kind)
            for step in _STEPS:
                key = f"{kind}_{step}_us"
                value = getattr(latency, f"{step}_us")
                if value is not None:
                    yield key, metric(key).unit, name, value
