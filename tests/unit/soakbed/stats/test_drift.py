"""Drift: the slope that is there, and none where noise only wanders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.stats.drift import drift, hours_until
from tests.benchmarks.series_alarms import made_up_series

HOURS = np.arange(432) / 6


def test_memory_that_grows_is_rising_with_its_slope():
    noise = made_up_series(432, 0.5, 0.01, seed=1)
    found = drift((1000 + 5 * HOURS) * noise, block_s=600)
    assert found.word == "rising"
    assert found.low_per_hour < 5 < found.high_per_hour
    assert found.share_per_day == pytest.approx(5 * 24 / 1180, rel=0.1)
    assert found.sentence.startswith("rising: +1")


def test_a_series_without_slope_has_no_drift_and_a_falling_one_falls():
    flat = made_up_series(432, 0.5, 0.015, seed=2)
    assert drift(flat, block_s=600).word == "none"
    assert drift(flat * np.exp(-HOURS / 240), block_s=600).word == "falling"


def test_noise_that_remembers_is_worth_fewer_values_and_raises_few_alarms():
    series = [made_up_series(432, 0.9, 0.03, seed=seed) for seed in range(60)]
    found = [drift(one, block_s=600) for one in series]
    assert np.median([one.independent for one in found]) < 100
    assert sum(one.word in ("rising", "falling") for one in found) <= 5


def test_short_and_noisy_series_cannot_tell():
    assert drift(made_up_series(24, 0.3, 0.05, seed=1), block_s=600).word == "cannot_tell"
    few = drift([1.0] * 19, block_s=600)
    assert few.word == "cannot_tell"
    assert few.slope_per_hour is None
    assert few.sentence == "cannot tell: 19 values, at least 20 needed"


def test_a_few_wild_values_do_not_make_a_drift():
    values = made_up_series(432, 0.3, 0.01, seed=3)
    values[::50] *= 10
    assert drift(values, block_s=600).word == "none"


def test_a_long_series_is_thinned_and_keeps_its_slope():
    hours = np.arange(4320) / 60
    values = (100 + hours) * made_up_series(4320, 0.5, 0.01, seed=4)
    values[100:300] = np.nan
    found = drift(values, block_s=60)
    assert found.points <= 600
    assert found.slope_per_hour == pytest.approx(1.0, rel=0.1)


def test_values_that_all_are_equal_do_not_drift():
    assert drift([7.0] * 100, block_s=600).word == "none"


@given(st.floats(-50, 50), st.floats(60, 3600))
@settings(max_examples=30, deadline=None)
def test_a_line_has_its_own_slope(per_hour, block_s):
    values = 1000 + per_hour * np.arange(40) * block_s / 3600
    found = drift(values, block_s=block_s)
    assert found.slope_per_hour == pytest.approx(per_hour, abs=1e-6)
    assert found.low_per_hour <= found.slope_per_hour <= found.high_per_hour


def test_a_limit_is_met_at_the_steeper_end_of_the_interval_or_never():
    noise = made_up_series(432, 0.3, 0.01, seed=5)
    rising = drift((1000 + 5 * HOURS) * noise, block_s=600)
    hours = hours_until(2000, now=1360, found=rising)
    assert 640 / rising.high_per_hour == pytest.approx(hours)
    assert hours_until(500, now=1360, found=rising) is None
    assert hours_until(2000, now=1000, found=drift([7.0] * 100, block_s=600)) is None
