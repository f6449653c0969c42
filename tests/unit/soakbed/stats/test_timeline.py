"""A phase over time: nothing is lost however long it is, and order does not matter."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import Histogram
from loadgen.contract.window import GeneratorState, OperationWindow, Window
from soakbed.stats.timeline import Timeline, steps_that_carry


def window(start_s: int, ok: int, *, worker: int = 0, complete: bool = True) -> Window:
    histogram = Histogram()
    histogram.record(100 + start_s, ok)
    seen = OperationWindow(sent=ok, ok=ok, response=histogram)
    return Window(
        worker, start_s, "steady", "open", start_s, 1, {"read": seen}, GeneratorState(), complete
    )


def timeline_of(windows: list[Window], *, max_steps: int = 8) -> Timeline:
    made = Timeline(max_steps=max_steps)
    for one in windows:
        made.take(one)
    return made


@settings(deadline=None)  # other work on the machine is no failure
@given(st.permutations(range(40)), st.integers(2, 16))
def test_a_long_phase_keeps_its_sums_in_few_steps_whatever_the_order(order, max_steps):
    steps = timeline_of([window(at, at + 1) for at in order], max_steps=max_steps).steps()
    assert len(steps) <= max_steps
    assert sum(step.ok["read"] for step in steps) == sum(range(1, 41))
    assert sum(step.response["read"].total for step in steps) == sum(range(1, 41))
    assert (steps[0].start_s, steps[-1].end_s) == (0, 40)


def test_workers_of_one_second_are_one_step():
    steps = timeline_of([window(5, 3, worker=0), window(5, 4, worker=1)]).steps()
    assert [step.ok["read"] for step in steps] == [7]
    assert (steps[0].seconds, steps[0].windows) == (1, 2)


def test_a_second_without_windows_is_absent_and_not_zero():
    steps = timeline_of([window(0, 3), window(2, 3)]).steps()
    assert [step.start_s for step in steps] == [0, 2]


def test_a_cut_window_makes_its_step_incomplete():
    steps = timeline_of([window(0, 3), window(1, 3, complete=False)]).steps()
    assert [step.complete for step in steps] == [True, False]


def test_thin_steps_are_joined_until_each_carries_its_percentile():
    steps = timeline_of([window(at, 400) for at in range(12)], max_steps=64).steps()
    joined = steps_that_carry(steps, 99.0)
    assert [step.seconds for step in joined] == [3, 3, 3, 3]
    assert [step.ok["read"] for step in joined] == [1200] * 4


def test_steps_stay_as_they_are_where_joining_would_not_help():
    steps = timeline_of([window(at, 10) for at in range(12)], max_steps=64).steps()
    assert len(steps_that_carry(steps, 99.0)) == 12
    assert steps_that_carry([], 99.0) == []


def test_rich_steps_are_not_joined():
    steps = timeline_of([window(at, 5000) for at in range(12)], max_steps=64).steps()
    assert len(steps_that_carry(steps, 99.0)) == 12
