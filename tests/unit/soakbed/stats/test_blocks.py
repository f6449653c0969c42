"""Blocks of time: their length follows the data's dependence, and every draw is fair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from soakbed.stats.blocks import block_s_for, dependence, draws


def wandering(count: int, correlation: float, *, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return lfilter([1.0], [1.0, -correlation], random.standard_normal(count))


def test_the_block_length_grows_with_how_long_the_noise_remembers():
    lengths = [
        np.median([dependence(wandering(432, one, seed=seed)).length for seed in range(30)])
        for one in (0.0, 0.5, 0.8, 0.95)
    ]
    assert lengths[0] <= 2
    assert lengths == sorted(lengths)
    assert lengths[-1] > 15


def test_the_long_run_variance_is_that_of_the_process():
    # An AR(1) process with unit pushes has the long-run variance 1 / (1 - r)^2.
    found = np.median([dependence(wandering(2000, 0.5, seed=seed)).variance for seed in range(30)])
    assert found == pytest.approx(4.0, rel=0.15)


def test_values_that_never_change_are_drawn_one_by_one():
    assert dependence(np.full(50, 3.0)).length == 1


def test_a_longer_least_length_is_kept_and_leaves_less_freedom():
    series = wandering(432, 0.0, seed=1)
    assert dependence(series, least=40).length == 40
    assert dependence(series, least=40).freedom < dependence(series).freedom


@given(st.integers(3, 60), st.data())
@settings(max_examples=40, deadline=None)
def test_every_replicate_draws_as_many_blocks_as_there_are_and_neighbours_together(count, data):
    length = data.draw(st.integers(1, count))
    drawn = draws(count, length, 25, data.draw(st.integers(0, 9)))
    assert (drawn.sum(axis=1) == count).all()
    assert (drawn >= 0).all()
    if length == count:
        assert (drawn == 1).all()


def test_over_many_replicates_each_block_is_drawn_equally_often():
    assert draws(30, 7, 20_000, 1).mean(axis=0) == pytest.approx(np.ones(30), abs=0.05)


@given(st.floats(1, 30 * 24 * 3600))
@settings(deadline=None)
def test_a_phase_is_cut_into_at_most_about_six_hundred_blocks(seconds):
    assert seconds / block_s_for(seconds) <= 720
