"""Spools in the archive -> Numbers. Needs nothing but a target's folder of a run, so an old run
can be measured again by better code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadgen.contract.parts import read_parts
from loadgen.contract.plan import Phase, Plan
from loadgen.contract.spool import SpoolDamaged
from loadgen.contract.window import SessionEnd, Window
from soakbed.errors import ArchiveError
from soakbed.records.numbers import Numbers, SessionNumbers, WorkerEnd
from tests.oracle.windows import merge_windows

__all__ = ["measure"]

_ORDER = ("fill", "capacity", "knee", "steady")  # then whatever else there is, by name


def _place(session: str) -> tuple[int, str, int]:
    word, _, number = session.partition("-")
    known = _ORDER.index(word) if word in _ORDER else len(_ORDER)
    return known, word, int(number or 0)


class _Spool:
    """One worker's spool, read once: windows are handed on, the rest is remembered."""

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder = folder
        self._rank = rank
        self._seen: set[int] = set()
        self._end: SessionEnd | None = None
        self.damaged = ""

    def windows(self) -> Iterator[Window]:
        """Every whole window of its files; missing ones have none."""
        try:
            for frame in read_parts(self._folder, self._rank):
                if frame.get("kind") == "end":
                    self._end = SessionEnd.from_json(frame)
                if frame.get("kind") in ("begin", "end"):
                    continue
                window = Window.from_json(frame)
                self._seen.add(window.seq)
                yield window
        except SpoolDamaged as error:
            self.damaged = str(error).replace(str(self._folder) + "/", "")
        except (KeyError, TypeError, ValueError) as error:
            self.damaged = f"worker-{self._rank}: not windows as this soakbed reads them: {error}"

    def end(self) -> WorkerEnd:
        """The engine's own account. Call it after the windows were read."""
        lost = max(self._seen) - min(self._seen) + 1 - len(self._seen) if self._seen else 0
        counted: dict[str, Any] = {"worker": self._rank, "windows": len(self._seen)}
        if self._end is None:
            return WorkerEnd(
                **counted,
                outcome="missing",
                reason=f"worker-{self._rank}.spool has no end frame",
                sent=0,
                ok=0,
                failed=0,
                unknown=0,
                windows_lost=lost,
            )
        end = self._end
        outcome = end.outcome if end.outcome in ("finished", "stopped") else "failed"
        return WorkerEnd(
            **counted,
            outcome=outcome,
            reason=end.reason,
            sent=end.sent,
            ok=end.ok,
            failed=end.failed,
            unknown=end.unknown,
            windows_lost=lost,
            notes=end.notes,
        )


def measure(target_folder: Path) -> Numbers:
    """Everything that the spools under `target_folder` (`results/<run_id>/<target>`) say.

    A session without a plan does not exist; a damaged spool is read as far as it goes and named.
    Raises ArchiveError when a plan cannot be read.
    """
    plans = {path.parent.name: path for path in target_folder.glob("load/*/plan.json")}
    names = sorted(plans, key=_place)
    sessions: dict[str, SessionNumbers] = {}
    damaged: list[str] = []
    for name in names:
        session, problems = _session(_plan(plans[name]), plans[name].parent)
        sessions[name] = session
        damaged += [f"{name}: {problem}" for problem in problems]
    return Numbers(target=target_folder.name, sessions=sessions, damaged=tuple(damaged))


def _plan(path: Path) -> Plan:
    try:
        return Plan.read(path)
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveError(
            f"{path} is not a plan that this soakbed reads: {error}",
            remedy="restore the file from a copy, or delete the session's folder and measure again",
        ) from error


def _session(plan: Plan, folder: Path) -> tuple[SessionNumbers, list[str]]:
    spools = [_Spool(folder, rank) for rank in range(plan.workers)]
    merged = merge_windows(window for spool in spools for window in spool.windows())
    planned = {phase.name: phase for phase in plan.phases}
    phases = {
        name: held.numbers(
            planned_s=_planned_s(planned.get(name)),
            offered_per_s=_offered_per_s(planned.get(name)),
            arrivals=planned[name].arrivals if name in planned else "",
            workers=plan.workers,
        )
        for name, held in merged.items()
    }
    session = SessionNumbers(
        session=plan.session,
        planned_workers=plan.workers,
        planned_phases=tuple(planned),
        workers=tuple(spool.end() for spool in spools),
        phases=phases,
    )
    return session, [spool.damaged for spool in spools if spool.damaged]


def _planned_s(phase: Phase | None) -> float:
    """How long a phase was to last; a fill ends when it is done."""
    return 0.0 if phase is None or phase.mode == "fill" else float(phase.duration_s)


def _offered_per_s(phase: Phase | None) -> float:
    """What the schedule asked for; a closed loop has none."""
    return phase.rate_per_s if phase is not None and phase.mode == "open" else 0.0
