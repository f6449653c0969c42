"""Rules over the hosts: what happened on them under load, and what nobody recorded."""

from __future__ import annotations

import pytest

from soakbed.stages import judge_hosts
from tests.golden.made_up import evidence

RULES = (
    judge_hosts.clock_offset,
    judge_hosts.restarts,
    judge_hosts.alarms,
    judge_hosts.throttling,
    judge_hosts.stolen_time,
    judge_hosts.facts_drift,
)


def facts(**changed):
    held = {
        "units": {"soakbed-etcd.service": {"restarts": 0, "active": True}},
        "vmstat": {"oom_kill": 4},
        "sysctl": {"vm.swappiness": "1"},
        "cpu": {"throttled_us": 1_000_000},
        "alarms": [],
        "counters": {"cpu_ticks": {"user": 5000, "idle": 900, "steal": 30}},
    }
    return held | changed


def judged(rule, before=None, after=None):
    return rule(evidence(facts=(before or facts(), after or facts())))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_fact_that_nobody_recorded_is_skipped_and_never_taken_for_zero(rule):
    finding = rule(evidence())
    assert finding.verdict == "skipped"
    assert finding.sentence


@pytest.mark.parametrize("rule", RULES[1:], ids=lambda rule: rule.__name__)
def test_a_quiet_host_keeps_every_rule(rule):
    assert judged(rule).verdict == "valid"


@pytest.mark.parametrize(
    ("offset_us", "bound_us", "expected"),
    [
        pytest.param(50_000, 0, "valid", id="fifty milliseconds"),
        pytest.param(50_001, 0, "invalid", id="more"),
        pytest.param(-50_001, 0, "invalid", id="behind"),
        pytest.param(50_900, 900, "valid", id="not surely more"),
        pytest.param(50_901, 900, "invalid", id="surely more"),
    ],
)
def test_a_clock_that_is_surely_off_invalidates_the_run(offset_us, bound_us, expected):
    clocks = {
        "d1": {"clock": {"clock_offset_us": 3, "clock_bound_us": 20}},
        "d2": {"clock": {"clock_offset_us": offset_us, "clock_bound_us": bound_us}},
    }
    finding = judge_hosts.clock_offset(evidence(preflight=clocks))
    assert finding.verdict == expected
    assert "d2" in finding.sentence


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"units": {"soakbed-etcd.service": {"restarts": 1}}}, "soakbed-etcd.service.restarts"),
        ({"units": {"new.service": {"restarts": 2}}}, "new.service.restarts rose by 2"),
        ({"vmstat": {"oom_kill": 5}}, "oom_kill rose by 1"),
        ({"restarts": {"soakbed-etcd.service": 1}}, "restarts.soakbed-etcd.service"),
    ],
)
def test_a_member_that_went_away_invalidates_the_run(changed, said):
    finding = judged(judge_hosts.restarts, after=facts(**changed))
    assert finding.verdict == "invalid"
    assert said in finding.sentence
    assert "d1" in finding.sentence


def test_an_alarm_invalidates_the_run():
    finding = judged(judge_hosts.alarms, after=facts(alarms=["NOSPACE"]))
    assert finding.verdict == "invalid"
    assert "NOSPACE" in finding.sentence


@pytest.mark.parametrize(
    ("throttled_us", "expected"),
    [
        # Both sessions last 60 s together: one percent is 0.6 s.
        pytest.param(1_600_000, "valid", id="one percent"),
        pytest.param(1_600_001, "invalid", id="more"),
    ],
)
def test_a_throttled_host_invalidates_the_run(throttled_us, expected):
    after = facts(cpu={"throttled_us": throttled_us})
    assert judged(judge_hosts.throttling, after=after).verdict == expected


def ticks(user, steal):
    return facts(counters={"cpu_ticks": {"user": user, "idle": 900, "steal": steal}})


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(ticks(5000 + 990, 30 + 10), "valid", id="one percent"),
        pytest.param(ticks(5000 + 989, 30 + 11), "invalid", id="more"),
        pytest.param(facts(counters={}), "skipped", id="not recorded after the load"),
    ],
)
def test_a_host_whose_cpu_time_went_to_others_invalidates_the_run(after, expected):
    assert judged(judge_hosts.stolen_time, after=after).verdict == expected


def test_stolen_time_of_a_machine_that_hosts_share_is_told_and_breaks_nothing():
    shared = evidence(facts=(facts(), ticks(5500, 530)), shares_machine=True)
    finding = judge_hosts.stolen_time(shared)
    assert finding.verdict == "valid"
    assert "50.00% of the CPU time of the machine" in finding.sentence


def test_a_setting_that_changed_under_load_invalidates_the_run():
    finding = judged(judge_hosts.facts_drift, after=facts(sysctl={"vm.swappiness": "60"}))
    assert finding.verdict == "invalid"
    assert "sysctl.vm.swappiness 1 -> 60" in finding.sentence


def test_counters_may_move_without_being_drift():
    assert judged(judge_hosts.facts_drift, after=facts(vmstat={"oom_kill": 9})).verdict == "valid"
