"""Records of a run -> `summary.json`, a contract that others read: names only ever come to it."""

from __future__ import annotations

from pathlib import Path

from soakbed.archive.run_folder import RunFolder
from soakbed.records.consistency import Consistency
from soakbed.records.cost import RunCost
from soakbed.records.gaps import Coverage, TargetCoverage
from soakbed.records.knee import Knee
from soakbed.records.numbers import Numbers, OperationNumbers
from soakbed.records.run import NotMeasured, TargetReady
from soakbed.records.summary import (
    ConsistencySummary,
    CostSummary,
    GapSummary,
    KneeSummary,
    MeasuredTarget,
    OperationSummary,
    Summary,
    SummaryTestbed,
    UnmeasuredTarget,
)
from soakbed.records.testbed import Testbed
from soakbed.records.verdict import Verdict

__all__ = ["assemble_summary", "summary_of_target"]


def assemble_summary(run_folder: Path) -> Summary:
    """The summary of a run from its spec, testbed, and each target's ready, numbers and verdict.

    Targets come in the order of the spec. One that never became ready, or was never pressed, is
    `not_measured` with the reason. Raises ArchiveError when a record is missing or damaged.
    """
    run = RunFolder(run_folder)
    spec, testbed, cost = run.spec(), run.read("testbed", Testbed), run.cost()
    targets = {name: _costed(_target(run, name), cost) for name in spec.targets}
    return Summary(
        run_id=run.run_id,
        testbed=SummaryTestbed(
            provider=testbed.provider,
            hosts=len(testbed.hosts),
            name=testbed.name,
            shares_machine=testbed.shares_machine,
        ),
        targets=targets,
        profile=spec.profile,
        workload=spec.workload.name,
        cost=_cost(cost) if cost else None,
    )


def _cost(cost: RunCost) -> CostSummary:
    """Of a run that never came to its end no amount is told."""
    hour, seconds = cost.hour, cost.seconds(cost.began_s)
    return CostSummary(
        amount=hour.of(seconds) if cost.ended_s else None,
        per_hour=hour.per_hour,
        currency=hour.currency,
        hours=round(seconds / 3600.0, 4),
        basis=hour.basis,
        dated=hour.dated,
        at_most=hour.at_most,
        budget=cost.budget.amount if cost.budget else None,
    )


def _costed(
    held: MeasuredTarget | UnmeasuredTarget, cost: RunCost | None
) -> MeasuredTarget | UnmeasuredTarget:
    """With what a billion of its operations cost, where hosts have a price."""
    if cost is None or cost.hour.is_free or not isinstance(held, MeasuredTarget):
        return held
    amount = cost.hour.of_billion(held.throughput_per_s)
    return held.model_copy(update={"cost_per_billion": amount})


def _target(run: RunFolder, name: str) -> MeasuredTarget | UnmeasuredTarget:
    stop = run.stop()
    if stop is not None and not run.has(f"{name}/verdict"):
        return UnmeasuredTarget(
            reason=f"the run was stopped before this target was measured: {stop.why}"
        )
    if not run.has(f"{name}/ready"):
        return UnmeasuredTarget(
            reason="the run ended before this target was configured",
            remedy=f"soakbed resume {run.run_id}",
        )
    ready: TargetReady = run.read(f"{name}/ready", TargetReady)  # type: ignore[arg-type]  # a union
    if isinstance(ready, NotMeasured):
        return UnmeasuredTarget(reason=ready.reason, remedy=ready.remedy)
    if not run.has(f"{name}/verdict"):
        return UnmeasuredTarget(
            reason="the run ended before this target was measured and judged",
            remedy=f"soakbed resume {run.run_id}",
        )
    numbers, verdict = run.read(f"{name}/numbers", Numbers), run.read(f"{name}/verdict", Verdict)
    knee = run.read(f"{name}/knee", Knee) if run.has(f"{name}/knee") else None
    made = summary_of_target(
        version=ready.version,
        substituted=ready.substituted,
        numbers=numbers,
        verdict=verdict,
        knee=knee,
    )
    if run.has(f"{name}/consistency"):
        kept = ConsistencySummary.of(run.read(f"{name}/consistency", Consistency))
        made = made.model_copy(update={"consistency": kept})
    if not run.has(f"{name}/coverage"):
        return made
    held = run.read(f"{name}/coverage", TargetCoverage).of("steady", "steady")
    return made.model_copy(update=_coverage(held)) if held else made


def _coverage(held: Coverage) -> dict[str, object]:
    return {
        "coverage_percent": round(held.percent, 4),
        "gaps": tuple(GapSummary(**gap.model_dump()) for gap in held.gaps),
    }


def summary_of_target(
    *,
    version: str,
    substituted: bool,
    numbers: Numbers,
    verdict: Verdict,
    knee: Knee | None = None,
) -> MeasuredTarget:
    """One measured target in short. A phase that never ran counts zero; the verdict says why."""
    capacity = numbers.phase("capacity", "capacity")
    steady = numbers.phase("steady", "steady")
    held = steady.operations if steady else {}
    return MeasuredTarget(
        version=version,
        substituted=substituted,
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        capacity_per_s=capacity.throughput_per_s if capacity else 0.0,
        offered_per_s=steady.offered_per_s if steady else 0.0,
        throughput_per_s=steady.throughput_per_s if steady else 0.0,
        read=_operation(held.get("read")),
        write=_operation(held.get("write")),
        count=sum(phase.ended for phase in (capacity, steady) if phase is not None),
        total_operations=sum(session.ended for session in numbers.sessions.values()),
        capacity_is_at_least=verdict.generator_limited,
        caveats=tuple(caveat.sentence for caveat in verdict.caveats),
        knee=KneeSummary.of(knee) if knee else None,
    )


def _operation(numbers: OperationNumbers | None) -> OperationSummary:
    if numbers is None:
        return OperationSummary(
            count=0,
            failed=0,
            unknown=0,
            response_p50_us=None,
            response_p99_us=None,
            service_p99_us=None,
        )
    return OperationSummary(
        count=numbers.ended,
        failed=numbers.failed,
        unknown=numbers.unknown,
        response_p50_us=numbers.response.p50_us,
        response_p99_us=numbers.response.p99_us,
        service_p99_us=numbers.service.p99_us,
        response_p99_9_us=numbers.response.p99_9_us,
        service_p50_us=numbers.service.p50_us,
        service_p99_9_us=numbers.service.p99_9_us,
        lag_p99_us=numbers.lag.p99_us,
        causes=numbers.causes,
    )
