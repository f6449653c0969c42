"""Rules over completeness and book-keeping."""

from __future__ import annotations

import pytest

from soakbed.stages import judge_accounts
from tests.golden.made_up import evidence, operation, outcome, phase, session


def test_sound_evidence_keeps_every_rule():
    sound = evidence()
    for rule in (
        judge_accounts.sessions_finished,
        judge_accounts.workers_reported,
        judge_accounts.spools_whole,
        judge_accounts.counts_add_up,
        judge_accounts.locust_agrees,
        judge_accounts.sample_carries_p99,
        judge_accounts.values_read_back,
    ):
        assert rule(sound).verdict == "valid", rule.__name__


def test_a_missing_session_leaves_the_run_incomplete():
    sound = evidence()
    only = {"capacity": sound.outcomes["capacity"]}
    finding = judge_accounts.sessions_finished(evidence(outcomes=only))
    assert finding.verdict == "incomplete"
    assert "session steady is missing" in finding.sentence


def test_a_session_that_was_stopped_says_why():
    held = session("steady", phase())
    told = evidence(
        outcomes={
            "capacity": outcome(session("capacity", phase("capacity"))),
            "steady": outcome(held, outcome="stopped", reason="asked to"),
        }
    )
    finding = judge_accounts.sessions_finished(told)
    assert (finding.verdict, finding.sentence) == ("incomplete", "session steady stopped: asked to")


def test_a_session_without_its_measured_phase_is_a_hole():
    finding = judge_accounts.sessions_finished(evidence(steady=session("steady", phase("warmup"))))
    assert finding.sentence == "session steady has no window of phase steady"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"outcome": "missing"}, "steady: worker 0 of 1 left no end frame"),
        ({"outcome": "failed", "reason": "tls"}, "steady: worker 0 failed: tls"),
        ({"windows_lost": 2}, "steady: worker 0 lost 2 windows"),
    ],
)
def test_every_worker_must_account_for_every_window(changed, said):
    finding = judge_accounts.workers_reported(
        evidence(steady=session("steady", phase(), **changed))
    )
    assert (finding.verdict, finding.sentence) == ("incomplete", said)


def test_a_worker_that_the_load_stage_misses_is_missing():
    sound = evidence()
    held = dict(sound.outcomes)
    held["steady"] = held["steady"].model_copy(update={"workers_missing": (0,)})
    assert judge_accounts.workers_reported(evidence(outcomes=held)).verdict == "incomplete"


def test_a_damaged_spool_is_named():
    finding = judge_accounts.spools_whole(evidence(damaged=("steady: worker-0.spool: frame at 9",)))
    assert finding.verdict == "incomplete"
    assert "worker-0.spool" in finding.sentence


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(operation(ok=9_999, sent=10_000), id="sent but never ended"),
        pytest.param(operation(ok=10_000, sent=9_999), id="ended but never sent"),
    ],
)
def test_one_lost_operation_invalidates_the_run(broken):
    finding = judge_accounts.counts_add_up(evidence(steady=session("steady", phase(read=broken))))
    assert finding.verdict == "invalid"
    assert "20,000" in finding.sentence or "19,999" in finding.sentence


def test_windows_and_the_engines_own_totals_must_agree():
    finding = judge_accounts.counts_add_up(
        evidence(steady=session("steady", phase(), ok=19_999, sent=19_999))
    )
    assert "20,000 sent in windows, 19,999 by the engines' totals" in finding.sentence


def test_windows_and_the_load_stage_must_agree():
    held = dict(evidence().outcomes)
    held["steady"] = held["steady"].model_copy(update={"sent": 5})
    finding = judge_accounts.counts_add_up(evidence(outcomes=held))
    assert "20,000 sent in windows, 5 in load/steady.json" in finding.sentence


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        pytest.param(20_000, "valid", id="to the operation"),
        pytest.param(19_000, "valid", id="fewer: the master was away, a caveat tells"),
        pytest.param(20_001, "incomplete", id="more than the spools hold"),
    ],
)
def test_locust_may_not_have_seen_more_than_the_spools(counted, expected):
    held = dict(evidence().outcomes)
    held["steady"] = held["steady"].model_copy(update={"locust_requests": counted})
    assert judge_accounts.locust_agrees(evidence(outcomes=held)).verdict == expected


@pytest.mark.parametrize(("ok", "expected"), [(1000, "valid"), (999, "incomplete")])
def test_a_p99_needs_a_thousand_operations_of_each_kind(ok, expected):
    held = phase(read=operation(ok=ok))
    finding = judge_accounts.sample_carries_p99(evidence(steady=session("steady", held)))
    assert finding.verdict == expected


@pytest.mark.parametrize("cause", ["corrupt", "missing"])
def test_one_wrong_value_invalidates_the_run(cause):
    held = phase(read=operation(causes={cause: 1}))
    finding = judge_accounts.values_read_back(evidence(steady=session("steady", held)))
    assert finding.verdict == "invalid"
    assert "1 " in finding.sentence
