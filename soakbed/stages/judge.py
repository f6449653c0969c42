"""Evidence -> Verdict: was the measurement sound? Pure; asks every rule and counts no votes.

Rules over completeness come first. Where they find a hole, those over counts and load are skipped
and say so: half the workers' figures would be judged as if they were all.
"""

from __future__ import annotations

from collections.abc import Callable

from soakbed.records.calibration import MOST_OFFERED_SHARE
from soakbed.records.ladder import TOP_OF_CAPACITY
from soakbed.records.numbers import PhaseNumbers
from soakbed.records.run import ArtifactUse, NotMeasured
from soakbed.records.verdict import Caveat, Finding, Rule, Verdict, VerdictWord
from soakbed.stages import judge_accounts as accounts
from soakbed.stages import judge_events as events
from soakbed.stages import judge_hosts as hosts
from soakbed.stages import judge_load as load
from soakbed.stages.evidence import Evidence, evidence_of
from soakbed.stages.judge_clocks import CLOCK_RULES, load_clocks
from soakbed.stages.judge_coverage import COVERAGE_RULES, coverage
from soakbed.stages.judge_placement import of_placement
from soakbed.stages.measure import measure
from soakbed.stages.summarise import assemble_summary

__all__ = ["RULES", "assemble_summary", "evidence_of", "judge", "measure"]

_WHOLE: tuple[Callable[[Evidence], Finding], ...] = (
    accounts.sessions_finished,
    accounts.workers_reported,
    accounts.spools_whole,
)
_ACCOUNTS: tuple[tuple[Rule, Callable[[Evidence], Finding]], ...] = tuple(
    zip(
        accounts.COUNT_RULES,
        (accounts.counts_add_up, accounts.locust_agrees, accounts.sample_carries_p99),
        strict=True,
    )
)
_LOAD: tuple[tuple[Rule, Callable[[PhaseNumbers], Finding]], ...] = tuple(
    zip(
        load.LOAD_RULES,
        (
            load.offered_load,
            load.schedule_kept,
            load.dropped,
            load.engine_cpu,
            load.generator_bound,
            load.lag,
            load.errors,
        ),
        strict=True,
    )
)
_HOSTS: tuple[Callable[[Evidence], Finding], ...] = (
    hosts.clock_offset,
    hosts.restarts,
    hosts.alarms,
    hosts.throttling,
    hosts.stolen_time,
    hosts.facts_drift,
    load_clocks,
    events.nothing_grave,
    events.windows_left_out,
    coverage,
)
RULES: tuple[Rule, ...] = (
    *accounts.WHOLE_RULES,
    *accounts.COUNT_RULES,
    *load.LOAD_RULES,
    accounts.VALUES_RULE,
    *hosts.HOST_RULES,
    *CLOCK_RULES,
    *events.EVENT_RULES,
    *COVERAGE_RULES,
)


def judge(evidence: Evidence) -> Verdict:
    """Ask every rule. Any that finds the run invalid makes it so; else any hole, incomplete."""
    found = [rule(evidence) for rule in _WHOLE]
    steady = evidence.numbers.phase("steady", "steady")
    # Of a soak that was stopped what there is is judged; the verdict says that it is not all.
    holes = [one for one in found if one.rule != "sessions_finished"]
    if steady is None or any(finding.verdict == "incomplete" for finding in holes):
        why = "not asked, because the evidence is incomplete"
        found += [rule.skipped(why) for rule, _ in (*_ACCOUNTS, *_LOAD)]
    else:
        found += [ask(evidence) for _, ask in _ACCOUNTS]
        found += [ask(steady) for _, ask in _LOAD]
    found += [rule(evidence) for rule in (accounts.values_read_back, *_HOSTS)]
    limited = _generator_limited(evidence)
    return Verdict(
        target=evidence.numbers.target,
        verdict=_word(found),
        findings=tuple(found),
        caveats=tuple(_caveats(evidence, generator_limited=limited)),
        generator_limited=limited,
    )


