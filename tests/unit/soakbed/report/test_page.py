"""The page as text: what stands on it, what never does, and that no number can go missing."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
from pathlib import Path

import jinja2
import pytest

from soakbed.errors import ArchiveError
from soakbed.report import formats, page, reading, words
from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.page import compose, render, write_report
from soakbed.report.reading import load_claims
from tests.golden.make_run import SHORT, make_run
from tests.golden.pretences import ETCD, REDIS, TIKV
from tests.golden.recorded import RECORDED, RECORDED_TIKV, judged, page_of, shown_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORDED, tmp_path / "run"))


def cells(text: str) -> dict[str, tuple[str, str]]:
    """What each marked cell says: raw value and printed text."""
    found = re.findall(r'<td[^>]*data-key="([^"]+)" data-value="([^"]*)"[^>]*>([^<]*)', text)
    return {key: (html.unescape(raw), html.unescape(shown)) for key, raw, shown in found}


def test_identity_comes_before_verdicts_and_verdicts_before_numbers(run):
    text = page_of(run)
    order = ["<h1>", "commit 0123456789ab", "Was the measurement sound?", 'id="table-glance"']
    order += ['id="curve-read"', 'id="time-throughput"', "What limits the meaning"]
    order += ["How to repeat it", "What every number means"]
    places = [text.index(mark) for mark in order]
    assert places == sorted(places)
    assert "plus uncommitted changes" in text


def test_the_headline_says_what_summary_json_says(run):
    shown = cells(page_of(run))
    summary = json.loads((run / "summary.json").read_text())
    for target in ("etcd", "redis_cluster"):
        held = summary["targets"][target]
        for key in ("capacity_per_s", "offered_per_s", "throughput_per_s"):
            assert float(shown[f"{target}.{key}"][0]) == held[key]
        for operation in ("read", "write"):
            for key in ("response_p50_us", "response_p99_us", "service_p99_us"):
                where = "detail." if key.startswith("service") else ""
                raw, text = shown[f"{where}{target}.{operation}.{key}"]
                assert int(raw) == held[operation][key]
                assert text == formats.ms(held[operation][key])


def test_what_was_not_measured_has_a_row_with_its_reason(run):
    text = page_of(run)
    assert cells(text)["tikv.reason"][1] == "no source has tikv 6.5.5"
    assert "SOAKBED_ARTIFACTS=/path make bench" in text


def test_claims_are_labelled_and_can_be_left_out(run):
    with_claims = page_of(run)
    assert with_claims.count("claimed, not measured by us") == 3
    assert cells(with_claims)["etcd.claimed.read_p99_us"] == ("18000", "18.0")
    without = render(compose(shown_of(run, claims=None)), script="")
    assert "claimed, not measured" not in without


def test_every_latency_group_names_its_loop(run):
    groups = re.findall(r'<th scope="colgroup"[^>]*>([^<]*)', page_of(run))
    assert groups.pop(4) == "Did it keep its word? Should be ok"  # beside the latencies
    assert len(groups) == 5
    assert all("open loop" in one.lower() or "closed loop" in one.lower() for one in groups)


def test_each_target_says_what_it_promised(run):
    text = page_of(run)
    assert "strict serializability" in text
    assert "acknowledged writes may be lost" in text
    assert "appendfsync everysec, as declared" in text
    assert "do not promise the same" in text


def test_a_capacity_that_the_generator_limited_reads_at_least(run):
    raw, text = cells(page_of(run))["redis_cluster.capacity_per_s"]
    assert text == f"≥ {float(raw):,.0f}"
    assert not cells(page_of(run))["etcd.capacity_per_s"][1].startswith("≥")


def test_words_from_outside_cannot_become_markup(run):
    ready = json.loads((run / "tikv/ready.json").read_text())
    ready["reason"] = "<script>alert(1)</script>"
    (run / "tikv/ready.json").write_text(json.dumps(ready))
    judged(run)
    text = page_of(run)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_an_invalid_run_shows_its_reasons_before_any_number(tmp_path):
    lame = {name: getattr(ETCD, name) for name in ETCD.__dataclass_fields__}
    lame |= {"lag_us": 900.0, "cpu_share": 0.95, "failed_share": 0.02, "restarts_after": 1}
    run = make_run(tmp_path / "run", targets=(type(ETCD)(**lame),), with_tikv=False)
    judged(run)
    text = page_of(run)
    assert '<span class="badge invalid">invalid</span>' in text
    assert text.index("used 9") < text.index('id="table-glance"')
    assert "cause: cluster down" in text
    assert "restarts rose by 1" in text


def test_a_run_without_any_measured_target_still_has_a_page(tmp_path):
    run = make_run(tmp_path / "run", targets=(), with_tikv=True)
    judged(run)
    assert "no source has tikv 6.5.5" in page_of(run)


def test_a_measured_tikv_says_what_it_is_what_it_promised_and_what_it_refused(tmp_path):
    text = page_of(Path(shutil.copytree(RECORDED_TIKV, tmp_path / "run")))
    summary = json.loads((RECORDED_TIKV / "summary.json").read_text())["targets"]["tikv"]
    assert (summary["version"], summary["substituted"]) == ("7.1.1", True)
    assert "TiKV 7.1.1 (substituted)" in text
    assert "pd-server 7.1.0 for 6.5.5, tikv-server 7.1.1 for 6.5.5" in text
    assert "linearizable: the leader of the key&#39;s region answers reads under its lease" in text
    assert "synced it to its Raft log" in text
    assert "cause: busy" in text
    assert "TiKV answered ServerIsBusy to" in text
    assert "region errors of TiKV (NotLeader, EpochNotMatch" in text
    shown = cells(text)
    assert float(shown["tikv.capacity_per_s"][0]) == summary["capacity_per_s"]
    assert int(shown["tikv.write.response_p99_us"][0]) == summary["write"]["response_p99_us"]
    assert int(shown["tikv.failed"][0]) == summary["read"]["failed"] + summary["write"]["failed"]


def test_settings_of_pd_and_of_tikv_are_not_asked_of_each_other(tmp_path):
    text = page_of(Path(shutil.copytree(RECORDED_TIKV, tmp_path / "run")))
    settings = dict(re.findall(r"<dt>([\w.-]+)</dt>\s*<dd>(.*?)</dd>", text, re.DOTALL))
    assert settings["storage.api-version"] == "1"
    assert settings["replication.max-replicas"] == "3"
    assert settings["version"] == "7.1.0 (d1-pd, d2-pd, d3-pd); 7.1.1 (d1-tikv, d2-tikv, d3-tikv)"


def test_three_measured_targets_stand_side_by_side(tmp_path):
    folder = tmp_path / "run"
    judged(make_run(folder, targets=(ETCD, REDIS, TIKV), with_tikv=False))
    shown = cells(page_of(folder))
    for target in ("etcd", "redis_cluster", "tikv"):
        assert float(shown[f"{target}.throughput_per_s"][0]) > 0
    rows = list(csv.DictReader(io.StringIO(numbers_csv(shown_of(folder)))))
    assert {row["target"] for row in rows} == {"etcd", "redis_cluster", "tikv"}
    followed = re.search(r">Redirects followed.*?</th>(.*?)</tr>", page_of(folder), re.DOTALL)
    assert [html.unescape(one) for one in re.findall(r"<td[^>]*>([^<]*)", followed[1])] == [
        "0",
        "0",
        str(TIKV.redirects * SHORT.steady_s),
    ]


def test_a_missing_number_is_an_error_and_never_a_blank(run, monkeypatch):
    composed = compose(shown_of(run))
    broken = {name: getattr(composed, name) for name in composed.__slots__ if name != "lede"}
    with pytest.raises(jinja2.UndefinedError, match="lede"):
        render(type("Page", (), broken)(), script="")


def test_an_unjudged_run_says_what_to_run(tmp_path):
    run = make_run(tmp_path / "run", targets=(REDIS,), with_tikv=False)
    with pytest.raises(ArchiveError, match=r"summary\.json is missing"):
        write_report(run)


def test_templates_hold_no_arithmetic():
    folder = Path(page.__file__).parent / "templates"
    for template in folder.glob("*.j2"):
        for expression in re.findall(r"\{[{%](.*?)[%}]\}", template.read_text()):
            spans = expression.replace("columns | length + 1", "")
            assert not re.search(r"\s[*/+]\s|\s-\s|round", spans), f"{template.name}: {expression}"


def test_the_written_page_is_one_file_with_the_library_inside(run):
    path = write_report(run)
    text = path.read_text()
    assert path == run / "report" / "index.html"
    assert 4_000_000 < len(text) < 6_000_000
    assert not re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?!data:)', text)
    with (run / "report" / "numbers.csv").open() as file:
        rows = list(csv.DictReader(file))
    p99 = [r for r in rows if r["metric"] == "response_p99_us" and r["phase"] == "steady"]
    assert {(r["target"], r["operation"], r["unit"], r["mode"]) for r in p99} == {
        (target, operation, "µs", "open")
        for target in ("etcd", "redis_cluster")
        for operation in ("read", "write")
    }


def test_claims_come_with_the_package():
    claims = load_claims()
    assert set(claims.targets) == set(words.TARGET_WORDS)
    assert reading.load_claims() == claims
