"""Runs are compared figure by figure, and no word is said that the records do not allow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from soakbed.errors import ArchiveError
from soakbed.records.comparison import Comparison
from soakbed.records.spec import Phases
from soakbed.stages.compare import compare_runs
from soakbed.stages.compare_figures import FIGURES, Blocks, differences_of
from soakbed.stages.compare_groups import groups_of, pairs_of
from soakbed.stages.contenders import pressed_targets
from tests.golden.make_run import make_run
from tests.golden.pretences import ETCD
from tests.golden.recorded import RECORDED, judged
from tests.golden.variants import p99_us, variant

LONGER = Phases(warmup_s=1, capacity_s=15, settle_s=1, steady_s=40)
SLOW = replace(ETCD, capacity_per_s=900.0, core_taken_at_s=-1)
INVALID = {
    "etcd/verdict.json": {
        "verdict": "invalid",
        "findings": [
            {"rule": "lag", "verdict": "invalid", "sentence": "the engine lagged", "remedy": "rest"}
        ],
    }
}


def words(held: Comparison, pair: int = 0) -> dict[str, str]:
    baseline, contender = held.pairs[pair]
    found = held.of_pair(contender, baseline)
    return {f"{one.operation} {one.metric}".strip(): one.word for one in found}


@pytest.fixture(scope="module")
def long_runs(tmp_path_factory):
    """One run, and one whose every reply takes six times as long and that does a fifth."""
    folder = tmp_path_factory.mktemp("long")
    slower = replace(SLOW, read_us=6 * 3100.0, write_us=6 * 5600.0, capacity_per_s=180.0)
    made = [
        make_run(folder / name, targets=(one,), phases=LONGER, with_tikv=False)
        for name, one in (("made-up-1", SLOW), ("made-up-2", slower))
    ]
    for run in made:
        judged(run)
    return made


def test_a_plain_difference_gets_its_word_with_interval_and_least_difference(long_runs):
    held = compare_runs(long_runs)
    found = words(held)
    for figure in ("response_p50_us", "response_p99_us", "service_p99_us"):
        assert found[f"read {figure}"] == found[f"write {figure}"] == "worse"
    assert found["capacity_per_s"] == "worse"
    (one,) = [it for it in held.differences if it.metric == "response_p99_us"][:1]
    assert one.ratio is not None and one.ratio.low > 1.05 and one.ratio.unit == "time"
    assert one.least_difference is not None and one.baseline_value and one.contender_value
    assert held.question == (
        "etcd in 2 runs: nothing that is asked of differs, so a difference is noise or unrecorded."
    )


def test_the_other_way_round_the_word_and_the_ratio_turn_about(long_runs):
    there, back = compare_runs(long_runs), compare_runs(long_runs[::-1])
    assert words(back)["read response_p50_us"] == "better"
    for one, other in zip(there.differences, back.differences, strict=True):
        if one.ratio and other.ratio:
            assert one.ratio.ratio == pytest.approx(1 / other.ratio.ratio)


def test_a_run_against_its_own_copy_is_never_better_or_worse(tmp_path, long_runs):
    twin = variant(tmp_path / "twin", of=long_runs[0])
    found = set(words(compare_runs([long_runs[0], twin])).values())
    assert found <= {"same", "cannot_tell"}


def test_open_loop_throughput_is_not_compared_where_the_offered_rates_differ(long_runs):
    held = compare_runs(long_runs)
    (one,) = [it for it in held.differences if it.metric == "throughput_per_s"]
    assert one.word == "not_comparable" and "450/s" in one.reason and "90/s" in one.reason


def test_an_invalid_run_is_never_better(tmp_path, long_runs):
    bad = variant(tmp_path / "bad", INVALID, of=long_runs[0])
    held = compare_runs([long_runs[1], bad])
    assert set(words(held).values()) == {"not_comparable"}
    assert all("judged invalid: the engine lagged" in one.reason for one in held.differences)
    assert held.contenders[1].verdict == "invalid" and held.contenders[1].reasons
    assert any("not a valid measurement" in one for one in held.caveats)


def test_unlike_workloads_refuse_every_figure_and_other_arrivals_those_of_the_steady_phase(
    tmp_path, long_runs
):
    for edit, refused in (
        ({"workload.value_bytes": 64}, {"capacity_per_s", "read response_p99_us"}),
        ({"workload.arrivals": "constant"}, {"read response_p99_us"}),
    ):
        other = variant(tmp_path / next(iter(edit)), {"spec.json": edit}, of=long_runs[1])
        found = words(compare_runs([long_runs[0], other]))
        for figure in ("capacity_per_s", "read response_p99_us"):
            assert (found[figure] == "not_comparable") == (figure in refused)


def test_a_capacity_that_the_generator_limited_is_a_lower_bound(tmp_path, long_runs):
    limited = {"etcd/verdict.json": {"generator_limited": True}}
    fast, slow = long_runs
    for name, runs, word in (
        ("baseline", (fast, slow), "worse"),
        ("contender", (slow, fast), "better"),
    ):
        other = variant(tmp_path / name, limited, of=fast)
        found = compare_runs([other if run is fast else run for run in runs])
        (one,) = [it for it in found.differences if it.metric == "capacity_per_s"]
        assert one.word == word and "at least what is shown" in one.reason
    other = variant(tmp_path / "slow", limited, of=slow)
    (one,) = [it for it in compare_runs([fast, other]).differences if it.metric == "capacity_per_s"]
    assert one.word == "cannot_tell", "the slower one may be faster than was seen"


def test_targets_of_one_run_are_compared_and_unlike_promises_are_said_beside_each_word(tmp_path):
    held = compare_runs([variant(tmp_path / "run")])
    assert [one.label for one in held.contenders] == ["etcd 3.5.16", "Redis Cluster 7.0.15"]
    assert held.pairs == (("etcd 3.5.16", "Redis Cluster 7.0.15"),)
    for one in held.differences:
        if one.word in ("better", "worse", "same"):
            assert "no ranking: the guarantees of an acknowledged" in one.reason
    assert any("guarantees are unlike" in one for one in held.caveats)
    assert held.contenders[1].guarantees["write"].startswith("acknowledged by its master alone")


def test_two_runs_of_two_targets_pair_each_target_with_itself_and_with_its_neighbour(tmp_path):
    other = variant(tmp_path / "second", {"etcd/ready.json": {"version": "3.5.21"}}, spools=False)
    groups = groups_of([one for run in (RECORDED, other) for one in pressed_targets(run)])
    pairs = [(it.baseline.label, it.contender.label, it.question) for it in pairs_of(groups)]
    assert pairs == [
        ("A · etcd 3.5.16", "A · Redis Cluster 7.0.15", "targets"),
        ("A · etcd 3.5.16", "B · etcd 3.5.21", "runs"),
        ("A · Redis Cluster 7.0.15", "B · Redis Cluster 7.0.15", "runs"),
        ("B · etcd 3.5.21", "B · Redis Cluster 7.0.15", "targets"),
    ]


@pytest.fixture(scope="module")
def six_runs(tmp_path_factory):
    """Three of one version and three of another whose P99 is half as high again."""
    folder = tmp_path_factory.mktemp("six")
    made = []
    old = [("3.5.16", p99) for p99 in (7000, 7100, 6900)]
    new = [("3.5.21", p99) for p99 in (10500, 10650, 10350)]
    for index, (version, p99) in enumerate([*old, *new]):
        edits = {
            "spec.json": {"targets": ["etcd"]},
            "etcd/ready.json": {"version": version},
            "etcd/numbers.json": p99_us(p99),
        }
        made.append(variant(folder / f"run-{index}", edits, spools=False))
    return made


def test_repeats_are_combined_and_the_run_is_the_unit(six_runs):
    held = compare_runs(six_runs)
    assert [one.label for one in held.contenders] == ["etcd 3.5.16", "etcd 3.5.21"]
    assert len(held.contenders[0].run_ids) == 3
    (one,) = [
        it for it in held.differences if (it.metric, it.operation) == ("response_p99_us", "read")
    ]
    assert one.word == "worse" and one.ratio is not None
    assert one.ratio.unit == "run" and one.ratio.units == (3, 3)
    assert one.ratio.ratio == pytest.approx(1.5, rel=0.01)
    repeats = {(it.contender, it.metric, it.operation): it for it in held.repeats}
    assert repeats["etcd 3.5.16", "response_p99_us", "read"].values == (7000, 7100, 6900)
    assert "what differs is version" in held.question


def test_an_invalid_repeat_is_left_out_by_name_and_two_left_are_too_few(tmp_path, six_runs):
    bad = variant(tmp_path / "run-2", INVALID, of=six_runs[2], spools=False)
    held = compare_runs([*six_runs[:2], bad, *six_runs[3:]])
    (one,) = [
        it for it in held.differences if (it.metric, it.operation) == ("response_p99_us", "read")
    ]
    assert one.word == "cannot_tell" and "2 of etcd 3.5.16" in one.reason
    assert any("run-2 (invalid)" in it for it in held.caveats)


def test_fewer_than_three_of_a_kind_stand_for_themselves(six_runs):
    groups = groups_of([one for run in six_runs[1:] for one in pressed_targets(run)])
    assert [group.label[0] for group in groups] == list("ABCDE")


def test_two_changes_at_once_are_said_to_be_two(tmp_path):
    edits = {"spec.json": {"profile": "stock"}, "etcd/ready.json": {"version": "3.5.21"}}
    other = variant(tmp_path / "b", edits, spools=False)
    first = variant(tmp_path / "a", spools=False)
    held = compare_runs([first, other], targets=["etcd"])
    (told,) = [one for one in held.caveats if one.startswith("Several things differ at once")]
    assert "version" in told and "profile" in told


def test_words_are_corrected_over_the_figures_of_a_pair(monkeypatch, long_runs):
    asked = []

    def corrected(found):
        asked.append(len(found))
        return tuple(found)

    monkeypatch.setattr("soakbed.stages.compare_figures.corrected", corrected)
    groups = groups_of([one for run in long_runs for one in pressed_targets(run)])
    (pair,) = pairs_of(groups)
    differences_of(pair, Blocks())
    assert asked == [len(FIGURES)]


def test_a_run_alone_says_that_there_is_nothing_to_compare(long_runs):
    held = compare_runs(long_runs[:1])
    assert held.differences == () and "nothing to compare" in held.question
    assert held.steadiness and held.drifts


def test_what_was_not_judged_or_not_measured_is_refused_with_the_way_out(tmp_path):
    run = variant(tmp_path / "unjudged", spools=False)
    (run / "etcd" / "verdict.json").unlink()
    with pytest.raises(ArchiveError, match="etcd was not judged") as told:
        compare_runs([run])
    assert told.value.remedy == "soakbed judge unjudged"
    with pytest.raises(ArchiveError, match="nothing to compare"):
        compare_runs([RECORDED], targets=["tikv"])


def test_a_comparison_survives_its_own_json(six_runs):
    held = compare_runs(six_runs)
    assert Comparison.model_validate_json(held.model_dump_json(by_alias=True)) == held
