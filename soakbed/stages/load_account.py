"""From the fetched files of a session to its LoadOutcome: every operation accounted for.

The spools are the truth; each engine's own end frame and Locust's statistics are held against
them. Pure but for reading.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadgen.contract.parts import read_parts
from loadgen.contract.plan import Plan
from loadgen.contract.spool import SpoolDamaged
from loadgen.contract.window import SessionBegin, SessionEnd
from soakbed.errors import LoadError
from soakbed.records.run import LoadOutcome

__all__ = ["account_for"]

_COUNTS = ("sent", "ok", "failed", "unknown")


@dataclass(slots=True)
class _Spool:
    """One worker's spool, summed; `own` since its last begin, which is what its end speaks of.

    `ok_by_start`: ok operations of each window of the capacity phase.
    """

    engines: int = 1  # one after the other, each in the place of one that died
    end: SessionEnd | None = None
    windows: int = 0
    first_s: int = 0
    last_s: int = 0
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))
    own: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))
    ok_by_start: dict[int, int] = field(default_factory=dict)


def account_for(plan: Plan, folder: Path) -> LoadOutcome:
    """Read every spool and Locust's own files, and say how the session went.

    Raises LoadError when a spool is damaged, when an engine's own totals are not the sum of its
    windows, or when nothing was sent at all.
    """
    spools = {rank: _read(folder, rank) for rank in range(plan.workers)}
    for rank, spool in spools.items():
        _check_sums(rank, spool)
    ends = {rank: spool.end for rank, spool in spools.items() if spool.end}
    missing = tuple(rank for rank in spools if rank not in ends)
    sums = {name: sum(spool.sums[name] for spool in spools.values()) for name in _COUNTS}
    outcome, reason = _outcome(ends, missing)
    if not sums["sent"]:
        raise LoadError(
            f"{plan.target}: session {plan.session} sent nothing{f': {reason}' if reason else ''}",
            remedy=f"read {folder / 'locust'} and the members' journals for why",
        )
    per_s = _capacity_per_s(spools.values(), plan.window_s)
    locust, told = _locust_counts(folder)
    seconds = [spool for spool in spools.values() if spool.windows]
    return LoadOutcome(
        session=plan.session,
        outcome=outcome,
        reason=reason,
        started_s=min(spool.first_s for spool in seconds),
        ended_s=max(spool.last_s for spool in seconds),
        workers=plan.workers,
        workers_missing=missing,
        capacity_per_s=round(statistics.fmean(per_s), 3) if per_s else 0.0,
        locust_requests=locust[0],
        locust_failures=locust[1],
        notes=_notes(ends) | _engine_notes(spools) | _capacity_notes(per_s) | told,
        **sums,
    )


def _read(folder: Path, rank: int) -> _Spool:
    spool = _Spool()
    try:
        for record in read_parts(folder, rank):
            if record["kind"] == "end":
                spool.end = SessionEnd.from_json(record)
            elif record["kind"] == "begin":
                spool.engines = SessionBegin.from_json(record).attempt + 1
                spool.own = dict.fromkeys(_COUNTS, 0)
            else:
                _add(spool, record)
    except SpoolDamaged as error:
        raise LoadError(
            f"evidence is damaged: {error}",
            remedy="run the same command again to fetch it anew; if it stays, suspect the load "
            "host's disk and measure again",
        ) from error
    return spool


def _add(spool: _Spool, window: Mapping[str, object]) -> None:
    start_s, length_s = int(str(window["start_s"])), int(str(window["length_s"]))
    operations = window["operations"]
    assert isinstance(operations, Mapping)
    for name in _COUNTS:
        count = sum(operation[name] for operation in operations.values())
        spool.sums[name] += count
        spool.own[name] += count
    spool.first_s = min(spool.first_s, start_s) if spool.windows else start_s
    spool.last_s = max(spool.last_s, start_s + length_s)
    spool.windows += 1
    if window["phase"] == "capacity" and window["complete"]:
        ok = sum(operation["ok"] for operation in operations.values())
        spool.ok_by_start[start_s] = spool.ok_by_start.get(start_s, 0) + ok


def _check_sums(rank: int, spool: _Spool) -> None:
    if spool.end is None:
        return
    for name in _COUNTS:
        own = getattr(spool.end, name)
        if own != spool.own[name]:
            raise LoadError(
                f"worker {rank} counted {own:,} {name} operations, but its windows hold "
                f"{spool.own[name]:,}",
                remedy="windows were lost or doubled, which is an error of ours: keep the run "
                "folder, report it, and measure again",
            )


def _outcome(ends: Mapping[int, SessionEnd], missing: tuple[int, ...]) -> tuple[str, str]:
    """The worst of the engines' outcomes, and why."""
    if missing:
        gone = ", ".join(str(rank) for rank in missing)
        return "failed", f"worker {gone} left no end frame: killed, or its host was"
    for outcome in ("failed", "stopped"):
        said = [f"worker {r}: {end.reason}" for r, end in ends.items() if end.outcome == outcome]
        if said:
            return outcome, "; ".join(said)
    return "finished", ""


def _capacity_per_s(spools: Iterable[_Spool], window_s: int) -> list[float]:
    """Ok operations per second of each window in which every worker was at it."""
    by_worker = [spool.ok_by_start for spool in spools]
    shared = set.intersection(*(set(one) for one in by_worker)) if by_worker else set()
    return [sum(one[start] for one in by_worker) / window_s for start in sorted(shared)]


def _engine_notes(spools: Mapping[int, _Spool]) -> dict[str, str]:
    """Workers whose engine died and was started again."""
    return {
        f"worker_{rank}_engines": str(spool.engines)
        for rank, spool in spools.items()
        if spool.engines > 1
    }


def _capacity_notes(per_s: list[float]) -> dict[str, str]:
    if not per_s:
        return {}
    return {
        "capacity_windows": str(len(per_s)),
        "capacity_median_per_s": f"{statistics.median(per_s):.1f}",
        "capacity_lowest_per_s": f"{min(per_s):.1f}",
        "capacity_highest_per_s": f"{max(per_s):.1f}",
    }


def _notes(ends: Mapping[int, SessionEnd]) -> dict[str, str]:
    """What the engines found out; once where they agree, else by worker."""
    notes: dict[str, str] = {}
    for key in sorted({key for end in ends.values() for key in end.notes}):
        said = {rank: end.notes[key] for rank, end in ends.items() if key in end.notes}
        if len(set(said.values())) == 1:
            notes[key] = next(iter(said.values()))
        else:
            notes |= {f"worker_{rank}_{key}": value for rank, value in said.items()}
    return notes


def _locust_counts(folder: Path) -> tuple[tuple[int, int], dict[str, str]]:
    """Requests and failures by Locust's own files, over all load hosts, and what was not there."""
    files = sorted(folder.glob("locust*/locust_stats.csv"))
    found = [counts for file in files if (counts := _aggregated(file))]
    if not found:
        return (0, 0), {"locust": "left no statistics: its master was gone at the end"}
    return (sum(one for one, _ in found), sum(one for _, one in found)), {}


def _aggregated(file: Path) -> tuple[int, int] | None:
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            if row["Name"] == "Aggregated":
                return int(row["Request Count"]), int(row["Failure Count"])
    return None
