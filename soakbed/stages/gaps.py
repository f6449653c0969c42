"""What was planned against what is in the archive: coverage of each phase, gaps with their causes.

Pure but for `coverage_of`, which reads the tables. The expectation comes from the plan and from
when a phase began; the cause of a gap from what engines, hosts and watchers left in writing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.plan import Phase, Plan
from soakbed.archive.data.reading import TargetData
from soakbed.archive.run_folder import RunFolder
from soakbed.records.collated import Collated, SpoolBegin
from soakbed.records.gaps import Coverage, Gap, GapCause, TargetCoverage
from soakbed.records.run import StopAsked
from soakbed.records.watch import Unwatched
from soakbed.stages.watch_notes import clocks_in, watch_of
from soakbed.stats.distinct import distinct

__all__ = ["MOST_GAPS", "Held", "Told", "coverage_of", "phase_coverage", "phases_began"]

# A page shows some dozens; a run with more of them is in ruins whatever the rest says.
MOST_GAPS = 500
# systemd starts an engine again within seconds, and it enters the phase at the next whole second.
_NEAR_S = 20

_DISK = re.compile(r"([^;]*?) from (\d+) to (?:(\d+)|the end)")
_NO_END_S = 1 << 40

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Held:
    """The windows of one worker in one phase: when each begins and how long it is, seconds."""

    starts_s: _Ints
    lengths_s: _Ints


@dataclass(frozen=True, slots=True)
class Told:
    """What is in writing about a session, by whomever.

    `ends`: rank -> how its engine ended ("missing": it did not say) and why; `full`: rank -> times
    in which the disk took nothing of it (from, until, why). `stop`: who wanted the run to end.
    """

    begins: Sequence[SpoolBegin] = ()
    ends: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    full: Mapping[int, tuple[tuple[int, int, str], ...]] = field(default_factory=dict)
    watched: Sequence[Unwatched] = ()
    stop: StopAsked | None = None


def coverage_of(target_folder: Path, collated: Collated, *, until_s: float = 0.0) -> TargetCoverage:
    """Every phase of planned length of every session in the tables of `target_folder`.

    `until_s`: what is planned later is not expected yet, for a load that is still on.
    """
    data = TargetData(target_folder, collated)
    made: list[Coverage] = []
    for session in data.sessions():
        folder = target_folder / "load" / session
        plan = Plan.read(folder / "plan.json")
        windows = {one.phase: _held(one.generator(())) for one in data.phases(session)}
        began = phases_began(plan.phases, clocks_in(folder), windows)
        told = _told(folder, collated, session)
        for phase in plan.phases:
            if phase.name in began and phase.mode != "fill":
                made.append(
                    phase_coverage(
                        plan,
                        phase,
                        windows.get(phase.name, {}),
                        began_s=began[phase.name],
                        told=told,
                        until_s=until_s,
                    )
                )
    return TargetCoverage(target=target_folder.name, phases=tuple(made))


def phase_coverage(
    plan: Plan,
    phase: Phase,
    held: Mapping[int, Held],
    *,
    began_s: int,
    told: Told,
    until_s: float = 0.0,
) -> Coverage:
    """One phase that began at `began_s`: each worker should have windows for all of its time."""
    first_s = began_s - began_s % plan.window_s
    last_s = first_s + phase.duration_s - phase.duration_s % plan.window_s
    if until_s:
        last_s = max(first_s, min(last_s, int(until_s)))
    missing = {
        rank: _missing(held.get(rank), first_s, last_s, plan.window_s)
        for rank in range(plan.workers)
    }
    lost_s = sum(to_s - from_s for parts in missing.values() for from_s, to_s in parts)
    gaps = [
        _gap(from_s, to_s, workers, told, last_s) for from_s, to_s, workers in _together(missing)
    ]
    gaps.sort(key=lambda gap: -gap.worker_seconds)
    expected_s = plan.workers * (last_s - first_s)
    return Coverage(
        session=plan.session,
        phase=phase.name,
        began_s=first_s,
        expected_s=expected_s,
        held_s=expected_s - lost_s,
        gaps=tuple(sorted(gaps[:MOST_GAPS], key=lambda gap: (gap.from_s, gap.workers))),
    )


def phases_began(
    phases: Sequence[Phase],
    clocks: Mapping[str, int],
    windows: Mapping[str, Mapping[int, Held]],
) -> dict[str, int]:
    """When each phase began: by the engines' clocks, by the first window, or by the one before."""
    began: dict[str, int] = {}
    follows_s = 0
    for phase in phases:
        starts = [int(one.starts_s.min()) for one in windows.get(phase.name, {}).values()]
        if phase.name in clocks:
            began[phase.name] = clocks[phase.name]
        elif starts and follows_s:
            began[phase.name] = min(*starts, follows_s)
        elif starts or follows_s:
            began[phase.name] = min(starts, default=follows_s)
        known = phase.name in began and phase.mode != "fill"
        follows_s = began[phase.name] + phase.duration_s if known else 0
    return began


def _held(parts: Iterable[Mapping[str, NDArray[np.generic]]]) -> dict[int, Held]:
    """Windows by worker, from the rows of table `generator`."""
    found: dict[int, list[tuple[_Ints, _Ints]]] = {}
    for part in parts:
        workers = part["worker"].astype(np.int64)
        starts_s, lengths_s = (part[name].astype(np.int64) for name in ("start_s", "length_s"))
        for rank in distinct(workers)[0].tolist():
            of_rank = workers == rank
            found.setdefault(rank, []).append((starts_s[of_rank], lengths_s[of_rank]))
    return {
        rank: Held(*(np.concatenate(columns) for columns in zip(*held, strict=True)))
        for rank, held in found.items()
    }


