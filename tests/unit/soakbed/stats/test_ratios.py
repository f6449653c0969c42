"""Ratios: right in the middle, the same both ways round, wide where the data is thin."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import BUCKETS, bucket_of
from soakbed.stats.intervals import percentile_interval
from soakbed.stats.percentiles import HIGH_US
from soakbed.stats.ratios import percentile_ratio, rate_ratio, slow_noise
from soakbed.stats.resampling import percentile_of, percentiles_of_draws
from soakbed.stats.verdicts import compare
from tests.benchmarks.latency_model import LatencyModel


def counts_of(rows: np.ndarray) -> np.ndarray:
    """Counts [blocks, BUCKETS] of values [blocks, values] in us."""
    made = np.zeros((len(rows), BUCKETS), dtype=np.int64)
    for block, row in enumerate(rows):
        np.add.at(made[block], [bucket_of(int(value)) for value in row], 1)
    return made


def lognormal(scale: float = 1.0, *, seed: int = 1, blocks: int = 60) -> np.ndarray:
    random = np.random.default_rng(seed)
    return counts_of(random.lognormal(7, 0.4, (blocks, 200)) * scale)


def test_a_target_twice_as_slow_has_the_ratio_two_with_an_interval_around_it():
    found = percentile_ratio(lognormal(2.0), lognormal(seed=2), 99.0, block_s=600)
    assert found.low < 2.0 < found.high
    assert found.ratio == pytest.approx(2.0, rel=0.1)
    assert found.unit == "time"
    assert found.units == (60, 60)


def test_the_ratio_the_other_way_round_is_its_inverse():
    one, other = lognormal(1.3), lognormal(seed=2)
    there = percentile_ratio(one, other, 99.0, block_s=600)
    back = percentile_ratio(other, one, 99.0, block_s=600)
    assert there.ratio * back.ratio == pytest.approx(1.0)
    assert there.log_error == pytest.approx(back.log_error, rel=0.1)  # other draws


def test_a_short_phase_has_a_wide_interval_however_quiet_it_looks():
    one, other = lognormal(), lognormal(seed=2)
    short = percentile_ratio(one, other, 50.0, block_s=1)
    long = percentile_ratio(one, other, 50.0, block_s=600)
    assert short.log_error > np.hypot(slow_noise(60), slow_noise(60)) * 0.999
    assert long.log_error < 0.1 * short.log_error


def test_too_few_blocks_or_values_have_no_ratio():
    assert percentile_ratio(lognormal(blocks=9), lognormal(), 99.0, block_s=600) is None
    assert percentile_ratio(lognormal(), lognormal(), 99.99, block_s=600) is None
    assert rate_ratio([1.0] * 9, [1.0] * 20, block_s=600) is None
    assert rate_ratio([0.0] * 20, [1.0] * 20, block_s=600) is None


def test_rates_that_stand_still_differ_by_exactly_their_ratio():
    found = rate_ratio([110.0] * 60, [100.0] * 50, block_s=(600, 720))
    assert found.ratio == pytest.approx(1.1)
    assert found.log_error == pytest.approx(np.hypot(slow_noise(36_000), slow_noise(36_000)))


def test_a_dozen_blocks_of_a_minute_cannot_tell_twenty_percent_and_can_tell_ten_times():
    base = lognormal(seed=2, blocks=12)
    twenty = percentile_ratio(lognormal(1.2, blocks=12), base, 99.0, block_s=5)
    tenfold = percentile_ratio(lognormal(10.0, blocks=12), base, 99.0, block_s=5)
    found = compare(twenty, better="lower")
    assert found.word == "cannot_tell"
    assert found.least_difference > 1
    assert compare(tenfold, better="lower").word == "worse"


def test_very_many_blocks_are_joined_and_say_nearly_the_same():
    fine = np.repeat(lognormal(blocks=130), 20, axis=0)  # 2,600 blocks
    coarse = lognormal(blocks=130)
    base = lognormal(seed=2)
    one = percentile_ratio(fine, base, 99.0, block_s=(30, 600))
    other = percentile_ratio(coarse, base, 99.0, block_s=600)
    assert one.ratio == pytest.approx(other.ratio)
    assert one.log_error == pytest.approx(other.log_error, rel=0.2)
    rates = np.repeat(coarse.sum(axis=1) * np.linspace(1, 1.1, 130), 20)
    assert rate_ratio(rates, rates, block_s=30).ratio == 1.0


def test_432_blocks_and_two_thousand_replicates_take_well_under_half_a_second():
    model = LatencyModel(correlation_s=60, wander=0.1, ops_per_s=50)
    counts = model.blocks(432 * 60, 60, seed=1)
    began_s = time.process_time()
    percentile_interval(counts, 99.0, block_s=600)
    assert time.process_time() - began_s < 0.5  # 0.02 s where the machine is quiet


@given(
    st.lists(st.integers(1, 5_000_000), min_size=20, max_size=60),
    st.sampled_from([50.0, 90.0, 99.0]),
)
@settings(max_examples=40, deadline=None)
def test_a_percentile_lies_in_the_bucket_of_the_exact_one(values, percentile):
    counts = counts_of(np.array([values]))
    exact = np.sort(values)[max(0, int(np.ceil(len(values) * percentile / 100)) - 1)]
    found = percentile_of(counts[0], percentile)
    assert bucket_of(int(exact)) <= bucket_of(int(found)) <= bucket_of(int(exact)) + 1


@given(st.integers(0, 10_000), st.sampled_from([1.0, 50.0, 99.0, 99.9]))
@settings(max_examples=40, deadline=None)
def test_looking_coarsely_first_finds_what_looking_at_every_bucket_finds(seed, percentile):
    random = np.random.default_rng(seed)
    counts = counts_of(random.lognormal(6, random.uniform(0.1, 2), (12, 40)))
    drawn = random.integers(0, 4, (30, 12)).astype(float)
    drawn[:, 0] += 1
    whole = drawn @ np.cumsum(counts, axis=1)
    needed = whole[:, -1:] * percentile / 100
    exact = np.argmax(whole >= needed, axis=1)
    found = percentiles_of_draws(drawn, counts, percentile)
    assert [bucket_of(int(one)) for one in np.nextafter(found, 0)] == exact.tolist()


def test_an_interval_says_how_many_blocks_were_drawn_together():
    found = percentile_interval(lognormal(blocks=100), 99.0, block_s=60)
    assert found.blocks == 100
    assert found.block_length == 10  # a tenth of the phase
    middle = percentile_of(lognormal(blocks=100).sum(axis=0), 99.0)
    assert found.low_us < middle < found.high_us
    assert found.low_us - 1 in HIGH_US
    assert found.high_us in HIGH_US


def test_a_higher_confidence_makes_a_wider_interval():
    counts = lognormal()
    wide = percentile_interval(counts, 99.0, confidence=0.99)
    narrow = percentile_interval(counts, 99.0, confidence=0.8)
    assert wide.low_us < narrow.low_us < narrow.high_us < wide.high_us
