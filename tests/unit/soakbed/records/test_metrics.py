"""Metrics as data: whole, unique, and the same everywhere."""

from __future__ import annotations

import pytest

from soakbed.records import numbers, summary
from soakbed.records.metrics import METRICS, metric


def test_every_metric_has_a_unit_a_direction_and_a_sentence():
    keys = [one.key for one in METRICS]
    assert len(keys) == len(set(keys))
    for one in METRICS:
        assert one.unit
        assert one.direction
        assert one.meaning.endswith(".")
        assert one.meaning[0].isupper() or one.meaning[0].isdigit()


@pytest.mark.parametrize("kind", ["response", "service", "lag"])
def test_every_percentile_that_is_recorded_is_defined(kind):
    for name in numbers.Latency.model_fields:
        if name.endswith("_us"):
            assert metric(f"{kind}_{name}").unit == "µs"


def test_every_figure_of_the_summary_is_defined():
    for name in summary.OperationSummary.model_fields:
        if name != "causes":
            assert metric(name).key == name
    for name in ("capacity_per_s", "offered_per_s", "throughput_per_s", "count"):
        assert metric(name).key == name
