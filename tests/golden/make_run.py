"""A run folder as the real stages leave it, with made-up operations: for tests of everything
after the load. `python -m tests.golden.make_run` renews the recorded runs beside this file.

Spools are written with the contract's own code; latencies are drawn from a fixed seed. Nothing
here was measured, and the run ids and the workload's name say so.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from loadgen.contract.histogram import Histogram
from loadgen.contract.plan import Auth, Keyspace, Phase, Plan, Tls
from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import GeneratorState, OperationWindow, SessionEnd, Window
from soakbed.records.calibration import RunCalibration
from soakbed.records.run import ArtifactUse, LoadOutcome, NotMeasured, ReadyTarget, StageTime
from soakbed.records.spec import HostSpec, Phases, RunSpec, TestbedSpec, WorkloadSpec
from soakbed.records.testbed import Host, Testbed
from tests.golden.ceilings import calibration
from tests.golden.pretences import ETCD, REDIS, TIKV, Pretence

BEGAN_S = 1_700_000_000
DATA_HOSTS = ("d1", "d2", "d3")
SHORT = Phases(warmup_s=2, capacity_s=6, settle_s=2, steady_s=12)


def make_run(
    folder: Path,
    *,
    targets: tuple[Pretence, ...] = (ETCD, REDIS),
    phases: Phases = SHORT,
    with_tikv: bool = True,
) -> Path:
    """Write one run folder and return it. What judge and report make is not in it."""
    folder.mkdir(parents=True)
    spec = spec_of(targets, phases, with_tikv=with_tikv)
    _write(folder / "spec.json", spec.model_dump(mode="json", by_alias=True))
    _write(folder / "testbed.json", testbed_of(spec).model_dump(mode="json", by_alias=True))
    _write(folder / "manifest.json", _manifest(folder.name))
    offsets = {host: _preflight(i) for i, host in enumerate(spec.testbed.hosts)}
    _write(folder / "preflight.json", offsets)
    for index, pretence in enumerate(targets):
        _write(folder / pretence.name / "collected.json", {"schema": 1})
        _target(folder / pretence.name, pretence, spec, BEGAN_S + 300 * index)
    if with_tikv:
        reason = NotMeasured(
            target="tikv",
            reason="no source has tikv 6.5.5",
            remedy="name a folder or mirror that has it: SOAKBED_ARTIFACTS=/path make bench",
        )
        _write(folder / "tikv" / "ready.json", reason.model_dump(mode="json", by_alias=True))
    return folder


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n")


def spec_of(targets: tuple[Pretence, ...], phases: Phases, *, with_tikv: bool) -> RunSpec:
    hosts = {
        name: HostSpec(duty="data", address=f"10.83.17.{i + 11}")
        for i, name in enumerate(DATA_HOSTS)
    }
    hosts["l1"] = HostSpec(duty="load", address="10.83.17.21")
    names = tuple(one.name for one in targets) + (("tikv",) if with_tikv else ())
    return RunSpec(
        testbed=TestbedSpec(
            name="made-up", provider="local", network_cidr="10.83.17.0/24", hosts=hosts
        ),
        workload=WorkloadSpec(name="made-up", keys=20_000, phases=phases),
        targets=names,  # type: ignore[arg-type]
    )


def testbed_of(spec: RunSpec) -> Testbed:
    return Testbed(
        name=spec.testbed.name,
        provider="local",
        shares_machine=True,
        known_hosts_file="/nowhere/known_hosts",
        hosts={
            name: Host(
                name=name,
                duty=host.duty,
                address=host.address,
                key_file="/nowhere/key",
                cpus=(1,) if host.duty == "load" else (0,),
            )
            for name, host in spec.testbed.hosts.items()
        },
    )


def _manifest(run_id: str) -> dict[str, object]:
    stages = [
        StageTime(stage="provision", started_s=BEGAN_S, seconds=41.2, changed=14),
        StageTime(stage="etcd: configure", started_s=BEGAN_S + 42, seconds=58.0, changed=61),
        StageTime(stage="etcd: capacity", started_s=BEGAN_S + 100, seconds=12.5),
    ]
    return {
        "schema": 1,
        "run_id": run_id,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": True,
        "command": "soakbed bench --workload loadgen/workloads/made-up.yaml",
        "controller": {"kernel": "6.1.0-made-up", "machine": "x86_64", "python": "3.11.2"},
        "packages": {"soakbed": "0.1.0", "numpy": "2.3.0"},
        "stages": [stage.model_dump(mode="json") for stage in stages],
        "calibration": RunCalibration(calibration=calibration()).model_dump(
            mode="json", by_alias=True
        ),
    }


def _target(folder: Path, pretence: Pretence, spec: RunSpec, began_s: int) -> None:
    _write(folder / "ready.json", ready_of(pretence).model_dump(mode="json", by_alias=True))
    rate = pretence.capacity_per_s * spec.workload.steady_share_of_capacity
    capacity, steady = plans_of(pretence, spec, rate)
    _session(folder / "load", capacity, pretence, began_s)
    _session(folder / "load", steady, pretence, began_s + 60)
    for host in spec.testbed.hosts:
        before = _facts(pretence, restarts=0)
        after = _facts(pretence, restarts=pretence.restarts_after)
        after["alarms"] = list(pretence.alarms)
        _write(folder / "hosts" / host / "facts-before.json", before)
        _write(folder / "hosts" / host / "facts-after.json", after)


def _preflight(index: int) -> dict[str, object]:
    return {
        "clock": {"clock_offset_us": 40 * (index + 1), "clock_bound_us": 90},
        "preflight": {
            "cores": 1,
            "machine_cores": 2,
            "memory_bytes": 8 * 1024**3,
            "disk_free_bytes": 40 * 1024**3,
            "data_file_system": "ext4",
            "kernel": "6.1.0-made-up",
            "fsync_us": {"p50": 310.5 + index, "p99": 812.5 + index, "count": 200},
            "rtt_us": {"d1": 41.0, "d2": 44.5 + index},
        },
    }


def _facts(pretence: Pretence, *, restarts: int) -> dict[str, object]:
    return {
        "kernel": "6.1.0-made-up",
        "system": "Debian GNU/Linux 12 (bookworm)",
        "cpu": {"model": "Made-up CPU", "cores": 2},
        "sysctl": {"vm.swappiness": "1", "net.core.somaxconn": "4096"},
        "units": {unit: {"restarts": restarts, "active": True} for unit in pretence.units},
        "vmstat": {"oom_kill": 0},
        "counters": {"cpu_ticks": {"user": 40_000, "idle": 9_000, "steal": 12}},
    }


def ready_of(pretence: Pretence) -> ReadyTarget:
    substituted = pretence.version != pretence.pinned
    artifacts = tuple(
        ArtifactUse(
            name=name,
            version=version,
            pinned_version=pretence.pinned,
            sha256="ab" * 32,
            origin=pretence.origin if substituted else "upstream",
            substituted=substituted,
            reason=pretence.reason if substituted else "",
        )
        for name, version in pretence.parts or ((pretence.name, pretence.version),)
    )
    effective = {f"{host}:{pretence.name}": dict(pretence.effective) for host in DATA_HOSTS}
    if pretence.beside:
        kinds = {pretence.name: pretence.effective, **pretence.beside}
        effective = {
            f"{host}-{kind}": dict(held) for host in DATA_HOSTS for kind, held in kinds.items()
        }
    return ReadyTarget(
        target=pretence.name,
        profile="tuned",
        version=pretence.version,
        substituted=substituted,
        artifacts=artifacts,
        endpoints=tuple(f"10.83.17.{i + 11}:{pretence.client_port}" for i in range(3)),
        binaries={host: {f"/opt/soakbed/bin/{pretence.name}": "cd" * 32} for host in DATA_HOSTS},
        effective=effective,
        not_applied=("d1: kernel.numa_balancing: read-only in a container",),
    )


def plans_of(pretence: Pretence, spec: RunSpec, rate: float) -> tuple[Plan, Plan]:
    phases = spec.workload.phases
    base = Plan(
        run_id="made-up",
        session="capacity",
        target=pretence.name,  # type: ignore[arg-type]
        endpoints=(f"10.83.17.11:{pretence.client_port}",),
        keyspace=Keyspace(keys=spec.workload.keys, prefix="/bench/"),
        phases=(
            Phase("fill", "fill", 60),
            Phase("warmup", "closed", phases.warmup_s),
            Phase("capacity", "closed", phases.capacity_s),
        ),
        tls=Tls(
            "/etc/soakbed/pki/ca.crt", "/etc/soakbed/pki/client.crt", "/etc/soakbed/pki/client.key"
        ),
        auth=Auth("bench", "/etc/soakbed/secrets/redis_bench"),
        workers=pretence.workers,
    )
    steady = replace(
        base,
        session="steady",
        phases=(
            Phase("warmup", "open", phases.settle_s, rate),
            Phase("steady", "open", phases.steady_s, rate),
        ),
    )
    return base, steady


def _session(folder: Path, plan: Plan, pretence: Pretence, began_s: int) -> None:
    session = folder / plan.session
    session.mkdir(parents=True)
    plan.write(session / "plan.json")
    sums = dict.fromkeys(("sent", "ok", "failed", "unknown"), 0)
    for rank in range(plan.workers):
        made = _spool(session / f"worker-{rank}.spool", plan, pretence, rank, began_s)
        for name, count in made.items():
            sums[name] += count
    seconds = sum(_seconds(phase) for phase in plan.phases)
    outcome = LoadOutcome(
        session=plan.session,  # type: ignore[arg-type]
        outcome="finished",
        started_s=began_s,
        ended_s=began_s + seconds,
        workers=plan.workers,
        capacity_per_s=pretence.capacity_per_s if plan.session == "capacity" else 0.0,
        locust_requests=sums["ok"] + sums["failed"] + sums["unknown"],
        locust_failures=sums["failed"] + sums["unknown"],
        **sums,
    )
    _write(folder / f"{plan.session}.json", outcome.model_dump(mode="json", by_alias=True))


def _seconds(phase: Phase) -> int:
    return 2 if phase.mode == "fill" else phase.duration_s


def _spool(path: Path, plan: Plan, pretence: Pretence, rank: int, began_s: int) -> dict[str, int]:
    random = np.random.default_rng([plan.seed, rank, len(plan.phases)])
    writer = SpoolWriter(path)
    sums = dict.fromkeys(("sent", "ok", "failed", "unknown"), 0)
    seq, at_s = 0, began_s
    for phase in plan.phases:
        for second in range(_seconds(phase)):
            window = _window(phase, plan, pretence, random)
            window.worker, window.seq, window.start_s = rank, seq, at_s
            if (phase.name, second) == ("steady", pretence.core_taken_at_s):
                window.generator.wait_share = 0.21
            for operation in window.operations.values():
                for name in sums:
                    sums[name] += getattr(operation, name)
            writer.append(window.to_json())
            seq, at_s = seq + 1, at_s + 1
    end = SessionEnd(worker=rank, outcome="finished", reason="", **sums, notes={"tls": "TLSv1.3"})
    writer.append(end.to_json())
    writer.close()
    return sums


def _window(phase: Phase, plan: Plan, pretence: Pretence, random: np.random.Generator) -> Window:
    rate = phase.rate_per_s or pretence.capacity_per_s
    operations = {"write": 1.0} if phase.mode == "fill" else {"read": 0.5, "write": 0.5}
    made = {}
    for name, share in operations.items():
        count = int(random.poisson(rate * share / plan.workers))
        median = pretence.read_us if name == "read" else pretence.write_us
        made[name] = _operation(count, median, phase, pretence, random)
    busy = pretence.capacity_cpu_share if phase.mode != "open" else pretence.cpu_share
    state = GeneratorState(
        cpu_share=round(busy + float(random.uniform(-0.02, 0.02)), 3),
        loop_lag_max_us=int(random.integers(300, 2500)),
        overdue_max=int(random.integers(0, 40)),
        in_flight_max=plan.connections,
        moved=pretence.redirects,
        wait_share=0.004,
    )
    window = Window(0, 0, phase.name, phase.mode, 0, 1, made, state)
    if phase.mode == "open":
        window.late = Histogram.merged(one.lag for one in made.values())
    return window


def _operation(
    count: int, median_us: float, phase: Phase, pretence: Pretence, random: np.random.Generator
) -> OperationWindow:
    failed = int(random.binomial(count, pretence.failed_share))
    unknown = int(random.binomial(count, pretence.unknown_share))
    ok = count - failed - unknown
    body = random.lognormal(np.log(median_us), pretence.spread, ok)
    body[random.random(ok) < pretence.stall_share] *= 6
    lag = np.zeros(ok) if phase.mode != "open" else random.exponential(pretence.lag_us, ok)
    causes = {pretence.failed_cause: failed} if failed else {}
    if unknown:
        causes["timeout"] = unknown
    return OperationWindow(
        due=count + (pretence.dropped if phase.name == "steady" else 0),
        sent=count,
        ok=ok,
        failed=failed,
        unknown=unknown,
        dropped=pretence.dropped if phase.name == "steady" else 0,
        causes=causes,
        response=_histogram(body + lag),
        service=_histogram(body),
        lag=_histogram(lag),
    )


def _histogram(values: np.ndarray) -> Histogram:
    made = Histogram()
    whole, counts = np.unique(values.astype(int), return_counts=True)
    for value, count in zip(whole.tolist(), counts.tolist(), strict=True):
        made.record(value, count)
    return made


def main() -> None:
    """Renew the recorded runs, and what judge and report make of it."""
    from tests.golden.recorded import renew

    for name, targets, with_tikv in (
        ("run-made-up", (ETCD, REDIS), True),
        ("run-made-up-tikv", (TIKV,), False),
    ):
        folder = Path(__file__).parent / name
        shutil.rmtree(folder, ignore_errors=True)
        make_run(folder, targets=targets, with_tikv=with_tikv)
        renew(folder)


if __name__ == "__main__":
    main()
