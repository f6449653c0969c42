"""The rule over coverage: is what was planned in the archive, and why is the rest not?

A soak of days that lost a minute is no hole in the evidence; it says so, and each gap has a cause.
"""

from __future__ import annotations

from collections.abc import Sequence

from soakbed.records.gaps import Gap
from soakbed.records.verdict import Finding, Rule
from soakbed.stages.evidence import Evidence

__all__ = ["COVERAGE_RULES", "LEAST_COVERAGE_PERCENT", "coverage", "gaps_in_words", "is_covered"]

# What is missing of a phase is no more of its figures than the errors that it may bear.
LEAST_COVERAGE_PERCENT = 99.0

_COVERAGE = Rule(
    name="coverage",
    limit=f"at least {LEAST_COVERAGE_PERCENT:g} % of the planned worker-seconds of the steady "
    "phase are in the archive",
    remedy="see the gaps and their causes on the page; where a plan has time left: soakbed resume",
    breaks="incomplete",
)
COVERAGE_RULES = (_COVERAGE,)


def coverage(evidence: Evidence) -> Finding:
    """Nearly all that the steady phase was to measure is there."""
    held = evidence.coverage.of("steady", "steady") if evidence.coverage else None
    if held is None:
        return _COVERAGE.skipped("the steady phase never began")
    told = (
        f"{held.percent:.2f} % of {held.expected_s:,} planned worker-seconds are in the archive, "
        f"{gaps_in_words(held.gaps)}"
    )
    if held.percent < LEAST_COVERAGE_PERCENT:
        return _COVERAGE.broken(told)
    return _COVERAGE.kept(told)


def is_covered(evidence: Evidence, session: str, phase: str) -> bool:
    """Whether so little of a phase is missing that the rule over coverage speaks for it."""
    held = evidence.coverage.of(session, phase) if evidence.coverage else None
    return held is not None and held.percent >= LEAST_COVERAGE_PERCENT


def gaps_in_words(gaps: Sequence[Gap]) -> str:
    """How much is missing, by cause.

    >>> gaps_in_words(())
    'no gap'
    """
    if not gaps:
        return "no gap"
    by_cause: dict[str, int] = {}
    for gap in gaps:
        by_cause[gap.cause] = by_cause.get(gap.cause, 0) + gap.worker_seconds
    told = ", ".join(f"{cause.replace('_', ' ')} {lost:,} s" for cause, lost in by_cause.items())
    return f"{len(gaps)} gap{'s' * (len(gaps) > 1)}: {told}"
