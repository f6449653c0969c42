"""Where one target stands among its sessions of load, from the records of a run alone.

The record of each session is the memory: a controller that was killed asks again and gets the same
answer, so it goes on with the very step of the ladder at which it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from soakbed.archive.run_folder import RunFolder
from soakbed.errors import LoadError
from soakbed.records.knee import JudgedStep, Knee
from soakbed.records.ladder import KneeSpec
from soakbed.records.run import LoadOutcome
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Testbed
from soakbed.stages.knee_search import find_knee, judge_step, next_rates, rests_before
from soakbed.stages.knee_steps import steps_of
from soakbed.stages.load_plan import KneeSoFar, sessions_of

__all__ = ["Course", "course_of", "with_steps"]

_LADDER = "knee-"
_PAUSE_SHARE = 0.5  # of the lowest rate that is asked for: light work for one that just broke


@dataclass(frozen=True, slots=True)
class Course:
    """The next session of a target, "" when all are done, and what its plan rests on."""

    session: str
    capacity_per_s: float = 0.0
    knee: KneeSoFar = field(default_factory=KneeSoFar)
    found: Knee | None = None  # as far as it is known; None where none is asked for


def course_of(spec: RunSpec, testbed: Testbed, run: RunFolder, target: str) -> Course:
    """The first session without a record. Writes nothing.

    Where the steady rate is a share of a knee that is not there, no session follows the ladder.
    Raises LoadError when there is no capacity to build a ladder on, ArchiveError when a record is
    damaged.
    """
    *before, last = sessions_of(spec, testbed)
    for session in before:
        if not run.has(f"{target}/load/{session}"):
            return Course(session)
    capacity_per_s = _outcome(run, target, "capacity").capacity_per_s
    knee, found = KneeSoFar(), None
    if (asked := spec.workload.knee) is not None:
        sessions = _judged(run, target, asked)
        found = find_knee(target, asked, capacity_per_s, sessions)
        if rates := next_rates(asked, _known(capacity_per_s, asked, target), sessions):
            first = min(asked.ladder.first_of(capacity_per_s), rates[0])
            pause_per_s = _PAUSE_SHARE * first if rests_before(sessions) else 0.0
            following = f"{_LADDER}{len(sessions) + 1}"
            return Course(following, capacity_per_s, KneeSoFar(rates, pause_per_s), found)
        knee = KneeSoFar(held_per_s=found.held_per_s or 0.0)
        if spec.workload.steady_rate.share_of_knee is not None and not knee.held_per_s:
            return Course("", capacity_per_s, knee, found)
    done = run.has(f"{target}/load/{last}")
    return Course("" if done else last, capacity_per_s, knee, found)


def with_steps(outcome: LoadOutcome, spec: RunSpec, run: RunFolder, target: str) -> LoadOutcome:
    """The outcome of a session with what its steps did, where it was of a ladder and finished."""
    asked = spec.workload.knee
    if asked is None or not outcome.session.startswith(_LADDER) or outcome.outcome != "finished":
        return outcome
    steps = steps_of(run.path / target, outcome.session, settle_s=asked.ladder.settle_s)
    return outcome.model_copy(update={"steps": steps})


def _outcome(run: RunFolder, target: str, session: str) -> LoadOutcome:
    return run.read(f"{target}/load/{session}", LoadOutcome)


def _judged(run: RunFolder, target: str, asked: KneeSpec) -> list[list[JudgedStep]]:
    """The judged steps of each session of the ladder so far."""
    sessions: list[list[JudgedStep]] = []
    while run.has(f"{target}/load/{_LADDER}{len(sessions) + 1}"):
        held = _outcome(run, target, f"{_LADDER}{len(sessions) + 1}")
        sessions.append([judge_step(step, asked.slo) for step in held.steps])
    return sessions


def _known(capacity_per_s: float, asked: KneeSpec, target: str) -> float:
    if capacity_per_s <= 0:
        raise LoadError(
            f"{target}: the capacity session ended no operation well, so no ladder can be built",
            remedy=f"read {target}/load/capacity/locust/ and the members' journals for why",
        )
    return capacity_per_s