def _word(findings: list[Finding]) -> VerdictWord:
    words = {finding.verdict for finding in findings}
    if "invalid" in words:
        return "invalid"
    return "incomplete" if "incomplete" in words else "valid"


def _generator_limited(evidence: Evidence) -> bool:
    """Whether the closed loop found the generator's limit rather than the target's."""
    capacity = evidence.numbers.phase("capacity", "capacity")
    if capacity is None:
        return False
    state = capacity.generator
    return state.cpu_share > load.MOST_CPU_SHARE or 2 * state.bound_s > state.judged_s > 0


def _caveats(evidence: Evidence, *, generator_limited: bool) -> list[Caveat]:
    made: list[Caveat] = []
    if evidence.testbed.shares_machine:
        made.append(_shared_machine(evidence))
    made += _of_target(evidence)
    made += _of_flow_control(evidence)
    made += of_placement(evidence)
    made += events.of_events(evidence)
    capacity = evidence.numbers.phase("capacity", "capacity")
    if capacity is not None and generator_limited:
        made.append(
            Caveat(
                subject="capacity",
                sentence=f"The load engine used {capacity.generator.cpu_share:.0%} of its core in "
                f"the closed loop and was at a limit of its own in {capacity.generator.bound_s} of "
                f"{capacity.generator.judged_s} s, so the capacity is the generator's: read "
                f"“at least {capacity.throughput_per_s:,.0f}/s”, and the steady rate as a share "
                "of that.",
            )
        )
    made += _of_ceiling(evidence)
    made += _of_knee(evidence, generator_limited=generator_limited)
    for name, outcome in evidence.outcomes.items():
        ended = evidence.numbers.sessions[name].ended
        if outcome.locust_requests < ended:
            made.append(
                Caveat(
                    subject="locust",
                    sentence=f"Locust's own pages of session {name} show "
                    f"{outcome.locust_requests:,} of {ended:,} operations; the spools hold all, "
                    "and every figure here comes from them.",
                )
            )
    return made


def _of_flow_control(evidence: Evidence) -> list[Caveat]:
    """TiKV refuses what it cannot take instead of letting it wait: fast figures, fewer of them."""
    steady = evidence.numbers.phase("steady", "steady")
    if evidence.numbers.target != "tikv" or steady is None:
        return []
    busy = sum(one.causes.get("busy", 0) for one in steady.operations.values())
    if not busy:
        return []
    return [
        Caveat(
            subject="flow control",
            sentence=f"TiKV answered ServerIsBusy to {busy:,} of {steady.ended:,} operations "
            f"({busy / steady.ended:.2%}): it refuses what it cannot take instead of letting it "
            "wait. They count as failed, are not tried again, and are in no latency.",
        )
    ]


def _of_knee(evidence: Evidence, *, generator_limited: bool) -> list[Caveat]:
    """A knee that is not one says so, and what it means for the steady rate; and one that lies
    where the closed loop says that nothing can be.
    """
    knee, share = evidence.knee, evidence.spec.workload.steady_rate.share_of_knee
    if knee is None:
        return []
    made = []
    if knee.word not in ("found", "none"):
        told = f" The steady rate is {100 * share:g} % of that." if share is not None else ""
        made.append(Caveat(subject="knee", sentence=f"{knee.sentence}{told}"))
    held_per_s = knee.held_per_s or 0.0
    if held_per_s > TOP_OF_CAPACITY * knee.capacity_per_s and not generator_limited:
        made.append(
            Caveat(
                subject="capacity",
                sentence=f"The open loop held {held_per_s:,.0f}/s, more than the closed loop's "
                f"{knee.capacity_per_s:,.0f}/s over the same connections: something slowed the "
                "closed loop, or the target was faster later. Read the capacity as “at least”.",
            )
        )
    return made


