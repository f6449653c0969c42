"""Repeats: the run is the unit, and few runs say little."""

from __future__ import annotations

import pytest

from soakbed.stats.repeats import repeated, repeats_ratio
from soakbed.stats.verdicts import compare


def test_one_run_and_two_runs_have_no_interval():
    assert repeated([5.0]).low is None
    assert repeated([5.0]).sentence == (
        "one run: it says nothing about how the next run would differ"
    )
    two = repeated([5.0, 6.0])
    assert (two.low, two.high) == (None, None)
    assert "at least 3" in two.sentence


def test_five_runs_have_an_interval_by_students_t_over_runs():
    found = repeated([100.0, 104.0, 98.0, 101.0, 97.0])
    # ln: mean 4.60487, standard deviation 0.02726; t(0.995, 4) = 4.6041
    assert found.value == pytest.approx(99.97, abs=0.01)
    assert found.low == pytest.approx(94.51, abs=0.01)
    assert found.high == pytest.approx(105.74, abs=0.01)
    assert found.variation == pytest.approx(0.0274, abs=0.0001)


def test_runs_that_scatter_hide_a_difference_that_pairs_show():
    contender = [100.0, 130.0, 90.0, 115.0, 105.0]
    baseline = [one * 1.2 * (1 + 0.002 * place) for place, one in enumerate(contender)]
    apart = repeats_ratio(contender, baseline)
    paired = repeats_ratio(contender, baseline, paired=True)
    assert compare(apart, better="lower").word == "cannot_tell"
    assert compare(paired, better="lower").word == "better"
    assert paired.unit == "run"
    assert paired.units == (5, 5)
    assert apart.ratio == pytest.approx(paired.ratio)


def test_fewer_than_three_runs_have_no_ratio():
    assert repeats_ratio([1.0, 1.1], [1.0, 1.1, 1.2]) is None


def test_what_cannot_be_paired_or_has_no_logarithm_is_refused():
    with pytest.raises(ValueError, match="3 runs cannot be paired with 4"):
        repeats_ratio([1.0] * 3, [1.0] * 4, paired=True)
    with pytest.raises(ValueError, match="above 0"):
        repeated([1.0, 0.0])


def test_equal_repeats_are_the_same_and_not_an_error():
    assert compare(repeats_ratio([2.0] * 3, [2.0] * 3), better="lower").word == "same"
