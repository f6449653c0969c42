"""The engine against a real etcd with mutual TLS, its gRPC framed by hand."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from loadgen.contract.plan import Keyspace, Phase
from tests.benchmarks.throwaway import Etcd, Pki
from tests.integration.engine_runs import (
    FILL,
    EngineRun,
    assert_the_sum_is_right,
    closed,
    open_loop,
    plan_for,
    run_engine,
)

pytestmark = pytest.mark.timeout(600)


def plan(member: Etcd, *phases: Phase, **changes):
    return plan_for("etcd", [member.endpoint], member.pki.tls(), *phases, **changes)


def test_etcd_is_filled_pressed_and_read_back_without_an_error(etcd_members, tmp_path):
    member = etcd_members()
    spooled = run_engine(tmp_path, plan(member, FILL, closed(3), open_loop(3, 300)))
    assert spooled.exit_code == 0, spooled.said
    assert_the_sum_is_right(spooled)
    assert spooled.causes() == {}
    assert spooled.whole("fill")["write"].ok == 500
    assert spooled.count("ok", "capacity") > 12, "each connection answers more than once"
    assert spooled.whole("capacity")["read"].ok > 0
    assert spooled.count("due", "steady") == pytest.approx(900, rel=0.2)
    assert spooled.end.notes["tls_version"] == "TLSv1.3"


@pytest.mark.parametrize("streams", [4, 32])
def test_many_streams_on_each_connection_answer_every_call(etcd_members, tmp_path, streams):
    member = etcd_members()
    spooled = run_engine(tmp_path, plan(member, FILL, closed(3), pipeline=streams, connections=4))
    assert_the_sum_is_right(spooled)
    assert spooled.causes() == {}
    assert max(window.generator.in_flight_max for window in spooled.windows) == 4 * streams


@pytest.mark.parametrize("value_bytes", [33, 16_000, 100_000, 1_000_000])
def test_values_of_any_size_pass_the_flow_control(etcd_members, tmp_path, value_bytes):
    member = etcd_members()
    spooled = run_engine(
        tmp_path,
        plan(
            member,
            FILL,
            closed(2),
            value_bytes=value_bytes,
            connections=4,
            pipeline=2,
            keyspace=Keyspace(20, "/bench/"),
            timeout_ms=30_000,
        ),
    )
    assert_the_sum_is_right(spooled)
    assert spooled.causes() == {}
    assert spooled.whole("fill")["write"].ok == 20


def test_a_full_database_makes_writes_unknown(etcd_members, tmp_path):
    member = etcd_members("--quota-backend-bytes", "4000000")
    spooled = run_engine(tmp_path, plan(member, closed(4), value_bytes=100_000, read_share=0.0))
    assert_the_sum_is_right(spooled)
    assert spooled.causes().get("no_space", 0) > 0
    assert spooled.end.unknown >= spooled.causes()["no_space"]


def test_a_request_too_large_fails_and_says_so(etcd_members, tmp_path):
    member = etcd_members()
    spooled = run_engine(
        tmp_path, plan(member, closed(2), value_bytes=2_000_000, read_share=0.0, connections=1)
    )
    assert_the_sum_is_right(spooled)
    assert set(spooled.causes()) == {"other"}
    assert spooled.end.failed == spooled.end.sent > 0


def test_a_killed_member_costs_unknown_operations_and_comes_back(etcd_members, tmp_path):
    member = etcd_members()
    run = EngineRun(tmp_path, plan(member, FILL, open_loop(120, 200)))
    run.wait_for_window("steady")
    member.stop(kill=True)
    time.sleep(1)  # time for connections that are refused
    member.start()
    run.wait_for_answers(time.time())
    run.stop()
    spooled = run.finish()
    assert_the_sum_is_right(spooled)
    assert sum(window.generator.reconnects for window in spooled.windows) >= 12
    assert set(spooled.causes()) <= {"connection", "cluster_down", "timeout"}


def test_a_stranger_is_refused(etcd_members, tmp_path):
    member = etcd_members()
    stranger = Pki.make(tmp_path / "stranger").tls()
    trusting = replace(stranger, ca=member.pki.path("ca.crt"))
    spooled = run_engine(tmp_path, replace(plan(member, FILL), tls=trusting))
    assert (spooled.exit_code, spooled.end.outcome) == (5, "failed")
    assert "tls" in spooled.end.reason
    assert spooled.end.sent == 0


def test_a_redis_is_not_an_etcd(redis_master, tmp_path):
    wrong = plan_for("etcd", [redis_master.endpoint], redis_master.pki.tls(), FILL)
    spooled = run_engine(tmp_path, wrong)
    assert (spooled.exit_code, spooled.end.outcome) == (5, "failed")
