"""What the finished part of a session says, from a process that is gone afterwards."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from loadgen.contract.plan import Keyspace, Phase, Plan
from soakbed.errors import ArchiveError
from soakbed.stages.so_far import Collating, so_far
from tests.fakes import FakeEngine

PLAN = Plan(
    run_id="r1",
    session="steady",
    target="etcd",
    endpoints=("10.0.0.1:2379",),
    keyspace=Keyspace(100, "/bench/"),
    phases=(Phase("warmup", "open", 2, 400.0), Phase("steady", "open", 20, 400.0)),
    tls=None,
)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A target of which the engine has done 12 of 20 s of the steady phase."""
    folder = tmp_path / "etcd" / "load" / "steady"
    folder.mkdir(parents=True)
    done = replace(PLAN, phases=(PLAN.phases[0], replace(PLAN.phases[1], duration_s=12)))
    FakeEngine(done, 0, folder / "worker-0.spool", pace_s=0).run()
    PLAN.write(folder / "plan.json")
    return tmp_path / "etcd"


def test_nothing_is_known_before_the_first_window(tmp_path):
    (tmp_path / "etcd" / "load" / "steady").mkdir(parents=True)
    assert so_far(tmp_path / "etcd", "steady", {}) is None


def test_what_there_is_is_summed_and_what_is_planned_later_is_no_gap(target):
    made = so_far(target, "steady", {"l1": "load"})
    assert (made.phase, made.seconds) == ("steady", 12)
    assert made.sent == made.ok + made.failed + made.unknown > 2000
    assert made.coverage.percent == 100.0
    assert made.response_p99_us["read"] > 1000
    assert made.verdict == "valid"


def test_it_is_made_beside_the_watch_and_once(target):
    collating = Collating(target, "steady", {})
    collating.begin()
    collating.begin()
    assert collating.is_busy()
    ends_s = time.monotonic() + 60
    while not (made := collating.result()) and time.monotonic() < ends_s:
        time.sleep(0.05)
    assert made.phase == "steady"
    assert collating.result() is None and not collating.is_busy()


def test_evidence_that_cannot_be_read_costs_the_figures_and_not_the_watch(target):
    failed: Future[None] = Future()
    failed.set_exception(ArchiveError("the plan cannot be read", remedy="restore it"))
    collating = Collating(target, "steady", {})
    collating._job = failed
    assert not collating.is_busy()
    assert collating.result() is None
