"""Words for ratios, and what is left of them among many."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.records.comparison import Ratio
from soakbed.stats.intervals import spread
from soakbed.stats.verdicts import compare, corrected, least_difference, not_comparable


def ratio_of(ratio: float, log_error: float, freedom: float = 50.0) -> Ratio:
    half = spread(log_error, freedom, 0.99)
    return Ratio(
        ratio=ratio,
        low=ratio * exp(-half),
        high=ratio * exp(half),
        confidence=0.99,
        log_error=log_error,
        freedom=freedom,
        unit="time",
        units=(432, 432),
        method="made up",
    )


def test_slower_beyond_the_margin_is_worse_and_more_throughput_is_better():
    assert compare(ratio_of(1.2, 0.01), better="lower").word == "worse"
    assert compare(ratio_of(0.8, 0.01), better="lower").word == "better"
    assert compare(ratio_of(1.2, 0.01), better="higher").word == "better"
    assert compare(ratio_of(0.8, 0.01), better="higher").word == "worse"


def test_an_interval_within_the_margin_is_the_same_even_where_it_does_not_hold_one():
    found = compare(ratio_of(1.02, 0.002), better="lower")
    assert found.word == "same"
    assert found.reason == ("the 99% interval of the ratio, 1.01 to 1.03, lies wholly within ±5%")


def test_a_wide_interval_cannot_tell_and_says_what_it_could_have_shown():
    found = compare(ratio_of(1.0, 0.1), better="lower")
    assert found.word == "cannot_tell"
    assert "holds 1" in found.reason
    assert found.least_difference == pytest.approx(0.68, abs=0.03)


def test_a_difference_that_reaches_into_the_margin_is_not_told():
    found = compare(ratio_of(1.08, 0.02), better="lower")
    assert found.word == "cannot_tell"
    assert found.reason.endswith("does not hold 1, but reaches into ±5%")


def test_no_ratio_cannot_tell_and_says_why():
    assert compare(None, better="lower", without="P99 needs 1,000 values").reason == (
        "P99 needs 1,000 values"
    )
    assert compare(None, better="lower").word == "cannot_tell"


def test_a_metric_without_a_better_direction_has_no_verdict():
    with pytest.raises(ValueError, match="neither direction"):
        compare(ratio_of(1.0, 0.1), better="neither")


@given(st.floats(0.2, 5.0), st.floats(1e-4, 0.5), st.floats(2, 300))
@settings(max_examples=200, deadline=None)
def test_word_and_printed_interval_never_contradict_each_other(ratio, log_error, freedom):
    one = ratio_of(ratio, log_error, freedom)
    word = compare(one, better="lower").word
    if word in ("better", "worse"):
        assert one.low > 1.05 or one.high < 1 / 1.05
        assert word == ("worse" if ratio > 1 else "better")
    elif word == "same":
        assert one.low > 1 / 1.05
        assert one.high < 1.05
    else:
        assert one.low < 1.05
        assert one.high > 1 / 1.05
    turned = compare(ratio_of(1 / ratio, log_error, freedom), better="lower").word
    assert turned == {"better": "worse", "worse": "better"}.get(word, word)


@given(st.floats(1e-4, 0.3), st.floats(3, 300))
@settings(max_examples=100, deadline=None)
def test_a_ratio_at_the_least_difference_is_found_with_room_to_spare(log_error, freedom):
    least = least_difference(ratio_of(1.0, log_error, freedom))
    if least is not None:
        assert compare(ratio_of(1 + least, log_error, freedom), better="lower").word == "worse"


def test_the_least_difference_grows_with_noise_and_ends_where_it_says_nothing():
    stated = [least_difference(ratio_of(1.0, error)) for error in (0.001, 0.01, 0.1)]
    assert stated == sorted(stated)
    assert stated[0] > 0.05
    assert least_difference(ratio_of(1.0, 1.5)) is None


def test_holm_takes_back_what_may_be_chance_among_many():
    edge = exp(log(1.05) + 2.9 * 0.01)  # alone just beyond, among twenty not
    lone = compare(ratio_of(edge, 0.01), better="lower")
    others = [compare(ratio_of(1.0, 0.01), better="lower")] * 19
    assert lone.word == "worse"
    assert corrected([lone])[0].word == "worse"
    found = corrected([*others, lone])
    assert found[-1].word == "cannot_tell"
    assert found[-1].word_was == "worse"
    assert found[-1].reason.startswith("alone it would be worse; among 20 figures")
    assert found[-1].least_difference > lone.least_difference
    assert [one.word for one in found[:-1]] == [one.word for one in others]


def test_a_clear_difference_stands_among_many_and_order_is_kept():
    clear = compare(ratio_of(1.5, 0.01), better="lower")
    blank = not_comparable("the profiles differ")
    found = corrected([blank, clear, *[compare(ratio_of(1.0, 0.1), better="lower")] * 30])
    assert [one.word for one in found[:3]] == ["not_comparable", "worse", "cannot_tell"]
    assert found[0] == blank


def test_the_second_step_of_holm_is_less_strict_than_the_first():
    # Probabilities 0.0001 and 0.006: Bonferroni asks 0.005 of both, Holm 0.01 of the second.
    pair = [
        compare(ratio_of(exp(log(1.05) + steps * 0.01), 0.01, 1e6), better="lower")
        for steps in (3.891, 2.748)
    ]
    assert pair[1].probability == pytest.approx(0.006, rel=0.01)
    assert [one.word for one in corrected(pair)] == ["worse", "worse"]
    assert [one.word for one in corrected(pair[1:] * 2)] == ["cannot_tell", "cannot_tell"]


def test_another_correction_is_refused():
    with pytest.raises(ValueError, match="no correction named 'none'"):
        corrected([], method="none")
