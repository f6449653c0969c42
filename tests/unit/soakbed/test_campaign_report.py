"""A campaign of made-up cells with known effects: what is found, and how it is shown."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

from soakbed import commands_campaign
from soakbed.archive.campaign_folder import CampaignFolder
from soakbed.cli import app
from soakbed.errors import InvalidRun, LoadError
from soakbed.records.campaign import Attempt, CellState
from soakbed.records.campaign_report import CampaignReport, CellResult, Effect
from soakbed.report.campaign_csv import campaign_csv
from soakbed.report.campaign_page import campaign_markdown, campaign_page
from soakbed.report.campaign_text import left_s
from soakbed.stages.campaign_results import campaign_report_of, effects_of
from tests.golden.made_campaign import begun, campaign_spec, pressed
from tests.golden.recorded import NO_LIBRARY

SPOILT = "c4-r2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> CampaignFolder:
    """One target: how several stand beside each other is looked at in a browser."""
    spec = campaign_spec(targets=["etcd"], repeats=3)
    return pressed(tmp_path_factory.mktemp("results"), spec)


@pytest.fixture(scope="module")
def report(folder) -> CampaignReport:
    return campaign_report_of(folder)


def judged_invalid(one: CellResult) -> CellResult:
    held = one.measured("etcd")
    assert held is not None
    told = {"verdict": "invalid", "reasons": ("its core was taken",)}
    return one.model_copy(update={"targets": {"etcd": held.model_copy(update=told)}})


@pytest.fixture(scope="module")
def spoilt(folder, report) -> CampaignReport:
    """The same, with one cell that was judged invalid."""
    cells = tuple(judged_invalid(one) if one.cell.key == SPOILT else one for one in report.cells)
    effects = effects_of(folder, report.campaign, cells)
    return report.model_copy(update={"cells": cells, "effects": effects})


@pytest.fixture(scope="module")
def page(spoilt) -> str:
    return campaign_page(spoilt, script=NO_LIBRARY)


def effect(report: CampaignReport, factor: str, target: str, key: str, operation="") -> Effect:
    asked = (factor, target, key, operation)
    return next(
        one
        for one in report.effects
        if (one.factor, one.target, one.metric, one.operation) == asked
    )


def test_connections_double_the_capacity_and_three_repeats_say_so_with_an_interval(report):
    found = effect(report, "connections", "etcd", "capacity_per_s")
    assert [one.level for one in found.levels] == ["16", "64"]
    assert [one.cells for one in found.levels] == [one.of for one in found.levels] == [6, 6]
    (against,) = found.against_first
    assert against.word == "better"
    assert against.ratio is not None and against.ratio.unit == "run"
    assert against.ratio.units == (3, 3)
    assert against.ratio.low < 2.0 < against.ratio.high
    assert found.span == pytest.approx(2.0, rel=0.05)
    for level in found.levels:
        assert level.interval is not None and level.interval[0] < level.value < level.interval[1]


def test_large_values_make_reads_slower_by_half(report):
    found = effect(report, "value_bytes", "etcd", "response_p99_us", "read")
    (against,) = found.against_first
    assert against.word == "worse"
    assert found.span == pytest.approx(1.5, rel=0.05)


def test_what_does_nothing_is_called_the_same(report):
    for factor in ("popularity", "value_bytes"):
        (against,) = effect(report, factor, "etcd", "capacity_per_s").against_first
        assert against.word == "same"


def test_an_invalid_cell_counts_in_no_effect_nor_does_the_rest_of_its_repeat(spoilt):
    """The other cells of that repeat would set one level's two against another's one."""
    found = effect(spoilt, "value_bytes", "etcd", "response_p99_us", "read")
    cells = {key for level in found.levels for key in level.singles}
    assert SPOILT not in cells and len(cells) == 11, "single cells are shown all the same"
    assert [(one.cells, one.of, one.balanced) for one in found.levels] == [(4, 6, True)] * 2
    (against,) = found.against_first
    assert against.word == "cannot_tell" and against.ratio is None
    assert "2 repeats with every cell valid" in against.reason
    assert found.span == pytest.approx(1.5, rel=0.06), "shown all the same"


def test_where_no_repeat_is_whole_no_effect_is_stated(report, folder):
    """Half of a matrix sets factors against each other: doubled connections would look like more
    of whatever stands beside them in the cells that are left.
    """
    cells = tuple(
        one.model_copy(update={"targets": {}}) if one.cell.number == 2 else one
        for one in report.cells
    )
    found = effects_of(folder, report.campaign, cells)
    assert found and all(one.span is None for one in found)
    assert not any(level.balanced for one in found for level in one.levels)
    assert {one.word for effect in found for one in effect.against_first} == {"cannot_tell"}
    told = campaign_page(
        report.model_copy(update={"cells": cells, "effects": found}), script=NO_LIBRARY
    )
    assert "no effect can be read; 9 of 12 cells are valid, and no repeat is whole" in told
    assert "moves it most" not in told and "not balanced" in told
    assert '"mode": "lines+markers"' not in told, "no line leads from level to level"


def test_a_level_is_never_a_mean_of_percentiles(report):
    """Its P99 is that of the cells together, so it is what some bucket holds: a whole number."""
    for one in report.effects:
        if one.metric == "response_p99_us":
            for level in one.levels:
                assert level.value == int(level.value)
                assert min(level.singles.values()) <= level.value <= max(level.singles.values())


# --- the page -----------------------------------------------------------------------------------


def test_the_page_leads_to_the_page_of_every_cell(page, report, folder):
    linked = set(re.findall(r'href="\.\./\.\./([^"/]+)/report/index\.html"', page))
    assert linked == {one.state.run_id for one in report.cells}
    assert all((folder.results / run_id / "summary.json").is_file() for run_id in linked)


def test_the_page_asks_nobody_for_anything(page):
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []
    assert "default-src 'none'" in page


def test_the_page_says_what_the_array_hides_what_does_not_count_and_how_to_repeat(page):
    assert "wholly that of value_bytes and popularity acting together" in page
    assert f"<b>{SPOILT}: " in page and "etcd: invalid, counts in no effect" in page
    assert "its core was taken" in page
    assert "design: L4" in page and "soakbed campaign report" in page
    assert "percentiles are never averaged" in page


def test_the_table_of_cells_says_what_their_summaries_say(page, report):
    for one in report.cells:
        held = one.measured("etcd")
        key = f'data-key="{one.cell.key}.etcd.write.response_p99_us" data-value="'
        assert held is not None and f'{key}{held.write.response_p99_us}"' in page


def test_plots_of_one_figure_share_a_scale_and_have_a_place_for_every_level(page):
    figures = [
        json.loads(text.replace("\\u003c", "<"))
        for text in re.findall(r'<script type="application/json">(.*?)</script>', page)
    ]
    assert len(figures) == 9  # three figures by three factors
    titles = {json.dumps(one["layout"]["yaxis"], sort_keys=True) for one in figures}
    assert len(titles) == 3
    assert all(one["layout"]["xaxis"]["tickvals"] == [0, 1] for one in figures)
    roles = [trace["meta"]["role"] for one in figures for trace in one["data"]]
    assert roles.count("level") == roles.count("cell") == 9


def test_a_name_in_the_spec_cannot_become_markup(report):
    spec = report.campaign.spec.model_copy(update={"name": "<b>x"})
    campaign = report.campaign.model_copy(update={"spec": spec, "campaign_id": "<script>x"})
    evil = campaign_page(report.model_copy(update={"campaign": campaign}), script=NO_LIBRARY)
    assert "<b>x" not in evil and "<script>x" not in evil


def test_markdown_has_the_same_tables(report):
    told = campaign_markdown(report)
    for heading in ("Main effects", "Every cell", "What was not measured", "How to repeat it"):
        assert f"## {heading}" in told
    assert len(re.findall(r"\n\| c\d", told)) == 12


def test_csv_has_a_row_per_cell_and_target(spoilt):
    rows = list(csv.DictReader(io.StringIO(campaign_csv(spoilt))))
    assert len(rows) == 12
    assert {row["verdict"] for row in rows} == {"valid", "invalid"}
    wrong = [row for row in rows if row["verdict"] == "invalid"]
    assert [(row["cell"], row["target"]) for row in wrong] == [(SPOILT, "etcd")]
    assert wrong[0]["reason"] == "its core was taken" and float(wrong[0]["capacity_per_s"]) > 0
    assert {row["connections"] for row in rows} == {"16", "64"}


# --- one that is not finished -------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path) -> CampaignFolder:
    """One cell failed twice, one was cut off, two have not begun."""
    made = begun(tmp_path, campaign_spec())
    first, second = made.read().states[:2]
    failed = [
        Attempt(
            run_id=f"r{number}",
            started_s=1,
            ended_s=2,
            outcome="failed",
            problem="d1 would not start",
            remedy="look at d1",
        )
        for number in (1, 2)
    ]
    made.note(CellState(key=first.key, attempts=tuple(failed), given_up=True))
    made.note(CellState(key=second.key, attempts=(Attempt(run_id="r3", started_s=3),)))
    return made


def test_a_campaign_without_a_valid_cell_has_a_page_that_says_what_is_missing(broken):
    told = campaign_page(campaign_report_of(broken), script=NO_LIBRARY)
    assert "No cell is valid yet" in told
    assert "failed twice" in told and "d1 would not start" in told and "look at d1" in told
    assert told.count("its turn has not come") == 2 and "begun as r3" in told
    assert "/report/index.html" not in told, "no link to a page that is not there"


def test_the_page_lies_beside_the_record_unless_told_otherwise(broken, monkeypatch):
    told = typed(broken, "report", monkeypatch=monkeypatch)
    assert str(broken.page) in told and broken.page.read_text().startswith("<!doctype html>")


def typed(folder: CampaignFolder, *words: str, monkeypatch) -> str:
    monkeypatch.setenv("SOAKBED_RESULTS", str(folder.results))
    done = CliRunner().invoke(app, ["campaign", *words], env={"COLUMNS": "200"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_status_tells_how_far_it_is_to_people_and_to_scripts(broken, monkeypatch):
    told = typed(broken, "status", monkeypatch=monkeypatch)
    assert "1 of 4 cells, 1 failed, about" in told and "d1 would not start" in told
    held = json.loads(typed(broken, "status", "--json", monkeypatch=monkeypatch))
    assert (held["done"], held["failed"], held["left"], held["finished"]) == (0, 1, 3, False)
    assert [one["state"] for one in held["cells"]] == ["failed", "begun", "left", "left"]
    assert held["left_s"] == pytest.approx(
        left_s(broken.read(), campaign_report_of(broken).cells), abs=0.1
    )


def test_what_is_left_is_reckoned_at_the_pace_of_what_is_done(report):
    campaign, cells = report.campaign, list(report.cells)
    cells[-1] = cells[-1].model_copy(update={"state": CellState(key=cells[-1].cell.key)})
    done = sum(one.seconds for one in cells[:-1])
    planned = sum(one.seconds for one in campaign.plan.times[:-1])
    expected = campaign.plan.times[-1].seconds * done / planned + campaign.plan.cool_down_s
    assert left_s(campaign, cells) == pytest.approx(expected)


def test_a_page_elsewhere_still_leads_to_its_cells_and_text_goes_to_standard_output(
    folder, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "page.html"
    typed(folder, "report", "--output", str(elsewhere), monkeypatch=monkeypatch)
    linked = re.findall(r'href="([^"]+/report/index\.html)"', elsewhere.read_text())
    runs = {(elsewhere.parent / one).resolve().parents[1] for one in linked}
    assert len(runs) == 12 and all((one / "summary.json").is_file() for one in runs)
    held = json.loads(typed(folder, "report", "--format", "json", monkeypatch=monkeypatch))
    assert len(held["cells"]) == 12 and len(held["effects"]) == 15


def test_a_finished_campaign_says_by_its_exit_code_what_became_of_it(folder, spoilt, broken):
    console = Console(file=io.StringIO())
    with pytest.raises(InvalidRun, match=f"1 of 12 cells .* invalid: {SPOILT}") as caught:
        commands_campaign._conclude(console, folder, spoilt)
    assert caught.value.exit_code == 7
    with pytest.raises(LoadError, match="1 of 4 cells failed twice") as failed:
        commands_campaign._conclude(console, broken, campaign_report_of(broken))
    assert failed.value.exit_code == 5


def test_plan_prints_cells_order_time_and_cost_and_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SOAKBED_RESULTS", str(tmp_path))
    words = ["campaign", "plan", "loadgen/campaigns/l8-short.yaml"]
    told = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    for part in ("8 cells in their order", "time: about", "cost: 0", "nothing was made", "assumed"):
        assert part in told.output
    held = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert len(held["cells"]) == 8 and held["cost"]["amount"] == 0
    assert held["seconds"] > sum(one["phases_s"] for one in held["times"]) > 0
    assert list(tmp_path.iterdir()) == []
