"""Plots as data: one colour per target, honest axes, no line where nothing was measured."""

from __future__ import annotations

import json

import pytest

from soakbed.report.plots import curves, over_time
from soakbed.report.reading import read_run
from soakbed.report.words import TARGET_WORDS
from tests.golden.recorded import RECORDED


@pytest.fixture(scope="module")
def plots():
    run = read_run(RECORDED)
    return {plot.name: (plot, json.loads(plot.figure)) for plot in curves(run) + over_time(run)}


def test_a_target_has_one_colour_on_every_plot(plots):
    for _, figure in plots.values():
        for line in figure["data"]:
            assert line["line"]["color"] == TARGET_WORDS[line["meta"]].light


def test_response_and_service_differ_by_dash_and_not_by_colour_alone(plots):
    _, figure = plots["curve-read"]
    assert [line["line"]["dash"] for line in figure["data"]] == ["solid", "dot"] * 2


def test_an_axis_starts_at_zero_or_says_that_it_is_logarithmic(plots):
    for plot, figure in plots.values():
        axis = figure["layout"]["yaxis"]
        if axis.get("type") == "log":
            assert "(log)" in axis["title"]["text"], plot.name
        else:
            assert axis["rangemode"] == "tozero", plot.name


def test_the_percentile_axis_ends_where_the_sample_ends(plots):
    _, figure = plots["curve-read"]
    assert "P99.9" in figure["layout"]["xaxis"]["ticktext"]
    assert "P99.999" not in figure["layout"]["xaxis"]["ticktext"]


def test_targets_share_one_relative_time_axis(plots):
    for name in ("time-throughput", "time-p99-read", "time-p99-write"):
        _, figure = plots[name]
        assert figure["layout"]["xaxis"]["range"] == [0, 12]
        assert {line["meta"] for line in figure["data"]} == {"etcd", "redis_cluster"}


def test_every_plot_says_its_loop_and_how_to_read_it(plots):
    for plot, _ in plots.values():
        assert "loop" in plot.mode
        assert plot.reading.endswith(".")
