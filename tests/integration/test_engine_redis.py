"""The engine against real Redis members with TLS: whole, stopped, moved, killed and refused."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from loadgen.contract.plan import Auth, Keyspace, Phase
from tests.benchmarks.throwaway import Pki, Redis, make_cluster
from tests.integration.engine_runs import (
    FILL,
    EngineRun,
    assert_the_sum_is_right,
    closed,
    open_loop,
    plan_for,
    run_engine,
    until,
)

pytestmark = pytest.mark.timeout(600)


def plan(master: Redis, *phases: Phase, **changes):
    return plan_for("redis_cluster", [master.endpoint], master.pki.tls(), *phases, **changes)


def test_three_masters_are_filled_pressed_and_read_back_without_an_error(redis_members, tmp_path):
    masters = redis_members(3)
    make_cluster(masters)
    spooled = run_engine(tmp_path, plan(masters[0], FILL, closed(2), open_loop(2, 500)))
    assert spooled.exit_code == 0, spooled.said
    assert_the_sum_is_right(spooled)
    assert spooled.causes() == {}
    assert spooled.whole("fill")["write"].ok == 500
    assert sum(int(master.cli("DBSIZE")) for master in masters) == 500
    assert spooled.count("ok", "capacity") > 12, "each connection answers more than once"
    assert spooled.count("ok", "steady") == spooled.count("due", "steady")
    for master in masters:
        gets = master.cli("INFO", "commandstats").split("cmdstat_get:calls=")[1]
        assert int(gets.split(",")[0]) > 50
    assert spooled.end.notes["tls_version"] == "TLSv1.3"


def test_windows_are_whole_seconds_and_only_the_last_of_a_phase_may_be_incomplete(
    redis_master, tmp_path
):
    spooled = run_engine(tmp_path, plan(redis_master, FILL, closed(3)))
    capacity = [window for window in spooled.windows if window.phase == "capacity"]
    assert [window.complete for window in capacity[:3]] == [True] * 3
    assert not any(window.complete for window in capacity[3:])
    starts = [window.start_s for window in capacity]
    assert starts == list(range(starts[0], starts[0] + len(starts)))
    assert [window.seq for window in spooled.windows] == list(range(len(spooled.windows)))


def test_printed_windows_are_the_spooled_ones(redis_master, tmp_path):
    spooled = run_engine(tmp_path, plan(redis_master, FILL, closed(1)), windows=True)
    printed = [json.loads(line) for line in spooled.printed.splitlines()]
    assert printed == [window.to_json() for window in spooled.windows]


def test_a_reader_of_windows_that_went_away_costs_nothing(redis_master, tmp_path):
    run = EngineRun(tmp_path, plan(redis_master, FILL, closed(3)), windows=True)
    run.popen.stdout.close()
    run.popen.wait(60)
    run.popen.stderr.close()
    assert run.popen.returncode == 0


def test_constant_arrivals_are_due_exactly_as_often_as_planned(redis_master, tmp_path):
    spooled = run_engine(tmp_path, plan(redis_master, FILL, open_loop(3, 500, "constant")))
    assert spooled.count("due", "steady") == 1500
    assert_the_sum_is_right(spooled)


def test_a_failover_is_followed_by_moved_and_nothing_is_lost(redis_members, tmp_path):
    first, second, third, replica = redis_members(4)
    make_cluster([first, second, third], [replica])
    run = EngineRun(tmp_path, plan(first, FILL, closed(120)))
    run.wait_for_window("capacity")
    replica.cli("CLUSTER", "FAILOVER")
    until(lambda: "role:master" in replica.cli("INFO", "replication"), "the replica is master")
    run.wait_for(lambda window: window.generator.moved > 0, "a redirect")
    run.wait_for_answers(time.time())
    run.stop()
    spooled = run.finish()
    assert spooled.exit_code == 0, spooled.said
    assert_the_sum_is_right(spooled)
    last = spooled.last_complete()
    assert sum(operation.ok for operation in last.operations.values()) > 0
    assert sum(operation.failed + operation.unknown for operation in last.operations.values()) == 0


def test_a_slot_on_the_move_is_asked_for_where_it_goes(redis_members, tmp_path):
    masters = redis_members(2)
    make_cluster(masters)
    old, new = masters
    slot = old.cli("CLUSTER", "KEYSLOT", "{tag}").strip()
    if int(slot) >= 8192:
        old, new = new, old
    new.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", old.cli("CLUSTER", "MYID").strip())
    old.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", new.cli("CLUSTER", "MYID").strip())
    spooled = run_engine(tmp_path, plan(old, FILL, keyspace=Keyspace(200, "{tag}/bench/")))
    assert spooled.exit_code == 0, spooled.said
    assert_the_sum_is_right(spooled)
    assert sum(window.generator.ask for window in spooled.windows) == 200
    assert spooled.causes() == {}
    assert new.cli("DBSIZE").strip() == "200"


def test_a_killed_master_costs_unknown_operations_and_comes_back(redis_master, tmp_path):
    made = plan(redis_master, open_loop(120, 500), read_share=0.0, timeout_ms=60_000)
    run = EngineRun(tmp_path, made)
    run.wait_for_answers(0)
    redis_master.signal(signal.SIGSTOP)  # so that every connection awaits a reply when it dies
    stopped_s = time.time()
    run.wait_for(
        lambda window: window.start_s >= stopped_s and window.generator.in_flight_max == 12,
        "every connection awaits a reply",
    )
    redis_master.stop(kill=True)
    time.sleep(1)  # time for connections that are refused
    redis_master.start()
    run.wait_for_answers(time.time())
    run.stop()
    spooled = run.finish()
    assert_the_sum_is_right(spooled)
    assert set(spooled.causes()) <= {"connection", "cluster_down", "busy", "timeout"}
    # Time is over for nothing but what the stop does not wait for.
    assert 0 < spooled.end.unknown - spooled.causes().get("timeout", 0) <= 12
    assert sum(window.generator.reconnects for window in spooled.windows) >= 12


def test_a_member_that_stays_silent_costs_timeouts_and_new_connections(redis_master, tmp_path):
    run = EngineRun(tmp_path, plan(redis_master, FILL, closed(120), timeout_ms=500))
    run.wait_for_window("capacity")
    redis_master.signal(signal.SIGSTOP)

    def all_timed_out() -> bool:
        seen = [it for window in run.windows() for it in window.operations.values()]
        return sum(it.causes.get("timeout", 0) for it in seen) >= 12

    until(all_timed_out, "an operation of each connection is over its time")
    redis_master.signal(signal.SIGCONT)
    run.wait_for_answers(time.time())
    run.stop()
    spooled = run.finish()
    assert_the_sum_is_right(spooled)
    assert sum(window.generator.reconnects for window in spooled.windows) >= 12


def test_asked_to_stop_it_writes_what_it_has_and_ends(redis_master, tmp_path):
    run = EngineRun(tmp_path, plan(redis_master, FILL, closed(3600)))
    run.wait_for_window("capacity")
    run.stop()
    spooled = run.finish()
    assert (spooled.exit_code, spooled.end.outcome) == (0, "stopped")
    assert_the_sum_is_right(spooled)
    assert not spooled.windows[-1].complete


def test_two_workers_share_keys_connections_and_rate(redis_master, tmp_path):
    shared = plan(
        redis_master, FILL, open_loop(3, 1000), workers=2, start_at_s=float(int(time.time()) + 8)
    )
    runs = [EngineRun(tmp_path / str(rank), shared, rank=rank) for rank in range(2)]
    both = [run.finish() for run in runs]
    for spooled in both:
        assert spooled.exit_code == 0, spooled.said
        assert_the_sum_is_right(spooled)
        assert spooled.whole("fill")["write"].ok == 250
        assert spooled.causes() == {}
    assert int(redis_master.cli("DBSIZE")) == 500
    assert sum(one.count("due", "steady") for one in both) == pytest.approx(3000, rel=0.1)
    assert both[0].windows[0].start_s == both[1].windows[0].start_s
    assert {window.worker for window in both[1].windows} == {1}


def test_a_pipeline_of_sixteen_answers_every_command(redis_master, tmp_path):
    spooled = run_engine(
        tmp_path, plan(redis_master, FILL, closed(2), open_loop(2, 2000), pipeline=16)
    )
    assert_the_sum_is_right(spooled)
    assert spooled.causes() == {}
    assert max(window.generator.in_flight_max for window in spooled.windows) == 12 * 16


def test_values_larger_than_a_tls_record_are_written_and_read_back(redis_master, tmp_path):
    spooled = run_engine(
        tmp_path,
        plan(redis_master, FILL, closed(2), value_bytes=200_000, keyspace=Keyspace(50, "/bench/")),
    )
    assert_the_sum_is_right(spooled)
    assert spooled.causes() == {}
    assert spooled.whole("capacity")["read"].ok > 0


def test_more_due_than_can_be_sent_is_dropped_and_counted(redis_master, tmp_path):
    spooled = run_engine(
        tmp_path,
        plan(redis_master, FILL, open_loop(2, 400_000, "constant"), overdue_limit=1000),
    )
    assert_the_sum_is_right(spooled)
    steady = spooled.whole("steady")
    for operation in steady.values():
        assert operation.due == operation.sent + operation.dropped
    assert spooled.count("dropped", "steady") > 1000
    assert max(window.generator.overdue_max for window in spooled.windows) == 1000


def test_a_full_member_refuses_writes_and_fill_says_so(redis_members, tmp_path):
    (master,) = redis_members(1, "--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
    make_cluster([master])
    spooled = run_engine(tmp_path, plan(master, replace(FILL, duration_s=2)))
    assert spooled.exit_code == 5
    assert spooled.end.outcome == "failed"
    assert "keys not written" in spooled.end.reason
    assert_the_sum_is_right(spooled)
    assert set(spooled.causes()) == {"no_space"}


def test_keys_that_were_never_written_are_missing(redis_master, tmp_path):
    spooled = run_engine(tmp_path, plan(redis_master, closed(1), read_share=1.0))
    assert_the_sum_is_right(spooled)
    assert spooled.end.ok == 0
    assert spooled.causes() == {"missing": spooled.end.failed}


def test_a_value_that_someone_else_wrote_is_corrupt(redis_master, tmp_path):
    redis_master.cli("SET", "/bench/000000000000", "x" * 256)
    spooled = run_engine(
        tmp_path, plan(redis_master, closed(1), read_share=1.0, keyspace=Keyspace(1, "/bench/"))
    )
    assert spooled.causes() == {"corrupt": spooled.end.failed}


def test_user_and_password_are_taken_from_the_file(redis_members, tmp_path):
    (master,) = redis_members(1)
    make_cluster([master])
    master.cli("ACL", "SETUSER", "bench", "on", ">secret", "~/bench/*", "+@all")
    master.cli("ACL", "SETUSER", "default", "off")
    word = tmp_path / "password"
    word.write_text("secret\n")
    good = plan(master, FILL, auth=Auth("bench", str(word)))
    assert run_engine(tmp_path / "good", good).end.outcome == "finished"
    word.write_text("wrong\n")
    refused = run_engine(tmp_path / "bad", good)
    assert (refused.exit_code, refused.end.outcome) == (5, "failed")
    assert "WRONGPASS" in refused.end.reason
    assert "wrong" not in refused.said.replace("WRONGPASS", "")


def test_a_certificate_of_another_ca_is_refused(redis_master, tmp_path):
    stranger = Pki.make(tmp_path / "stranger").tls()
    trusting = replace(stranger, ca=redis_master.pki.path("ca.crt"))
    spooled = run_engine(tmp_path, replace(plan(redis_master, FILL), tls=trusting))
    assert (spooled.exit_code, spooled.end.outcome) == (5, "failed")
    spooled = run_engine(tmp_path / "b", replace(plan(redis_master, FILL), tls=stranger))
    assert "certificate verify failed" in spooled.end.reason


def test_a_member_whose_certificate_names_another_address_is_refused(redis_members, tmp_path):
    pki = Pki.make(tmp_path / "elsewhere")
    pki.issue("host", "10.9.9.9")
    (master,) = redis_members(1, pki=pki)
    spooled = run_engine(tmp_path, plan(master, FILL))
    assert (spooled.exit_code, spooled.end.outcome) == (5, "failed")
    assert "certificate verify failed" in spooled.end.reason


def test_a_target_that_is_not_there_fails_the_session_with_the_endpoint(redis_master, tmp_path):
    redis_master.stop()
    spooled = run_engine(tmp_path, plan(redis_master, FILL))
    assert (spooled.exit_code, spooled.end.outcome) == (5, "failed")
    assert redis_master.endpoint in spooled.end.reason


def test_a_wrong_plan_is_refused_with_every_problem_at_once(tmp_path: Path):
    pki = Pki.make(tmp_path / "pki")
    wrong = plan_for(
        "redis_cluster",
        ["nowhere"],
        replace(pki.tls(), ca="/does/not/exist"),
        Phase("steady", "open", 10),
        value_bytes=3,
        read_share=2.0,
    )
    spooled = run_engine(tmp_path, wrong)
    assert spooled.exit_code == 2
    for key in ("endpoints[0]", "tls.ca", "rate_per_s", "value_bytes", "read_share"):
        assert key in spooled.said
    assert len(spooled.said.splitlines()) == 5
    assert spooled.end is None
