"""A target's folder of a run, read back as one value for `stages.judge`.

Facts of hosts are read by the names of their keys, wherever they lie in the file: the judge must
read runs older and newer than itself. What a file does not say is None, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soakbed.archive.data.collate import known
from soakbed.archive.data.reading import TargetData
from soakbed.archive.run_folder import RunFolder, facts_in
from soakbed.records.calibration import RunCalibration
from soakbed.records.clocks import SessionClocks
from soakbed.records.events import Event
from soakbed.records.facts import Facts
from soakbed.records.gaps import TargetCoverage
from soakbed.records.knee import Knee
from soakbed.records.numbers import Numbers
from soakbed.records.placement import Placement, PlacementChange
from soakbed.records.run import LoadOutcome, TargetReady
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Testbed
from soakbed.stages.gaps import coverage_of

__all__ = ["Evidence", "HostFacts", "evidence_of"]


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts of one host before and after the load; empty when they were not collected."""

    before: Facts = field(default_factory=dict)
    after: Facts = field(default_factory=dict)

    @property
    def collected(self) -> bool:
        """Whether both ends are there, so that a difference means something."""
        return bool(self.before) and bool(self.after)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a verdict over one target rests on."""

    spec: RunSpec
    testbed: Testbed
    ready: TargetReady
    numbers: Numbers
    outcomes: Mapping[str, LoadOutcome] = field(default_factory=dict)
    hosts: Mapping[str, HostFacts] = field(default_factory=dict)
    preflight: Facts = field(default_factory=dict)
    calibration: RunCalibration = field(default_factory=RunCalibration)
    placement: PlacementChange = field(default_factory=PlacementChange)  # around session "steady"
    knee: Knee | None = None  # where the workload asked for it
    clocks: Mapping[str, SessionClocks] = field(default_factory=dict)  # of the load hosts
    events: tuple[Event, ...] | None = None  # None: nobody collected any
    coverage: TargetCoverage | None = None  # None: there are no tables


def evidence_of(
    run_folder: Path, target: str, numbers: Numbers, *, coverage: TargetCoverage | None = None
) -> Evidence:
    """Read the rest of the evidence over `target` from the archive; `coverage`: where it is known.

    Raises ArchiveError when spec, testbed or ready record are missing or damaged.
    """
    run = RunFolder(run_folder)
    folder = run_folder / target
    sessions = [
        path.stem for path in sorted(folder.glob("load/*.json")) if path.stem in numbers.sessions
    ]
    manifest = facts_in(run_folder / "manifest.json")
    return Evidence(
        spec=run.spec(),
        testbed=run.read("testbed", Testbed),
        ready=run.read(f"{target}/ready", TargetReady),  # type: ignore[arg-type]  # a union
        numbers=numbers,
        outcomes={name: run.read(f"{target}/load/{name}", LoadOutcome) for name in sessions},
        hosts={
            path.name: HostFacts(
                facts_in(path / "facts-before.json"), facts_in(path / "facts-after.json")
            )
            for path in sorted(folder.glob("hosts/*"))
            if path.is_dir()
        },
        preflight=facts_in(run_folder / "preflight.json"),
        calibration=RunCalibration.in_manifest(manifest),
        placement=PlacementChange(
            before=_placement(run, f"{target}/placement/steady-before"),
            after=_placement(run, f"{target}/placement/steady-after"),
        ),
        knee=run.read(f"{target}/knee", Knee) if run.has(f"{target}/knee") else None,
        clocks=SessionClocks.in_manifest(manifest, target),
        events=_events(folder),
        coverage=coverage or _coverage(folder),
    )


def _events(target_folder: Path) -> tuple[Event, ...] | None:
    collated = known(target_folder)
    return TargetData(target_folder, collated).events() if collated else None


def _coverage(target_folder: Path) -> TargetCoverage | None:
    collated = known(target_folder)
    return coverage_of(target_folder, collated) if collated else None


def _placement(run: RunFolder, name: str) -> Placement | None:
    return run.read(name, Placement) if run.has(name) else None
