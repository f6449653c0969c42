"""Whether a soak survived: each claim held against files that do not know each other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadgen.contract.plan import Plan
from soakbed.archive.query import ask
from soakbed.records.summary import GapSummary, MeasuredTarget, Summary
from soakbed.records.watch import Unwatched
from soakbed.stages.watch_notes import watch_of
from tests.disturbances.evidence import Attempt, Counts, Second, archived, attempts
from tests.disturbances.faults import Disturbance

__all__ = ["Finding", "Left", "findings_of", "missing_of"]

# A second is written when it is over, and an engine that comes back enters at a whole one.
UNSYNCED_S = 2
ENTERS_WITHIN_S = 2
# What ends an engine, and so may cost seconds; and the cause that the gap must then have.
COSTLY = {
    "engine killed": "worker_died",
    "worker killed": "worker_died",
    "host rebooted": "load_host_down",
}
# Kinds of events (policy) and of silences (watch.json) that name a disturbance; one is enough.
NAMED_BY = {
    "controller killed": {"controller_gone", "unwatched"},
    "SSH refused": {"host_away", "unwatched"},
    "master killed": {"steering_lost"},
    "master halted": {"steering_lost"},
    "master and workers parted": {"steering_lost"},
    "engine killed": {"load_restart", "load_died", "worker_died"},
    "worker killed": {"load_restart", "load_died"},
    "disk full": {"load_disk_filling", "load_disk_full"},
    "host rebooted": {"load_reboot", "host_restarted", "load_host_down"},
}
# An event is told when it is noticed, or once it is over.
NEAR_S = 45.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim, whether it holds, and the figures."""

    claim: str
    holds: bool
    told: str


@dataclass(frozen=True, slots=True)
class Named:
    """A gap, an event or a silence, as the archive names it."""

    kind: str
    from_s: float
    until_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Left:
    """What a soak left behind.

    `kept`: session -> copy of its folder made on the load host after its end; `counted`: operations
    that the target counted, whole life; None: not asked.
    """

    run: Path
    target: str
    kept: Mapping[str, Path]
    story: Sequence[Disturbance]
    counted: int | None = None

    def plan(self, session: str = "steady") -> Plan:
        """The plan of a session."""
        return Plan.read(self.kept[session] / "plan.json")

    def gaps(self) -> list[GapSummary]:
        """What is missing of the steady phase, as summary.json names it."""
        summary = Summary.model_validate_json((self.run / "summary.json").read_bytes())
        told = summary.targets[self.target]
        assert isinstance(told, MeasuredTarget), f"{self.target} was measured"
        return list(told.gaps)

    def named(self) -> list[Named]:
        """Gaps, events and silences, all together."""
        rows = ask(self.run.parent, "SELECT kind, at_s, until_s, text FROM events").rows
        watch = watch_of(self.run / self.target / "load" / "steady")
        silences: Iterable[Unwatched] = watch.unwatched if watch else ()
        return [
            *(Named(str(kind), at_s, until_s, text) for kind, at_s, until_s, text in rows),
            *(Named(one.kind, one.from_s, one.until_s, one.told) for one in silences),
            *(Named(one.cause, one.from_s, one.until_s, one.told) for one in self.gaps()),
        ]


def findings_of(left: Left) -> list[Finding]:
    """Every claim about a soak."""
    plan = left.plan()
    by_rank = {rank: attempts(left.kept["steady"], rank) for rank in range(plan.workers)}
    lives = [attempt for lives in by_rank.values() for attempt in lives]
    tables = archived(left.run.parent)
    return [
        _the_same(lives, tables),
        _sums(lives),
        _lost(left, plan, by_rank),
        _gaps_named(left, plan, tables),
        *_disturbances_named(left),
        *([_counted(left, plan, by_rank)] if left.counted is not None else []),
    ]


def missing_of(
    plan: Plan, seconds: Iterable[Second], rank: int, *, phase: str = "steady"
) -> list[tuple[int, int]]:
    """Stretches of a phase in which a worker has no window, from and until."""
    held = {one.start_s for one in seconds if one.worker == rank and one.phase == phase}
    lasts_s = next(one.duration_s for one in plan.phases if one.name == phase)
    began_s = min(held)
    missing: list[tuple[int, int]] = []
    for second in range(began_s, began_s + lasts_s, plan.window_s):
        if second in held:
            continue
        if missing and missing[-1][1] == second:
            missing[-1] = (missing[-1][0], second + plan.window_s)
        else:
            missing.append((second, second + plan.window_s))
    return missing


def _the_same(lives: Sequence[Attempt], tables: Sequence[Second]) -> Finding:
    """Window by window."""
    written = {one for attempt in lives for one in attempt.seconds}
    only_here, only_there = written - set(tables), set(tables) - written
    doubled = len(tables) - len(set(tables))
    return Finding(
        "the archive holds every window that engines wrote, once, and no other",
        not only_here and not only_there and not doubled,
        f"{len(written):,} windows on the load host, {len(tables):,} in the archive; missing "
        f"{_shown(only_here)}, strange {_shown(only_there)}, doubled {doubled}",
    )


def _shown(seconds: Iterable[Second]) -> str:
    starts = sorted(one.start_s for one in seconds)
    return f"{len(starts)} {starts[:8]}" if starts else "0"


