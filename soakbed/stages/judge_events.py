"""Rules over what happened: does the event policy (records.policy) let the figures stand?

Events of kinds that another rule of the judge asks for are left to it, so that one thing that
happened is one reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from soakbed.records.events import Event
from soakbed.records.numbers import PhaseNumbers
from soakbed.records.policy import consequence_of
from soakbed.records.verdict import Caveat, Finding, Rule
from soakbed.stages.evidence import Evidence

__all__ = [
    "EVENT_RULES",
    "MEMBER_KINDS",
    "MOST_LEFT_OUT_SHARE",
    "events_told",
    "nothing_grave",
    "of_events",
    "windows_left_out",
]

# What is left out was not the target's doing, so leaving it out turns no figure in its favour; but
# a testbed that disturbs more than one second in twenty was no place to measure.
MOST_LEFT_OUT_SHARE = 0.05
# Asked by the rules `restarts` and `alarms`.
MEMBER_KINDS = ("restart", "died", "member_down", "oom_kill", "reboot", "panic")
_ALARM_KINDS = ("alarm",)
# Asked by `workers_reported` and `spools_whole`.
_SPOOL_KINDS = ("missing_spool", "chain", "worker_lost")
_SHOWN = 5

_GRAVE = Rule(
    name="events",
    limit="nothing of severity phase or run while a target was pressed (the event policy)",
    remedy="see the events on the page and their remedies in results/README.md",
)
_LEFT_OUT = Rule(
    name="windows_left_out",
    limit=f"at most {MOST_LEFT_OUT_SHARE:.0%} of the steady phase's seconds",
    remedy="see the events on the page: what disturbed the hosts or the load, and mend that",
)
EVENT_RULES = (_GRAVE, _LEFT_OUT)


def nothing_grave(evidence: Evidence) -> Finding:
    """Nothing happened that spoils a phase or the run."""
    if evidence.events is None:
        return _GRAVE.skipped("no events were collected")
    own = (*MEMBER_KINDS, *_ALARM_KINDS, *_SPOOL_KINDS)
    grave = [one for one in evidence.events if one.severity in ("phase", "run")]
    asked = [one for one in grave if one.kind not in own]
    if asked:
        return _GRAVE.broken(events_told(asked))
    return _GRAVE.kept(f"none in {len(evidence.events)} events")


def windows_left_out(evidence: Evidence) -> Finding:
    """What happened left enough of the steady phase to speak for it."""
    steady = evidence.numbers.phase("steady", "steady")
    if steady is None:
        return _LEFT_OUT.skipped("there is no steady phase")
    left, all_s = steady.left_out.seconds, _lasted_s(steady)
    told = f"{left} of {all_s:.0f} s were left out"
    kinds = [
        one for one in _in(evidence.events or (), steady) if consequence_of(one) == "leave_out"
    ]
    if kinds:
        told += f": {_counted(kinds)}"
    if left > MOST_LEFT_OUT_SHARE * all_s:
        return _LEFT_OUT.broken(f"{told}; allowed {MOST_LEFT_OUT_SHARE:.0%}")
    return _LEFT_OUT.kept(told)


def of_events(evidence: Evidence) -> Iterator[Caveat]:
    """Windows that are flagged and stay in the figures, and those that do not."""
    steady = evidence.numbers.phase("steady", "steady")
    if steady is None:
        return
    held = list(_in(evidence.events or (), steady))
    flagged = [one for one in held if consequence_of(one) == "flag"]
    if flagged:
        yield Caveat(
            subject="flagged seconds",
            sentence=f"{_seconds(flagged, steady)} s of the steady phase are flagged and in every "
            "figure, because they are the target's own, cannot be told from it, or are judged by a "
            f"rule: {_counted(flagged)}.",
        )
    if steady.left_out.seconds:
        gone = [one for one in held if consequence_of(one) == "leave_out"]
        yield Caveat(
            subject="seconds left out",
            sentence=f"{steady.left_out.seconds} of {_lasted_s(steady):.0f} s of the steady phase, "
            f"with {steady.left_out.ended:,} operations, are in no figure, because hosts or load "
            f"were disturbed: {_counted(gone)}. The timelines show them.",
        )


def events_told(events: Sequence[Event]) -> str:
    """The first few events in words."""
    told = "; ".join(
        f"{one.kind.replace('_', ' ')}{f' on {one.host}' if one.host else ''}: {one.text}"
        for one in events[:_SHOWN]
    )
    more = len(events) - _SHOWN
    return f"{told}; and {more} more" if more > 0 else told


def _lasted_s(phase: PhaseNumbers) -> float:
    """How long the phase lasted; `seconds` is without what was left out, unless that is all."""
    whole_s = max((one.at_s + one.seconds for one in phase.series), default=0)
    return min(phase.seconds + phase.left_out.seconds, whole_s or float("inf"))


def _in(events: Sequence[Event], phase: PhaseNumbers) -> Iterator[Event]:
    ended_s = phase.started_s + max((one.at_s + one.seconds for one in phase.series), default=0)
    yield from (one for one in events if one.at_s < ended_s and one.until_s >= phase.started_s)


def _seconds(events: Sequence[Event], phase: PhaseNumbers) -> int:
    """Seconds of a phase that any of the events touches."""
    ended_s = phase.started_s + max((one.at_s + one.seconds for one in phase.series), default=0)
    touched = 0
    reached_s = phase.started_s
    for one in sorted(events, key=lambda event: event.at_s):
        from_s = max(int(one.at_s), reached_s)
        to_s = min(int(one.until_s) + 1, ended_s)
        touched += max(to_s - from_s, 0)
        reached_s = max(reached_s, to_s)
    return touched


def _counted(events: Sequence[Event]) -> str:
    counts = Counter(one.kind.replace("_", " ") for one in events)
    return ", ".join(
        f"{kind} {count} times" if count > 1 else kind for kind, count in counts.most_common()
    )
