"""A phase over time: nothing is lost however long it is, and order does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import Histogram
from loadgen.contract.window import GeneratorState, OperationWindow, Window
from soakbed.stats.phase_data import of_windows
from soakbed.stats.timeline import Steps, Timeline, joined_to_carry, step_for


def window(start_s: int, ok: int, *, worker: int = 0, complete: bool = True) -> Window:
    histogram = Histogram()
    histogram.record(100 + start_s, ok)
    seen = OperationWindow(sent=ok, ok=ok, response=histogram)
    return Window(
        worker, start_s, "steady", "open", start_s, 1, {"read": seen}, GeneratorState(), complete
    )


def timeline_of(windows: list[Window], *, max_steps: int = 8) -> Steps:
    """Every window is a part of its own, so that their order is that of the parts."""
    made = Timeline(max_steps=max_steps)
    for one in windows:
        data = of_windows([one])["steady"]
        for part in data.generator():
            made.take_windows(part)
        for operation, part in data.counters():
            made.take_counters(operation, part)
    return made.steps()


@settings(deadline=None, max_examples=25)  # other work on the machine is no failure
@given(st.permutations(range(40)), st.integers(2, 16))
def test_a_long_phase_keeps_its_sums_in_few_steps_whatever_the_order(order, max_steps):
    steps = timeline_of([window(at, at + 1) for at in order], max_steps=max_steps)
    assert len(steps.keys) <= max_steps
    assert steps.ok["read"].sum() == steps.sent.sum() == sum(range(1, 41))
    assert (steps.start_s[0], steps.end_s[-1]) == (0, 40)


def test_workers_of_one_second_are_one_step():
    steps = timeline_of([window(5, 3, worker=0), window(5, 4, worker=1)])
    assert steps.ok["read"].tolist() == [7]
    assert (steps.seconds.tolist(), steps.windows_s.tolist()) == ([1], [2])


def test_a_second_without_windows_is_absent_and_not_zero():
    steps = timeline_of([window(0, 3), window(2, 3)])
    assert steps.start_s.tolist() == [0, 2]


def test_a_cut_window_makes_its_step_incomplete():
    steps = timeline_of([window(0, 3), window(1, 3, complete=False)])
    assert steps.complete.tolist() == [True, False]


def test_an_operation_that_a_step_has_not_is_absent_and_not_zero():
    other = window(1, 3)
    other.operations = {"write": other.operations["read"]}
    steps = timeline_of([window(0, 3), other])
    assert steps.ok["read"].tolist() == [3, -1]
    assert steps.ok["write"].tolist() == [-1, 3]
    assert steps.ok_of_all.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("windows", "step_s"),
    [
        pytest.param(1024, 1, id="a pixel each"),
        pytest.param(1025, 2, id="one too many"),
        pytest.param(72 * 3600, 256, id="72 h"),
    ],
)
def test_steps_double_until_there_are_few_enough(windows, step_s):
    assert step_for(0, windows - 1, 1) == step_s


def begins_of(ok_per_step: int) -> list[int]:
    return joined_to_carry([np.full(12, ok_per_step)], 99.0, count=12).tolist()


def test_thin_steps_are_joined_until_each_carries_its_percentile():
    assert begins_of(400) == [0, 3, 6, 9]


def test_steps_stay_as_they_are_where_joining_would_not_help():
    assert begins_of(10) == list(range(12))
    assert joined_to_carry([], 99.0, count=0).tolist() == []


def test_rich_steps_are_not_joined():
    assert begins_of(5000) == list(range(12))


def test_the_rarest_operation_decides_and_one_that_is_absent_does_not():
    rich = np.full(12, 5000)
    rare = np.full(12, 300)
    assert joined_to_carry([rich, rare], 99.0, count=12).tolist() == [0, 4, 8]
    assert joined_to_carry([rich, np.full(12, -1)], 99.0, count=12).tolist() == list(range(12))
