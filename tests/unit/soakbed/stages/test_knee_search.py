"""Finding the knee of targets that are made up: the hidden knee is known, so the answer is too."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from soakbed.records import ladder
from soakbed.records.knee import JudgedStep, Knee, StepWord
from soakbed.records.ladder import KneeSpec, Ladder, Objective
from soakbed.stages import knee_search
from soakbed.stages.knee_search import (
    find_knee,
    judge_step,
    most_sessions,
    next_rates,
    rests_before,
)
from tests.golden.knees import step

CAPACITY = 10_000.0
SPECS = st.builds(
    lambda share, factor, bisect: KneeSpec(
        ladder=Ladder(first_share_of_capacity=share, factor=factor), bisect=bisect
    ),
    st.floats(0.1, 1.0),
    st.floats(1.12, 3.0),
    st.integers(0, 6),
)
Answer = Callable[[float], StepWord]


def judged(rate_per_s: float, word: StepWord) -> JudgedStep:
    limits = ("the busiest load engine used 95.0% of its core",) if word == "generator" else ()
    p99 = {} if word == "held" else {"response_p99_us": {"read": 90_000, "write": 90_000}}
    made = judge_step(step(rate_per_s, limits=limits, **p99), Objective(p99_ms=50))
    assert made.word == word
    return made


def found(asked: KneeSpec, answer: Answer, capacity: float = CAPACITY) -> tuple[Knee, list]:
    """Press a made-up target until nothing is left to ask."""
    sessions: list[list[JudgedStep]] = []
    while rates := next_rates(asked, capacity, sessions):
        assert all(low < high for low, high in pairwise((0.0, *rates)))
        assert len(sessions) < most_sessions(asked)
        assert find_knee("etcd", asked, capacity, sessions).word == "searching"
        sessions.append([judged(rate, answer(rate)) for rate in rates])
    return find_knee("etcd", asked, capacity, sessions), sessions


def hidden(knee_per_s: float) -> Answer:
    return lambda rate: "held" if rate <= knee_per_s else "broke"


def is_between(knee: Knee, hidden_per_s: float) -> bool:
    assert knee.held_per_s is not None and knee.broke_per_s is not None
    narrow = knee.broke_per_s / knee.held_per_s <= knee.asked.resolution * (1 + 1e-5)
    return narrow and knee.held_per_s <= hidden_per_s < knee.broke_per_s


@given(SPECS, st.floats(0.08, 3.9))
@example(KneeSpec(), 0.25)
@settings(deadline=None)
def test_a_hidden_knee_is_found_as_closely_as_asked(asked, share):
    first = asked.ladder.first_of(CAPACITY)
    hidden_per_s = max(share * CAPACITY, first / 8)
    knee, sessions = found(asked, hidden(hidden_per_s))
    assert knee.word == "found", knee.sentence
    assert is_between(knee, hidden_per_s)
    assert "P99 90.00 ms, objective 50 ms" in knee.sentence
    assert sum(map(len, sessions)) == len(knee.steps)


@given(SPECS, st.floats(0.3, 1.0), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_hiccups_that_break_a_step_once_do_not_move_the_knee(asked, share, random):
    left = {"hiccups": 4}
    tried: set[float] = set()

    def answer(rate: float) -> StepWord:
        if rate not in tried and left["hiccups"] and random.random() < 0.4:
            tried.add(rate)
            left["hiccups"] -= 1
            return "broke"
        tried.add(rate)
        return hidden(share * CAPACITY)(rate)

    knee, _ = found(asked, answer)
    if share * CAPACITY >= asked.ladder.first_of(CAPACITY) / 8:
        assert knee.word == "found", knee.sentence
        assert is_between(knee, share * CAPACITY)


@given(SPECS, st.floats(0.3, 1.5))
@settings(deadline=None)
def test_where_the_generator_is_the_limit_the_knee_reads_at_least(asked, share):
    answer: Answer = lambda rate: "held" if rate <= share * CAPACITY else "generator"  # noqa: E731
    knee, _ = found(asked, answer)
    if knee.word == "none":
        assert share * CAPACITY < asked.ladder.first_of(CAPACITY) / 8
        return
    assert knee.word == "at_least"
    assert is_between(knee, share * CAPACITY)
    assert "the load generator was at a limit of its own" in knee.sentence


@given(
    SPECS, st.lists(st.sampled_from(["held", "broke", "generator"]), max_size=200), st.booleans()
)
@settings(deadline=None)
def test_any_answers_at_all_come_to_an_end(asked, answers, rest_holds):
    left = iter(answers)
    knee, sessions = found(asked, lambda _: next(left, "held" if rest_holds else "broke"))
    assert knee.settled
    assert len(sessions) <= most_sessions(asked)
    if knee.held_per_s and knee.broke_per_s:
        assert knee.held_per_s < knee.broke_per_s
    assert all(0 < one.step.rate_per_s <= 4 * CAPACITY for one in knee.steps)


def test_a_target_that_never_holds_has_no_knee():
    knee, sessions = found(KneeSpec(), lambda _: "broke")
    assert (knee.word, knee.held_per_s) == ("none", None)
    assert knee.broke_per_s == pytest.approx(CAPACITY / 4 / 16)
    assert knee.sentence.startswith("No rate held: even at 156/s: read P99 90.00 ms")
    assert len(sessions) == 10


def test_a_target_that_never_breaks_is_pressed_up_to_four_times_its_capacity():
    knee, _ = found(KneeSpec(), lambda _: "held")
    assert (knee.word, knee.broke_per_s) == ("at_least", None)
    assert knee.held_per_s == 4 * CAPACITY


def test_a_ladder_that_begins_with_a_rate_goes_on_until_it_is_above_capacity():
    asked = KneeSpec(ladder=Ladder(first_per_s=1.0, factor=1.1))
    knee, sessions = found(asked, hidden(9_500.0))
    assert [len(session) for session in sessions[:5]] == [24, 24, 24, 24, 3]
    assert is_between(knee, 9_500.0)


def test_the_ladder_is_one_session_and_each_halving_another():
    knee, sessions = found(KneeSpec(bisect=2), hidden(7_000.0))
    assert [len(session) for session in sessions] == [8, 1, 1, 1, 1]
    rates = [one.step.rate_per_s for one in knee.steps]
    # The ladder, the first that broke again, then what lies between.
    assert rates[:8] == [*(round(2500 * 1.25**rung, 3) for rung in range(7)), 11_000.0]
    assert rates[8] == rates[5] == 7629.395
    assert rates[9] == pytest.approx(math.sqrt(rates[4] * rates[5]), abs=0.001)
    assert knee.held_per_s == rates[9] < 7_000 < knee.broke_per_s == rates[10] == rates[11]


def test_of_two_tries_that_disagree_a_third_decides():
    asked = KneeSpec(bisect=0)
    ladder = [judged(rate, "broke" if rate > 4000 else "held") for rate in (2500.0, 5000.0)]
    for words, word in (
        ((), "doubted"),
        (("held",), "doubted"),
        (("broke",), "broke"),
        (("held", "broke"), "broke"),
        (("held", "held"), "held"),
    ):
        sessions = [ladder, *([judged(5000.0, one)] for one in words)]
        rates = next_rates(asked, CAPACITY, sessions)
        assert (rates == (5000.0,)) == (word == "doubted")
        knee = find_knee("etcd", asked, CAPACITY, sessions)
        assert (knee.held_per_s == 5000.0) == (word == "held")


def test_higher_rates_that_held_are_named_and_not_believed():
    ladder = [
        judged(rate, "broke" if rate == 4000 else "held") for rate in (2000.0, 4000.0, 8000.0)
    ]
    sessions = [ladder, [judged(4000.0, "broke")]]
    asked = KneeSpec(bisect=0, ladder=Ladder(factor=2))
    knee = find_knee("etcd", asked, CAPACITY, sessions)
    assert (knee.word, knee.held_per_s, knee.broke_per_s) == ("found", 2000.0, 4000.0)
    assert knee.sentence.endswith("Higher rates that held once, and are not believed: 8,000/s.")


def test_a_session_that_failed_is_asked_again_and_not_for_ever():
    asked = KneeSpec()
    ladder = next_rates(asked, CAPACITY, [])
    assert next_rates(asked, CAPACITY, [[], []]) == ladder
    assert next_rates(asked, CAPACITY, [[]] * most_sessions(asked)) == ()
    knee = find_knee("etcd", asked, CAPACITY, [[]] * most_sessions(asked))
    assert (knee.word, knee.held_per_s) == ("unsettled", None)


def test_the_target_rests_after_a_step_that_broke():
    assert not rests_before([])
    assert not rests_before([[judged(1.0, "broke"), judged(2.0, "held")]])
    assert rests_before([[judged(1.0, "held"), judged(2.0, "broke")], []])


@pytest.mark.parametrize(
    ("changed", "word", "reason"),
    [
        pytest.param({}, "held", None, id="all kept"),
        pytest.param(
            {"response_p99_us": {"read": 4_000, "write": 50_001}},
            *("broke", "write P99 50.00 ms, objective 50 ms"),
            id="one operation too slow",
        ),
        pytest.param(
            {"response_p99_us": {"read": 50_000, "write": None}}, "held", None, id="at its edge"
        ),
        pytest.param(
            {"response_p99_us": {"read": None, "write": None}},
            *("broke", "10,000 ok operations carry no P99"),
            id="nothing carries a P99",
        ),
        pytest.param(
            {"ok": 9_989, "unknown": 11},
            *("broke", "0.110% not ok, objective 0.100%"),
            id="too many errors",
        ),
        pytest.param({"ok": 9_990, "dropped": 10}, "held", None, id="dropped count, and are few"),
        pytest.param(
            {"achieved_per_s": 979.0},
            *("broke", "achieved 97.90% of what was due, objective 98.00%"),
            id="fell behind",
        ),
        pytest.param({"achieved_per_s": 980.0}, "held", None, id="two percent behind is allowed"),
        pytest.param(
            {"achieved_per_s": 500.0, "limits": ("CPU 95 %",)},
            *("generator", "achieved 50.00% of what was due, objective 98.00%"),
            id="fell behind by the generator's fault",
        ),
        pytest.param({"limits": ("CPU 95 %",)}, "held", None, id="held in spite of the generator"),
    ],
)
def test_a_step_is_held_against_every_part_of_the_objective(changed, word, reason):
    made = judge_step(step(**changed), Objective(p99_ms=50))
    assert made.word == word
    assert made.reasons == ((reason,) if reason else ())


def test_examples_of_the_docstrings():
    for module in (knee_search, ladder):
        assert doctest.testmod(module).failed == 0
