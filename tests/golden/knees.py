"""Knees of made-up targets: a search that is answered from a rate and a latency, not measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from soakbed.archive.run_folder import RunFolder
from soakbed.records.knee import JudgedStep, Knee, Step
from soakbed.records.ladder import KneeSpec
from soakbed.stages.knee_search import find_knee, judge_step, next_rates

Answer = Callable[[float], Step]


def step(rate_per_s: float = 1000.0, **changed) -> Step:
    """One step that held everything, unless told otherwise."""
    ok = changed.pop("ok", 10_000)
    held = {
        "session": "knee-1",
        "phase": "step-1",
        "rate_per_s": rate_per_s,
        "started_s": 0,
        "seconds": 10.0,
        "due": ok,
        "ok": ok,
        "failed": 0,
        "unknown": 0,
        "dropped": 0,
        "due_per_s": rate_per_s,
        "achieved_per_s": rate_per_s,
        "response_p50_us": {"read": 400, "write": 600},
        "response_p99_us": {"read": 4_000, "write": 9_000},
        "service_p99_us": {"read": 4_000, "write": 9_000},
        "cpu_share": 0.3,
    }
    return Step(**(held | changed))


def queued(rate_per_s: float, *, capacity_per_s: float, limits: tuple[str, ...] = ()) -> Step:
    """As a queue does: slower towards capacity, and above it ever later."""
    if rate_per_s >= capacity_per_s:
        p99_us, achieved = 900_000, capacity_per_s
    else:
        p99_us, achieved = round(2_000 / (1 - rate_per_s / capacity_per_s)), rate_per_s
    p99s = {"read": p99_us, "write": 2 * p99_us}
    return step(rate_per_s, achieved_per_s=achieved, response_p99_us=p99s, limits=limits)


def searched(target: str, asked: KneeSpec, capacity_per_s: float, answer: Answer) -> Knee:
    """Ask until nothing is left to ask."""
    sessions: list[list[JudgedStep]] = []
    while rates := next_rates(asked, capacity_per_s, sessions):
        steps = [
            answer(rate).model_copy(
                update={"session": f"knee-{len(sessions) + 1}", "phase": f"step-{at}"}
            )
            for at, rate in enumerate(rates, 1)
        ]
        sessions.append([judge_step(one, asked.slo) for one in steps])
    return find_knee(target, asked, capacity_per_s, sessions)


def with_knees(folder: Path, knees: dict[str, Knee]) -> Path:
    """A run folder that asked for the knee, and what came of it."""
    run = RunFolder(folder)
    spec = run.spec()
    asked = next(iter(knees.values())).asked
    work = spec.workload.model_copy(update={"knee": asked})
    run.write("spec", spec.model_copy(update={"workload": work}))
    for target, knee in knees.items():
        run.write(f"{target}/knee", knee)
    return folder
