"""Percentiles of merged counts: as the contract counts them, and only as far as they carry."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import MAX_US, Histogram
from soakbed.stats import percentiles
from soakbed.stats.percentiles import Counts, carried, curve, percentile_us, smallest_sample_for

values = st.lists(st.integers(0, 2 * MAX_US), max_size=200)


def histogram_of(seen: list[int], *, times: int = 1) -> Histogram:
    made = Histogram()
    for value in seen:
        made.record(value, times)
    return made


@settings(deadline=None)  # other work on the machine is no failure
@given(st.lists(values, max_size=5))
def test_the_whole_is_the_sum_of_its_parts(parts):
    whole = Counts.merged(Counts.of(histogram_of(part)) for part in parts)
    together = Counts.of(histogram_of([value for part in parts for value in part]))
    assert (whole.buckets == together.buckets).all()
    assert (whole.total, whole.sum_us, whole.max_us, whole.clamped) == (
        together.total,
        together.sum_us,
        together.max_us,
        together.clamped,
    )


@settings(deadline=None)  # other work on the machine is no failure
@given(values.filter(bool), st.sampled_from([50.0, 90.0, 95.0, 99.0, 99.9]))
def test_a_percentile_is_the_one_that_the_contract_reads(seen, percentile):
    histogram = histogram_of(seen, times=10_000)
    expected = histogram.percentile_us(percentile)
    assert percentile_us(Counts.of(histogram), percentile) == expected


@pytest.mark.parametrize(
    ("percentile", "least"),
    [(50.0, 20), (90.0, 100), (99.0, 1000), (99.9, 10_000), (99.99, 100_000)],
)
def test_a_percentile_needs_ten_values_above_it(percentile, least):
    assert smallest_sample_for(percentile) == least
    assert carried(percentile, least)
    assert not carried(percentile, least - 1)
    few = histogram_of([5], times=least - 1)
    assert percentile_us(Counts.of(few), percentile) is None


def test_no_values_give_no_percentile_and_no_curve():
    assert percentile_us(Counts(), 50.0) is None
    assert curve(Counts()) == ()
    assert Counts().mean_us == 0.0


def test_percentiles_of_known_values():
    counts = Counts.of(histogram_of(list(range(1, 101)), times=100))
    assert percentile_us(counts, 50.0) == 50
    assert percentile_us(counts, 99.0) == 99
    assert counts.mean_us == 50.5


@settings(deadline=None)  # other work on the machine is no failure
@given(values.filter(bool), st.integers(1, 5000))
def test_a_curve_rises_and_ends_where_the_sample_ends(seen, times):
    counts = Counts.of(histogram_of(seen, times=times))
    points = curve(counts)
    heights = [us for _, us in points]
    assert heights == sorted(heights)
    for percentile, _ in points:
        assert counts.total * (1 - percentile / 100) >= 9.99


def test_examples_in_the_text_are_true():
    assert doctest.testmod(percentiles).failed == 0
