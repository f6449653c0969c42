"""Rules over the hosts: did anything happen on them that the figures would hide?

Facts are found by the names of their keys, wherever they lie in the file. A fact that was not
recorded makes its rule "skipped", which the page shows; it never counts as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from soakbed.records.facts import Facts, Leaf, found, leaves
from soakbed.records.verdict import Finding, Rule
from soakbed.stages.evidence import Evidence
from soakbed.stages.judge_events import MEMBER_KINDS, events_told

__all__ = [
    "HOST_RULES",
    "MOST_CLOCK_OFFSET_US",
    "MOST_THROTTLED_SHARE",
    "alarms",
    "clock_offset",
    "facts_drift",
    "restarts",
    "stolen_time",
    "throttling",
]

# A twentieth of the shortest window: windows of several hosts are merged by the second.
MOST_CLOCK_OFFSET_US = 50_000
MOST_THROTTLED_SHARE = 0.01  # as much as P99 can hide

_RESTARTS = {"restarts", "nrestarts", "n_restarts"}
_OOM = {"oom_kill", "oom_kills"}
_THROTTLED = {"throttled_us", "throttled_usec"}
# Groups of facts that hold settings, as against counters and gauges, which move by nature.
_SETTINGS = {"tuning", "sysctl", "sysctls", "thp", "limits", "scheduler", "governor", "mounts"}

_CLOCK = Rule(
    name="clock_offset",
    limit=f"at most {MOST_CLOCK_OFFSET_US // 1000} ms, a twentieth of a one-second window",
    remedy="let chrony or systemd-timesyncd run on every host, then measure again",
)
_RESTART = Rule(
    name="restarts",
    limit="no member restarted, ended, stayed down or was killed for memory",
    remedy="read the journals under hosts/ for why, give more memory or mend the configuration",
)
_ALARMS = Rule(
    name="alarms",
    limit="no alarm raised",
    remedy="read the alarm, free space or raise the quota, then measure again",
)
_THROTTLE = Rule(
    name="throttling",
    limit=f"at most {MOST_THROTTLED_SHARE:.0%} of the load's time",
    remedy="lift the CPU quota of the hosts",
)
_STOLEN = Rule(
    name="stolen_time",
    limit=f"at most {MOST_THROTTLED_SHARE:.0%} of a host's CPU time under load",
    remedy="take an instance type without CPU credits, or another host",
)
_DRIFT = Rule(
    name="facts_drift",
    limit="no setting of a host changed under load",
    remedy="find what changed it, wipe the testbed and measure again",
)
HOST_RULES = (_CLOCK, _RESTART, _ALARMS, _THROTTLE, _STOLEN, _DRIFT)


def clock_offset(evidence: Evidence) -> Finding:
    """The hosts' clocks agree, as preflight measured them against the controller's."""
    offsets = list(_offsets(evidence))
    if not offsets:
        return _CLOCK.skipped("preflight recorded no clock offset")
    surely_us, offset_us, bound_us, host = max(offsets)
    told = (
        f"the clock of {host} is {offset_us / 1000:.3f} ms off, known to {bound_us / 1000:.3f} ms; "
        f"no other of {len(offsets)} is further off"
    )
    return _CLOCK.broken(told) if surely_us > MOST_CLOCK_OFFSET_US else _CLOCK.kept(told)


def _offsets(evidence: Evidence) -> Iterator[tuple[float, float, float, str]]:
    """Per host: how far off it surely is, the offset measured, its bound, the host."""
    for host in evidence.testbed.hosts:
        facts: Facts = evidence.preflight.get(host) or {}
        offset_us = found(facts, "clock_offset_us")
        if offset_us is None:
            continue
        bound_us = found(facts, "clock_bound_us") or 0.0
        yield max(abs(offset_us) - bound_us, 0.0), offset_us, bound_us, host


def restarts(evidence: Evidence) -> Finding:
    """No member went away while it was measured, whether or not it came back."""
    happened = [
        one for one in evidence.events or () if one.kind in MEMBER_KINDS and one.severity != "note"
    ]
    if not _collected(evidence):
        if happened:
            return _RESTART.broken(events_told(happened))
        return _RESTART.skipped("facts of the hosts before and after the load were not collected")
    rises = [rise for rise in _rises(evidence, _RESTARTS | _OOM) or () if not _of_load(rise[1])]
    told = [
        f"{host}: {'.'.join(path)} rose by {rise:,.0f}" for host, path, rise in rises if rise > 0
    ]
    told += list(_gone(evidence))
    if happened:
        told.append(events_told(happened))
    if told:
        return _RESTART.broken("; ".join(told))
    if not rises:
        return _RESTART.skipped("the facts hold neither restarts nor OOM kills")
    return _RESTART.kept(f"no restart and no OOM kill in {len(rises)} counters, no member is gone")


def _of_load(path: tuple[str, ...]) -> bool:
    """Whether a counter is of a unit of the load: its restarts are gaps, and counted as such."""
    return any(step.startswith("soakbed-load-") for step in path)


def _gone(evidence: Evidence) -> Iterator[str]:
    """Members that ran before the load and not after it. systemd restarts none, so none comes
    back by itself, and no counter tells of it.
    """
    for host, facts in evidence.hosts.items():
        held = evidence.testbed.hosts.get(host)
        if held is not None and held.duty != "data":
            continue
        after = facts.after.get("units", {})
        for unit, was in facts.before.get("units", {}).items():
            if not _runs(was) or _runs(after.get(unit, {})):
                continue
            now = after.get(unit, {})
            how = f"{now.get('state', 'unknown to systemd')} ({now.get('result', 'no result')})"
            yield f"{host}: {unit} ran before the load and is {how} after it"


def _runs(unit: Mapping[str, Any]) -> bool:
    return unit.get("state") == "active" or unit.get("active") is True


def alarms(evidence: Evidence) -> Finding:
    """The target itself raised no alarm, then or in between."""
    between = [
        one for one in evidence.events or () if one.kind == "alarm" and one.severity == "run"
    ]
    if between:
        return _ALARMS.broken(events_told(between))
    found = [
        (host, value)
        for host, facts in evidence.hosts.items()
        for path, value in leaves(facts.after)
        if "alarms" in path
    ]
    if not found:
        return _ALARMS.skipped("no alarms were asked for after the load")
    raised = [
        f"{host}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for host, value in found
        if value
    ]
    return _ALARMS.broken("; ".join(raised)) if raised else _ALARMS.kept("no alarm is raised")


def throttling(evidence: Evidence) -> Finding:
    """No quota took CPU time away from a host."""
    rises = _rises(evidence, _THROTTLED) if _collected(evidence) else None
    if not rises:
        return _THROTTLE.skipped("no throttled time was recorded")
    seconds = sum(outcome.ended_s - outcome.started_s for outcome in evidence.outcomes.values())
    host, _, most_us = max(rises, key=lambda rise: rise[2])
    share = most_us / 1e6 / seconds if seconds else 0.0
    told = f"{host} was throttled for {most_us / 1e6:.2f} s of {seconds:.0f} s ({share:.2%})"
    return _THROTTLE.broken(told) if share > MOST_THROTTLED_SHARE else _THROTTLE.kept(told)


def stolen_time(evidence: Evidence) -> Finding:
    """No hypervisor gave a host's CPU time to others.

    Of a machine that hosts share it is told and breaks nothing: they take CPU from each other, too.
    """
    shares = list(_stolen(evidence)) if _collected(evidence) else []
    if not shares:
        return _STOLEN.skipped("no stolen CPU time was recorded")
    share, host = max(shares)
    if evidence.testbed.shares_machine:
        return _STOLEN.kept(f"{share:.2%} of the CPU time of the machine that hosts share")
    told = f"{share:.2%} of the CPU time of {host} went to others, most of {len(shares)} hosts"
    return _STOLEN.broken(told) if share > MOST_THROTTLED_SHARE else _STOLEN.kept(told)


def _stolen(evidence: Evidence) -> Iterator[tuple[float, str]]:
    """Stolen ticks over all ticks between the facts before and after, by host."""
    for host, facts in evidence.hosts.items():
        before, after = (
            one.get("counters", {}).get("cpu_ticks", {}) for one in (facts.before, facts.after)
        )
        if "steal" in before and "steal" in after:
            ticks = sum(after.values()) - sum(before.values())
            yield (after["steal"] - before["steal"]) / max(ticks, 1), host


def facts_drift(evidence: Evidence) -> Finding:
    """The tuning that was measured is the tuning that was set."""
    if not _collected(evidence):
        return _DRIFT.skipped("facts of the hosts before and after the load were not collected")
    changed, asked = [], 0
    for host, facts in evidence.hosts.items():
        before, after = _settings(facts.before), _settings(facts.after)
        asked += len(before)
        for path in sorted(before.keys() & after.keys()):
            if before[path] != after[path]:
                changed.append(f"{host}: {'.'.join(path)} {before[path]} -> {after[path]}")
    if changed:
        return _DRIFT.broken("; ".join(changed))
    if not asked:
        return _DRIFT.skipped("the facts hold no settings")
    return _DRIFT.kept(f"{asked} settings are what they were")


def _collected(evidence: Evidence) -> bool:
    return bool(evidence.hosts) and all(facts.collected for facts in evidence.hosts.values())


def _settings(facts: Facts) -> dict[tuple[str, ...], Any]:
    return {path: value for path, value in leaves(facts) if _SETTINGS & set(path[:-1] or path)}


def _rises(evidence: Evidence, names: set[str]) -> list[tuple[str, tuple[str, ...], float]] | None:
    """How far each counter named so rose, per host; None when there is no such counter."""
    rises = []
    for host, facts in evidence.hosts.items():
        before = dict(_numbers(leaves(facts.before), names))
        for path, value in _numbers(leaves(facts.after), names):
            # A unit that was not there before began at zero.
            rises.append((host, path, value - before.get(path, 0.0)))
    return rises or None


def _numbers(found: Iterable[Leaf], names: set[str]) -> Iterable[tuple[tuple[str, ...], float]]:
    for path, value in found:
        if names & {step.lower() for step in path} and isinstance(value, int | float):
            yield path, float(value)
