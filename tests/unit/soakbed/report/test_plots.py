"""Plots as data: one colour and mark per contender, honest axes, no line where nothing was seen."""

from __future__ import annotations

import json

import pytest

from soakbed.report.plots import beside, curves, forests
from soakbed.report.timelines import Clock, achieved, capacity, over_time
from tests.golden.many_runs import comparison_of, two_runs
from tests.golden.recorded import RECORDED, shown_of


def by_name(shown):
    clock = Clock.of(shown)
    made = [*curves(shown), *over_time(shown, clock), achieved(shown, clock), capacity(shown)]
    made += [*beside(shown), *forests(shown.comparison)]
    return {plot.name: (plot, json.loads(plot.figure)) for plot in made}


@pytest.fixture(scope="module")
def plots():
    return by_name(shown_of(RECORDED))


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    runs = two_runs(tmp_path_factory.mktemp("two"), sampled=False)
    return by_name(shown_of(*runs, comparison=comparison_of(runs)))


def test_a_contender_has_one_mark_on_every_plot_and_none_has_anothers(plots, of_two):
    for held, contenders in ((plots, 2), (of_two, 4)):
        marks: dict[str, set[str]] = {}
        for _, figure in held.values():
            for line in figure["data"]:
                symbol = line.get("marker", {}).get("symbol")
                if line["meta"]["role"] != "event" and "key" in line["meta"] and symbol:
                    symbol = symbol if isinstance(symbol, str) else symbol[-1]
                    marks.setdefault(line["meta"]["key"], set()).add(symbol)
        assert len(marks) == contenders
        assert all(len(used) == 1 for used in marks.values())
        assert len(set().union(*marks.values())) == contenders


def test_no_figure_has_a_colour_in_it(plots, of_two):
    """Colours are the page's, so that light, dark and print each have their own."""
    for plot, _ in [*plots.values(), *of_two.values()]:
        assert "#" not in plot.figure
        assert "rgb" not in plot.figure


def test_response_and_service_differ_by_dash_and_not_by_colour_alone(plots):
    _, figure = plots["curve-read"]
    assert [line["line"]["dash"] for line in figure["data"]] == ["solid", "dot"] * 2


def test_an_axis_starts_at_zero_or_says_that_it_is_logarithmic(plots):
    for plot, figure in plots.values():
        axis = figure["layout"]["xaxis" if plot.rows else "yaxis"]
        if axis.get("type") == "log":
            assert "(log)" in axis["title"]["text"], plot.name
        else:
            assert axis["rangemode"] == "tozero", plot.name


def test_the_percentile_axis_ends_where_the_sample_ends(plots):
    _, figure = plots["curve-read"]
    assert "P99.9" in figure["layout"]["xaxis"]["ticktext"]
    assert "P99.999" not in figure["layout"]["xaxis"]["ticktext"]


def test_contenders_share_one_time_axis_that_begins_with_the_warm_up(plots):
    for name in ("time-throughput", "time-p99-read", "time-p99-write", "time-achieved"):
        plot, figure = plots[name]
        assert figure["layout"]["xaxis"]["range"] == [-2, 12]
        assert {line["meta"]["key"] for line in figure["data"]} == {"etcd", "redis_cluster"}
        assert plot.group == "time"
    words = [one["text"] for one in plots["time-throughput"][1]["layout"]["annotations"]]
    assert words == ["warm-up", "steady"]


def test_plots_that_zoom_together_have_the_same_kind_of_axis(plots, of_two):
    for held in (plots, of_two):
        kinds: dict[str, set[str]] = {}
        for plot, figure in held.values():
            kinds.setdefault(plot.group, set()).add(figure["layout"]["xaxis"].get("type", "linear"))
        assert all(len(kind) == 1 for kind in kinds.values())


def test_every_plot_says_its_loop_or_what_it_compares_and_how_to_read_it(plots, of_two):
    for plot, _ in [*plots.values(), *of_two.values()]:
        assert "loop" in plot.mode or plot.name.startswith("forest")
        assert plot.reading.endswith(".")


def test_the_word_of_a_difference_is_its_mark_too(of_two):
    pairs = [figure for name, (_, figure) in of_two.items() if name.startswith("forest")]
    marks = {
        trace["meta"]["word"]: trace["marker"]["symbol"] for one in pairs for trace in one["data"]
    }
    assert set(marks) == {"better", "worse", "same", "cannot_tell", "not_comparable"}
    assert len(set(marks.values())) == len(marks)


def test_a_ratio_is_drawn_with_both_ends_of_its_interval(of_two):
    (worse,) = [
        trace
        for name, (_, figure) in of_two.items()
        if name.startswith("forest")
        for trace in figure["data"]
        if trace["meta"]["word"] == "worse"
    ]
    at = worse["y"].index("Read response time P99")
    bar = worse["error_x"]
    assert worse["x"][at] - bar["arrayminus"][at] == pytest.approx(1.061)
    assert worse["x"][at] + bar["array"][at] == pytest.approx(1.197)
