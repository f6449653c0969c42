"""Which session comes next, from the records of a run alone."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from pydantic import ValidationError

from soakbed.archive.run_folder import RunFolder
from soakbed.errors import LoadError
from soakbed.records.ladder import KneeSpec, Ladder, Objective, SteadySpec
from soakbed.records.run import LoadOutcome
from soakbed.records.spec import RunSpec
from soakbed.stages.course import Course, course_of
from tests.golden import make_run
from tests.golden.knees import queued
from tests.golden.pretences import ETCD

CAPACITY = 10_000.0
ASKED = KneeSpec(slo=Objective(p99_ms=50), ladder=Ladder(factor=1.5), bisect=1)
SHARE = SteadySpec(share_of_knee=0.5)


def spec_of(knee: KneeSpec | None = ASKED, steady: SteadySpec | None = SHARE) -> RunSpec:
    spec = make_run.spec_of((ETCD,), make_run.SHORT, with_tikv=False)
    work = spec.workload.model_copy(update={"knee": knee, "steady": steady})
    return spec.model_copy(update={"workload": work})


def course(run: RunFolder, spec: RunSpec) -> Course:
    return course_of(spec, make_run.testbed_of(spec), run, "etcd")


def note(run: RunFolder, session: str, **changed) -> None:
    """A record as the pipeline leaves it."""
    held = {
        **{"session": session, "outcome": "finished", "started_s": 0.0, "ended_s": 1.0},
        **{"workers": 1, "sent": 1, "ok": 1, "failed": 0, "unknown": 0},
        "capacity_per_s": CAPACITY if session == "capacity" else 0.0,
    }
    run.write(f"etcd/load/{session}", LoadOutcome(**(held | changed)))


def press(run: RunFolder, now: Course, *, capacity_per_s: float = 7_000.0) -> None:
    steps = [
        queued(rate, capacity_per_s=capacity_per_s).model_copy(update={"session": now.session})
        for rate in now.knee.rates_per_s
    ]
    note(run, now.session, steps=steps)


def test_a_workload_without_a_knee_has_the_sessions_it_always_had(tmp_path):
    run, spec = RunFolder(tmp_path), spec_of(None, None)
    assert course(run, spec) == Course("capacity")
    note(run, "capacity")
    assert course(run, spec) == Course("steady", CAPACITY)
    note(run, "steady")
    assert course(run, spec) == Course("", CAPACITY)


def test_the_ladder_comes_between_and_a_killed_controller_goes_on_at_the_same_step(tmp_path):
    run, spec = RunFolder(tmp_path), spec_of()
    seen = []
    for _ in range(20):
        now = course(run, spec)
        assert course(RunFolder(tmp_path), spec_of()) == now  # nothing else is remembered
        seen.append(now.session)
        if not now.session:
            break
        press(run, now)
    knees = [f"knee-{at}" for at in range(1, len(seen) - 2)]
    assert seen == ["capacity", *knees, "steady", ""]
    assert now.found.word == "found"
    # The queue of the made-up target reaches 50 ms at 92 % of its 7,000/s.
    assert now.found.held_per_s < 0.92 * 7_000 < now.found.broke_per_s
    assert now.knee.held_per_s == now.found.held_per_s


def test_a_pause_at_half_of_the_lowest_rate_follows_a_step_that_broke(tmp_path):
    run, spec = RunFolder(tmp_path), spec_of()
    note(run, "capacity")
    first = course(run, spec)
    assert first.knee.pause_per_s == 0.0
    press(run, first)
    again = course(run, spec)
    assert again.knee.rates_per_s == (8437.5,)
    assert again.knee.pause_per_s == CAPACITY * 0.25 / 2


def test_a_ladder_that_failed_is_climbed_again_under_another_name(tmp_path):
    run, spec = RunFolder(tmp_path), spec_of()
    note(run, "capacity")
    ladder = course(run, spec)
    note(run, "knee-1", outcome="failed", reason="worker 0 left no end frame")
    again = course(run, spec)
    assert again.session == "knee-2"
    assert again.knee == ladder.knee


@pytest.mark.parametrize(
    ("steady", "session"),
    [(SHARE, ""), (SteadySpec(rate_per_s=100), "steady"), (None, "steady")],
    ids=["of the knee", "one rate", "of capacity"],
)
def test_without_a_knee_only_a_share_of_it_has_no_steady_session(tmp_path, steady, session):
    run, spec = RunFolder(tmp_path), spec_of(steady=steady)
    note(run, "capacity")
    for _ in itertools.repeat(None, 30):
        now = course(run, spec)
        if not now.session.startswith("knee-"):
            break
        press(run, now, capacity_per_s=1.0)
    assert now.found.word == "none"
    assert now.session == session


def test_without_capacity_there_is_no_ladder(tmp_path):
    run = RunFolder(tmp_path)
    note(run, "capacity", capacity_per_s=0.0)
    with pytest.raises(LoadError, match="no ladder can be built"):
        course(run, spec_of())


@pytest.mark.parametrize("word", ["fill", "capacity", "knee-1", "knee-31", "steady"])
def test_sessions_are_known_words(tmp_path: Path, word):
    note(RunFolder(tmp_path), word)


@pytest.mark.parametrize("word", ["", "knee", "knee-0", "knee-1/..", "Steady", "knee-01"])
def test_other_words_are_no_sessions(tmp_path: Path, word):
    with pytest.raises(ValidationError, match="is no session"):
        LoadOutcome(session=word, outcome="finished", started_s=0, ended_s=1, workers=1, sent=0,
                    ok=0, failed=0, unknown=0)  # fmt: skip
