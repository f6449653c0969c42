"""Spools in the archive -> Numbers. Needs nothing but a target's folder of a run, so an old run
can be measured again by better code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from loadgen.contract.plan import Phase, Plan
from soakbed.archive.data.collate import collate
from soakbed.archive.data.reading import TargetData
from soakbed.records.collated import Collated, SpoolEnd
from soakbed.records.numbers import Numbers, SessionNumbers, WorkerEnd
from soakbed.records.policy import Span, left_out
from soakbed.stats.windows import phase_numbers

__all__ = ["measure"]

Progress = Callable[[int, int], None]

# Damages of frames that are not in the tables; what is missing is told by the workers' own account.
_UNREAD = ("chain", "checksum", "content", "schema", "sealed_hour")


def measure(
    target_folder: Path,
    *,
    collated: Collated | None = None,
    duties: Mapping[str, str] | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Numbers:
    """Everything that the spools under `target_folder` (`results/<run_id>/<target>`) say.

    Brings the tables below `data/` up to date first, unless that was just done (`collated`);
    `duties`: host -> duty, for its samples. A session without a plan does not exist; a damaged
    spool is read as far as it can be, and named.
    Figures of open loops are without the seconds that the event policy leaves out.
    Raises ArchiveError when a plan cannot be read.
    """
    if collated is None:
        collated = collate(target_folder, duties=duties, progress=progress)
    data = TargetData(target_folder, collated)
    spoiled = left_out(data.events())
    return Numbers(
        target=target_folder.name,
        sessions={name: _session(data, target_folder, name, spoiled) for name in data.sessions()},
        damaged=tuple(
            f"{one.session}: {one.sentence}" for one in collated.damages if one.kind in _UNREAD
        ),
    )


def _session(
    data: TargetData, target_folder: Path, name: str, spoiled: Sequence[Span]
) -> SessionNumbers:
    plan = Plan.read(target_folder / "load" / name / "plan.json")
    planned = {phase.name: phase for phase in plan.phases}
    phases = {
        one.phase: phase_numbers(
            one,
            planned_s=_planned_s(planned.get(one.phase)),
            offered_per_s=_offered_per_s(planned.get(one.phase)),
            arrivals=planned[one.phase].arrivals if one.phase in planned else "",
            workers=plan.workers,
            without=spoiled if one.mode == "open" else (),
        )
        for one in data.phases(name)
    }
    return SessionNumbers(
        session=plan.session,
        planned_workers=plan.workers,
        planned_phases=tuple(planned),
        workers=tuple(_end(one) for one in data.workers(name)),
        phases=phases,
    )


def _end(spool: SpoolEnd) -> WorkerEnd:
    told = spool.model_dump()
    if spool.outcome == "missing":
        told["reason"] = f"worker-{spool.worker}.spool has no end frame"
    elif spool.outcome not in ("finished", "stopped"):
        told["outcome"] = "failed"
    return WorkerEnd(**told)


def _planned_s(phase: Phase | None) -> float:
    """How long a phase was to last; a fill ends when it is done."""
    return 0.0 if phase is None or phase.mode == "fill" else float(phase.duration_s)


def _offered_per_s(phase: Phase | None) -> float:
    """What the schedule asked for; a closed loop has none."""
    return phase.rate_per_s if phase is not None and phase.mode == "open" else 0.0
