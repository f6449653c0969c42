"""At any moment an engine knows which phase of its plan is on, and at which second it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.engine.past import Past
from loadgen.engine.timetable import Entry, Timetable

BEGAN_S = 1_700_000_000
FILL = Phase("fill", "fill", 60)
WARMUP, STEADY = Phase("warmup", "closed", 10), Phase("steady", "open", 100, 5.0)


def entries(
    at_s: int, *phases: Phase, began: dict[str, int] | None = None, attempt: int = 1, **changes
) -> list[Entry | None]:
    """What an engine that comes at `at_s` presses, if nothing of it took any time."""
    plan = Plan("r", "s", "etcd", (), Keyspace(1, "k"), phases, None, **changes)
    table = Timetable(plan, Past(attempt=attempt, began_s=began or {}))
    return [table.entry(number, at_s) for number in range(len(phases))]


def test_the_first_engine_begins_each_phase_as_it_comes_to_it():
    assert entries(BEGAN_S, WARMUP, STEADY, attempt=0) == [
        Entry(0, WARMUP, BEGAN_S),
        Entry(1, STEADY, BEGAN_S),
    ]


@pytest.mark.parametrize(("at_s", "begins_s"), [(-7, 3), (2, 3), (5, 5)], ids=str)
def test_the_first_engine_waits_for_the_common_start_and_loses_nothing_when_it_is_late(
    at_s, begins_s
):
    (entry,) = entries(BEGAN_S + at_s, STEADY, attempt=0, start_at_s=BEGAN_S + 2.5)
    assert entry == Entry(0, STEADY, BEGAN_S + begins_s)


def test_one_in_the_place_of_another_enters_the_phase_at_the_second_that_it_is():
    warmup, steady = entries(BEGAN_S + 37, WARMUP, STEADY, began={"warmup": BEGAN_S})
    assert warmup is None
    # The phase before was drained within a window, as far as anybody knows.
    assert steady == Entry(1, STEADY, BEGAN_S + 11, 26)
    assert steady.entered_s == BEGAN_S + 37


def test_a_phase_that_has_begun_goes_by_its_own_begin():
    began = {"warmup": BEGAN_S, "steady": BEGAN_S + 14}
    assert entries(BEGAN_S + 37, WARMUP, STEADY, began=began)[1].from_s == 23


def test_what_is_to_begin_in_a_moment_is_waited_for():
    began = {"warmup": BEGAN_S, "steady": BEGAN_S + 14}
    assert entries(BEGAN_S + 12, WARMUP, STEADY, began=began)[1] == Entry(1, STEADY, BEGAN_S + 14)


def test_one_that_died_before_the_common_start_enters_at_the_second_after_it():
    (entry,) = entries(BEGAN_S + 8, STEADY, start_at_s=float(BEGAN_S))
    assert entry == Entry(0, STEADY, BEGAN_S, 8)


def test_a_plan_whose_time_is_over_has_nothing_left():
    began = {"warmup": BEGAN_S}
    assert entries(BEGAN_S + 500, WARMUP, STEADY, began=began) == [None, None]


def test_a_fill_is_begun_anew_unless_what_follows_it_has_begun():
    assert entries(BEGAN_S + 5, FILL, STEADY, began={"fill": BEGAN_S})[0] == Entry(
        0, FILL, BEGAN_S + 5
    )
    began = {"fill": BEGAN_S, "steady": BEGAN_S + 20}
    assert entries(BEGAN_S + 30, FILL, STEADY, began=began) == [
        None,
        Entry(1, STEADY, BEGAN_S + 20, 10),
    ]


@given(
    durations=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    window_s=st.sampled_from([1, 2, 5]),
    away_s=st.integers(0, 300),
)
def test_whoever_comes_whenever_is_where_the_one_before_would_have_been(
    durations, window_s, away_s
):
    durations = [-(-one // window_s) * window_s for one in durations]
    began_s = BEGAN_S // window_s * window_s
    phases = [Phase(f"p{number}", "closed", one) for number, one in enumerate(durations)]
    at_s = began_s + -(-away_s // window_s) * window_s
    left = [
        one
        for one in entries(at_s, *phases, began={"p0": began_s}, window_s=window_s)
        if one is not None
    ]
    # The plan laid out in time, a window between phases.
    starts = [began_s + sum(durations[:n]) + n * window_s for n in range(len(durations))]
    on = [
        n for n, (start, lasts) in enumerate(zip(starts, durations, strict=True))
        if start + lasts > at_s
    ]  # fmt: skip
    if not on:
        assert left == []
    else:
        assert left[0].number == on[0]
        assert left[0].entered_s == max(at_s, starts[on[0]])
        assert left[0].start_s == starts[on[0]]
