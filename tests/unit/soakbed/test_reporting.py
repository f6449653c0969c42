"""From archived runs to a page or text, by the words of the command line."""

from __future__ import annotations

import csv
import io
import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from soakbed import commands
from soakbed.archive.run_folder import RunFolder
from soakbed.cli import app
from soakbed.reporting import compare_and_report, page_place
from tests.golden.many_runs import two_runs
from tests.golden.recorded import RECORDED, RECORDED_TIKV


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    two_runs(folder, sampled=False)
    return folder


@pytest.fixture
def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


IDS = ("first-made-up", "second-made-up")


def test_several_runs_get_a_page_of_their_own_with_csv_and_json_beside_it(results, quiet):
    commands.report(IDS, results, quiet, form="html", output=None)
    folder = results / "comparisons" / "first-made-up-and-second-made-up"
    assert str(folder / "index.html") in quiet.file.getvalue()
    page = (folder / "index.html").read_text()
    assert 'id="table-differences"' in page
    told = json.loads((folder / "comparison.json").read_text())
    assert [run["run_id"] for run in told["runs"]] == list(IDS)
    assert len(told["comparison"]["differences"]) > 10
    with (folder / "numbers.csv").open() as file:
        assert {row["run"] for row in csv.DictReader(file) if not row["against"]} == set(IDS)


def test_one_run_keeps_its_page_beside_its_evidence_and_its_targets_are_compared(results, quiet):
    commands.report(IDS[:1], results, quiet, form="html", output=None)
    page = (results / IDS[0] / "report" / "index.html").read_text()
    assert "report of one run" in page
    assert "Redis Cluster 7.0.15 against etcd 3.5.16" in page


def test_a_run_named_twice_is_one_run(results, quiet):
    commands.report([IDS[0], IDS[0]], results, quiet, form="html", output=None)
    assert "index.html" in quiet.file.getvalue()
    assert not (results / "comparisons" / "first-made-up-and-first-made-up").exists()


@pytest.mark.parametrize(("form", "begins"), [("md", "# "), ("csv", "run,"), ("json", "{")])
def test_text_goes_to_standard_output_alone_or_to_the_named_file(
    results, tmp_path, form, begins, monkeypatch
):
    monkeypatch.setattr("soakbed.cli.archive_of_runs", lambda: results)
    done = CliRunner().invoke(app, ["report", *IDS, "--format", form])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(begins)
    named = tmp_path / "out"
    again = CliRunner().invoke(app, ["report", *IDS, "--format", form, "--output", str(named)])
    assert again.exit_code == 0, again.output
    assert named.read_text() == done.stdout


def test_an_unknown_form_is_refused_before_anything_is_read():
    done = CliRunner().invoke(app, ["report", "--format", "pdf"])
    assert done.exit_code == 2
    assert "pdf" in done.output


def test_the_place_of_a_page_depends_on_its_runs_and_their_order(tmp_path):
    runs = [RunFolder(tmp_path / name) for name in ("a", "b", "c")]
    assert page_place(tmp_path, runs[:1]) == tmp_path / "a" / "report" / "index.html"
    assert page_place(tmp_path, runs[:2]).parent.name == "a-and-b"
    many, other = page_place(tmp_path, runs), page_place(tmp_path, [runs[0], runs[2], runs[1]])
    assert many.parent.name.startswith("a-and-2-more-")
    assert many != other
    assert many == page_place(tmp_path, runs)


def test_runs_of_unlike_targets_stand_beside_each_other(tmp_path):
    runs = [Path(shutil.copytree(one, tmp_path / one.name)) for one in (RECORDED, RECORDED_TIKV)]
    text = compare_and_report(
        [RunFolder(run) for run in runs], form="md", output=None, stage=lambda _: nullcontext()
    )
    assert text.startswith("# etcd, Redis Cluster and TiKV in 2 runs")
    assert "B · TiKV 7.1.1" in text
