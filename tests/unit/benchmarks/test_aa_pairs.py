"""The benchmark of equal pairs, small: what it counts, and that promises are kept at its size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from soakbed.stats.resampling import percentile_of
from tests.benchmarks.aa_pairs import SETTINGS, try_setting
from tests.benchmarks.aa_table import BEGIN, END, page, renewed
from tests.benchmarks.latency_model import LatencyModel


def test_eight_hours_of_quiet_noise_find_ten_percent_and_nothing_where_there_is_nothing():
    setting = next(one for one in SETTINGS if one.says.startswith("8 h"))
    outcome = try_setting(setting, pairs=12)
    assert outcome.different == 0
    assert outcome.pages == 0
    assert outcome.found >= 11
    assert outcome.found_least >= 11
    assert outcome.held >= 11
    assert sum(outcome.words.values()) == 12


def test_a_minute_cannot_tell_and_does_not_talk_nonsense():
    setting = next(one for one in SETTINGS if one.says.startswith("60 s"))
    outcome = try_setting(setting, pairs=10)
    assert outcome.words == {"cannot_tell": 10}
    assert outcome.found == 0
    assert outcome.least > 1.0


def test_promises_that_are_not_kept_are_named():
    setting = SETTINGS[0]
    good = replace(try_setting(replace(setting, seconds=60), pairs=1), pairs=200, found=190)
    kept = replace(good, setting=setting, words={"same": 200}, pages=2, found_least=195, held=198)
    assert kept.broken() == []
    broken = replace(kept, words={"same": 197, "worse": 3}, pages=3, found=189, held=190)
    assert len(broken.broken()) == 4
    assert "3 of 200 A/A pairs judged different" in broken.broken()[0]
    assert replace(broken, setting=SETTINGS[-2]).broken()[2:] == []
    assert replace(broken, setting=SETTINGS[-1]).broken() == []


def test_the_model_knows_its_own_truth():
    model = LatencyModel(correlation_s=60, wander=0.1, ops_per_s=500)
    counts = sum(model.blocks(86_400, 300, seed=seed).sum(axis=0) for seed in range(4))
    for percentile in (50.0, 99.0, 99.9):
        truth = model.true_percentile_us(percentile)
        assert percentile_of(counts, percentile) == pytest.approx(truth, rel=0.02)
    assert counts.sum() == pytest.approx(500 * 4 * 86_400, rel=1e-3)


def test_a_scale_of_two_doubles_the_truth_and_a_seed_repeats_the_run():
    model = LatencyModel(correlation_s=10, wander=0.1, ops_per_s=100)
    doubled = model.true_percentile_us(99.0, scale=2.0) / model.true_percentile_us(99.0)
    assert doubled == pytest.approx(2.0, rel=0.01)
    assert np.array_equal(model.blocks(60, 1, seed=3), model.blocks(60, 1, seed=3))
    assert not np.array_equal(model.blocks(60, 1, seed=3), model.blocks(60, 1, seed=4))


def test_figures_go_between_the_marks_of_the_readme():
    assert renewed(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
    with pytest.raises(ValueError, match="has lost the lines"):
        renewed("nothing", "new")
    assert page([], []).splitlines()[1] == "|" + "---|" * 9
