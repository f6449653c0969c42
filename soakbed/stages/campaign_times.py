"""How long the parts of a run take beside its phases: from earlier runs, or a stated assumption."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soakbed.archive.run_folder import RunFolder
from soakbed.errors import ArchiveError
from soakbed.records.campaign import TimeBasis
from soakbed.records.numbers import Numbers
from soakbed.records.run import StageTime
from soakbed.records.spec import RunSpec, TestbedSpec, WorkloadSpec
from soakbed.stages.knee_steps import usual_knee_s

__all__ = ["Overheads", "overheads_of", "planned_s"]

# Of one target: configure, the start and end of each session, collect, stop and wipe. Taken from
# runs of quick on the local testbed with two cores; TiKV has two kinds of members to bring up.
_ASSUMED_S = {"etcd": 70.0, "redis_cluster": 55.0, "tikv": 90.0}
_ASSUMED_FILL_PER_S = {"etcd": 1_000.0, "redis_cluster": 8_000.0, "tikv": 2_000.0}
# What a run has once: looking at hosts and artifacts, judging, the page; and a new preparation.
_ASSUMED_RUN_S = 6.0
_ASSUMED_PREPARE_S = 40.0
# Start and end of each session of a ladder, on the local testbed with two cores.
_ASSUMED_SESSION_S = 12.0
_NEWEST = 20  # runs that are looked at: what was changed since counts less
_OF_A_RUN = ("fetch", "provision", "judge", "report")


@dataclass(slots=True)
class _Seen:
    """What earlier runs took, in seconds; `fill` is seconds per key."""

    beside: dict[str, list[float]] = field(default_factory=dict)
    fill: dict[str, list[float]] = field(default_factory=dict)
    run: list[float] = field(default_factory=list)
    prepare: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Overheads:
    """What comes on top of the phases of a run on one testbed, and what each figure rests on."""

    beside_s: dict[str, float]
    fill_s_per_key: dict[str, float]
    run_s: float
    prepare_s: float
    basis: tuple[TimeBasis, ...]

    def of(self, spec: RunSpec) -> float:
        """Seconds on top of one run's phases."""
        keys = spec.workload.keys
        of_targets = sum(
            self.beside_s[target] + keys * self.fill_s_per_key[target] for target in spec.targets
        )
        return self.run_s + of_targets


def planned_s(workload: WorkloadSpec) -> int:
    """Seconds of load for one target, the fill left out; of a knee, as long as it usually takes."""
    lasts = workload.phases
    knee_s = math.ceil(usual_knee_s(workload, start_s=_ASSUMED_SESSION_S))
    return lasts.warmup_s + lasts.capacity_s + lasts.settle_s + lasts.steady_s + knee_s


def overheads_of(results: Path, testbed: TestbedSpec, targets: Sequence[str]) -> Overheads:
    """From the newest uninterrupted runs on this testbed; damaged ones are passed by."""
    seen = _seen(results, testbed)
    beside, fill, basis = {}, {}, []
    for target in targets:
        held = seen.beside.get(target, [])
        beside[target] = statistics.median(held) if held else _ASSUMED_S[target]
        filled = seen.fill.get(target, [])
        fill[target] = statistics.median(filled) if filled else 1 / _ASSUMED_FILL_PER_S[target]
        told = "configure, start and end of sessions, collect, wipe"
        basis.append(_basis(target, beside[target], held, told))
        word = "measured" if filled else "assumed"
        basis.append(
            TimeBasis(
                subject=target,
                seconds=fill[target],
                sentence=f"fill of the key space: {1 / fill[target]:,.0f} keys/s, {word}",
            )
        )
    run_s = statistics.median(seen.run) if seen.run else _ASSUMED_RUN_S
    prepare_s = statistics.median(seen.prepare) if seen.prepare else _ASSUMED_PREPARE_S
    basis.append(_basis("run", run_s, seen.run, "once a run: look at the hosts, judge, write"))
    basis.append(_basis("prepare", prepare_s, seen.prepare, "hosts prepared for a profile"))
    return Overheads(beside, fill, run_s, prepare_s, tuple(basis))


def _basis(subject: str, seconds: float, held: Sequence[float], what: str) -> TimeBasis:
    runs = f"median of {len(held)} run{'s' if len(held) > 1 else ''} on this testbed"
    told = f"{what}: {seconds:.0f} s, {runs if held else 'assumed, no earlier run says'}"
    return TimeBasis(subject=subject, seconds=seconds, sentence=told)


def _seen(results: Path, testbed: TestbedSpec) -> _Seen:
    seen = _Seen()
    held = [path.parent for path in results.glob("2*/stages.jsonl")]
    counted = 0
    for folder in sorted(held, reverse=True):
        if counted == _NEWEST:
            break
        try:
            counted += _add(seen, RunFolder(folder), testbed)
        except (ArchiveError, ValueError):  # a damaged run is no reason to plan nothing
            continue
    return seen


def _add(seen: _Seen, run: RunFolder, testbed: TestbedSpec) -> bool:
    """Whether this run counts: the same testbed, finished, and each stage once."""
    spec = run.spec()
    if spec.testbed.name != testbed.name or spec.testbed.provider != testbed.provider:
        return False
    times = run.times()
    names = [taken.stage for taken in times]
    if not run.has("summary") or len(set(names)) != len(names):
        return False
    for target in spec.targets:
        _add_target(seen, run, spec, target, times)
    seen.run.append(sum(taken.seconds for taken in times if taken.stage in _OF_A_RUN))
    seen.prepare += [taken.seconds for taken in times if taken.stage == "prepare hosts"]
    return True


def _add_target(
    seen: _Seen, run: RunFolder, spec: RunSpec, target: str, times: Sequence[StageTime]
) -> None:
    if not run.has(f"{target}/numbers"):
        return
    numbers = run.read(f"{target}/numbers", Numbers)
    filled_s = sum(
        held.phases["fill"].seconds for held in numbers.sessions.values() if "fill" in held.phases
    )
    taken_s = sum(one.seconds for one in times if one.stage.startswith(f"{target}: "))
    loaded_s = sum(
        phase.seconds for held in numbers.sessions.values() for phase in held.phases.values()
    )
    seen.beside.setdefault(target, []).append(max(0.0, taken_s - loaded_s))
    if filled_s:
        seen.fill.setdefault(target, []).append(filled_s / spec.workload.keys)
