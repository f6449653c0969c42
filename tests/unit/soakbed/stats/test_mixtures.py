from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from loadgen.contract.histogram import Histogram
from soakbed.stats.mixtures import mixed_percentile_us
from soakbed.stats.percentiles import Counts, percentile_us


def counts_of(values_us, times: int = 1) -> Counts:
    histogram = Histogram()
    for value in values_us:
        histogram.record(int(value), times)
    return Counts.of(histogram)


def sample(median_us: float, count: int, seed: int = 1) -> Counts:
    return counts_of(np.random.default_rng(seed).lognormal(np.log(median_us), 0.3, count))


@given(nps.arrays(np.int64, st.integers(1000, 1500), elements=st.integers(1, 5_000_000)))
def test_equal_parts_are_as_one_of_them(values):
    one = counts_of(values)
    assert mixed_percentile_us([one, one, one], 99.0) == percentile_us(one, 99.0)


@given(st.lists(st.tuples(st.integers(50, 90_000), st.integers(1, 40)), min_size=1, max_size=5))
def test_a_mixture_lies_between_its_parts(shapes):
    parts = [counts_of(np.arange(1000) % 97 + low, times) for low, times in shapes]
    alone = [percentile_us(part, 99.0) for part in parts]
    assert min(alone) <= mixed_percentile_us(parts, 99.0) <= max(alone)


def test_a_part_with_a_hundred_times_the_operations_speaks_no_louder():
    slow, fast = sample(10_000, 2000), sample(100, 2000, seed=2)
    louder = Counts.merged([fast] * 100)
    assert mixed_percentile_us([slow, louder], 99.0) == mixed_percentile_us([slow, fast], 99.0)
    pooled = percentile_us(Counts.merged([slow, louder]), 99.0)
    assert pooled < 12_000 < mixed_percentile_us([slow, louder], 99.0)


def test_it_is_no_mean_of_percentiles():
    slow, fast = sample(10_000, 5000), sample(100, 5000, seed=2)
    mean = (percentile_us(slow, 99.0) + percentile_us(fast, 99.0)) / 2
    # The upper half of the mixture is the slow part alone: its 98th percentile.
    assert mixed_percentile_us([slow, fast], 99.0) == pytest.approx(
        percentile_us(slow, 98.0), rel=0.01
    )
    assert mixed_percentile_us([slow, fast], 99.0) > 1.5 * mean


def test_one_part_that_does_not_carry_it_leaves_none():
    assert mixed_percentile_us([sample(100, 5000), sample(100, 999)], 99.0) is None
    assert mixed_percentile_us([], 99.0) is None
