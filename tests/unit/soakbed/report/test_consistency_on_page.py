"""The verdict over a target's word stands beside its latency, and a violation has a page."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest

from soakbed.records.consistency import Check, Consistency, Recorded
from soakbed.records.metrics import metric
from soakbed.records.summary import Summary
from soakbed.report.as_json import as_json
from soakbed.report.markdown import markdown
from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.page import compose, render
from soakbed.report.violation_page import write_violations
from soakbed.stages.compare import compare_runs
from soakbed.stages.trend import trends_of
from tests.golden.broken_word import with_broken_word
from tests.golden.recorded import NO_LIBRARY, RECORDED, page_of, shown_of

STALE = "was read after the newer"


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    return with_broken_word(tmp_path_factory.mktemp("broken"))


def kept_cell(text: str, target: str) -> str:
    found = re.search(rf'<td data-key="{target}.violations".*?</td>', text, re.DOTALL)
    assert found, target
    return found[0]


def test_the_verdict_stands_in_the_headline_with_what_it_rests_on(broken):
    text = page_of(broken)
    ok, bad = kept_cell(text, "etcd"), kept_cell(text, "redis_cluster")
    assert 'class="badge ok"' in ok and "linearizable, 200 operations on 4 keys" in ok
    assert 'data-value="0"' in ok and "href" not in ok
    assert 'class="badge violation"' in bad and "204 operations on 5 keys" in bad
    assert 'data-value="1"' in bad and '<a href="violation-redis_cluster.html">' in bad
    assert metric("violations").meaning in text.replace("&#39;", "'")


def test_a_run_without_histories_says_unknown_and_why():
    cell = kept_cell(page_of(RECORDED), "etcd")
    assert 'class="badge unknown"' in cell
    assert "no history was recorded" in cell


def test_a_run_that_was_judged_before_anybody_asked_opens_and_says_unknown(tmp_path):
    old = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    for path in old.glob("*/consistency.json"):
        path.unlink()
    summary = json.loads((old / "summary.json").read_text())
    for held in summary["targets"].values():
        held.pop("consistency", None)
    (old / "summary.json").write_text(json.dumps(summary))
    assert "no history was recorded" in kept_cell(page_of(old), "etcd")


def test_every_check_can_be_read_beside_the_verdict(broken):
    text = page_of(broken)
    assert "All 5 checks of its word" in text and "All 4 checks of its word" in text
    assert STALE in text
    assert "Does no client see a key&#39;s revision go back?" in text


def test_summary_markdown_csv_and_json_say_the_same(broken):
    held = Summary.model_validate_json((broken / "summary.json").read_text()).targets
    told = held["redis_cluster"].consistency
    assert (told.verdict, told.violations, told.operations, told.keys) == ("violation", 1, 204, 5)
    assert held["redis_cluster"].broke_its_word and not held["etcd"].broke_its_word
    shown = shown_of(broken)
    text = markdown(compose(shown))
    assert "Consistency: violation. 1 contradiction in 204 operations" in text
    assert "violation (sequential-by-key, 204 operations on 5 keys)" in text
    rows = list(csv.DictReader(io.StringIO(numbers_csv(shown))))
    words = {
        row["target"]: (row["word"], row["value"]) for row in rows if row["metric"] == "violations"
    }
    assert words == {"etcd": ("ok", "0"), "redis_cluster": ("violation", "1")}
    contenders = json.loads(as_json(shown))["contenders"]
    assert [one["consistency"]["verdict"] for one in contenders] == ["ok", "violation"]


def test_a_violation_has_a_page_of_its_own_with_every_operation(broken, tmp_path):
    (page,) = write_violations(tmp_path, shown_of(broken))
    assert page.name == "violation-redis_cluster.html"
    text = page.read_text()
    assert "Redis Cluster" in text and "did not keep its word" in text
    kept = Consistency.model_validate_json((broken / "redis_cluster/consistency.json").read_text())
    (witness,) = kept.check("linearizable").witnesses
    assert witness.sentence in text
    for row in (*witness.rows, *witness.around):
        assert (
            f'data-value="{row.sent_us}"' in text
            or f">{row.sent_us}<" in text
            or row.process in text
        )
    assert text.count('<tr class="witness">') == len(witness.rows)
    assert text.count('<tr class="near">') == len(witness.around)
    assert "http://" not in text.split("<script>")[0]


def test_a_page_of_an_earlier_judgement_goes_where_nothing_is_held_against_a_target(tmp_path):
    stale = tmp_path / "violation-etcd.html"
    stale.write_text("from before")
    assert write_violations(tmp_path, shown_of(RECORDED)) == []
    assert not stale.exists()


def praised(run: Path) -> dict[str, str]:
    """Figure -> why, of all in which the second target is called better than the first."""
    held = compare_runs([run]).differences
    return {f"{one.operation}{one.metric}": one.reason for one in held if one.word == "better"}


def test_what_broke_its_word_is_called_better_in_nothing_and_told_why(broken):
    assert praised(RECORDED), "or there is nothing to lose"
    assert not praised(broken)
    compared = compare_runs([broken])
    refused = [one for one in compared.differences if "is not called better" in one.reason]
    assert {f"{one.operation}{one.metric}" for one in refused} == set(praised(RECORDED))
    assert {one.word for one in refused} == {"not_comparable"}
    assert all("did not keep its word: 1 contradiction" in one.reason for one in refused)
    assert any("Redis Cluster 7.0.15 did not keep its word" in told for told in compared.caveats)


def test_the_same_figures_of_a_baseline_that_broke_its_word_make_nobody_worse(tmp_path):
    broken = with_broken_word(tmp_path, "etcd")
    words = {one.word for one in compare_runs([broken]).differences}
    assert "better" in words, "the other one kept its word"
    assert "worse" not in words


def test_a_trend_does_not_count_it(broken):
    (trend, *_) = trends_of(broken.parent, "redis_cluster", metrics=["capacity_per_s"])
    assert trend.points[0].left_out.startswith("did not keep its word: 1 contradiction")


def test_not_promised_is_told_apart_from_a_violation(broken, tmp_path):
    copy = Path(shutil.copytree(broken, tmp_path / "run"))
    path = copy / "redis_cluster" / "consistency.json"
    held = Consistency.model_validate_json(path.read_text())
    checks = [
        one.model_copy(update={"verdict": "not_promised"}) if one.verdict == "violation" else one
        for one in held.checks
    ]
    excused = Consistency.of("redis_cluster", checks, recorded=held.recorded)
    path.write_text(excused.model_dump_json(by_alias=True))
    cell = kept_cell(page_of(copy), "redis_cluster")
    assert 'class="badge not_promised"' in cell and ">not promised<" in cell
    assert praised(copy) == praised(RECORDED)
    (page,) = write_violations(tmp_path, shown_of(copy))
    assert "did not keep its word" not in page.read_text()


def test_what_is_written_about_a_target_is_escaped(broken, tmp_path):
    copy = Path(shutil.copytree(broken, tmp_path / "run"))
    evil = Check(name="a", asks="<script>1</script>", verdict="violation", sentence="<b>no</b>")
    held = Consistency.of("etcd", [evil], recorded=Recorded())
    (copy / "etcd" / "consistency.json").write_text(held.model_dump_json(by_alias=True))
    text = render(compose(shown_of(copy)), script=NO_LIBRARY)
    assert "<script>1" not in text and "<b>no</b>" not in text
