"""Steady or not, and from when."""

from __future__ import annotations

import numpy as np
import pytest

from soakbed.stats.steadiness import mser5, steadiness
from tests.benchmarks.series_alarms import made_up_series


def test_a_phase_without_warm_up_is_steady_from_its_beginning():
    found = steadiness(made_up_series(144, 0.3, 0.01, seed=1), block_s=600)
    assert found.steady
    assert found.steady_from_s == 0
    assert found.variation < 0.03


def test_a_warm_up_ends_where_its_level_does():
    values = made_up_series(144, 0.3, 0.01, seed=2)
    values[:12] *= 1.5
    values[12:20] *= 1.2
    found = steadiness(values, block_s=600)
    assert found.steady
    assert found.steady_from_s == pytest.approx(20 * 600, abs=600)
    assert found.cross_check_s == pytest.approx(20 * 600, abs=3600)
    assert "MSER-5 agrees" in found.sentence


def test_a_level_that_moves_for_good_is_no_steady_state():
    values = made_up_series(144, 0.3, 0.01, seed=3)
    values[80:] *= 1.15
    found = steadiness(values, block_s=600)
    assert not found.steady
    assert found.steady_from_s is None
    assert found.sentence.startswith("no steady state: after 48000 s the level moved by +1")


def test_an_hour_of_trouble_in_three_days_is_an_event_and_not_a_state():
    values = made_up_series(432, 0.3, 0.01, seed=4)
    values[200:206] *= 3
    assert steadiness(values, block_s=600, most_variation=0.3).steady


def test_stretches_that_differ_too_much_are_no_steady_state():
    values = made_up_series(144, 0.0, 0.2, seed=5)
    found = steadiness(values, block_s=600)
    assert not found.steady
    assert "stretches differ by" in found.sentence


def test_few_values_show_no_steady_state():
    found = steadiness([100.0] * 19, block_s=1)
    assert not found.steady
    assert found.sentence == "no steady state shown: 19 values, at least 20 needed"


def test_mser5_leaves_the_transient_out_and_says_when_it_cannot():
    decay = 1 + 2 * np.exp(-np.arange(200) / 10)
    noise = np.random.default_rng(1).normal(0, 0.02, 200)
    assert 20 <= mser5(decay + noise) <= 70
    assert mser5(np.arange(200.0)) is None  # still moving at its end
    assert mser5([1.0] * 10) is None


def test_gaps_in_the_series_are_left_out():
    values = made_up_series(144, 0.3, 0.01, seed=6)
    values[30:40] = np.nan
    assert steadiness(values, block_s=600).steady
