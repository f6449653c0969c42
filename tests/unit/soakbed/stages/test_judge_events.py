"""Rules over what happened: too much left out, grave events, members that went away for good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from soakbed.records.numbers import LeftOut, Point
from soakbed.records.policy import event
from soakbed.stages import judge_events, judge_hosts
from soakbed.stages.judge import judge
from tests.golden.made_up import evidence, phase, session

SERIES = tuple(
    Point(at_s=at_s, seconds=1, complete=True, sent_per_s=1.0, ok_per_s={}, errors_per_s=0.0)
    for at_s in range(100)
)


def held(left_s: int = 0, events=(), **more):
    left = LeftOut(seconds=left_s, counts={"read": {"ok": 7}}) if left_s else LeftOut()
    steady = phase(
        "steady", seconds=100.0 - left_s, offered_per_s=200.0, left_out=left, series=SERIES
    )
    made = evidence(steady=session("steady", steady), **more)
    return replace(made, events=tuple(events))


def told(kind: str, at_s: float = 10.0, source="journal", **more):
    return event(kind, at_s, host="d1", source=source, text="so it said", **more)


@pytest.mark.parametrize(("left_s", "verdict"), [(0, "valid"), (5, "valid"), (6, "invalid")])
def test_more_than_a_twentieth_left_out_makes_the_run_invalid(left_s, verdict):
    finding = judge_events.windows_left_out(held(left_s))
    assert (finding.verdict, f"{left_s} of 100 s" in finding.sentence) == (verdict, True)


def test_the_verdict_names_what_was_left_out_and_how_much():
    steps = [told("clock_step", at_s, "samples") for at_s in (10.0, 20.0)]
    verdict = judge(held(6, steps))
    (caveat,) = [one for one in verdict.caveats if one.subject == "seconds left out"]
    assert "6 of 100 s" in caveat.sentence
    assert "with 7 operations" in caveat.sentence
    assert "clock step 2 times" in caveat.sentence
    assert any("clock step 2 times" in reason for reason in verdict.reasons)


def test_what_the_target_does_by_itself_is_flagged_and_no_verdict():
    verdict = judge(held(0, [told("leader_change", 10.2), told("leader_change", 10.9)]))
    assert verdict.verdict == "valid"
    (caveat,) = [one for one in verdict.caveats if one.subject == "flagged seconds"]
    assert caveat.sentence.startswith("1 s of the steady phase")


def test_planned_housekeeping_is_not_even_a_caveat():
    verdict = judge(held(0, [told("defrag"), told("log_rewrite")]))
    assert (verdict.verdict, verdict.caveats) == ("valid", ())


@pytest.mark.parametrize(
    ("kind", "source", "rule"),
    [
        ("kernel_stall", "kernel", "events"),
        ("disk_error", "kernel", "events"),
        ("cluster_down", "journal", "events"),
        ("member_down", "watch", "restarts"),
        ("died", "journal", "restarts"),
        ("alarm", "watch", "alarms"),
    ],
)
def test_what_spoils_a_phase_makes_the_run_invalid_by_one_rule(kind, source, rule):
    verdict = judge(held(0, [told(kind, source=source)]))
    assert verdict.verdict == "invalid"
    against = [one for one in verdict.findings if one.verdict == "invalid"]
    assert [one.rule for one in against] == [rule]
    assert "so it said" in against[0].sentence


def test_nobody_collected_events_is_skipped():
    assert judge_events.nothing_grave(evidence()).verdict == "skipped"
    assert judge_events.nothing_grave(held()).verdict == "valid"


UNIT = "soakbed-etcd.service"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({UNIT: {"state": "failed", "result": "signal", "restarts": 0}}, "is failed (signal)"),
        ({UNIT: {"state": "inactive", "result": "success", "restarts": 0}}, "is inactive"),
        ({"other.service": {"state": "active", "restarts": 0}}, "unknown to systemd"),
    ],
)
def test_a_member_that_died_and_stayed_down_makes_the_run_invalid(after, said):
    before = {UNIT: {"state": "active", "result": "success", "restarts": 0}}
    finding = judge_hosts.restarts(evidence(facts=({"units": before}, {"units": after})))
    assert finding.verdict == "invalid"
    assert f"d1: {UNIT} ran before the load and" in finding.sentence
    assert said in finding.sentence


def test_units_of_the_load_and_work_that_ends_by_itself_are_no_members():
    before = {
        UNIT: {"state": "active", "restarts": 0},
        "soakbed-etcd-defrag.service": {"state": "inactive", "restarts": 0},
        "soakbed-load-worker@x.service": {"state": "active", "restarts": 0},
    }
    after = before | {"soakbed-load-worker@x.service": {"state": "inactive", "restarts": 3}}
    made = evidence(facts=({"units": before}, {"units": after}))
    only_load = replace(made, hosts={"l1": made.hosts["d1"]})
    assert judge_hosts.restarts(only_load).verdict == "valid"
