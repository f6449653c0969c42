"""Steps of the ladder: from rates to the phases of a plan, and from its windows to what they did.

A step is one phase. Its first seconds, in which a queue may build up, are in the archive and in no
figure; they are not a phase of their own, because the engine sends what is due before it begins
the next, and the queue would have to build up again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from loadgen.contract.plan import Phase, Plan
from soakbed.archive.data.collate import collate
from soakbed.archive.data.reading import TargetData, TargetPhase
from soakbed.records.knee import Step
from soakbed.records.ladder import FIRST_SHARE, TOP_OF_CAPACITY
from soakbed.records.numbers import PhaseNumbers
from soakbed.records.spec import WorkloadSpec
from soakbed.stages.judge_load import engine_cpu, generator_bound, lag, schedule_kept
from soakbed.stats.percentiles import smallest_sample_for
from soakbed.stats.phase_data import PhaseData
from soakbed.stats.windows import phase_numbers

__all__ = [
    "PAUSE",
    "STEP",
    "longest_step_s",
    "step_phases",
    "step_s_of",
    "steps_of",
    "usual_knee_s",
]

STEP = "step"
PAUSE = "pause"
# A step that achieves two thirds of its rate still carries a P99; less breaks it anyway.
_SPARE_VALUES = 1.5
# At 3/s of one kind a step would last longer than this: then the other kind alone is judged.
_LONGEST_S = 600
# What tells that a step broke by the generator's fault: rules of the steady phase (design D8).
_GENERATOR = (schedule_kept, engine_cpu, generator_bound, lag)


def step_s_of(work: WorkloadSpec, rate_per_s: float) -> int:
    """How long a step at this rate is measured: as asked, or until its P99 is carried.

    Whole windows; without the settle time. Raises ValueError where no knee is asked for.
    """
    if work.knee is None:
        raise ValueError(f"workload {work.name} asks for no knee")
    shares = [share for share in (work.read_share, 1 - work.read_share) if share > 0]
    values = _SPARE_VALUES * smallest_sample_for(99.0)
    needed_s = min(values / (rate_per_s * min(shares)), _LONGEST_S)
    wanted_s = max(work.knee.ladder.step_s, needed_s)
    return math.ceil(round(wanted_s / work.window_s, 6)) * work.window_s


def longest_step_s(work: WorkloadSpec) -> int:
    """An upper bound of a step's length with its settle time, at any rate."""
    if work.knee is None:
        return 0
    ladder = work.knee.ladder
    return ladder.settle_s + max(ladder.step_s, _LONGEST_S + work.window_s)


def usual_knee_s(work: WorkloadSpec, *, start_s: float) -> float:
    """How long finding the knee usually takes, `start_s` for each session's start and end; 0 where
    none is asked for.

    The ladder, the first that broke again, and each halving, of which every other breaks and is
    asked again. Steps as long as asked: low rates take longer.
    """
    if work.knee is None:
        return 0.0
    asked, ladder = work.knee, work.knee.ladder
    span = TOP_OF_CAPACITY / (FIRST_SHARE if ladder.first_per_s else ladder.first_of(1.0))
    rungs = max(math.ceil(math.log(span) / math.log(ladder.factor)), 0) + 1
    sessions = 1 + 1.5 * asked.bisect
    step_s = ladder.settle_s + ladder.step_s
    return start_s + rungs * step_s + sessions * (start_s + step_s + asked.pause_s)


def step_phases(
    work: WorkloadSpec, rates_per_s: Sequence[float], *, pause_per_s: float = 0.0
) -> list[Phase]:
    """A phase per rate, after a pause at a low rate where that is above 0.

    The pause is load, not silence: connections stay warm, and a target that has not recovered
    shows it in the archive.
    """
    if work.knee is None:
        raise ValueError(f"workload {work.name} asks for no knee")
    settle_s, pause_s = work.knee.ladder.settle_s, work.knee.pause_s
    pause = [Phase(PAUSE, "open", pause_s, round(pause_per_s, 3), work.arrivals)]
    return [
        *(pause if pause_s and pause_per_s > 0 else []),
        *(
            Phase(f"{STEP}-{at}", "open", settle_s + step_s_of(work, rate), rate, work.arrivals)
            for at, rate in enumerate(rates_per_s, 1)
        ),
    ]


def steps_of(target_folder: Path, session: str, *, settle_s: int) -> tuple[Step, ...]:
    """What each step of a session did, from the archive, whose tables it brings up to date first.

    A step without a window after its settle time is left out. Raises ArchiveError when a plan
    cannot be read.
    """
    data = TargetData(target_folder, collate(target_folder))
    plan = Plan.read(target_folder / "load" / session / "plan.json")
    made = []
    for phase in plan.phases:
        held = data.phase(session, phase.name)
        if phase.name.startswith(f"{STEP}-") and held is not None:
            measured = held.without(((0, held.began_s() + settle_s),)) if settle_s else held
            if step := _step(measured, phase, plan, measured_s=phase.duration_s - settle_s):
                made.append(step)
    return tuple(made)


def _step(held: TargetPhase, phase: Phase, plan: Plan, *, measured_s: int) -> Step | None:
    try:
        numbers = phase_numbers(
            held,
            planned_s=measured_s,
            offered_per_s=phase.rate_per_s,
            arrivals=phase.arrivals,
            workers=plan.workers,
        )
    except ValueError:  # no window after the settle time
        return None
    due_per_s, achieved_per_s = _inside_per_s(held, plan)
    late, operations = numbers.generator.late, numbers.operations
    return Step(
        session=plan.session,
        phase=phase.name,
        rate_per_s=phase.rate_per_s,
        started_s=numbers.started_s,
        seconds=numbers.seconds,
        **{name: numbers.total(name) for name in ("due", "ok", "failed", "unknown", "dropped")},
        due_per_s=due_per_s,
        achieved_per_s=achieved_per_s,
        response_p50_us={name: one.response.p50_us for name, one in operations.items()},
        response_p99_us={name: one.response.p99_us for name, one in operations.items()},
        service_p99_us={name: one.service.p99_us for name, one in operations.items()},
        cpu_share=numbers.generator.cpu_share,
        late_p99_us=late.p99_us if late else None,
        limits=tuple(_limits(numbers)),
    )


def _limits(numbers: PhaseNumbers) -> Iterator[str]:
    """Rules over the generator that the step breaks."""
    for rule in _GENERATOR:
        found = rule(numbers)
        if found.verdict == "invalid":
            yield found.sentence


def _inside_per_s(held: PhaseData, plan: Plan) -> tuple[float, float]:
    """Due and ok operations per second of the whole windows in which all workers were at it.

    What comes after the end of the step, from a backlog, is in windows that are not whole.
    """
    at_it: Counter[int] = Counter()
    for part in held.generator():
        at_it.update(part["start_s"][part["complete"].astype(bool)].tolist())
    together = [start_s for start_s, workers in at_it.items() if workers >= plan.workers]
    counted = {"due": 0, "ok": 0}
    for _, part in held.counters():
        inside = np.isin(part["start_s"], together)
        for name in counted:
            counted[name] += int(part[name][inside].sum())
    seconds = len(together) * plan.window_s
    return (
        (round(counted["due"] / seconds, 3), round(counted["ok"] / seconds, 3))
        if seconds
        else (0.0, 0.0)
    )
