"""From a spec and a ready target to what the engines are told."""

from __future__ import annotations

import pytest

from soakbed.errors import LoadError
from soakbed.records.run import ReadyTarget
from soakbed.records.spec import Phases, RunSpec, TestbedSpec, WorkloadSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.load_plan import (
    plan_session,
    ranks_by_host,
    session_id,
    session_limit_s,
    sessions_of,
    workers_of,
)

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
