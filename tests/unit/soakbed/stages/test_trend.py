"""Runs of a target in order: what moved, from which version on, and what is not counted."""

from __future__ import annotations

import json

import pytest

from soakbed.errors import ArchiveError, SpecError
from soakbed.report.trend_page import trend_page
from soakbed.report.trend_text import sparkline, trend_csv, trend_json
from soakbed.stages.trend import trends_of
from tests.golden.variants import began_s, p99_us, variant

VERSIONS = (
    "3.5.9",
    "3.5.9",
    "3.5.9",
    "3.5.9",
    "3.5.9",
    "3.5.10",
    "3.5.10",
    "3.5.10",
    "3.5.10",
    "3.5.10",
)
P99 = (7000, 7060, 6950, 7020, 6990, 9100, 9050, 9160, 9080, 9120)
READS = {"metrics": ["response_p99_us"]}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Ten runs of etcd: the last five are of another version, with a higher P99 of reads."""
    folder = tmp_path_factory.mktemp("results")
    for index, (version, p99) in enumerate(zip(VERSIONS, P99, strict=True)):
        made(folder, index, version, p99)
    (folder / "latest").symlink_to("run-9")
    return folder


def made(folder, index, version, p99, more=None):
    edits = {
        "etcd/ready.json": {"version": version},
        "etcd/numbers.json": p99_us(p99) | began_s(1_700_000_000 + 3600 * index),
        **(more or {}),
    }
    return variant(folder / f"run-{index}", edits, spools=False)


def test_a_level_that_moved_is_found_at_its_version(results):
    reads, writes = trends_of(results, "etcd", **READS)
    assert [one.run_id for one in reads.points] == [f"run-{i}" for i in range(10)]
    (change,) = reads.change_points
    assert change.at == 5 and change.change == pytest.approx(0.3, abs=0.02)
    assert change.label == "3.5.10 (run-5)"
    assert "worse" in reads.sentence and "version 3.5.9 -> 3.5.10" in reads.sentence
    assert writes.change_points == () and "no change of level" in writes.sentence
    assert sparkline(reads.points) == "▁▁▁▁▁█████"


def test_versions_are_sorted_as_numbers(results):
    runs = trends_of(results, "etcd", order="version", **READS)[0].points
    assert [one.version for one in runs] == list(VERSIONS)


def test_invalid_and_unlike_runs_are_shown_and_not_counted(tmp_path):
    invalid = {
        "etcd/verdict.json": {
            "verdict": "invalid",
            "findings": [{"rule": "lag", "verdict": "invalid", "sentence": "it lagged"}],
        }
    }
    unlike = {"spec.json": {"workload.value_bytes": 64}}
    made(tmp_path, 0, "3.5.9", 7000, invalid)
    made(tmp_path, 1, "3.5.9", 9000, unlike)
    made(tmp_path, 2, "3.5.9", 7100)
    trend = trends_of(tmp_path, "etcd", **READS)[0]
    assert [bool(one.left_out) for one in trend.points] == [True, True, False]
    assert "it lagged" in trend.points[0].left_out and "64 bytes" in trend.points[1].left_out
    assert sparkline(trend.points) == "××▄"
    assert "1 of 3 runs counted; at least 8" in trend.sentence


def test_a_run_that_was_not_judged_is_passed_over(tmp_path):
    made(tmp_path, 0, "3.5.9", 7000)
    (made(tmp_path, 1, "3.5.9", 7000) / "etcd" / "verdict.json").unlink()
    assert len(trends_of(tmp_path, "etcd")[0].points) == 1


def test_unknown_figures_and_empty_folders_are_refused(tmp_path, results):
    with pytest.raises(SpecError, match="no such figure"):
        trends_of(results, "etcd", metrics=["speed"])
    with pytest.raises(ArchiveError, match="no judged run of tikv"):
        trends_of(results, "tikv")
    with pytest.raises(ArchiveError):
        trends_of(tmp_path, "etcd")


def test_the_page_draws_every_run_marks_the_change_and_needs_no_network(results):
    trends = trends_of(results, "etcd", **READS)
    page = trend_page(trends)
    assert page.count("<circle") == 20 and page.count('class="change"') == 1
    assert "+30" in page and "lower is better" in page
    assert "http" not in page and "<script" not in page
    assert page.count("<td>run-5</td>") == 2


def test_csv_and_json_hold_the_same_runs(results):
    trends = trends_of(results, "etcd", **READS)
    rows = trend_csv(trends).splitlines()
    assert len(rows) == 21 and rows[0].startswith("target,metric,operation,run_id")
    assert json.loads(trend_json(trends))["trends"][0]["change_points"][0]["at"] == 5
