"""A finished run as the report sees it: every record it needs, read once, nothing recomputed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from soakbed.archive.run_folder import RunFolder, facts_in
from soakbed.errors import ArchiveError
from soakbed.records.calibration import RunCalibration
from soakbed.records.claims import Claims
from soakbed.records.consistency import Consistency
from soakbed.records.cost import RunCost
from soakbed.records.events import Event
from soakbed.records.facts import Facts
from soakbed.records.gaps import TargetCoverage
from soakbed.records.knee import Knee
from soakbed.records.numbers import Numbers, PhaseNumbers
from soakbed.records.resources import Resources
from soakbed.records.run import NotMeasured, ReadyTarget, StageTime, TargetReady
from soakbed.records.spec import RunSpec
from soakbed.records.summary import MeasuredTarget, Summary
from soakbed.records.testbed import Duty, Testbed
from soakbed.records.verdict import Verdict
from soakbed.report.samples import HostSeries, used_and_happened

__all__ = ["MeasuredRun", "ReportedRun", "load_claims", "read_run"]

_CLAIMS = Path(__file__).parent / "claims.json"


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One target that was pressed: its records. `used` and `hosts` are empty without samples."""

    name: str
    ready: ReadyTarget
    numbers: Numbers
    verdict: Verdict
    summary: MeasuredTarget
    used: Resources
    hosts: tuple[HostSeries, ...] = ()
    events: tuple[Event, ...] = ()
    coverage: TargetCoverage | None = None  # None: judged before it was recorded
    knee: Knee | None = None  # where the workload asked for it
    kept: Consistency | None = None  # its word; None: judged before anybody asked

    @property
    def steady(self) -> PhaseNumbers | None:
        """The open-loop phase that latencies come from."""
        return self.numbers.phase("steady", "steady")

    @property
    def capacity(self) -> PhaseNumbers | None:
        """The closed-loop phase that capacity comes from."""
        return self.numbers.phase("capacity", "capacity")


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """One run: what was asked, on what, and what came of each target."""

    run_id: str
    spec: RunSpec
    testbed: Testbed
    manifest: Facts
    preflight: Facts
    host_facts: Facts  # by host, of the first target that was pressed
    times: tuple[StageTime, ...]  # of a run that has no manifest yet
    summary: Summary
    measured: tuple[MeasuredRun, ...]
    cost: RunCost | None = None  # None: it has no price

    @property
    def calibration(self) -> RunCalibration:
        """What the run knew of its load hosts' ceiling."""
        return RunCalibration.in_manifest(self.manifest)


def read_run(run_folder: Path) -> ReportedRun:
    """Read every record of a run. Raises ArchiveError naming the file and the command to run."""
    run = RunFolder(run_folder)
    summary = run.read("summary", Summary)
    testbed = run.read("testbed", Testbed)
    duties = {name: host.duty for name, host in testbed.hosts.items()}
    measured = [
        _measured(run, name, held, duties)
        for name, held in summary.targets.items()
        if isinstance(held, MeasuredTarget)
    ]
    return ReportedRun(
        run_id=run.run_id,
        spec=run.spec(),
        testbed=testbed,
        manifest=facts_in(run_folder / "manifest.json"),
        preflight=facts_in(run_folder / "preflight.json"),
        host_facts=_host_facts(run_folder, [one.name for one in measured]),
        times=tuple(run.times()),
        summary=summary,
        measured=tuple(measured),
        cost=run.cost(),
    )


def _measured(
    run: RunFolder, name: str, held: MeasuredTarget, duties: Mapping[str, Duty]
) -> MeasuredRun:
    ready: TargetReady = run.read(f"{name}/ready", TargetReady)  # type: ignore[arg-type]
    if isinstance(ready, NotMeasured):
        raise ArchiveError(
            f"{run.path}: summary.json says {name} was measured, {name}/ready.json that not",
            remedy=f"judge the run again: soakbed judge {run.run_id}",
        )
    numbers = run.read(f"{name}/numbers", Numbers)
    verdict = run.read(f"{name}/verdict", Verdict)
    used = Resources(target=name)
    if run.has(f"{name}/resources"):
        used = run.read(f"{name}/resources", Resources)
    hosts, events = used_and_happened(run.path / name, duties)
    coverage = knee = kept = None
    if run.has(f"{name}/coverage"):
        coverage = run.read(f"{name}/coverage", TargetCoverage)
    if run.has(f"{name}/knee"):
        knee = run.read(f"{name}/knee", Knee)
    if run.has(f"{name}/consistency"):
        kept = run.read(f"{name}/consistency", Consistency)
    return MeasuredRun(
        name, ready, numbers, verdict, held, used, hosts, events, coverage, knee, kept
    )


def load_claims(path: Path = _CLAIMS) -> Claims:
    """Published figures to show beside ours; those of the article unless another file is named."""
    return TypeAdapter(Claims).validate_json(path.read_bytes())


def _host_facts(run_folder: Path, targets: list[str]) -> Facts:
    """Facts of the hosts before the first load; {} when nobody collected them."""
    for target in targets:
        folders = sorted((run_folder / target / "hosts").glob("*/facts-before.json"))
        if folders:
            return {path.parent.name: facts_in(path) for path in folders}
    return {}
