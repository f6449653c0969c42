"""Recorded histories of one target -> what its word was worth: `consistency.json`.

Needs the archive alone, and is made anew whenever a run is judged. A contradiction that rests on
what was recorded stands whatever is missing; "all is well" is said only where nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadgen.contract.plan import Plan
from soakbed.archive.run_folder import RunFolder, facts_in
from soakbed.errors import ArchiveError
from soakbed.records.clocks import SessionClocks
from soakbed.records.consistency import Consistency, Gap, Recorded
from soakbed.records.events import Event
from soakbed.records.numbers import Numbers
from soakbed.records.run import LoadOutcome
from soakbed.records.testbed import Testbed
from soakbed.stages import consistency_checks as checks
from soakbed.stages.clocks import furthest
from soakbed.stages.consistency_checks import Basis, Gathered
from soakbed.stages.consistency_reading import Histories, Session
from soakbed.stages.consistency_revisions import WriteOrder
from soakbed.stages.consistency_shards import Shards, parts_for
from soakbed.stages.consistency_zones import Missing
from soakbed.stages.load_plan import ranks_by_host

__all__ = ["CLOCK_SET", "FAILOVER", "bound_us", "consistency_of"]

MOST_GAPS = 100  # in the record
# The kinds of event that tell of a replica that became master, and of a clock that was set.
FAILOVER = "leader_change"
CLOCK_SET = "clock_step"


def consistency_of(
    run: RunFolder, target: str, numbers: Numbers, events: Sequence[Event] = ()
) -> Consistency:
    """Every check over one target, as far as its run recorded what it needs.

    Raises ArchiveError where a record is damaged, or the disk has no room for a long history.
    """
    folder = run.path / target
    sessions = _sessions(run, folder)
    histories = Histories(sessions)
    if not histories.recorded:
        return Consistency.not_recorded(target)
    testbed = run.read("testbed", Testbed)
    hosts = _host_of_rank(testbed, max(one.workers for one in sessions))
    manifest = facts_in(run.path / "manifest.json")
    clocks = SessionClocks.in_manifest(manifest, target)
    apart_us = bound_us([clocks.get(one.name) for one in sessions if one.files()], testbed)
    failovers = _failovers(target, events)
    basis = Basis(apart_us, hosts, failovers, _set_clocks(testbed, events))
    gathered = _gathered(folder, target, histories, basis)
    made = checks.of_histories(target, gathered)
    made.append(checks.of_replicas(run, target))
    recorded = Recorded(
        operations=gathered.operations,
        keys=gathered.keys,
        share=histories.share,
        bound_us=apart_us,
        gaps=tuple(_few_keys(one) for one in gathered.gaps[:MOST_GAPS]),
    )
    return Consistency.of(target, made, recorded=recorded, level=gathered.level)


def _few_keys(gap: Gap) -> Gap:
    """A record names the first keys alone."""
    return gap.model_copy(update={"keys": gap.keys[:MOST_GAPS]}) if gap.keys else gap


def bound_us(clocks: Sequence[SessionClocks | None], testbed: Testbed) -> int | None:
    """By how much the clocks of the load hosts differ at most, in any session; None: not known."""
    load_hosts = {host.name for host in testbed.of_duty("load")}
    if len(load_hosts) < 2:
        return 0
    most = 0
    for around in clocks:
        for comparison in around.moments().values() if around else (None,):
            if comparison is None or load_hosts - set(comparison.hosts):
                return None
            pair = furthest(comparison)
            most = max(most, pair.most_us if pair else 0)
    return most


def _gathered(folder: Path, target: str, histories: Histories, basis: Basis) -> Gathered:
    """Everything is read once, in order of time, and laid down by key; then checked by key."""
    gathered = Gathered(basis)
    order = WriteOrder(basis.apart_us, basis.hosts) if target == "etcd" else None
    try:
        with Shards(folder, parts_for(histories.size_bytes)) as shards:
            for rows, until_us in histories.stretches():
                shards.feed(rows)
                if order is not None:
                    order.feed(rows, until_us)
            gathered.missing = Missing.merged(histories.missing)
            gathered.gaps = list(histories.gaps)
            for rows in shards.parts():
                checks.take(gathered, target, rows)
    except OSError as error:
        raise ArchiveError(
            f"{folder}: a long history could not be laid down by key: {error}",
            remedy="make room on this disk, then judge the run again",
        ) from error
    gathered.write_order = order.end() if order is not None else None
    return gathered


def _sessions(run: RunFolder, folder: Path) -> list[Session]:
    """Sessions that pressed the target, in order of time."""
    found = []
    for path in sorted(folder.glob("load/*/plan.json")):
        name, workers, began_s = path.parent.name, Plan.read(path).workers, 0.0
        unfinished: tuple[int, ...] = tuple(range(workers))
        if run.has(f"{folder.name}/load/{name}"):
            outcome = run.read(f"{folder.name}/load/{name}", LoadOutcome)
            began_s, unfinished = outcome.started_s, outcome.workers_missing
        found.append((began_s or float("inf"), Session(path.parent, workers, unfinished)))
    return [one for _, one in sorted(found, key=lambda held: held[0])]


def _host_of_rank(testbed: Testbed, workers: int) -> tuple[int, ...]:
    by_host = ranks_by_host(testbed, workers)
    held = {rank: at for at, ranks in enumerate(by_host.values()) for rank in ranks}
    return tuple(held.get(rank, -1) for rank in range(workers))


def _failovers(target: str, events: Sequence[Event]) -> tuple[float, ...]:
    """When a replica of Redis Cluster became master: it promises nothing across that."""
    if target != "redis_cluster":
        return ()
    return tuple(sorted({one.at_s for one in events if one.kind == FAILOVER}))


def _set_clocks(testbed: Testbed, events: Sequence[Event]) -> tuple[str, ...]:
    """Load hosts whose clock was set while the target was pressed."""
    load_hosts = {host.name for host in testbed.of_duty("load")}
    return tuple(sorted({one.host for one in events if one.kind == CLOCK_SET} & load_hosts))
