"""What was planned against what is there: every missing second found once, with the right cause."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.contract.plan import Keyspace, Phase, Plan
from soakbed.records.collated import SpoolBegin
from soakbed.records.gaps import Coverage
from soakbed.records.run import StopAsked
from soakbed.records.watch import Unwatched
from soakbed.stages.gaps import Held, Told, phase_coverage, phases_began
from soakbed.stages.judge_coverage import gaps_in_words

STEADY = Phase("steady", "open", 100, 10.0)
PLAN = Plan(
    run_id="r1",
    session="steady",
    target="etcd",
    endpoints=("10.0.0.1:2379",),
    keyspace=Keyspace(100, "/bench/"),
    phases=(Phase("warmup", "open", 20, 10.0), STEADY),
    tls=None,
)
BEGAN_S = 1000
ALL = set(range(BEGAN_S, BEGAN_S + 100))
FINISHED = {0: ("finished", ""), 1: ("finished", "")}


def held(seconds: set[int]) -> Held:
    starts_s = np.array(sorted(seconds), dtype=np.int64)
    return Held(starts_s, np.ones(len(starts_s), dtype=np.int64))


def covered(*by_rank: set[int], told: Told | None = None, until_s: float = 0.0) -> Coverage:
    return phase_coverage(
        replace(PLAN, workers=len(by_rank)),
        STEADY,
        {rank: held(seconds) for rank, seconds in enumerate(by_rank) if seconds},
        began_s=BEGAN_S,
        told=told or Told(ends=FINISHED),
        until_s=until_s,
    )


def test_a_phase_without_a_gap_is_covered_whole():
    made = covered(ALL, ALL)
    assert (made.expected_s, made.held_s, made.gaps) == (200, 200, ())
    assert made.percent == 100.0


def test_a_gap_of_one_worker_is_told_with_its_seconds_and_its_share():
    made = covered(ALL, ALL - set(range(1040, 1045)))
    (gap,) = made.gaps
    assert (gap.from_s, gap.until_s, gap.workers) == (1040, 1045, (1,))
    assert made.percent == pytest.approx(97.5)


def test_a_gap_that_workers_share_in_part_is_told_in_parts():
    made = covered(ALL - set(range(1040, 1050)), ALL - set(range(1045, 1055)))
    told = [(gap.from_s, gap.until_s, gap.workers) for gap in made.gaps]
    assert told == [(1040, 1045, (0,)), (1045, 1050, (0, 1)), (1050, 1055, (1,))]
    assert made.held_s == 200 - sum(gap.worker_seconds for gap in made.gaps) == 180


def test_one_window_at_either_end_that_was_never_written_is_no_gap():
    assert covered(ALL - {1000, 1099}).gaps == ()
    assert len(covered(ALL - {1000, 1001}).gaps) == 1
    assert len(covered(ALL - {1050}).gaps) == 1


def test_one_missing_second_of_three_days_is_not_rounded_to_all():
    made = Coverage(session="steady", phase="steady", began_s=0, expected_s=10**9, held_s=10**9 - 1)
    assert made.percent < 100.0


def test_what_is_planned_later_is_not_missing_yet():
    made = covered(set(range(1000, 1030)), until_s=1030)
    assert (made.expected_s, made.gaps) == (30, ())


@given(missing=st.lists(st.sets(st.integers(1001, 1098), max_size=40), min_size=1, max_size=3))
def test_gaps_and_windows_add_up_to_what_was_planned(missing):
    made = covered(*(ALL - one for one in missing))
    found = {
        (rank, second)
        for gap in made.gaps
        for rank in gap.workers
        for second in range(gap.from_s, gap.until_s)
    }
    assert found == {(rank, second) for rank, one in enumerate(missing) for second in one}
    assert made.expected_s - made.held_s == len(found)
    assert all(one.until_s <= other.from_s for one, other in pairwise(made.gaps))


AGAIN = SpoolBegin(worker=0, attempt=1, at_s=1046.2, reason="engine_died")
RESTARTED = Unwatched(
    kind="host_restarted", from_s=1038.0, until_s=1050.0, told="load host l1 started again"
)


@pytest.mark.parametrize(
    ("told", "cause", "words"),
    [
        pytest.param(Told(begins=[AGAIN]), "worker_died", "engine died", id="an engine died"),
        pytest.param(
            Told(watched=[RESTARTED]),
            "load_host_down",
            "l1 started again",
            id="its host restarted, as the watch saw",
        ),
        pytest.param(
            Told(begins=[AGAIN], watched=[RESTARTED]),
            "worker_died",
            "engine died",
            id="its host restarted at another time while nobody watched",
        ),
        pytest.param(
            Told(begins=[AGAIN], full={0: ((1050, 1060, "No space left on device"),)}),
            "worker_died",
            "engine died",
            id="an engine died, and the disk was full soon after",
        ),
        pytest.param(
            Told(
                begins=[AGAIN, AGAIN.model_copy(update={"at_s": 1060.0, "reason": "host_booted"})]
            ),
            "worker_died",
            "engine died",
            id="an engine died, and its host restarted soon after",
        ),
        pytest.param(
            Told(begins=[AGAIN.model_copy(update={"reason": "host_booted"})]),
            "load_host_down",
            "host booted",
            id="its host restarted, as the engine says",
        ),
        pytest.param(
            Told(full={0: ((1035, 1060, "No space left on device"),)}),
            "disk_full",
            "No space left",
            id="the disk took nothing",
        ),
        pytest.param(
            Told(full={0: ((1, 20, "No space left on device"),)}),
            "unknown",
            "nothing in the archive",
            id="the disk was full at another time",
        ),
        pytest.param(
            Told(begins=[AGAIN.model_copy(update={"at_s": 1090.0})]),
            "unknown",
            "nothing in the archive",
            id="an engine died at another time",
        ),
        pytest.param(
            Told(begins=[AGAIN.model_copy(update={"worker": 1})]),
            "unknown",
            "nothing in the archive",
            id="another engine died",
        ),
    ],
)
def test_the_cause_of_a_gap_is_read_from_what_is_in_writing(told, cause, words):
    told = replace(told, ends=FINISHED)
    (gap,) = covered(ALL - set(range(1040, 1047)), told=told).gaps
    assert gap.cause == cause
    assert words in gap.told


@pytest.mark.parametrize(
    ("ends", "cause"),
    [
        pytest.param({0: ("stopped", "stopped by SIGTERM")}, "stopped", id="as asked"),
        pytest.param({0: ("missing", "")}, "worker_died", id="it never came back"),
        pytest.param({}, "worker_died", id="it left nothing at all"),
        pytest.param({0: ("failed", "no member answers")}, "worker_died", id="it gave up"),
    ],
)
def test_why_the_rest_of_a_phase_is_missing_is_read_from_how_the_engine_ended(ends, cause):
    (gap,) = covered(set(range(1000, 1060)), told=Told(ends=ends)).gaps
    assert (gap.from_s, gap.until_s, gap.cause) == (1060, 1100, cause)


def test_a_phase_begins_by_the_clock_by_its_first_window_or_after_the_one_before():
    windows = {"warmup": {0: held({980, 981})}}
    assert phases_began(PLAN.phases, {}, windows) == {"warmup": 980, "steady": 1000}
    assert phases_began(PLAN.phases, {"steady": 1003}, windows)["steady"] == 1003
    assert phases_began(PLAN.phases, {}, {}) == {}
    late = {**windows, "steady": {0: held({1010})}}
    assert phases_began(PLAN.phases, {}, late)["steady"] == 1000


def test_gaps_are_told_by_cause():
    made = covered(ALL - set(range(1040, 1047)) - {1080}, told=Told(begins=[AGAIN], ends=FINISHED))
    assert gaps_in_words(made.gaps) == "2 gaps: worker died 7 s, unknown 1 s"


@pytest.mark.parametrize(
    ("stop", "cause"),
    [
        pytest.param(None, "stopped", id="by somebody"),
        pytest.param(StopAsked(asked_s=1, why="enough"), "stopped", id="as asked"),
        pytest.param(
            StopAsked(asked_s=1, why="no money", cause="budget"), "budget_spent", id="money"
        ),
    ],
)
def test_a_gap_that_a_spent_budget_left_names_it(stop, cause):
    ends = {0: ("stopped", "a signal"), 1: ("stopped", "a signal")}
    early = set(range(BEGAN_S, BEGAN_S + 60))
    (gap,) = covered(early, early, told=Told(ends=ends, stop=stop)).gaps
    assert (gap.cause, gap.until_s) == (cause, 1100)
    assert gap.told == ("no money" if cause == "budget_spent" else "a signal")