def _sums(lives: Sequence[Attempt]) -> Finding:
    wrong = [one for one in lives if not one.agrees()]
    ended = [one for one in lives if one.end is not None]
    return Finding(
        "the account of each engine that lived to give one is the sum of its windows",
        bool(ended) and not wrong,
        f"{len(lives)} engines, {len(ended)} with an account, {len(wrong)} wrong: "
        + "; ".join(f"attempt {one.number}: {one.end} != {one.total()}" for one in wrong),
    )


def _lost(left: Left, plan: Plan, by_rank: Mapping[int, Sequence[Attempt]]) -> Finding:
    """What is missing must lie between an engine's violent end and the next one's entry."""
    strange, costs = [], []
    for rank, lives in by_rank.items():
        written = [one for attempt in lives for one in attempt.seconds]
        for from_s, until_s in missing_of(plan, written, rank):
            cause = _costly(left.story, from_s, until_s)
            entry_s = min(
                (one.at_s for one in lives if one.number and from_s <= one.at_s <= until_s + 1),
                default=0.0,
            )
            told = f"{until_s - from_s} s from {from_s} ({cause.name if cause else 'no cause'})"
            costs.append(told)
            if cause is None or not entry_s or until_s > entry_s + ENTERS_WITHIN_S:
                strange.append(f"worker {rank}: {told}, next engine {entry_s}")
    return Finding(
        "no second is lost but those in which an engine or its host was down, and the last before",
        not strange,
        f"lost: {'; '.join(costs) or 'nothing'}"
        + (f"; not explained: {'; '.join(strange)}" if strange else ""),
    )


def _costly(story: Sequence[Disturbance], from_s: int, until_s: int) -> Disturbance | None:
    for one in story:
        if one.name in COSTLY and from_s - 1 <= one.from_s <= min(from_s + UNSYNCED_S, until_s):
            return one
    return None


def _gaps_named(left: Left, plan: Plan, tables: Sequence[Second]) -> Finding:
    """The gaps that the archive names are the seconds that it lacks, with the right causes."""
    gaps = left.gaps()
    lacking = {
        (rank, second)
        for rank in range(plan.workers)
        for from_s, until_s in missing_of(plan, tables, rank)
        for second in range(from_s, until_s)
    }
    named = {
        (rank, second)
        for gap in gaps
        for rank in gap.workers
        for second in range(gap.from_s, gap.until_s)
    }
    wrong = [
        f"{gap.from_s} to {gap.until_s}: {gap.cause} ({gap.told})"
        for gap in gaps
        if (cause := _costly(left.story, gap.from_s, gap.until_s)) is None
        or gap.cause != COSTLY[cause.name]
    ]
    told = "; ".join(f"{one.until_s - one.from_s} s from {one.from_s}: {one.cause}" for one in gaps)
    return Finding(
        "every gap is named, with the cause that it had",
        lacking == named and not wrong,
        f"{told or 'no gap'}"
        + (f"; wrong cause: {'; '.join(wrong)}" if wrong else "")
        + (f"; not named {sorted(lacking - named)}, " if lacking - named else "")
        + (f"; named and there {sorted(named - lacking)}" if named - lacking else ""),
    )


def _disturbances_named(left: Left) -> Iterator[Finding]:
    named = left.named()
    for one in left.story:
        kinds = NAMED_BY[one.name]
        until_s = one.until_s or one.from_s
        hits = [
            name
            for name in named
            if name.kind in kinds
            and name.from_s <= until_s + NEAR_S
            and name.until_s >= one.from_s - UNSYNCED_S
        ]
        told = "; ".join(f"{name.kind}: {name.text}" for name in hits[:2])
        yield Finding(
            f"'{one.name}' is named",
            bool(hits),
            told or f"none of {sorted(kinds)} from {one.from_s:.0f} to {until_s:.0f}",
        )


def _counted(left: Left, plan: Plan, by_rank: Mapping[int, Sequence[Attempt]]) -> Finding:
    """What the target counted: all that ended ok, at most what was unknown or never written."""
    assert left.counted is not None
    sums, lost_s = Counts(), 0
    for session, folder in left.kept.items():
        for rank in range(left.plan(session).workers):
            for attempt in attempts(folder, rank):
                sums.add(attempt.total())
    for rank, lives in by_rank.items():
        written = [one for attempt in lives for one in attempt.seconds]
        # Of a stretch in which an engine was down it pressed at both ends, unseen.
        lost_s += sum(2 * UNSYNCED_S for _ in missing_of(plan, written, rank))
    rate_per_s = max(phase.rate_per_s for phase in plan.phases)
    unseen = round(2 * rate_per_s * lost_s)
    more = left.counted - sums.ok
    return Finding(
        "the target counted what the archive holds, within what nobody can know",
        0 <= more <= sums.unknown + sums.failed + unseen,
        f"counted {left.counted:,}, archive {sums.ok:,} ok + {sums.unknown:,} unknown + "
        f"{sums.failed:,} failed: {more:+,}; at most {unseen:,} in seconds that were never written",
    )


def told_as_text(findings: Sequence[Finding]) -> str:
    """A line each, those that do not hold first."""
    ordered = sorted(findings, key=lambda one: one.holds)
    return "\n".join(
        f"{'ok  ' if one.holds else 'NOT '} {one.claim}: {one.told}" for one in ordered
    )


def saved(findings: Sequence[Finding], path: Path) -> None:
    """As JSON."""
    told = [{"claim": one.claim, "holds": one.holds, "told": one.told} for one in findings]
    path.write_text(json.dumps(told, indent=1) + "\n")
