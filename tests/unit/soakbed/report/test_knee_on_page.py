"""The knee where a reader meets it: plots, table, words, summary, CSV and terminal."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from soakbed.archive.run_folder import RunFolder
from soakbed.records.ladder import KneeSpec, Objective
from soakbed.records.spec import RunSpec
from soakbed.records.summary import Summary
from soakbed.report.knee import knee_plots, knee_table
from soakbed.report.markdown import markdown
from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.page import compose
from soakbed.report.text import summary_text
from tests.golden.knees import queued, searched, with_knees
from tests.golden.recorded import RECORDED, judged, page_of, shown_of

ASKED = KneeSpec(slo=Objective(p99_ms=20), bisect=2)
FOUND = searched("etcd", ASKED, 4_000.0, lambda rate: queued(rate, capacity_per_s=4_000.0))
OVER = ("the busiest load engine used 95.0% of its core",)
AT_LEAST = searched(
    "redis_cluster",
    ASKED,
    46_000.0,
    lambda rate: queued(rate, capacity_per_s=46_000, limits=OVER if rate > 30_000 else ()),
)
NONE = searched("etcd", ASKED, 4_000.0, lambda rate: queued(rate, capacity_per_s=1.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("knee") / "run"
    shutil.copytree(RECORDED, copy)
    with_knees(copy, {"etcd": FOUND, "redis_cluster": AT_LEAST})
    judged(copy)
    return copy


def test_both_plots_say_which_rates_held_and_where_the_objective_lies(folder):
    p99, achieved = (json.loads(plot.figure) for plot in knee_plots(shown_of(folder)))
    names = [line["name"] for line in p99["data"]]
    labels = [one.label for one in shown_of(folder).contenders]
    assert names == [f"{label} {name} P99" for label in labels for name in ("Read", "Write")]
    for line in (p99["data"][0], achieved["data"][0]):
        assert line["x"] == sorted(one.step.rate_per_s for one in FOUND.steps)
        marks = zip(line["x"], line["marker"]["symbol"], strict=True)
        assert min(x for x, mark in marks if "open" in mark) == FOUND.broke_per_s
    goals = [shape for shape in p99["layout"]["shapes"] if shape["xref"] == "paper"]
    assert [shape["y0"] for shape in goals] == [20.0]
    bands = [shape for shape in achieved["layout"]["shapes"] if shape["type"] == "rect"]
    assert [(one["x0"], one["x1"]) for one in bands] == [
        (knee.held_per_s, knee.broke_per_s) for knee in (FOUND, AT_LEAST)
    ]


def test_the_table_has_every_step_with_what_it_missed_and_the_engines_own_limits(folder):
    table = knee_table(shown_of(folder))
    assert table is not None
    found, least = table.sections
    assert found.title == f"etcd 3.5.16: {FOUND.sentence}"
    assert [row.cells[-1].raw for row in found.rows].count("held") == sum(
        one.word == "held" for one in FOUND.steps
    )
    assert "objective 20 ms" in found.rows[-1].cells[-1].note
    assert "At least" in least.title
    assert least.rows[-1].cells[-1].text == "generator at its limit"
    assert least.rows[-1].cells[-2].note == OVER[0]


def test_the_page_has_a_section_of_the_knee_only_where_one_was_looked_for(folder):
    assert 'id="knee"' not in page_of(RECORDED)
    page = page_of(folder)
    assert page.count('id="knee"') == 1
    assert 'href="#knee"' in page
    assert "objective: P99 at most 20 ms, at most 0.1 % not ok, at least 98 % achieved" in page
    assert FOUND.sentence in markdown(compose(shown_of(folder))).replace("\\", "")


def test_summary_csv_and_terminal_say_the_same_rate(folder):
    summary = json.loads((folder / "summary.json").read_text())
    held = summary["targets"]["etcd"]["knee"]
    assert (held["word"], held["knee_per_s"]) == ("found", FOUND.held_per_s)
    assert (held["knee_below_per_s"], held["p99_ms"]) == (FOUND.broke_per_s, 20.0)
    rows = csv.DictReader(io.StringIO(numbers_csv(shown_of(folder))))
    told = {row["target"]: row["value"] for row in rows if row["metric"] == "knee_per_s"}
    assert told == {"etcd": str(FOUND.held_per_s), "redis_cluster": str(AT_LEAST.held_per_s)}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary_text(Summary.model_validate(summary)))
    line = next(line for line in console.export_text().splitlines() if "knee/s" in line)
    assert f"{FOUND.held_per_s:,.0f}" in line
    assert f"≥ {AT_LEAST.held_per_s:,.0f}" in line


def test_a_knee_that_the_generator_hides_is_a_caveat(folder):
    verdict = json.loads((folder / "redis_cluster/verdict.json").read_text())
    (told,) = [one["sentence"] for one in verdict["caveats"] if one["subject"] == "knee"]
    assert told.startswith("At least")
    etcd = json.loads((folder / "etcd/verdict.json").read_text())
    assert not [one for one in etcd["caveats"] if one["subject"] == "knee"]


def test_a_knee_above_the_capacity_of_the_closed_loop_is_a_caveat(tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(RECORDED, copy)
    fast = searched("etcd", ASKED, 4_000.0, lambda rate: queued(rate, capacity_per_s=9_000.0))
    with_knees(copy, {"etcd": fast})
    judged(copy)
    caveats = json.loads((copy / "etcd/verdict.json").read_text())["caveats"]
    (told,) = [one["sentence"] for one in caveats if one["subject"] == "capacity"]
    assert told.startswith(f"The open loop held {fast.held_per_s:,.0f}/s, more than the closed")


def test_without_a_knee_to_take_a_share_of_the_run_is_incomplete_and_says_why(tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(RECORDED, copy)
    with_knees(copy, {"etcd": NONE})
    run = RunFolder(copy)
    spec = run.read("spec", RunSpec).model_dump(mode="json", by_alias=True)
    spec["workload"].pop("steady_share_of_capacity")
    spec["workload"]["steady"] = {"share_of_knee": 0.7}
    run.write("spec", spec)
    shutil.rmtree(copy / "etcd/load/steady")
    (copy / "etcd/load/steady.json").unlink()
    judged(copy)
    verdict = json.loads((copy / "etcd/verdict.json").read_text())
    assert verdict["verdict"] == "incomplete"
    (told,) = [one["sentence"] for one in verdict["findings"] if one["rule"] == "sessions_finished"]
    assert told.startswith(
        "session steady is missing: its rate was to be a share of the knee. No rate held: even at"
    )
    assert NONE.sentence in page_of(copy)
