"""Changes of level: found where they are, not where noise wanders."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.stats.changes import change_points, partition
from tests.benchmarks.series_alarms import made_up_series


def test_a_step_is_found_where_it_is_with_its_size_time_and_label():
    values = made_up_series(100, 0.3, 0.01, seed=1)
    values[40:] *= 1.2
    found = change_points(
        values, at_s=[10.0 * one for one in range(100)], labels=[f"v{one}" for one in range(100)]
    )
    assert [one.at for one in found] == [40]
    assert found[0].change == pytest.approx(0.2, abs=0.02)
    assert found[0].after / found[0].before == pytest.approx(1 + found[0].change)
    assert (found[0].at_s, found[0].label) == (400.0, "v40")


def test_noise_that_wanders_is_no_change():
    alarms = sum(
        bool(change_points(made_up_series(144, 0.5, 0.05, seed=seed))) for seed in range(60)
    )
    assert alarms <= 6


def test_a_change_too_small_to_matter_is_not_told():
    values = made_up_series(400, 0.0, 0.001, seed=1) ** 0.1  # hardly any noise
    values[200:] *= 1.02
    assert change_points(values) == ()
    assert [one.at for one in change_points(values, least_change=0.01)] == [200]


def test_gaps_keep_the_places_of_the_others():
    values = np.repeat([100.0, 150.0], 20) * made_up_series(40, 0.0, 0.005, seed=3)
    values[5] = values[21] = np.nan
    assert [one.at for one in change_points(values)] == [20]


def test_few_values_have_no_change_and_zeros_are_refused():
    assert change_points([1.0] * 3 + [9.0] * 4) == ()
    with pytest.raises(ValueError, match="above 0"):
        change_points([0.0] * 10)


def test_values_that_all_are_equal_have_no_change():
    assert change_points([300.0] * 50) == ()


@given(
    st.lists(st.floats(-10, 10), min_size=6, max_size=11),
    st.floats(0.01, 50),
)
@settings(max_examples=60, deadline=None)
def test_the_partition_is_the_best_of_all(values, penalty):
    series = np.array(values)

    def cost(edges: tuple[int, ...]) -> float:
        pieces = np.split(series, edges)
        return sum(((one - one.mean()) ** 2).sum() for one in pieces) + penalty * len(pieces)

    every = [
        edges
        for count in range(4)
        for edges in combinations(range(1, len(series)), count)
        if all(len(one) >= 3 for one in np.split(series, edges))
    ]
    assert cost(tuple(partition(series, penalty))) <= min(map(cost, every)) + 1e-6
