"""Samples of the hosts and numbers of the load -> what each phase used and cost: `resources.json`.

Needs nothing but the archive, so an old run can be asked again by better code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from loadgen.contract.plan import Plan
from soakbed.archive.data.samples import HostSamples, TargetSamples, samples_of_target
from soakbed.archive.run_folder import RunFolder
from soakbed.records.numbers import Numbers, PhaseNumbers
from soakbed.records.resources import PhaseResources, Resources
from soakbed.records.testbed import Duty, Testbed
from soakbed.stats.resources import costs_of, use_of_hosts, use_of_units

__all__ = ["resources_of"]

_WRITE = "write"


def resources_of(run_folder: Path, target: str, numbers: Numbers) -> Resources:
    """What every phase of `target` used of the hosts; without samples it says that there are none.

    Raises ArchiveError when the testbed's record is missing or damaged.
    """
    testbed = RunFolder(run_folder).read("testbed", Testbed)
    folder = run_folder / target
    duties: dict[str, Duty] = {name: host.duty for name, host in sorted(testbed.hosts.items())}
    read = samples_of_target(folder, duties)
    phases = (
        _phase(read, duties, session, phase, folder)
        for session, held in numbers.sessions.items()
        for phase in held.phases.values()
    )
    return Resources(
        target=target,
        phases=tuple(phase for phase in phases if phase.hosts),
        notes=tuple(_notes(read.by_host)),
    )


def _phase(
    read: TargetSamples,
    duties: Mapping[str, Duty],
    session: str,
    numbers: PhaseNumbers,
    folder: Path,
) -> PhaseResources:
    whole = [point for point in numbers.series if point.complete] or numbers.series
    start_s = numbers.started_s + float(min((point.at_s for point in whole), default=0))
    end_s = numbers.started_s + float(max((one.at_s + one.seconds for one in whole), default=0))
    used = use_of_hosts(read.hosts, start_s, end_s)
    by_unit = use_of_units(read.units, start_s, end_s)
    ok = {
        name: sum(point.ok_per_s.get(name, 0.0) * point.seconds for point in whole)
        for name in numbers.operations
    }
    seconds = end_s - start_s
    return PhaseResources(
        session=session,
        phase=numbers.phase,
        started_s=start_s,
        seconds=seconds,
        operations=round(sum(ok.values())),
        writes=round(ok.get(_WRITE, 0.0)),
        hosts=used,
        units=by_unit,
        costs=costs_of(
            used,
            by_unit,
            duties=duties,
            seconds=seconds,
            operations_per_s=sum(ok.values()) / seconds if seconds else 0.0,
            writes_per_s=ok.get(_WRITE, 0.0) / seconds if seconds else 0.0,
            value_bytes=Plan.read(folder / "load" / session / "plan.json").value_bytes,
        ),
    )


def _notes(read: Mapping[str, HostSamples]) -> Iterator[str]:
    """What limits the figures, in sentences that begin with the host."""
    for host, one in read.items():
        if not one.hosts["at_s"].size:
            yield f"{host}: no samples were taken, so nothing is known of what it used"
            continue
        for damage, count in sorted(one.damages.items()):
            yield f"{host}: {damage}: {count:,}, left out"
        if one.gaps:
            longest_s = max(until - since for since, until in one.gaps)
            yield f"{host}: {len(one.gaps)} gaps between samples, the longest {longest_s:.0f} s"
        if not one.units["at_s"].size:
            yield f"{host}: no unit of soakbed was seen, so nothing is known of what its own used"
        shared = sorted(group for group, said in one.sources.items() if said and said[0] != "host")
        if shared:
            yield f"{host}: {', '.join(shared)} speak of the machine that hosts share"
