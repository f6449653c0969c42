"""`soakbed compare` and `soakbed trend` as a user types them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from soakbed.cli import app
from soakbed.errors import ArchiveError, SpecError
from tests.golden.variants import began_s, p99_us, variant


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for index in range(2):
        edits = {"etcd/numbers.json": p99_us(7000 + index) | began_s(1_700_000_000 + index)}
        variant(folder / f"run-{index}", edits)
    return folder


def typed(*words, results):
    done = CliRunner().invoke(app, [*words, "--results", str(results)], env={"COLUMNS": "160"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_two_runs_are_compared_in_a_table_with_caveats(results):
    told = typed("compare", "run-0", "run-1", "--targets", "etcd", results=results)
    assert "B · etcd 3.5.16 against A · etcd 3.5.16" in told
    assert "Read response time P99" in told and "cannot tell" in told
    assert "Not recorded of every contender" in told


def test_json_is_the_comparison_itself(results):
    told = json.loads(typed("compare", "run-0", "--format", "json", results=results))
    assert told["schema"] == 1 and len(told["contenders"]) == 2
    assert {one["key"] for one in told["manifest"]} >= {"profile", "tls", "engine.build"}


def test_a_trend_is_a_sparkline_a_table_csv_and_a_page(results, tmp_path):
    asked = ("trend", "etcd", "--metric", "response_p99_us")
    told = typed(*asked, results=results)
    assert "▁█" in told and "2 of 2 runs counted" in told
    assert typed(*asked, "--format", "csv", results=results).count("run-1") == 2
    page = tmp_path / "trend.html"
    typed(*asked, "--format", "html", "--output", str(page), results=results)
    assert page.read_text().startswith("<!doctype html>")
    text = tmp_path / "trend.txt"
    typed(*asked, "--output", str(text), results=results)
    assert "\x1b[" not in text.read_text() and "run-1" in text.read_text()


def test_wrong_words_are_refused_with_the_way_out(results):
    with pytest.raises(SpecError, match="etcd, redis_cluster, tikv"):
        typed("trend", "etdc", results=results)
    with pytest.raises(SpecError, match="use some of: capacity_per_s"):
        typed("trend", "etcd", "--metric", "p99", results=results)
    with pytest.raises(ArchiveError, match="run-9"):
        typed("compare", "run-9", results=results)
