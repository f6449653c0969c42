"""One target of one archived run as a comparison sees it: its records, read once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soakbed.archive.run_folder import RunFolder, facts_in
from soakbed.errors import ArchiveError
from soakbed.records.consistency import Consistency
from soakbed.records.facts import Facts
from soakbed.records.gaps import TargetCoverage
from soakbed.records.numbers import Numbers, PhaseNumbers
from soakbed.records.run import NotMeasured, ReadyTarget
from soakbed.records.spec import TargetName
from soakbed.records.verdict import Verdict
from soakbed.stages.evidence import Evidence, evidence_of

__all__ = ["Pressed", "pressed_targets"]


@dataclass(frozen=True, slots=True)
class Pressed:
    """A target that was pressed and judged in one run; `folder` is results/<run_id>/<target>."""

    run_id: str
    target: TargetName
    folder: Path
    evidence: Evidence
    ready: ReadyTarget
    verdict: Verdict
    manifest: Facts
    tls: bool  # whether its plans name certificates
    kept: Consistency | None = None  # its word; None: judged before anybody asked

    @property
    def numbers(self) -> Numbers:
        """What was measured."""
        return self.evidence.numbers

    @property
    def steady(self) -> PhaseNumbers | None:
        """The open-loop phase that latencies come from."""
        return self.numbers.phase("steady", "steady")

    @property
    def capacity(self) -> PhaseNumbers | None:
        """The closed-loop phase that capacity comes from."""
        return self.numbers.phase("capacity", "capacity")

    @property
    def started_s(self) -> float:
        """When the target's first phase began, unix time; 0 when none did."""
        began = [
            phase.started_s
            for session in self.numbers.sessions.values()
            for phase in session.phases.values()
        ]
        return float(min(began, default=0))


def pressed_targets(
    run_folder: Path, *, only: Sequence[str] = (), may_be_unjudged: bool = False
) -> list[Pressed]:
    """Every target of a run that was pressed, in the order of its spec; `only` some of them.

    One that is `not_measured` is left out. Raises ArchiveError when a record is missing or
    damaged, and when one was pressed but not judged, unless that may be: then it is left out.
    """
    run = RunFolder(run_folder)
    manifest = facts_in(run_folder / "manifest.json")
    found = []
    for target in run.spec().targets:
        if (only and target not in only) or not run.has(f"{target}/ready"):
            continue
        ready = run.ready(target)
        if isinstance(ready, NotMeasured):
            continue
        if not (run.has(f"{target}/numbers") and run.has(f"{target}/verdict")):
            if may_be_unjudged:
                continue
            raise ArchiveError(
                f"{run.run_id}: {target} was not judged", remedy=f"soakbed judge {run.run_id}"
            )
        numbers = run.read(f"{target}/numbers", Numbers)
        told = f"{target}/coverage"  # as it was judged
        coverage = run.read(told, TargetCoverage) if run.has(told) else None
        found.append(
            Pressed(
                run_id=run.run_id,
                target=target,
                folder=run_folder / target,
                evidence=evidence_of(run_folder, target, numbers, coverage=coverage),
                ready=ready,
                verdict=run.read(f"{target}/verdict", Verdict),
                manifest=manifest,
                tls=_tls(run_folder / target),
                kept=_kept(run, target),
            )
        )
    return found


def _kept(run: RunFolder, target: str) -> Consistency | None:
    name = f"{target}/consistency"
    return run.read(name, Consistency) if run.has(name) else None


def _tls(folder: Path) -> bool:
    """Whether every session of the target was planned with certificates."""
    plans = sorted(folder.glob("load/*/plan.json"))
    try:
        return all(json.loads(path.read_text()).get("tls") for path in plans)
    except (AttributeError, ValueError) as error:
        raise ArchiveError(
            f"{folder}: a plan is damaged: {error}", remedy="restore load/*/plan.json from a copy"
        ) from error