def _of_ceiling(evidence: Evidence) -> list[Caveat]:
    """The offered rate beside what the load hosts can do at most, where that is known."""
    held, target = evidence.calibration, evidence.numbers.target
    steady = evidence.numbers.phase("steady", "steady")
    ceiling = held.ceiling(target, evidence.spec.workload)
    if steady is None or ceiling is None or not ceiling.ops_per_s:
        return []
    made = []
    share = steady.offered_per_s / ceiling.ops_per_s
    if share > MOST_OFFERED_SHARE:
        least = "at least " if ceiling.at_least else ""
        made.append(
            Caveat(
                subject="near the generator's ceiling",
                sentence=f"{steady.offered_per_s:,.0f}/s were offered, {share:.0%} of the "
                f"{least}{ceiling.ops_per_s:,.0f}/s that the load hosts reach against a null "
                f"server; above {MOST_OFFERED_SHARE:.0%} the generator's own delay grows.",
            )
        )
    if held.stale:
        made.append(
            Caveat(
                subject="calibration",
                sentence=f"The load hosts' ceiling may no longer hold: {'; '.join(held.stale)}. "
                "Measure it again: make calibrate.",
            )
        )
    return made


def _shared_machine(evidence: Evidence) -> Caveat:
    """Who competes with whom, down to the CPU where the hosts are bound to some."""
    hosts_of: dict[tuple[int, ...], list[str]] = {}
    for name, host in evidence.testbed.hosts.items():
        hosts_of.setdefault(host.cpus, []).append(name)
    bound = "; ".join(
        f"{', '.join(names)} on CPU {', '.join(map(str, cpus))}"
        for cpus, names in hosts_of.items()
        if cpus
    )
    return Caveat(
        subject="shared machine",
        sentence=f"All {len(evidence.testbed.hosts)} hosts share one machine"
        f"{f' ({bound})' if bound else ''}: its memory and disk serve all members, and no real "
        "network lies between them. Compare targets with each other, not with figures from "
        "separate machines.",
    )


def _of_target(evidence: Evidence) -> list[Caveat]:
    ready = evidence.ready
    if isinstance(ready, NotMeasured):
        return []
    made = []
    if ready.substituted:
        told = [one for one in ready.artifacts if one.substituted]
        versions = ", ".join(map(_stands_in, told))
        why = "; ".join(dict.fromkeys(one.reason for one in told if one.reason))
        made.append(
            Caveat(
                subject="substituted artifact",
                sentence=f"{_kind_of_stand_in(told)} stands in: {versions or ready.version}"
                f"{f' ({why})' if why else ''}.",
            )
        )
    return made + _tuning(ready.not_applied, every=set(evidence.testbed.hosts))


def _kind_of_stand_in(told: list[ArtifactUse]) -> str:
    same = told and all(one.version == one.pinned_version for one in told)
    return "A file that no pinned sha256 proves" if same else "Another version"


def _stands_in(one: ArtifactUse) -> str:
    if one.version == one.pinned_version:
        return f"{one.name} {one.version} by its own word"
    return f"{one.name} {one.version} for {one.pinned_version}"


def _tuning(not_applied: tuple[str, ...], *, every: set[str]) -> list[Caveat]:
    """What hosts could not take ("host: setting: ...: reason"), one caveat per reason and hosts."""
    who: dict[str, set[str]] = {}
    for told in not_applied:
        host, _, rest = told.partition(": ")
        who.setdefault(rest, set()).add(host)
    settings: dict[tuple[str, str], list[str]] = {}
    for rest, names in who.items():
        setting, _, reason = rest.rpartition(": ")
        where = "every host" if names >= every else ", ".join(sorted(names))
        settings.setdefault((where, reason), []).append(setting or rest)
    return [
        Caveat(
            subject="tuning not taken",
            sentence=f"On {where}: {'; '.join(held)}. Reason: {reason}.",
        )
        for (where, reason), held in settings.items()
    ]
