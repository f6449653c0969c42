"""Numbers from columns are those that the same windows gave one by one, as objects."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import Histogram
from loadgen.contract.parts import closed_spools
from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import GeneratorState, OperationWindow, SessionEnd, Window
from loadgen.sealing import Pace, seal
from soakbed.stages.measure import measure
from tests.golden.pretences import ETCD, REDIS
from tests.golden.recorded import RECORDED, RECORDED_TIKV
from tests.oracle import measure as oracle
from tests.synthetic_campaign import Campaign, make_campaign

HOUR_S = 3600
PHASES = {
    "capacity": (Phase("fill", "fill", 60), Phase("capacity", "closed", 20)),
    "steady": (Phase("warmup", "open", 5, 900.0), Phase("steady", "open", 20, 900.0)),
}


@pytest.mark.parametrize("run", [RECORDED, RECORDED_TIKV], ids=lambda path: path.name)
def test_recorded_runs_give_the_numbers_that_objects_give(run, tmp_path):
    for plan in run.glob("*/load/steady/plan.json"):
        target = Path(shutil.copytree(plan.parents[2], tmp_path / plan.parents[2].name))
        assert measure(target) == oracle.measure(target)


def test_a_campaign_of_several_workers_gives_the_numbers_that_objects_give(tmp_path):
    campaign = Campaign(
        hours=0.32, pretences=(replace(REDIS, redirects=2),), workers=2, rate_per_s=300
    )
    run = make_campaign(tmp_path / "run", replace(campaign, bound_share=0.01), processes=1)
    made = measure(run / REDIS.name)
    assert made == oracle.measure(run / REDIS.name)
    steady = made.phase("steady", "steady")
    assert steady.operations["read"].response.p99_interval is not None
    assert {point.seconds for point in steady.series} == {2}
    assert steady.generator.bound_s > 0


@st.composite
def shapes(draw) -> dict:
    """What is particular about a session; the windows themselves come from its seed."""
    return {
        "session": draw(st.sampled_from(sorted(PHASES))),
        "workers": draw(st.integers(1, 3)),
        "window_s": draw(st.sampled_from([1, 10])),
        "began_s": 1_700_000 * HOUR_S + draw(st.sampled_from([0, 590, HOUR_S - 12, HOUR_S - 7])),
        "windows": draw(st.integers(1, 16)),
        "gap": draw(st.booleans()),
        "cut_bytes": draw(st.sampled_from([0, 0, 60])),
        "without_end": draw(st.booleans()),
        "absent_worker": draw(st.sampled_from([-1, -1, 0, 1])),
        "seed": draw(st.integers(0, 1000)),
        "hourly": draw(st.booleans()),
        "sealed": draw(st.booleans()),
    }


@settings(deadline=None, max_examples=20)  # other work on the machine is no failure
@given(shapes())
def test_any_spools_give_the_numbers_that_objects_give(tmp_path_factory, shape):
    target = tmp_path_factory.mktemp("made") / "etcd"
    spool(target, shape)
    assert measure(target) == oracle.measure(target)


def spool(target: Path, shape: dict) -> None:
    folder = target / "load" / shape["session"]
    folder.mkdir(parents=True)
    plan = Plan(
        run_id="made-up",
        session=shape["session"],
        target="etcd",
        endpoints=("10.83.17.11:2379",),
        keyspace=Keyspace(1000, "/bench/"),
        phases=PHASES[shape["session"]],
        tls=None,
        workers=shape["workers"],
        window_s=shape["window_s"],
    )
    plan.write(folder / "plan.json")
    for rank in range(plan.workers):
        if rank != shape["absent_worker"]:
            _worker(folder / f"worker-{rank}.spool", plan, rank, shape)


def _worker(path: Path, plan: Plan, rank: int, shape: dict) -> None:
    random = np.random.default_rng([shape["seed"], rank])
    writer = SpoolWriter(path, hourly=shape["hourly"])
    totals = np.zeros(4, dtype=int)
    seq, start_s = 0, shape["began_s"] // plan.window_s * plan.window_s
    for phase in plan.phases:
        for number in range(shape["windows"]):
            window = _window(phase, plan, random)
            window.worker, window.seq, window.start_s = rank, seq, start_s
            window.complete = number < shape["windows"] - 1
            seq, start_s = seq + 1, start_s + plan.window_s
            if shape["gap"] and random.random() < 0.2:
                continue
            for one in window.operations.values():
                totals += (one.sent, one.ok, one.failed, one.unknown)
            writer.append_window(window)
    if not shape["without_end"]:
        sent, ok, failed, unknown = totals.tolist()
        notes = {"tls": "TLSv1.3"}
        writer.append(SessionEnd(rank, "stopped", "", sent, ok, failed, unknown, notes).to_json())
    writer.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(max(0, size - shape["cut_bytes"]))
    for closed in closed_spools(path.parent, rank) if shape["sealed"] else ():
        seal(closed, pace=Pace(1), least_windows=1)


def _window(phase: Phase, plan: Plan, random: np.random.Generator) -> Window:
    operations = {}
    for name in ("write",) if phase.mode == "fill" else ("read", "write"):
        ok, failed, unknown = random.integers(0, (400, 3, 3)).tolist()
        operations[name] = OperationWindow(
            due=ok + 5,
            sent=ok + failed + unknown,
            ok=ok,
            failed=failed,
            unknown=unknown,
            dropped=int(random.random() < 0.1),
            causes={"busy": failed, "timeout": unknown} if failed and unknown else {},
            response=_histogram(ok, 3000, random),
            service=_histogram(ok, 2500, random),
            lag=_histogram(ok, 40, random),
        )
    whole = random.integers(0, 60_000, 6).tolist()
    told = random.random() < 0.5
    state = GeneratorState(
        cpu_share=float(random.uniform(0.3, 0.85)),
        loop_lag_max_us=whole[0],
        overdue_max=whole[1],
        in_flight_max=whole[2],
        reconnects=whole[3],
        moved=whole[4],
        ask=whole[5],
        wait_share=float(random.uniform(0, 0.12)) if told else None,
        nic_share=float(random.uniform(0, 0.75)) if told else None,
    )
    made = Window(0, 0, phase.name, phase.mode, 0, plan.window_s, operations, state)
    if phase.mode == "open":
        made.late = _histogram(300, 1500, random)
    return made


def _histogram(count: int, median_us: float, random: np.random.Generator) -> Histogram:
    made = Histogram()
    values_us = random.lognormal(np.log(median_us), 1.0, 4).astype(int).tolist()
    for value_us in values_us if count >= 4 else ():
        made.record(value_us, count // 4)
    if rest := count - made.total:
        made.record(70_000_000 if random.random() < 0.02 else 100, rest)
    return made


def test_the_target_of_the_made_up_spools_is_measured_at_all(tmp_path):
    spool(tmp_path / ETCD.name, dict.fromkeys(("gap", "without_end"), False) | PLAIN)
    steady = measure(tmp_path / ETCD.name).phase("steady", "steady")
    assert (steady.seconds, len(steady.series)) == (16, 16)
    assert steady.generator.bound_s > 0


PLAIN = {
    "session": "steady",
    "workers": 2,
    "window_s": 1,
    "began_s": 1_700_000 * HOUR_S,
    "windows": 16,
    "cut_bytes": 0,
    "absent_worker": -1,
    "seed": 1,
    "hourly": True,
    "sealed": False,
}
