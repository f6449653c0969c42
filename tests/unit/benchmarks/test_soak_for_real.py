"""The course of a soak in real time, drawn out or pressed together."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.benchmarks.soak_for_real import course_of


@pytest.mark.parametrize("minutes", [4, 10, 20, 60])
def test_the_course_has_all_of_it_one_after_the_other_whatever_its_length(minutes):
    course = course_of(minutes)
    assert len({one.kind for one in course}) == len(course) == 10
    for before, after in pairwise(course):
        assert before.at_s + before.hold_s < after.at_s
    assert course[-1].at_s < minutes * 60


def test_a_run_of_twenty_minutes_has_faults_as_long_as_was_asked_for():
    held_s = {one.kind: one.hold_s for one in course_of(20)}
    assert held_s["SSH refused"] == 300
    assert held_s["master and workers parted"] == 60
    assert held_s["master halted"] == 30
    at_s = {one.kind: one.at_s for one in course_of(20)}
    assert at_s["controller resumes"] - at_s["controller killed"] >= 0.5 * 20 * 60
