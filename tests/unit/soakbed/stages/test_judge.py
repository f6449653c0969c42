"""The verdict as a whole: which word, with which reasons, and which caveats."""

from __future__ import annotations

from dataclasses import replace

from soakbed.stages.judge import RULES, judge
from tests.golden.made_up import evidence, latency, operation, outcome, phase, session
from tests.golden.pretences import TIKV


def subjects(verdict):
    return [caveat.subject for caveat in verdict.caveats]


def test_sound_evidence_is_valid_and_says_how_many_rules_were_kept():
    verdict = judge(evidence())
    assert verdict.verdict == "valid"
    assert verdict.reasons == ("16 rules kept, 8 could not be asked",)
    assert verdict.caveats == ()


def test_every_rule_is_asked_once_and_has_a_limit():
    verdict = judge(evidence())
    assert sorted(finding.rule for finding in verdict.findings) == sorted(r.name for r in RULES)
    assert all(finding.threshold for finding in verdict.findings)


def test_an_invalid_run_carries_the_numbers_and_the_remedy_in_its_reasons():
    slow = operation(lag=latency(1, 4000))
    verdict = judge(evidence(steady=session("steady", phase(read=slow))))
    assert verdict.verdict == "invalid"
    (reason,) = verdict.reasons
    assert "read lag P99 4.000 ms is 400% of response P50 1.000 ms" in reason
    assert "lower the steady rate in the workload" in reason


def test_load_is_not_judged_over_a_hole_in_the_evidence():
    lame = session("steady", phase(cpu_share=0.99), outcome="missing")
    verdict = judge(evidence(steady=lame))
    assert verdict.verdict == "incomplete"
    asked = {finding.rule: finding for finding in verdict.findings}
    for rule in ("engine_cpu", "counts_add_up", "lag"):
        assert asked[rule].verdict == "skipped"
        assert "incomplete" in asked[rule].sentence


def test_lost_operations_are_worse_than_missing_ones():
    held = session("steady", phase(read=operation(ok=10, sent=11)))
    assert judge(evidence(steady=held)).verdict == "invalid"


def test_a_shared_machine_is_a_caveat_and_no_verdict():
    verdict = judge(evidence(shares_machine=True))
    assert verdict.verdict == "valid"
    assert subjects(verdict) == ["shared machine"]
    assert "d1, d2, d3 on CPU 0; l1 on CPU 1" in verdict.caveats[0].sentence


def test_a_substituted_artifact_is_a_caveat_with_both_versions():
    verdict = judge(evidence(substituted=True))
    assert subjects(verdict) == ["substituted artifact"]
    assert "etcd 3.5.16 for 3.5.10" in verdict.caveats[0].sentence


def test_a_stand_in_that_calls_itself_the_pinned_version_is_not_proven_to_be_it():
    same = replace(TIKV, version="6.5.5", parts=(("tikv-server", "6.5.5"),))
    held = evidence(pretence=same)
    (use,) = held.ready.artifacts
    unproven = use.model_copy(update={"substituted": True, "reason": "no sha256 proves it"})
    ready = held.ready.model_copy(update={"substituted": True, "artifacts": (unproven,)})
    (caveat,) = judge(replace(held, ready=ready)).caveats
    assert caveat.sentence == (
        "A file that no pinned sha256 proves stands in: tikv-server 6.5.5 by its own word "
        "(no sha256 proves it)."
    )


def busy(count):
    return session("steady", phase(write=operation(failed=count, causes={"busy": count})))


def test_what_tikv_refused_as_busy_is_a_caveat_of_its_own():
    verdict = judge(evidence(pretence=TIKV, steady=busy(40)))
    assert verdict.verdict == "valid"
    assert subjects(verdict) == ["flow control"]
    assert "ServerIsBusy to 40 of 20,040 operations (0.20%)" in verdict.caveats[0].sentence


def test_a_tikv_that_refuses_too_much_is_no_measurement_and_the_reason_names_the_cause():
    verdict = judge(evidence(pretence=TIKV, steady=busy(4000)))
    assert verdict.verdict == "invalid"
    assert any("4,000 failed and 0 unknown" in r and "busy 4,000" in r for r in verdict.reasons)


def test_flow_control_is_spoken_of_for_tikv_alone():
    assert subjects(judge(evidence(steady=busy(40)))) == []


def test_a_capacity_that_the_generator_limited_reads_at_least():
    held = session("capacity", phase("capacity", cpu_share=0.81))
    verdict = judge(evidence(capacity=held))
    assert (verdict.verdict, verdict.generator_limited) == ("valid", True)
    assert "at least 667/s" in verdict.caveats[0].sentence


def test_a_generator_at_its_limit_exactly_is_not_limited():
    held = session("capacity", phase("capacity", cpu_share=0.80))
    assert not judge(evidence(capacity=held)).generator_limited


def test_operations_that_locust_missed_are_a_caveat():
    held = session("steady", phase())
    outcomes = {
        "capacity": outcome(session("capacity", phase("capacity"))),
        "steady": outcome(held, locust_requests=19_000),
    }
    verdict = judge(evidence(outcomes=outcomes))
    assert (verdict.verdict, subjects(verdict)) == ("valid", ["locust"])
    assert "19,000 of 20,000" in verdict.caveats[0].sentence


def test_tuning_that_hosts_could_not_take_is_told_once_per_reason():
    held = evidence()
    told = [f"{host}: vm.swappiness: wanted 1, found 60: shared" for host in held.testbed.hosts]
    told += [f"{host}: scheduler: wanted none, found bfq: shared" for host in held.testbed.hosts]
    told += ["d1: nofile: wanted 65536, found 20000: the hard limit is lower"]
    ready = held.ready.model_copy(update={"not_applied": tuple(told)})
    verdict = judge(replace(held, ready=ready))
    assert [caveat.sentence for caveat in verdict.caveats] == [
        "On every host: vm.swappiness: wanted 1, found 60; scheduler: wanted none, found bfq. "
        "Reason: shared.",
        "On d1: nofile: wanted 65536, found 20000. Reason: the hard limit is lower.",
    ]
