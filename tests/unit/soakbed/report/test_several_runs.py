"""A page of several runs as text and data: what it says, in which order, and in other forms."""

from __future__ import annotations

import csv
import html
import io
import json
import re

import pytest

from soakbed.records.metrics import METRICS, metric
from soakbed.records.numbers import Latency
from soakbed.report.as_json import as_json
from soakbed.report.markdown import markdown
from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.page import compose, render
from soakbed.report.tables import printed_us
from soakbed.report.throttling import NOT_COUNTED
from soakbed.stats.percentiles import LADDER, smallest_sample_for
from tests.golden.made_up import latency
from tests.golden.make_run import BEGAN_S, make_run
from tests.golden.many_runs import comparison_of, five_runs, two_runs, with_samples
from tests.golden.pretences import ETCD
from tests.golden.recorded import NO_LIBRARY, RECORDED, judged, shown_of


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    runs = two_runs(tmp_path_factory.mktemp("two"))
    return shown_of(*runs, comparison=comparison_of(runs))


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    runs = five_runs(tmp_path_factory.mktemp("five"))
    return shown_of(*runs, comparison=comparison_of(runs))


def text_of(shown) -> str:
    return render(compose(shown), script=NO_LIBRARY)


def words_in(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_the_order_is_identity_verdicts_numbers_differences_plots_caveats_diff_repeat(two):
    text = text_of(two)
    order = ['id="table-runs"', "Was the measurement sound?", 'id="table-glance"']
    order += ["Claimed elsewhere", 'id="table-differences"', 'id="curve-read"']
    order += ['id="time-throughput"', 'id="time-achieved"', 'id="beside-read"']
    order += ['id="time-host-cpu"', 'id="table-per-operation"', 'id="table-errors"']
    order += ["What limits the meaning", 'id="table-unlike"', "How to repeat it"]
    places = [text.index(mark) for mark in order]
    assert places == sorted(places)


def test_every_pair_says_its_words_in_short_and_each_difference_in_full(two):
    page = compose(two)
    assert page.in_short[0].startswith("Compared are")
    assert (
        "B · etcd 3.5.21 against A · etcd 3.5.16: 2 better, 2 worse, 1 same within noise, "
        "2 cannot tell (of 7 figures)." in page.in_short
    )
    section = next(
        one for one in page.differences.sections if one.title.startswith("B · etcd 3.5.21")
    )
    rows = {row.head.text: row for row in section.rows}
    cells = rows["Read response time P99"].cells
    assert [cell.text for cell in cells[1:4]] == ["1.00 ms", "1.13 ms", "+12.7 %"]
    assert cells[0].badge == "worse"
    assert (cells[4].text, cells[5].text) == ("×1.06 to ×1.20", "6.6 %")
    assert "Before the correction: worse." in rows["Read response time P99.9"].cells[6].text


def test_what_cannot_be_compared_says_why_and_is_never_called_better(two):
    text = words_in(text_of(two))
    assert "not comparable" in text
    assert "the targets do not promise the same" in text
    for row in csv.DictReader(io.StringIO(numbers_csv(two))):
        if row["against"] and row["target"] == "redis_cluster":
            assert row["word"] == "not_comparable"


def test_identity_marks_what_differs_between_runs(two):
    rows = {row.head.text: row.kind for row in compose(two).runs_table.sections[0].rows}
    assert rows["Run"] == "unlike"
    assert rows["Kernel"] == "alike"


def test_the_manifest_shows_what_follows_and_folds_away_what_is_alike(two):
    page = compose(two)
    kinds = [row.kind for row in page.unlike.sections[0].rows]
    assert kinds == ["caveat", "noted"]  # the gravest first
    assert {row.kind for row in page.alike.sections[0].rows} == {"same"}


def test_repeats_speak_of_runs_and_two_are_too_few_for_an_interval(five):
    rows = compose(five).repeats.sections[0].rows
    assert [row.cells[0].text for row in rows] == ["3", "2"]
    assert " to " in rows[0].cells[2].text
    assert rows[1].cells[2].text == "–"
    assert "Each was measured once" not in text_of(five)


def test_a_run_that_was_not_sampled_says_so_beside_those_that_were(five):
    cells = {
        cell.key: cell
        for section in compose(five).per_host.sections
        for row in section.rows
        for cell in row.cells
        if cell.key
    }
    assert cells["E.etcd.hosts"].text == "not sampled"
    of_a = compose(five).per_operation.sections[0].rows[0].cells
    assert [cell.text == "not sampled" for cell in of_a] == [False] * 4 + [True]
    assert float(of_a[0].raw) > 0


def test_a_run_without_samples_says_so_once_and_draws_nothing():
    text = words_in(text_of(shown_of(RECORDED)))
    assert "Not sampled: these runs hold no samples" in text
    assert 'id="time-host-cpu"' not in text_of(shown_of(RECORDED))


def test_what_hosts_did_not_get_is_said_and_what_no_card_counts_is_never_zero(two):
    table = compose(two).throttling
    (first, *_) = table.sections
    cells = {row.head.text: row.cells for row in first.rows}["d1"]
    assert [cell.text for cell in cells[3:]] == [NOT_COUNTED, "none"]
    assert cells[0].text == "1 %", "0.02 of two cores"
    assert float(cells[1].text) == pytest.approx(1000 * 0.002 / 4, rel=0.1)
    assert float(cells[2].text) == pytest.approx(1000 * 0.09 / 220, rel=0.1)
    names = [plot.name for plot in compose(two).host_plots]
    assert "time-host-await" in names and "time-host-steal" in names
    assert "time-host-held-back" not in names


def test_a_run_on_hosts_of_a_cloud_shows_what_was_held_back_and_when(tmp_path):
    run = make_run(tmp_path / "made-up-cloud", targets=(ETCD,), with_tikv=False)
    judged(run)
    held = {"bw_in_allowance_exceeded": 40.0, "pps_allowance_exceeded": 0.0}
    with_samples(run, "etcd", began_s=BEGAN_S, card=held)
    judged(run)
    page = compose(shown_of(run))
    cells = page.throttling.sections[0].rows[0].cells
    assert cells[3].note.endswith("for want of inbound bandwidth")
    assert float(cells[3].raw) == pytest.approx(40 * 12, rel=0.2)
    assert cells[4].text.startswith("network throttled")
    assert "time-host-held-back" in [plot.name for plot in page.host_plots]
    kinds = [row.cells[2].text for section in page.events.sections for row in section.rows]
    assert "network throttled" in kinds


@pytest.mark.parametrize("kind", ["response", "service", "lag"])
def test_a_metric_knows_the_sample_that_its_percentile_needs(kind):
    for percentile in LADDER:
        step = f"p{percentile:g}".replace(".", "_")
        needed = smallest_sample_for(percentile)
        assert metric(f"{kind}_{step}_us").smallest_sample == needed


def test_a_percentile_that_its_sample_does_not_carry_is_not_printed():
    held: Latency = latency(1000, 3000, count=999)
    assert printed_us(held, "response", "p50") == 1000
    assert printed_us(held, "response", "p99") is None
    assert printed_us(latency(1000, 3000, count=1000), "response", "p99") == 3000


def test_every_metric_that_the_page_prints_is_data():
    keys = {one.key for one in METRICS}
    assert len(keys) == len(METRICS)
    assert all(one.smallest_sample >= 1 and one.meaning.endswith(".") for one in METRICS)


def test_csv_has_a_row_per_figure_and_per_difference(two):
    rows = list(csv.DictReader(io.StringIO(numbers_csv(two))))
    assert {row["run"] for row in rows} == {"first-made-up", "second-made-up"}
    p99 = next(
        row
        for row in rows
        if (row["contender"], row["operation"], row["phase"], row["metric"])
        == ("A · etcd 3.5.16", "read", "steady", "response_p99_us")
    )
    assert int(p99["low"]) <= int(p99["value"]) <= int(p99["high"])
    worse = [row for row in rows if row["word"] == "worse"]
    assert {row["against"] for row in worse} == {"A · etcd 3.5.16"}
    assert all(row["unit"] == "ratio" for row in rows if row["against"])


def test_json_holds_the_records_themselves(two):
    told = json.loads(as_json(two))
    assert [run["run_id"] for run in told["runs"]] == ["first-made-up", "second-made-up"]
    assert told["comparison"] == two.comparison.model_dump(mode="json", by_alias=True)
    held = told["contenders"][0]["numbers"]["sessions"]["steady"]["phases"]["steady"]
    assert held["operations"]["read"]["ok"] > 0


def test_markdown_has_the_same_tables_and_nothing_from_outside_becomes_markup(two):
    page = compose(two)
    text = markdown(page)
    for heading in ("# etcd and Redis Cluster in 2 runs", "## At a glance", "## Differences"):
        assert f"\n{heading}\n" in f"\n{text}"
    assert "| worse |" in text
    assert "same within noise" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith(" |") for line in tables)
    broken = page.cards[0].__class__("k", "<b>|x|</b>", "valid", (), ())
    changed = {name: getattr(page, name) for name in page.__slots__ if name != "cards"}
    evil = markdown(type(page)(**changed, cards=(broken,)))
    assert "<b>" not in evil.replace("\\<b\\>", "")


def test_what_happened_on_a_host_is_flagged_in_every_plot_over_time_and_listed(two):
    page = compose(two)
    (section,) = page.events.sections
    assert section.title == "A · etcd 3.5.16"
    ((row,),) = (section.rows,)
    assert row.head.text == "6.0 s"
    assert [cell.text for cell in row.cells[1:4]] == ["d1", "oom kill", "stop"]
    for plot in (*page.over_time[:3], page.achieved, *page.host_plots):
        figure = json.loads(plot.figure)
        lines = [one for one in figure["layout"]["shapes"] if one["line"].get("dash") == "dash"]
        assert [(one["name"], one["x0"]) for one in lines] == [("a-etcd", 6.0)], plot.name
    flags = [
        one for one in json.loads(page.over_time[0].figure)["data"] if one.get("yaxis") == "y2"
    ]
    assert "oom kill" in flags[0]["text"][0]


def test_runs_in_which_nothing_happened_have_no_list_of_events(five):
    assert compose(five).events is None


def test_a_reason_that_several_figures_have_is_said_in_full_once(two):
    section = compose(two).differences.sections[0]
    assert [row.cells[6].text for row in section.rows] == [
        "the targets do not promise the same: asynchronous against majority on disk",
        "as above",
    ]
