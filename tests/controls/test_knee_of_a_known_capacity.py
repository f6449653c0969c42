"""A server that holds each operation for 100 ms, 64 connections: 640/s at most. The real engine
climbs the ladder, everything that is known lies in the run folder, and the answer is right.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from soakbed.archive.run_folder import RunFolder
from soakbed.records.knee import Knee
from soakbed.records.ladder import KneeSpec, Ladder, Objective, SteadySpec
from soakbed.records.spec import Phases
from soakbed.stages.course import Course, course_of, with_steps
from soakbed.stages.load_account import account_for
from soakbed.stages.load_plan import plan_session
from soakbed.stages.measure import measure
from tests.controls.running import Scripted
from tests.controls.script import Script, Service
from tests.golden import make_run
from tests.golden.pretences import REDIS
from tests.integration.engine_runs import EngineRun

# Held so long that a machine with other work on it does not make the server slower.
CONNECTIONS, HELD_US = 64, 100_000
KNOWN_PER_S = CONNECTIONS * 1_000_000 / HELD_US
ASKED = KneeSpec(
    slo=Objective(p99_ms=5_000, error_share=0.0, achieved_share=0.97),
    ladder=Ladder(first_share_of_capacity=0.75, factor=1.5, step_s=3, settle_s=1),
    bisect=0,
    pause_s=1,
)


def begun(folder: Path) -> RunFolder:
    spec = make_run.spec_of(
        (REDIS,), Phases(warmup_s=0, capacity_s=3, settle_s=0, steady_s=3), with_tikv=False
    )
    work = spec.workload.model_copy(
        update={
            "keys": 200,
            "read_share": 1.0,
            "connections": CONNECTIONS,
            "knee": ASKED,
            "steady": SteadySpec(share_of_knee=0.5),
        }
    )
    run = RunFolder(folder)
    folder.mkdir()
    run.write("spec", spec.model_copy(update={"workload": work}))
    return run


def press(run: RunFolder, server: Scripted, course: Course) -> None:
    """One session by the real engine, in place of load hosts; kept as the pipeline keeps it."""
    spec = run.spec()
    made = plan_session(
        spec,
        make_run.ready_of(REDIS),
        run_id="r",
        session=course.session,
        capacity_per_s=course.capacity_per_s,
        testbed=make_run.testbed_of(spec),
        knee=course.knee,
    )
    plan = replace(server.plan(*made.phases), session=made.session, value_bytes=made.value_bytes,
                   keyspace=replace(made.keyspace, prefix="bench:"), read_share=made.read_share,
                   connections=made.connections)  # fmt: skip
    folder = run.folder("redis_cluster", "load", course.session)
    EngineRun(folder, plan).finish()
    outcome = account_for(plan, folder)
    run.write(f"redis_cluster/load/{course.session}", with_steps(outcome, spec, run, REDIS.name))


def test_the_knee_of_a_server_of_known_capacity_is_found(scripted, tmp_path):
    held = Service("fixed", us=HELD_US)
    server = scripted(Script("resp", read=held, write=held, calm=200), tls=False)
    path = tmp_path / "run"
    run = begun(path)
    testbed = make_run.testbed_of(run.spec())
    knee = None
    # As a controller that is killed after every session would: nothing but the folder is kept.
    for _ in range(6):
        course = course_of(run.spec(), testbed, RunFolder(path), REDIS.name)
        knee = course.found
        if course.session == "steady":
            break
        press(run, server, course)
    assert knee is not None and knee.settled
    # On a busy machine the engine may wait for its core, and says so.
    assert knee.word in ("found", "at_least"), knee.sentence
    assert 0.7 * KNOWN_PER_S < knee.held_per_s < KNOWN_PER_S / 0.97, knee.sentence
    assert 0.9 * KNOWN_PER_S < knee.broke_per_s < 1.2 * KNOWN_PER_S, knee.sentence
    broke = [one for one in knee.steps if one.step.rate_per_s == knee.broke_per_s]
    assert len(broke) == 2
    for one in broke:
        assert one.step.achieved_per_s == pytest.approx(KNOWN_PER_S, rel=0.1)
        assert "of what was due, objective 97.00%" in one.reasons[-1]
    _the_archive_says_the_same(path, knee)


def _the_archive_says_the_same(path: Path, knee: Knee) -> None:
    """Each step is a phase of the archive, without its first second."""
    numbers = measure(path / REDIS.name)
    assert list(numbers.sessions) == ["capacity", "knee-1", "knee-2"]
    for one in knee.steps:
        whole = numbers.phase(one.step.session, one.step.phase)
        assert whole is not None
        assert whole.seconds == one.step.seconds + 1 >= 4
        assert one.step.started_s == whole.started_s + 1
        assert 0 < whole.total("due") - one.step.due < 2 * knee.broke_per_s
    assert [one.step.session for one in knee.steps] == ["knee-1", "knee-1", "knee-2"]
    assert list(numbers.sessions["knee-2"].phases) == ["pause", "step-1"]
