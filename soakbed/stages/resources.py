"""Samples of the hosts and numbers of the load -> what each phase used and cost: `resources.json`.

Needs nothing but the archive, so an old run can be asked again by better code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loadgen.contract.plan import Plan
from soakbed.archive.data.samples import SAMPLES_FILE, HostSamples, read_samples
from soakbed.archive.run_folder import RunFolder
from soakbed.records.numbers import Numbers, PhaseNumbers
from soakbed.records.resources import PhaseResources, Resources
from soakbed.records.testbed import Duty, Testbed
from soakbed.stats.resources import Columns, costs_of, use_of_hosts, use_of_units

__all__ = ["resources_of"]

_WRITE = "write"


def resources_of(run_folder: Path, target: str, numbers: Numbers) -> Resources:
    """What every phase of `target` used of the hosts; without samples it says that there are none.

    Raises ArchiveError when the testbed's record is missing or damaged.
    """
    testbed = RunFolder(run_folder).read("testbed", Testbed)
    folder = run_folder / target
    duties: dict[str, Duty] = {name: host.duty for name, host in sorted(testbed.hosts.items())}
    read = {
        name: read_samples(folder / "hosts" / name / SAMPLES_FILE, host=name, duty=duty)
        for name, duty in duties.items()
    }
    hosts = _joined([one.hosts for one in read.values()])
    units = _joined([one.units for one in read.values()])
    phases = (
        _phase(hosts, units, duties, session, phase, folder)
        for session, held in numbers.sessions.items()
        for phase in held.phases.values()
    )
    return Resources(
        target=target,
        phases=tuple(phase for phase in phases if phase.hosts),
        notes=tuple(_notes(read)),
    )


def _phase(
    hosts: Columns,
    units: Columns,
    duties: Mapping[str, Duty],
    session: str,
    numbers: PhaseNumbers,
    folder: Path,
) -> PhaseResources:
    start_s, end_s = _span(numbers)
    used = use_of_hosts(hosts, start_s, end_s)
    by_unit = use_of_units(units, start_s, end_s)
    writes = numbers.operations[_WRITE].ok if _WRITE in numbers.operations else 0
    return PhaseResources(
        session=session,
        phase=numbers.phase,
        started_s=start_s,
        seconds=end_s - start_s,
        operations=numbers.total("ok"),
        writes=writes,
        hosts=used,
        units=by_unit,
        costs=costs_of(
            used,
            by_unit,
            duties=duties,
            seconds=end_s - start_s,
            operations=numbers.total("ok"),
            writes=writes,
            value_bytes=Plan.read(folder / "load" / session / "plan.json").value_bytes,
        ),
    )


def _span(numbers: PhaseNumbers) -> tuple[float, float]:
    """From the phase's first window to the end of its last: the time of all that it counted."""
    lasted_s = max((point.at_s + point.seconds for point in numbers.series), default=0)
    return float(numbers.started_s), numbers.started_s + (float(lasted_s) or numbers.seconds)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """All hosts' columns in one; hosts without samples have nothing to add."""
    said = [part for part in parts if part["at_s"].size] or parts[:1]
    return {column: np.concatenate([part[column] for part in said]) for column in said[0]}


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
        shared = sorted(
            key for key, source in one.sources.items() if source and source[0] != "host"
        )
        if shared:
            yield f"{host}: {', '.join(shared)} are of the machine that hosts share, not the host's"
