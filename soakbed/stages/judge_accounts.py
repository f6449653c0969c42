"""Rules over completeness and book-keeping: is everything there, and do the counts add up?

`stages.judge` asks them first, because a hole in the evidence makes other rules meaningless.
"""

from __future__ import annotations

from soakbed.records.numbers import SessionNumbers
from soakbed.records.run import LoadOutcome
from soakbed.records.verdict import Finding, Rule
from soakbed.stages.evidence import Evidence
from soakbed.stages.judge_coverage import is_covered
from soakbed.stats.percentiles import smallest_sample_for

__all__ = [
    "COUNT_RULES",
    "EXPECTED",
    "LEAST_SAMPLE",
    "VALUES_RULE",
    "WHOLE_RULES",
    "counts_add_up",
    "locust_agrees",
    "sample_carries_p99",
    "sessions_finished",
    "spools_whole",
    "values_read_back",
    "workers_reported",
]

# What an engine notes that came too late; the load stage puts the worker before it.
_LATE = "late_start_s"
# Session -> the phase whose figures the page shows.
EXPECTED = {"capacity": "capacity", "steady": "steady"}
LEAST_SAMPLE = smallest_sample_for(99.0)

_SESSIONS = Rule(
    name="sessions_finished",
    limit="both sessions finished, each with its measured phase",
    remedy="resume the run, or read load/*/locust/ for what stopped it",
    breaks="incomplete",
)
_WORKERS = Rule(
    name="workers_reported",
    limit="every worker's end frame, every window",
    remedy="collect again while the load host lives, else measure again",
    breaks="incomplete",
)
_SPOOLS = Rule(
    name="spools_whole",
    limit="every frame's checksum is right",
    remedy="collect the spools again, and suspect the disk they lay on",
    breaks="incomplete",
)
_COUNTS = Rule(
    name="counts_add_up",
    limit="exact, in every account",
    remedy="operations were lost or counted twice: report it, and measure again",
)
# Locust may count fewer, since load goes on without its master (design D9): that is a caveat.
# More means that the spools lost something.
_LOCUST = Rule(
    name="locust_agrees",
    limit="Locust's count is at most the spools'",
    remedy="collect the spools again, they hold less than was sent",
    breaks="incomplete",
)
_SAMPLE = Rule(
    name="sample_carries_p99",
    limit=f"{LEAST_SAMPLE:,} ok operations each: ten values above P99",
    remedy="lengthen phases.steady_s in the workload",
    breaks="incomplete",
)
VALUES_RULE = Rule(
    name="values_read_back",
    limit="none corrupt, none missing: speed without the data is no speed",
    remedy="check fill, evictions and failovers in the members' journals under hosts/",
)
WHOLE_RULES = (_SESSIONS, _WORKERS, _SPOOLS)
COUNT_RULES = (_COUNTS, _LOCUST, _SAMPLE)


def sessions_finished(evidence: Evidence) -> Finding:
    """Both sessions ran to their end and left the phase that the page shows."""
    problems = []
    for session, phase in EXPECTED.items():
        outcome = evidence.outcomes.get(session)
        if session not in evidence.numbers.sessions or outcome is None:
            problems.append(f"session {session} is missing{_for_want_of_a_knee(session, evidence)}")
        elif outcome.outcome != "finished":
            why = f": {outcome.reason}" if outcome.reason else ""
            problems.append(f"session {session} {outcome.outcome}{why}")
        elif evidence.numbers.phase(session, phase) is None:
            problems.append(f"session {session} has no window of phase {phase}")
    if problems:
        return _SESSIONS.broken("; ".join(problems))
    return _SESSIONS.kept(f"sessions {' and '.join(EXPECTED)} finished")


def _for_want_of_a_knee(session: str, evidence: Evidence) -> str:
    """Why there was no rate to press at, where a steady rate was to be a share of the knee."""
    knee, asked = evidence.knee, evidence.spec.workload.steady_rate
    if session != "steady" or knee is None or knee.held_per_s or asked.share_of_knee is None:
        return ""
    return f": its rate was to be a share of the knee. {knee.sentence.rstrip('.')}"


def workers_reported(evidence: Evidence) -> Finding:
    """Every worker left an end frame and an unbroken sequence of windows."""
    problems = []
    for name, session in evidence.numbers.sessions.items():
        outcome = evidence.outcomes.get(name)
        gone = set(outcome.workers_missing) if outcome else set()
        for worker in session.workers:
            who = f"{name}: worker {worker.worker}"
            if worker.outcome == "missing" or worker.worker in gone:
                problems.append(f"{who} of {session.planned_workers} left no end frame")
            elif worker.outcome == "failed":
                problems.append(f"{who} failed: {worker.reason or 'no reason given'}")
            if worker.windows_lost and not _are_covered(evidence, session):
                problems.append(f"{who} lost {worker.windows_lost} windows")
        problems += [f"{name}: {share}" for share in _missing_shares(evidence, session)]
        if name in EXPECTED:  # a fill ends for each when it is done
            problems += [f"{name}: {late}" for late in _late_starts(outcome)]
    if problems:
        return _WORKERS.broken("; ".join(problems))
    count = sum(len(session.workers) for session in evidence.numbers.sessions.values())
    return _WORKERS.kept(f"{count} of {count} spools end with the engine's own totals")


