"""Ratios, spread, verdicts and the JSON of engine-bench, from figures made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.benchmarks.bench_page import page
from tests.benchmarks.bench_table import case_table, target_table
from tests.benchmarks.cases import CASES
from tests.benchmarks.compare import (
    TARGETS,
    CaseResult,
    Figures,
    exit_code,
    from_json,
    judge,
    ratios,
    to_json,
)
from tests.benchmarks.engine_bench import main

ENGINE = Figures("engine", 100.0, 100.0, 100.0, 100.0, 100.0)
OTHER = replace(ENGINE, contender="redis-benchmark")


def result(name, *pairs, contender="redis-benchmark"):
    """A case whose repeats have these (engine, other) operations per CPU second and P50."""
    repeats = []
    for number, (ours, theirs) in enumerate(pairs):
        pair = [replace(ENGINE, per_cpu_s=ours, p50_us=ours),
                replace(OTHER, contender=contender, per_cpu_s=theirs, p50_us=theirs)]  # fmt: skip
        repeats.append(pair[::-1] if number % 2 else pair)
    return CaseResult(name, {"says": name}, repeats)


def ratio_of(case, metric):
    (found,) = [one for one in ratios(case) if one.metric == metric]
    return found


def test_the_ratio_of_each_repeat_comes_first_and_then_the_median():
    # A slow third repeat: both sides halved, ratio as ever. The ratio of medians would be 1.0.
    case = result("redis-tls", (90, 60), (60, 40), (30, 60))
    found = ratio_of(case, "per_cpu_s")
    assert (found.median, found.low, found.high) == (1.5, 0.5, 1.5)


def test_the_order_in_which_contenders_ran_turns_no_ratio_over():
    found = ratio_of(result("redis-tls", (200, 100), (200, 100)), "per_cpu_s")
    assert (found.low, found.high) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("ours", "verdict"), [(99, "NOT reached"), (100, "reached"), (300, "reached")]
)
def test_at_least_is_reached_from_the_limit_upwards(ours, verdict):
    (judged, *_) = judge([result("redis-tls", (ours, 100))])
    assert judged.target.at_least == 1.0
    assert judged.verdict == verdict


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [(89, "NOT reached"), (90, "reached"), (110, "reached"), (111, "NOT reached")],
)
def test_within_ten_percent_is_missed_on_both_sides(ours, verdict):
    found = {
        (one.target.case, one.target.metric): one.verdict
        for one in judge([result("truth-reads", (ours, 100))])
    }
    assert found["truth-reads", "p50_us"] == verdict


def test_latencies_times_rate_do_not_change_when_a_closed_loop_runs_at_half_the_speed():
    slow = replace(OTHER, ops_per_s=50.0, p50_us=200.0, p99_us=200.0)
    case = CaseResult("truth-reads", {}, [[ENGINE, slow]])
    assert ratio_of(case, "p50_us").median == 0.5
    assert ratio_of(case, "p50_in_flight").median == ratio_of(case, "p99_in_flight").median == 1.0


def test_a_case_that_was_not_run_is_not_measured_and_no_success_when_asked_for():
    judged = judge([result("redis-plain", (100, 100))])
    by_case = {one.target.case: one.verdict for one in judged}
    assert by_case["redis-plain"] == "reached"
    assert by_case["etcd"] == "not measured"
    assert exit_code(judged, ["redis-plain"]) == 0
    assert exit_code(judged, ["redis-plain", "etcd"]) == 7


def test_one_missed_target_among_those_asked_for_is_exit_code_7():
    judged = judge([result("redis-plain", (100, 100)), result("redis-tls-16", (10, 100))])
    assert exit_code(judged, ["redis-plain", "redis-tls-16"]) == 7
    assert exit_code(judged, ["redis-plain"]) == 0


def test_every_target_names_a_case_that_there_is_and_each_target_of_the_issue_is_there():
    assert {one.case for one in TARGETS} <= {case.name for case in CASES}
    limits = [(one.case, one.contender, one.at_least or one.within) for one in TARGETS]
    assert limits == [
        ("redis-tls", "redis-benchmark", 1.0),
        ("redis-plain", "redis-benchmark", 0.9),
        ("redis-tls-16", "redis-benchmark", 0.5),
        ("redis-tls", "Locust, redis-py", 12),
        ("etcd", "grpcio asyncio", 6),
        ("tikv", "tikv-python", 6),
        ("tikv-singly", "tikv-python", 6),
        ("tikv-stream", "tikv-python", 6),
        ("redis-tls", "redis-benchmark", 0.8),
        ("redis-tls", "redis-benchmark", 0.2),
        ("truth-reads", "redis-benchmark", 0.1),
        ("truth-reads", "redis-benchmark", 0.1),
        ("truth-writes", "redis-benchmark", 0.1),
        ("truth-writes", "redis-benchmark", 0.1),
    ]


def test_figures_survive_json_and_give_the_same_ratios():
    case = result("redis-tls", (90, 60), (61, 47))
    read = from_json(json.loads(json.dumps(to_json({"redis-tls": case}))))
    assert ratios(read["redis-tls"]) == ratios(case)
    assert read["redis-tls"].repeats == [list(repeat) for repeat in case.repeats]
    assert judge(read.values()) == judge([case])


def test_json_of_another_schema_is_refused():
    with pytest.raises(ValueError, match="schema 1"):
        from_json({"schema": 1, "cases": []})


def test_the_table_names_ratio_spread_and_verdict_of_every_target():
    lines = target_table(judge([result("redis-tls", (90, 60), (60, 60), (75, 60))]))
    assert "per client CPU second over redis-benchmark" in lines[1]
    assert lines[1].split()[-7:] == ["least", "1", "1.25", "1.00", "to", "1.50", "reached"]
    assert len(lines) == len(TARGETS) + 1
    assert lines[-1].endswith("not measured")


def test_the_case_table_holds_medians_of_both_and_the_ratio():
    text = "\n".join(case_table(result("redis-tls", (90, 60), (60, 60), (75, 60))))
    assert "engine over it 1.25 (1.00 to 1.50)" in text


def test_the_page_is_one_file_with_every_ratio_and_asks_the_network_for_nothing():
    html = page({"redis-tls": result("redis-tls", (90, 60), (60, 60), (75, 60))}, script="")
    assert "1.00 to 1.50" in html and "reached" in html
    assert "redis-tls over redis-benchmark" in html
    assert "src=" not in html and "href=" not in html


def test_an_unknown_case_and_a_file_that_is_no_figures_are_exit_code_2(tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert main(["--only", "mysql", "--out", str(out)]) == 2
    assert "no case is called" in capsys.readouterr().err
    out.write_text('{"schema": 1}')
    assert main(["--show", "--out", str(out)]) == 2
    assert str(out) in capsys.readouterr().err
    assert out.read_text() == '{"schema": 1}'


def test_showing_what_is_saved_runs_nothing_and_writes_the_page_anew(tmp_path, capsys):
    out = tmp_path / "figures.json"
    out.write_text(json.dumps(to_json({"redis-plain": result("redis-plain", (95, 100))})))
    assert main(["--show", "--out", str(out)]) == 0
    assert "0.95" in capsys.readouterr().out
    assert "redis-plain over redis-benchmark" in out.with_suffix(".html").read_text()
