"""Small made-up records for tests of rules: sound in every way unless told otherwise."""

from __future__ import annotations

from typing import Any

from soakbed.records.numbers import (
    GeneratorNumbers,
    Latency,
    Numbers,
    OperationNumbers,
    PhaseNumbers,
    SessionNumbers,
    WorkerEnd,
)
from soakbed.records.run import LoadOutcome
from soakbed.stages.evidence import Evidence, HostFacts
from tests.golden.make_run import SHORT, ready_of, spec_of, testbed_of
from tests.golden.pretences import ETCD, Pretence

STEADY_S = 30.0


def latency(p50_us: int | None, p99_us: int | None, *, count: int = 10_000) -> Latency:
    return Latency(
        count=count,
        mean_us=0.0,
        max_us=p99_us or 0,
        clamped=0,
        p50_us=p50_us,
        p90_us=p50_us,
        p95_us=p99_us,
        p99_us=p99_us,
        p99_9_us=None,
        p99_99_us=None,
    )


def operation(**changed: Any) -> OperationNumbers:
    ok = changed.pop("ok", 10_000)
    failed, unknown = changed.pop("failed", 0), changed.pop("unknown", 0)
    sent = changed.pop("sent", ok + failed + unknown)
    held: dict[str, Any] = {
        "due": sent,
        "sent": sent,
        "ok": ok,
        "failed": failed,
        "unknown": unknown,
        "dropped": 0,
        "causes": {},
        "response": latency(1000, 3000),
        "service": latency(990, 2990),
        "lag": latency(5, 50),
    }
    return OperationNumbers(**(held | changed))


def phase(
    name: str = "steady",
    *,
    cpu_share: float = 0.5,
    read: OperationNumbers | None = None,
    write: OperationNumbers | None = None,
    **changed: Any,
) -> PhaseNumbers:
    operations = {"read": read or operation(), "write": write or operation()}
    due = sum(one.due for one in operations.values())
    ok = sum(one.ok for one in operations.values())
    held: dict[str, Any] = {
        "phase": name,
        "mode": "open" if name == "steady" else "closed",
        "started_s": 0,
        "seconds": STEADY_S,
        "offered_per_s": due / STEADY_S,
        "arrivals": "poisson",
        "throughput_per_s": ok / STEADY_S,
        "sent_per_s": due / STEADY_S,
        "operations": operations,
        "generator": GeneratorNumbers(
            cpu_share=cpu_share,
            cpu_share_max=cpu_share,
            loop_lag_max_us=500,
            overdue_max=3,
            in_flight_max=48,
            reconnects=0,
            redirects=0,
            judged_s=int(STEADY_S),
        ),
        "series": (),
        "latency_series": (),
    }
    return PhaseNumbers(**(held | changed))


def session(name: str, held: PhaseNumbers, **changed: Any) -> SessionNumbers:
    sums = {key: held.total(key) for key in ("sent", "ok", "failed", "unknown")}
    end = WorkerEnd(
        worker=0, outcome="finished", reason="", windows=30, windows_lost=0, **sums
    ).model_copy(update=changed)
    return SessionNumbers(
        session=name,
        planned_workers=1,
        planned_phases=(held.phase,),
        workers=(end,),
        phases={held.phase: held},
    )


def outcome(held: SessionNumbers, **changed: Any) -> LoadOutcome:
    made: dict[str, Any] = {
        "session": held.session,
        "outcome": "finished",
        "started_s": 0.0,
        "ended_s": STEADY_S,
        "workers": 1,
        "locust_requests": held.ended,
        **{key: held.total(key) for key in ("sent", "ok", "failed", "unknown")},
    }
    return LoadOutcome(**(made | changed))


def evidence(
    *,
    capacity: SessionNumbers | None = None,
    steady: SessionNumbers | None = None,
    outcomes: dict[str, LoadOutcome] | None = None,
    damaged: tuple[str, ...] = (),
    facts: tuple[dict[str, Any], dict[str, Any]] | None = None,
    preflight: dict[str, Any] | None = None,
    shares_machine: bool = False,
    substituted: bool = False,
    pretence: Pretence = ETCD,
) -> Evidence:
    sessions = {
        "capacity": capacity or session("capacity", phase("capacity")),
        "steady": steady or session("steady", phase("steady")),
    }
    spec = spec_of((pretence,), SHORT, with_tikv=False)
    testbed = testbed_of(spec).model_copy(update={"shares_machine": shares_machine})
    ready = ready_of(pretence).model_copy(update={"substituted": substituted, "not_applied": ()})
    hosts = {name: HostFacts(*facts) for name in ("d1", "d2")} if facts else {}
    made = outcomes if outcomes is not None else {n: outcome(s) for n, s in sessions.items()}
    return Evidence(
        spec=spec,
        testbed=testbed,
        ready=ready,
        numbers=Numbers(target=pretence.name, sessions=sessions, damaged=damaged),
        outcomes=made,
        hosts=hosts,
        preflight=preflight or {},
    )
