"""All hours of a target together: its sessions, and what was wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from loadgen.contract.plan import Plan
from soakbed.archive.data.gaps import Seen, damages_between
from soakbed.archive.data.host_tables import host_files
from soakbed.archive.data.spool_index import SpoolIndex
from soakbed.records.collated import (
    Collated,
    CollatedHour,
    CollatedPhase,
    CollatedSession,
    CollatedWorker,
    Damage,
    SourceFile,
)

__all__ = ["collated"]

Indexes = Mapping[tuple[str, int], SpoolIndex]
_ORDER = ("fill", "capacity", "steady")


def collated(
    folder: Path, plans: Mapping[str, Plan], hours: Sequence[CollatedHour], indexes: Indexes
) -> Collated:
    """`collated.json` as the hours' records, the plans and the spools' ends have it."""
    damages = [damage for hour in hours for damage in hour.damages]
    for index in indexes.values():
        damages += index.damages
    workers: dict[tuple[str, int], CollatedWorker] = {}
    for hour in hours:
        for part in hour.workers:
            held = workers.get((part.session, part.worker))
            joined, found = _joined(held, part, ordered=not _known(indexes, part))
            workers[part.session, part.worker] = joined
            damages += found
    for session, plan in plans.items():
        damages += [
            _no_spool(session, rank)
            for rank in range(plan.workers)
            if (session, rank) not in indexes
        ]
    return Collated(
        target=folder.name,
        hours=tuple(hour.hour for hour in hours),
        sessions=tuple(
            _session(name, plans[name], hours, workers, indexes)
            for name in sorted(plans, key=lambda name: (*(name != one for one in _ORDER), name))
        ),
        sources=(
            *(
                SourceFile(
                    path=str(one.path.relative_to(folder)),
                    bytes=one.path.stat().st_size,
                    frames=len(one.offsets),
                    fingerprint=one.fingerprint(),
                )
                for _, one in sorted(indexes.items())
            ),
            *host_files(folder),
        ),
        damages=tuple(sorted(damages, key=lambda one: (one.session, one.worker, one.at_s or 0))),
    )


def _known(indexes: Indexes, part: CollatedWorker) -> bool:
    """Whether the spool was inspected, so that its gaps are among its damages already."""
    index = indexes.get((part.session, part.worker))
    return index is not None and index.inspected


def _joined(
    held: CollatedWorker | None, part: CollatedWorker, *, ordered: bool
) -> tuple[CollatedWorker, list[Damage]]:
    if held is None:
        return part, []
    found: list[Damage] = []
    lost = held.windows_lost + part.windows_lost
    if ordered:
        before = Seen(held.last_seq, held.last_phase, held.last_s, held.last_length_s)
        now = Seen(part.first_seq, part.first_phase, part.first_s, part.last_length_s)
        found = damages_between(before, now, part.session, part.worker)
        lost += max(0, now.seq - before.seq - 1)
    return part.model_copy(
        update={
            "windows": held.windows + part.windows,
            "first_seq": min(held.first_seq, part.first_seq),
            "last_seq": max(held.last_seq, part.last_seq),
            "first_s": held.first_s,
            "first_phase": held.first_phase,
            "windows_lost": lost,
        }
    ), found


def _session(
    name: str,
    plan: Plan,
    hours: Sequence[CollatedHour],
    workers: Mapping[tuple[str, int], CollatedWorker],
    indexes: Indexes,
) -> CollatedSession:
    phases: dict[str, CollatedPhase] = {}
    for hour in hours:
        for session, part in hour.phases:
            if session != name:
                continue
            held = phases.get(part.phase, part.model_copy(update={"windows": 0}))
            phases[part.phase] = held.model_copy(
                update={
                    "start_s": min(held.start_s, part.start_s),
                    "end_s": max(held.end_s, part.end_s),
                    "windows": held.windows + part.windows,
                }
            )
    return CollatedSession(
        session=name,
        planned_workers=plan.workers,
        phases=tuple(sorted(phases.values(), key=lambda phase: phase.start_s)),
        workers=tuple(
            workers[name, rank] for rank in range(plan.workers) if (name, rank) in workers
        ),
        ends=tuple(
            end
            for rank in range(plan.workers)
            if (name, rank) in indexes and (end := indexes[name, rank].end) is not None
        ),
    )


def _no_spool(session: str, rank: int) -> Damage:
    return Damage(
        kind="no_spool",
        treatment="named",
        session=session,
        worker=rank,
        count=1,
        at_s=None,
        until_s=None,
        text=f"{session}/worker-{rank}.spool is not there",
    )
