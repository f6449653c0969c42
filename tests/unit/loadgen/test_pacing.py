"""The arrival plan: right in the mean, the same every time, and whole over all workers."""

from __future__ import annotations

import doctest
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import pacing
from loadgen.pacing import due_offsets_ns, share_of

SECOND = 1_000_000_000


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(pacing).failed == 0


@given(total=st.integers(0, 10_000), workers=st.integers(1, 64))
def test_the_shares_of_all_workers_are_the_whole(total, workers):
    shares = [share_of(total, rank=rank, workers=workers) for rank in range(workers)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_the_same_seed_gives_the_same_due_times(arrivals):
    first, second = (
        list(islice(due_offsets_ns(5000, arrivals, seed=7, rank=1, workers=2), 3000))
        for _ in range(2)
    )
    assert first == second


def test_another_seed_and_another_rank_give_other_poisson_times():
    times = [
        tuple(islice(due_offsets_ns(5000, "poisson", seed=seed, rank=rank, workers=2), 100))
        for seed, rank in [(1, 0), (1, 1), (2, 0)]
    ]
    assert len(set(times)) == 3


def test_due_times_rise():
    times = list(islice(due_offsets_ns(100_000, "poisson", seed=3), 20_000))
    assert times == sorted(times)


def test_poisson_gaps_have_the_mean_and_the_spread_of_the_exponential():
    times = list(islice(due_offsets_ns(1000, "poisson", seed=11), 50_000))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    # Mean and deviation are both 1 ms; their standard error over 50,000 gaps is 0.45 %.
    assert mean == pytest.approx(1_000_000, rel=0.02)
    assert deviation == pytest.approx(1_000_000, rel=0.03)


@given(rate=st.integers(10, 100_000), workers=st.integers(1, 5))
def test_constant_arrivals_of_all_workers_interleave_to_the_whole_rate(rate, workers):
    merged = sorted(
        at
        for rank in range(workers)
        for at in islice(due_offsets_ns(rate, "constant", seed=1, rank=rank, workers=workers), 40)
    )
    gaps = {later - earlier for earlier, later in pairwise(merged)}
    assert all(abs(gap - SECOND / rate) <= 1 for gap in gaps)


def test_poisson_streams_of_all_workers_add_up_to_the_whole_rate():
    counts = [
        sum(1 for _ in takewhile(lambda at: at < 20 * SECOND,
                                 due_offsets_ns(2000, "poisson", seed=5, rank=rank, workers=4)))
        for rank in range(4)
    ]  # fmt: skip
    assert sum(counts) == pytest.approx(40_000, rel=0.02)


def test_constant_arrivals_do_not_drift_over_three_days():
    at = next(
        value
        for number, value in enumerate(due_offsets_ns(0.01, "constant", seed=1))
        if number == 2592
    )
    assert at == 259_200 * SECOND
