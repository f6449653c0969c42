"""Intervals of a percentile: around it, wider where time matters, the same every time."""

from __future__ import annotations

import numpy as np

from loadgen.contract.histogram import Histogram
from soakbed.stats.intervals import bootstrap_us
from soakbed.stats.percentiles import Counts, percentile_us


def steps_of(rows: list[np.ndarray]) -> list[Counts]:
    made = []
    for row in rows:
        histogram = Histogram()
        for value in row.astype(int).tolist():
            histogram.record(value)
        made.append(Counts.of(histogram))
    return made


def test_the_interval_holds_the_percentile_and_is_the_same_every_time():
    random = np.random.default_rng(7)
    steps = steps_of([random.lognormal(6, 0.4, 400) for _ in range(30)])
    value = percentile_us(Counts.merged(steps), 99.0)
    low, high = bootstrap_us(steps, 99.0)
    assert low <= value <= high
    assert high / low < 1.5
    assert bootstrap_us(steps, 99.0) == (low, high)


def test_stalls_that_come_in_a_row_make_it_wide():
    random = np.random.default_rng(7)
    rows = [random.lognormal(6, 0.1, 400) for _ in range(30)]
    even = bootstrap_us(steps_of(rows), 99.0)
    for row in rows[10:13]:
        row[:60] *= 20
    stalled = bootstrap_us(steps_of(rows), 99.0)
    assert stalled[1] - stalled[0] > 10 * (even[1] - even[0])


def test_too_few_steps_or_values_give_none():
    full = steps_of([np.full(400, 300.0) for _ in range(9)])
    assert bootstrap_us(full, 99.0) is None
    thin = steps_of([np.full(20, 300.0) for _ in range(30)])
    assert bootstrap_us(thin, 99.0) is None


def test_it_never_exceeds_the_longest_value_seen():
    steps = steps_of([np.full(400, 300.0) for _ in range(12)])
    assert bootstrap_us(steps, 99.0) == (300, 300)
