"""The rule over the clocks of the load hosts: is a second of one the same second of another?

Windows of all workers are merged by the second that their own host's clock said.
"""

from __future__ import annotations

from collections.abc import Iterator

from soakbed.records.clocks import Apart, ClockComparison
from soakbed.records.verdict import Finding, Rule
from soakbed.stages.clocks import MOST_APART_US, furthest
from soakbed.stages.evidence import Evidence

__all__ = ["CLOCK_RULES", "load_clocks"]

_CLOCKS = Rule(
    name="load_clocks",
    limit=f"clocks of load hosts at most {MOST_APART_US // 1000} ms apart before and after each "
    "session, a twentieth of a one-second window",
    remedy="let chrony or systemd-timesyncd run on every load host, then measure again",
)
CLOCK_RULES = (_CLOCKS,)


def load_clocks(evidence: Evidence) -> Finding:
    """The load hosts' clocks agreed around every session; what nobody knows is said."""
    load_hosts = evidence.testbed.of_duty("load")
    if len(load_hosts) < 2:
        return _CLOCKS.kept("one load host: every second is of one clock")
    wide, unknown, known = [], [], []
    for when, comparison in _moments(evidence):
        if comparison is None:
            unknown.append(f"nobody compared them {when}")
            continue
        unknown += [
            f"{host} was not read {when}: {why}" for host, why in comparison.unknown.items()
        ]
        pairs = comparison.pairs()
        wide += [f"{when}: {_told(one)}" for one in pairs if one.surely_us > MOST_APART_US]
        unclear = [one for one in pairs if one.surely_us <= MOST_APART_US < one.most_us]
        unknown += [f"{when}: {_told(one)}, which does not tell" for one in unclear]
        if (pair := furthest(comparison)) is not None:
            known.append((pair.most_us, f"{_told(pair)}, {when}"))
    if wide:
        return _CLOCKS.broken(f"{'; '.join(wide)}; allowed {MOST_APART_US // 1000} ms")
    if unknown:
        return _CLOCKS.skipped(f"the load hosts' clocks are not known: {'; '.join(unknown)}")
    if not known:
        return _CLOCKS.skipped("no session was measured")
    return _CLOCKS.kept(f"{max(known)[1]}; no other two and no other time were further apart")


def _moments(evidence: Evidence) -> Iterator[tuple[str, ClockComparison | None]]:
    """Before and after each session that was measured."""
    for session in evidence.numbers.sessions:
        around = evidence.clocks.get(session)
        for when in ("before", "after"):
            yield f"{when} {session}", around.moments()[when] if around else None


def _told(pair: Apart) -> str:
    one, other = pair.hosts
    return (
        f"the clocks of {one} and {other} were {pair.apart_us / 1000:.3f} ms apart, "
        f"known to {pair.bound_us / 1000:.3f} ms"
    )
