"""From a spec and a ready target to what the engines are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from soakbed.errors import LoadError
from soakbed.records.ladder import KneeSpec, Ladder
from soakbed.records.run import ReadyTarget
from soakbed.records.spec import Phases, RunSpec, TestbedSpec, WorkloadSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.configure import CERTIFICATE_LEFT
from soakbed.stages.knee_search import most_sessions
from soakbed.stages.knee_steps import step_s_of, usual_knee_s
from soakbed.stages.load_plan import (
    KneeSoFar,
    load_limit_s,
    plan_session,
    ranks_by_host,
    session_id,
    session_limit_s,
    sessions_of,
    workers_of,
)
from soakbed.stages.specs import load_workload_spec

PROJECT = Path(__file__).resolve().parents[4]

HOSTS = {
    **{f"d{i}": {"duty": "data", "address": f"10.83.17.1{i}"} for i in (1, 2, 3)},
    "l1": {"duty": "load", "address": "10.83.17.21"},
}


def load_hosts(*load_cpus: tuple[int, ...]) -> Testbed:
    hosts = {
        f"l{i}": Host(name=f"l{i}", duty="load", address=f"10.0.0.{i}", key_file="k", cpus=cpus)
        for i, cpus in enumerate(load_cpus, 1)
    }
    return Testbed(
        name="t", provider="local", shares_machine=True, known_hosts_file="k", hosts=hosts
    )


def spec_of(target: str, **work) -> RunSpec:
    return RunSpec(
        testbed=TestbedSpec(name="t", provider="local", network_cidr="10.83.17.0/24", hosts=HOSTS),
        workload=WorkloadSpec(name="w", keys=20_000, **work),
        targets=(target,),
    )


def planned(
    target: str = "etcd",
    session: str = "capacity",
    capacity_per_s: float = 0.0,
    testbed: Testbed | None = None,
    so_far: KneeSoFar | None = None,
    **work,
):
    spec = spec_of(target, **work)
    ready = ReadyTarget(
        target=target,
        profile="stock",
        version="1",
        substituted=False,
        artifacts=(),
        endpoints=("10.0.0.1:2379",),
        binaries={},
        effective={},
    )
    return plan_session(
        spec,
        ready,
        run_id="r1",
        session=session,
        capacity_per_s=capacity_per_s,
        testbed=testbed or load_hosts((1,)),
        knee=so_far or KneeSoFar(),
    )


def test_the_capacity_session_fills_warms_up_and_presses_in_closed_loop():
    modes = [(phase.name, phase.mode) for phase in planned().phases]
    assert modes == [("fill", "fill"), ("warmup", "closed"), ("capacity", "closed")]


def test_the_steady_session_sends_its_share_of_capacity_in_open_loop():
    plan = planned(session="steady", capacity_per_s=9001.0, steady_share_of_capacity=0.5)
    assert [(phase.name, phase.mode, phase.rate_per_s) for phase in plan.phases] == [
        ("warmup", "open", 4500.5),
        ("steady", "open", 4500.5),
    ]


def test_without_capacity_there_is_no_steady_session():
    with pytest.raises(LoadError, match="no rate for the steady phase"):
        planned(session="steady", capacity_per_s=0.0)


def test_phases_of_no_length_are_left_out():
    plan = planned(phases=Phases(warmup_s=0, capacity_s=5))
    assert [phase.name for phase in plan.phases] == ["fill", "capacity"]


@pytest.mark.parametrize(
    ("target", "prefix", "user"), [("etcd", "/bench/", None), ("redis_cluster", "bench:", "bench")]
)
def test_keys_and_user_are_those_that_the_target_grants(target, prefix, user):
    plan = planned(target)
    assert plan.keyspace.prefix == prefix
    assert (plan.auth.user if plan.auth else None) == user


def test_a_plan_names_the_file_of_the_password_and_never_the_password():
    assert planned("redis_cluster").auth.password_file.startswith("/etc/soakbed/secrets/")


def test_every_plan_is_pressed_over_tls_with_the_clients_certificate():
    assert planned().tls.cert == "/etc/soakbed/pki/client.crt"


def test_one_worker_runs_per_core_of_the_load_hosts():
    assert ranks_by_host(load_hosts((1,), (4, 5)), 3) == {"l1": (0,), "l2": (1, 2)}


def test_hosts_get_their_workers_in_turn_so_that_none_idles_while_another_is_full():
    assert ranks_by_host(load_hosts((1, 2), (1, 2), (1,)), 4) == {
        "l1": (0, 3),
        "l2": (1,),
        "l3": (2,),
    }


def test_a_host_that_does_not_say_its_cores_gets_one_worker():
    assert ranks_by_host(load_hosts(()), 1) == {"l1": (0,)}


@pytest.mark.parametrize(
    ("cores", "connections", "workers"),
    [
        pytest.param(2, 48, 4, id="all of few cores"),
        pytest.param(8, 48, 14, id="all but one of many"),
        pytest.param(64, 48, 16, id="each with a connection for each of three members"),
        pytest.param(64, 2, 1, id="one at least"),
    ],
)
def test_load_hosts_of_their_own_bear_as_many_workers_as_they_counted_cores(
    cores, connections, workers
):
    counted = load_hosts((), ()).with_cores({"l1": cores, "l2": cores})
    data = {
        name: Host(name=name, duty="data", address=f"10.0.0.{at}", key_file="k")
        for at, name in enumerate(("d1", "d2", "d3"), 1)
    }
    testbed = counted.model_copy(update={"hosts": counted.hosts | data})
    assert workers_of(testbed, connections=connections) == workers


def test_the_session_is_named_by_run_target_and_session():
    assert session_id(planned()) == "r1-etcd-capacity"


def test_a_session_may_last_as_long_as_its_phases_and_some_grace():
    plan = planned(phases=Phases(warmup_s=5, capacity_s=20))
    assert session_limit_s(plan) > sum(phase.duration_s for phase in plan.phases)


def test_several_workers_fill_in_a_session_before_so_that_all_begin_to_press_together():
    one, two = load_hosts((1,)), load_hosts((1,), (1,))
    assert sessions_of(spec_of("etcd"), one) == ("capacity", "steady")
    assert sessions_of(spec_of("etcd"), two) == ("fill", "capacity", "steady")
    fill = planned(session="fill", testbed=two)
    capacity = planned(session="capacity", testbed=two)
    assert [phase.mode for phase in fill.phases] == ["fill"]
    assert [phase.mode for phase in capacity.phases] == ["closed", "closed"]
    assert fill.workers == capacity.workers == 2


@pytest.mark.parametrize(
    ("target", "expected"),
    [("tikv", (16, False)), ("etcd", (1, False)), ("redis_cluster", (1, False))],
)
def test_batches_are_tikvs_alone(target, expected):
    plan = planned(target, batch=16)
    assert (plan.batch, plan.batched_stream) == expected


def test_a_batched_stream_is_tikvs_alone():
    assert planned("tikv", batched_stream=True).batched_stream
    assert not planned("etcd", batched_stream=True).batched_stream


KNEE = KneeSpec(ladder=Ladder(step_s=10, settle_s=3), pause_s=5)


def test_a_ladder_is_a_phase_for_each_rate_with_its_settle_time_inside():
    rates = KneeSoFar(rates_per_s=(1000.0, 1250.0))
    plan = planned(session="knee-1", capacity_per_s=4000.0, knee=KNEE, so_far=rates)
    assert [(phase.name, phase.mode, phase.rate_per_s) for phase in plan.phases] == [
        ("step-1", "open", 1000.0),
        ("step-2", "open", 1250.0),
    ]
    assert {phase.duration_s for phase in plan.phases} == {13}


def test_after_a_step_that_broke_a_pause_comes_first():
    rates = KneeSoFar(rates_per_s=(1500.0,), pause_per_s=500.0)
    plan = planned(session="knee-2", capacity_per_s=4000.0, knee=KNEE, so_far=rates)
    assert [(phase.name, phase.duration_s, phase.rate_per_s) for phase in plan.phases] == [
        ("pause", 5, 500.0),
        ("step-1", 13, 1500.0),
    ]


def test_a_second_try_of_a_rate_meets_other_arrivals():
    def seed(session: str) -> int:
        rates = KneeSoFar(rates_per_s=(100.0,), held_per_s=100.0)
        return planned(session=session, capacity_per_s=9.0, knee=KNEE, so_far=rates).seed

    assert seed("capacity") == seed("steady") == 1
    assert seed("knee-1") != seed("knee-2")


@pytest.mark.parametrize(
    ("rate_per_s", "read_share", "window_s", "seconds"),
    [
        pytest.param(1000.0, 0.5, 1, 10, id="as asked"),
        pytest.param(100.0, 0.5, 1, 30, id="until reads and writes carry a P99"),
        pytest.param(100.0, 1.0, 1, 15, id="reads alone"),
        pytest.param(100.0, 0.9, 1, 150, id="the rarer kind decides"),
        pytest.param(100.0, 0.9, 60, 180, id="whole windows"),
        pytest.param(0.1, 0.5, 1, 600, id="not for ever"),
    ],
)
def test_a_step_lasts_until_its_p99_is_carried(rate_per_s, read_share, window_s, seconds):
    ladder = Ladder(step_s=60 if window_s == 60 else 10, settle_s=0)
    lasts = Phases(capacity_s=60, steady_s=60)
    spec = spec_of(
        "etcd", read_share=read_share, window_s=window_s, phases=lasts, knee=KneeSpec(ladder=ladder)
    )
    assert step_s_of(spec.workload, rate_per_s) == seconds


@pytest.mark.parametrize(
    ("steady", "rate_per_s"),
    [
        ({"share_of_capacity": 0.5}, 2000.0),
        ({"share_of_knee": 0.7}, 2100.0),
        ({"rate_per_s": 500.0}, 500.0),
    ],
)
def test_the_steady_rate_is_a_share_of_capacity_or_of_the_knee_or_one_rate(steady, rate_per_s):
    found = KneeSoFar(held_per_s=3000.0)
    plan = planned(session="steady", capacity_per_s=4000.0, knee=KNEE, steady=steady, so_far=found)
    assert {phase.rate_per_s for phase in plan.phases} == {rate_per_s}


def test_without_a_knee_there_is_no_share_of_it():
    with pytest.raises(LoadError, match="no knee to take a share of"):
        planned(session="steady", capacity_per_s=9.0, knee=KNEE, steady={"share_of_knee": 0.7})


def test_the_time_that_all_sessions_can_last_holds_the_longest_search_for_a_knee():
    plain, asked = spec_of("etcd"), spec_of("etcd", knee=KNEE)
    longest_s = most_sessions(KNEE) * (3 + 600 + 180)
    assert load_limit_s(asked) > load_limit_s(plain) + longest_s


def test_the_usual_time_of_a_search_is_that_of_its_ladder_and_of_a_few_steps():
    asked = KneeSpec(ladder=Ladder(factor=1.4, step_s=6, settle_s=2), bisect=2, pause_s=3)
    # Six steps, then four of them alone; a real one on two cores took 165 s.
    usual_s = usual_knee_s(spec_of("etcd", knee=asked).workload, start_s=10.0)
    assert usual_s == 10 + 6 * 8 + 4 * (10 + 8 + 3)
    assert usual_knee_s(spec_of("etcd").workload, start_s=10.0) == 0.0


def test_certificates_outlive_the_load_of_every_workload_that_ships_on_all_three_targets():
    for path in sorted((PROJECT / "loadgen/workloads").glob("*.yaml")):
        targets = ("etcd", "redis_cluster", "tikv")
        spec = spec_of("etcd").model_copy(update={"workload": load_workload_spec(path)})
        assert len(targets) * load_limit_s(spec) < CERTIFICATE_LEFT.total_seconds(), path.name