def _missing(held: Held | None, from_s: int, to_s: int, window_s: int) -> list[tuple[int, int]]:
    """Stretches of [from_s, to_s) without a window, in order.

    A phase ends inside a window, and workers begin it some ms apart: one window at either end that
    was never written held nothing.
    """
    if held is None or not len(held.starts_s):
        return [(from_s, to_s)] if to_s > from_s else []
    order = np.argsort(held.starts_s, kind="stable")
    starts_s = held.starts_s[order]
    reach_s = np.maximum.accumulate(starts_s + held.lengths_s[order])
    begins = np.clip(np.concatenate(([from_s], reach_s)), from_s, to_s)
    ends = np.clip(np.concatenate((starts_s, [to_s])), from_s, to_s)
    found = np.flatnonzero(ends > begins)
    gaps = [(int(begins[i]), int(ends[i])) for i in found]
    return [(a, b) for a, b in gaps if b - a > window_s or (a != from_s and b != to_s)]


def _together(
    missing: Mapping[int, Sequence[tuple[int, int]]],
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Stretches with the workers that lack them, split where a worker comes or goes."""
    turns: dict[int, list[tuple[int, bool]]] = {}
    for rank, parts in missing.items():
        for from_s, to_s in parts:
            turns.setdefault(from_s, []).append((rank, True))
            turns.setdefault(to_s, []).append((rank, False))
    lacking: set[int] = set()
    since_s = 0
    for at_s in sorted(turns):
        if lacking:
            yield since_s, at_s, tuple(sorted(lacking))
        for rank, comes in turns[at_s]:
            (lacking.add if comes else lacking.discard)(rank)
        since_s = at_s


def _gap(from_s: int, until_s: int, workers: tuple[int, ...], told: Told, last_s: int) -> Gap:
    cause, words = _cause(from_s, until_s, workers, told, reaches_the_end=until_s >= last_s)
    return Gap(from_s=from_s, until_s=until_s, workers=workers, cause=cause, told=words)


def _cause(
    from_s: int, until_s: int, workers: tuple[int, ...], told: Told, *, reaches_the_end: bool
) -> tuple[GapCause, str]:
    """The first of: a stop, the engine whose start ends the gap, a full disk, an engine that began
    near it, a host that was seen to have restarted.
    """
    ends = {told.ends.get(rank, ("missing", "")) for rank in workers}
    if reaches_the_end and ends and all(outcome == "stopped" for outcome, _ in ends):
        if told.stop and told.stop.cause == "budget":
            return "budget_spent", told.stop.why
        return "stopped", "; ".join(sorted({why for _, why in ends if why})) or "stopped as asked"
    if closed := _again(told, workers, from_s - 1, until_s + 1):
        return closed
    full = {
        why
        for rank in workers
        for began_s, ended_s, why in told.full.get(rank, ())
        if began_s - _NEAR_S <= until_s and from_s <= ended_s + _NEAR_S
    }
    if full:
        return "disk_full", f"the disk took nothing: {'; '.join(sorted(full))}"
    if near := _again(told, workers, from_s - _NEAR_S, until_s + _NEAR_S):
        return near
    for one in told.watched:
        if one.kind == "host_restarted" and _touch(one, from_s, until_s):
            return "load_host_down", one.told
    if reaches_the_end and any(outcome == "missing" for outcome, _ in ends):
        return "worker_died", "it left no end: killed, or its host was, and never came back"
    if reaches_the_end and (
        reasons := sorted({why for outcome, why in ends if outcome != "finished"})
    ):
        return "worker_died", "; ".join(reasons) or "the engine gave up"
    return "unknown", "nothing in the archive says why"


def _again(
    told: Told, workers: tuple[int, ...], from_s: int, until_s: int
) -> tuple[GapCause, str] | None:
    """Why engines of these workers began again between two moments; None when none did.

    An engine knows whether its host was booted since the last window; a watch that was away knows
    only that it was some time meanwhile.
    """
    again = [
        one
        for one in told.begins
        if one.attempt and one.worker in workers and from_s <= one.at_s <= until_s
    ]
    if not again:
        return None
    why = "; ".join(sorted({one.reason.replace("_", " ") for one in again if one.reason}))
    cause: GapCause = "load_host_down" if "boot" in why else "worker_died"
    return cause, why or "its engine was started again"


def _full(note: str) -> Iterator[tuple[int, int, str]]:
    """What an engine noted of its disk: "<why> from <s> to <s>, <n> windows lost; ..."."""
    for why, from_s, until_s in _DISK.findall(note):
        yield int(from_s), int(until_s or _NO_END_S), why.strip("; ")


def _touch(one: Unwatched, from_s: int, until_s: int) -> bool:
    return one.from_s <= until_s + _NEAR_S and one.until_s >= from_s - _NEAR_S


def _told(session_folder: Path, collated: Collated, session: str) -> Told:
    held = collated.sessions[session]
    watch = watch_of(session_folder)
    return Told(
        begins=held.begins,
        ends={one.worker: (one.outcome, one.reason) for one in held.workers},
        full={one.worker: tuple(_full(one.notes.get("disk", ""))) for one in held.workers},
        watched=watch.unwatched if watch else (),
        stop=RunFolder(session_folder.parent.parent.parent).stop(),
    )
