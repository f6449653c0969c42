"""What a run cost, on its page and in summary.json: sums, dates, sources, or that it is unknown."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from soakbed.archive.run_folder import RunFolder
from soakbed.records.cost import HourCost, PlannedCost, RunCost
from soakbed.records.testbed_spec import Budget, TestbedSpec
from soakbed.report.cost import cost_in_words, cost_of_billion, planned_text, still_costs
from soakbed.report.markdown import markdown
from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.page import compose, render
from soakbed.report.text import summary_text
from soakbed.stages.cost import hour_cost
from soakbed.stages.cost_plan import price_table
from soakbed.stages.judge import assemble_summary
from tests.golden.recorded import NO_LIBRARY, RECORDED, shown_of

HOSTS = {"d1": "data", "d2": "data", "d3": "data", "l1": "load"}
INFRA = Path(__file__).parents[4] / "infra"


def on_aws(**part: object) -> HourCost:
    cloud = {"region": "us-east-1", "zones": ["us-east-1a"], **part}
    hosts = {name: {"duty": duty} for name, duty in HOSTS.items()}
    whole = {"name": "t", "provider": "aws", "aws": cloud, "hosts": hosts}
    return hour_cost(TestbedSpec.model_validate(whole), price_table(INFRA, "aws"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(RECORDED, tmp_path / "run")))


def costing(
    run: RunFolder, hour: HourCost, *, hours: float = 10.0, ended: bool = True
) -> RunFolder:
    kept = RunCost(
        hour=hour,
        began_s=3600.0,
        hosts_since_s=0.0,
        ended_s=3600.0 * (1 + hours) * ended,
        budget=Budget(amount=150),
    )
    run.write("cost", kept)
    run.write("summary", assemble_summary(run.path))
    return run


def words(run: RunFolder) -> str:
    text = render(compose(shown_of(run.path)), script=NO_LIBRARY)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_every_thing_that_is_paid_for_stands_there_with_price_date_and_source(run):
    hour = on_aws()
    text = words(costing(run, hour))
    assert "What the hosts cost" in text
    for row in hour.rows:
        assert row.what in text and row.source in text and row.dated in text
    assert f"{10 * hour.per_hour:,.2f} USD" in text
    assert "budget 150.00 USD" in text and "2026-07-20" in text
    assert "## What the hosts cost" in markdown(compose(shown_of(run.path)))


def test_the_summary_has_the_cost_of_the_run_and_of_a_billion_operations(run):
    hour = on_aws(spot=True)
    told = json.loads((costing(run, hour).path / "summary.json").read_text())
    assert told["cost"] == {
        "amount": pytest.approx(10 * hour.per_hour),
        "per_hour": hour.per_hour,
        "currency": "USD",
        "hours": 10.0,
        "basis": hour.basis,
        "dated": "2026-07-20",
        "at_most": True,
        "budget": 150.0,
    }
    etcd = told["targets"]["etcd"]
    hours = 1e9 / etcd["throughput_per_s"] / 3600
    assert etcd["cost_per_billion"] == pytest.approx(hour.per_hour * hours)
    entry = shown_of(run.path).contenders[0]
    assert cost_of_billion(entry) == (pytest.approx(etcd["cost_per_billion"]), "USD")
    assert "≤ " in words(run)
    (row,) = [line for line in numbers_csv(shown_of(run.path)).splitlines() if "billion" in line][
        :1
    ]
    assert "etcd" in row and ",USD," in row and str(etcd["cost_per_billion"]) in row
    console = Console(record=True, width=140, file=io.StringIO())
    console.print(summary_text(assemble_summary(run.path)))
    assert f"cost: at most {10 * hour.per_hour:.2f} USD for 10.00 h" in console.export_text()


def test_a_run_that_never_came_to_its_end_has_no_sum(run):
    told = json.loads((costing(run, on_aws(), ended=False).path / "summary.json").read_text())
    assert told["cost"]["amount"] is None and told["cost"]["per_hour"] > 0


def test_an_old_run_is_reckoned_by_the_price_in_its_spec_over_its_stages(run):
    spec = json.loads((run.path / "spec.json").read_text())
    spec["testbed"]["hour_price"] = {"amount": 3.6, "currency": "EUR"}
    (run.path / "spec.json").write_text(json.dumps(spec))
    held, stages = run.cost(), json.loads((run.path / "manifest.json").read_text())["stages"]
    lasted_s = max(one["started_s"] + one["seconds"] for one in stages)
    lasted_s -= min(one["started_s"] for one in stages)
    assert held.seconds(0.0) == pytest.approx(lasted_s)
    shown = shown_of(run.path)
    amount, currency = cost_of_billion(shown.contenders[0])
    steady = shown.contenders[0].one.steady
    assert currency == "EUR"
    assert amount == pytest.approx(0.001 * 1e9 / steady.throughput_per_s)


@pytest.mark.parametrize(
    ("hour", "told"),
    [
        pytest.param(None, "hour_price", id="nothing was kept"),
        pytest.param(HourCost(per_hour=0.0, basis="hosts here"), "hosts here", id="free"),
        pytest.param(HourCost(per_hour=None, basis="who knows"), "who knows", id="unknown"),
    ],
)
def test_without_a_price_the_page_says_so_and_shows_no_sums(run, hour, told):
    if hour is not None:
        costing(run, hour)
    shown = shown_of(run.path)
    assert cost_of_billion(shown.contenders[0]) is None
    value, note = cost_in_words(shown.runs[0])
    assert value == "not known" and told in note
    assert compose(shown).costs is None and "What the hosts cost" not in words(run)


def test_several_runs_have_a_section_each(run, tmp_path):
    costing(run, on_aws())
    other = RunFolder(Path(shutil.copytree(run.path, tmp_path / "other")))
    costing(other, on_aws(instance_type="i4i.2xlarge"), hours=5)
    made = compose(shown_of(run.path, other.path)).costs
    assert [section.title[0] for section in made.sections] == ["A", "B"]
    keys = [cell.key for section in made.sections for cell in section.rows[-1].cells if cell.key]
    assert keys == ["A.cost.per_hour", "A.cost.amount", "B.cost.per_hour", "B.cost.amount"]


def plan_in_words(hour: HourCost, **more: object) -> str:
    console = Console(record=True, width=140, file=io.StringIO())
    planned = PlannedCost(hour=hour, load_s=7200, beside_s=1800, margin_s=3600, **more)
    console.print(planned_text(planned, title="testbed t"))
    return " ".join(console.export_text().split())


def test_before_anything_is_made_the_terminal_says_rows_sums_margin_and_budget():
    hour = on_aws()
    text = plan_in_words(hour, budget=Budget(amount=20), spent=1.5)
    assert f"{hour.per_hour:.4f} USD an hour" in text
    assert f"about {2.5 * hour.per_hour:.2f} USD for 2 h 30 min, 2 h 0 min of it load" in text
    assert f"{3.5 * hour.per_hour:.2f} USD if the hosts stay for the lease's margin" in text
    assert "4 × 30 GB boot disk (gp3)" in text and "traffic out to the controller" in text
    assert "budget: 20.00 USD, 1.50 spent by these hosts so far" in text
    assert all(row.source in text for row in hour.rows)
    assert "not known: who knows" in plan_in_words(HourCost(per_hour=None, basis="who knows"))


def test_after_a_run_it_says_what_the_hosts_go_on_costing():
    assert "soakbed teardown" in still_costs(on_aws(), "t")
    assert still_costs(HourCost(per_hour=0.0, basis=""), "t") == ""