def _are_covered(evidence: Evidence, session: SessionNumbers) -> bool:
    """Whether the rule over coverage speaks for whatever the session lacks."""
    phases = [phase.phase for phase in session.phases.values() if phase.mode != "fill"]
    return all(is_covered(evidence, session.session, phase) for phase in phases)


def _missing_shares(evidence: Evidence, session: SessionNumbers) -> list[str]:
    """What is missing of each phase, so that half the load is never read as all of it."""
    return [
        f"{phase.phase} lacks {one.seconds} s of worker {one.worker}, {one.share:.1%} of the load"
        for phase in session.phases.values()
        if not is_covered(evidence, session.session, phase.phase)
        for one in phase.missing
    ]


def _late_starts(outcome: LoadOutcome | None) -> list[str]:
    """Workers that began after the common start of the plan, so that others pressed alone."""
    notes = outcome.notes if outcome else {}
    return [
        f"{key.removesuffix(_LATE).replace('_', ' ').strip() or 'every worker'} began {late_s} s "
        "after the common start"
        for key, late_s in sorted(notes.items())
        if key.endswith(_LATE)
    ]


def spools_whole(evidence: Evidence) -> Finding:
    """No spool was changed after it was written."""
    if evidence.numbers.damaged:
        return _SPOOLS.broken("; ".join(evidence.numbers.damaged))
    return _SPOOLS.kept("every frame is whole")


def counts_add_up(evidence: Evidence) -> Finding:
    """Every operation sent ended, in the windows, the engines' totals and the load stage's."""
    problems: list[str] = []
    checked = 0
    for name, session in evidence.numbers.sessions.items():
        checked += session.total("sent")
        in_flight = evidence.spec.workload.most_in_flight
        problems += [f"{name}: {problem}" for problem in _sum_problems(session, in_flight)]
        outcome = evidence.outcomes.get(name)
        if outcome is not None and outcome.sent != session.total("sent"):
            problems.append(
                f"{name}: {session.total('sent'):,} sent in windows, "
                f"{outcome.sent:,} in load/{name}.json"
            )
    if problems:
        return _COUNTS.broken("; ".join(problems))
    return _COUNTS.kept(f"{checked:,} sent = ok + failed + unknown, in every account")


def _sum_problems(session: SessionNumbers, most_in_flight: int) -> list[str]:
    """Accounts that differ. How what was under way ended when an engine died, nobody knows; and
    the load stage has held the totals of the engine after it against its own windows.
    """
    sent, ended = session.total("sent"), session.ended
    died = sum(worker.engines - 1 for worker in session.workers)
    problems = []
    if not 0 <= sent - ended <= died * most_in_flight:
        problems.append(f"{sent:,} sent but {ended:,} ended in the windows")
    for name in ("sent", "ok", "failed", "unknown") if not died else ():
        windows = session.total(name)
        engines = sum(getattr(worker, name) for worker in session.workers)
        if engines != windows:
            problems.append(f"{windows:,} {name} in windows, {engines:,} by the engines' totals")
    return problems


def locust_agrees(evidence: Evidence) -> Finding:
    """Locust did not count more than the spools hold."""
    more: list[str] = []
    agreed: list[str] = []
    for name, outcome in evidence.outcomes.items():
        ended = evidence.numbers.sessions[name].ended
        told = f"{name}: Locust counted {outcome.locust_requests:,} of {ended:,} operations"
        (more if outcome.locust_requests > ended else agreed).append(told)
    return _LOCUST.broken("; ".join(more)) if more else _LOCUST.kept("; ".join(agreed))


def sample_carries_p99(evidence: Evidence) -> Finding:
    """The steady phase holds enough ok operations of each kind for a P99."""
    steady = evidence.numbers.phase("steady", "steady")
    held = {} if steady is None else {name: one.ok for name, one in steady.operations.items()}
    share = evidence.spec.workload.read_share
    wanted = [name for name, part in (("read", share), ("write", 1 - share)) if part > 0]
    told = " and ".join(f"{held.get(name, 0):,} ok {name}s" for name in wanted)
    if any(held.get(name, 0) < LEAST_SAMPLE for name in wanted):
        return _SAMPLE.broken(f"{told} in the steady phase, a P99 needs {LEAST_SAMPLE:,} of each")
    return _SAMPLE.kept(f"{told} in the steady phase")


def values_read_back(evidence: Evidence) -> Finding:
    """No read of a filled key came back empty or with bytes that nobody wrote."""
    found = {"corrupt": 0, "missing": 0}
    for session in evidence.numbers.sessions.values():
        for phase in session.phases.values():
            for operation in phase.operations.values():
                for cause in found:
                    found[cause] += operation.causes.get(cause, 0)
    if any(found.values()):
        return VALUES_RULE.broken(
            f"{found['corrupt']:,} values corrupt, {found['missing']:,} missing"
        )
    return VALUES_RULE.kept("every value read was one that had been written")
