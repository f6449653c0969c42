"""Pressing a target, as the controller sees it: starting, adopting, giving up, accounting."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.spool import SpoolWriter, read_spool
from soakbed.adapters.ssh import HostUnreachable
from soakbed.errors import ConfigureError, LoadError
from soakbed.records.testbed import Host, Testbed
from soakbed.stages import watch
from soakbed.stages.load import Care, drive, session_is_there
from tests.fakes import FakeEngine, FakeLoadHost

PLAN = Plan(
    run_id="r1",
    session="capacity",
    target="redis_cluster",
    endpoints=("10.0.0.1:6379",),
    keyspace=Keyspace(100, "bench:"),
    phases=(Phase("fill", "fill", 2), Phase("capacity", "closed", 5)),
    tls=None,
)
NAME = "r1-redis_cluster-capacity"
L1 = Host(name="l1", duty="load", address="10.0.0.9", key_file="k", cpus=(1,))
TESTBED = Testbed(
    name="t", provider="local", shares_machine=True, known_hosts_file="k", hosts={"l1": L1}
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "LOOK_IN_S", 0.0)


@pytest.fixture
def host(tmp_path: Path) -> FakeLoadHost:
    return FakeLoadHost(tmp_path / "sessions")


def pressed(host: FakeLoadHost, folder: Path, plan: Plan = PLAN):
    said: list[str] = []
    outcome = drive(plan, TESTBED, shell=host, folder=folder, progress=said.append)
    return outcome, said


def left_by(host: FakeLoadHost, plan: Plan = PLAN) -> Path:
    """A session that an earlier controller started and that has finished."""
    folder = host.root / NAME
    folder.mkdir(parents=True)
    plan.write(folder / "plan.json")
    (folder / "session.json").write_text('{"ranks": [0]}')
    FakeEngine(plan, 0, folder / "worker-0.spool", pace_s=0).run()
    return folder


def test_a_session_is_started_watched_and_fetched(host, tmp_path):
    outcome, said = pressed(host, tmp_path / "load")
    assert host.started == [
        f"soakbed-load-master@{NAME}.service",
        f"soakbed-load-worker@{NAME}:0.service",
    ]
    assert outcome.outcome == "finished"
    assert outcome.sent == outcome.ok + outcome.failed + outcome.unknown > 1000
    assert Plan.read(tmp_path / "load" / "plan.json") == PLAN
    assert said == ["redis_cluster capacity: capacity 5/s, P99 1.50 ms"]


def test_capacity_is_the_mean_of_ok_operations_over_the_capacity_phase(host, tmp_path):
    outcome, _ = pressed(host, tmp_path / "load")
    windows = [
        record
        for record in read_spool(tmp_path / "load" / "worker-0.spool")
        if record.get("phase") == "capacity"
    ]
    ok = sum(op["ok"] for window in windows for op in window["operations"].values())
    assert outcome.capacity_per_s == pytest.approx(ok / 5)
    assert outcome.notes["capacity_windows"] == "5"


def test_a_session_that_finished_is_adopted_and_not_pressed_again(host, tmp_path):
    left_by(host)
    assert session_is_there(NAME, TESTBED, shell=host)
    outcome, said = pressed(host, tmp_path / "load")
    assert host.started == []
    assert outcome.outcome == "finished"
    assert "adopted" in said[0]


def test_a_session_that_runs_is_adopted(host, tmp_path):
    folder = left_by(host)
    cut(folder / "worker-0.spool")
    host.active = {f"soakbed-load-worker@{NAME}:0.service"}
    assert session_is_there(NAME, TESTBED, shell=host)
    _, said = pressed(host, tmp_path / "load")
    assert host.started == []
    assert "session is running" in said[0]


def cut(spool: Path) -> None:
    spool.write_bytes(spool.read_bytes()[:-20])


def test_a_session_that_broke_off_begins_anew(host, tmp_path):
    cut(left_by(host) / "worker-0.spool")
    assert not session_is_there(NAME, TESTBED, shell=host)
    outcome, _ = pressed(host, tmp_path / "load")
    assert len(host.started) == 2
    assert outcome.outcome == "finished"


def test_a_session_of_another_plan_is_not_ours(host, tmp_path):
    left_by(host, replace(PLAN, seed=99))
    pressed(host, tmp_path / "load")
    assert len(host.started) == 2


def test_a_host_that_is_away_for_a_while_is_waited_for(host, tmp_path):
    host.raises = [HostUnreachable("l1 does not answer", remedy="wait")]
    outcome, said = pressed(host, tmp_path / "load")
    assert "load goes on there" in said[0]
    assert outcome.outcome == "finished"


def test_ctrl_c_stops_the_load_before_it_goes_on_up(host, tmp_path):
    host.looks = 99
    host.raises = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        pressed(host, tmp_path / "load")
    assert host.stopped == [
        f"soakbed-load-worker@{NAME}:0.service",
        f"soakbed-load-master@{NAME}.service",
    ]


def test_a_session_that_does_not_end_in_its_time_is_stopped(host, tmp_path, monkeypatch):
    host.looks = 10**9
    monkeypatch.setattr(watch, "session_limit_s", lambda _: 0.05)
    with pytest.raises(LoadError, match="did not end within"):
        pressed(host, tmp_path / "load")
    assert host.active == set()


def test_a_session_that_sends_nothing_is_an_error_that_quotes_the_units(host, tmp_path):
    host.leaves = "nothing"
    with pytest.raises(LoadError, match=r"sent nothing.*the unit said why"):
        pressed(host, tmp_path / "load")


def test_a_worker_without_an_end_frame_is_reported_missing_with_what_it_left(host, tmp_path):
    host.leaves = "cut"
    outcome, _ = pressed(host, tmp_path / "load")
    assert outcome.outcome == "failed"
    assert outcome.workers_missing == (0,)
    assert outcome.sent > 1000


def test_a_spool_that_was_changed_is_an_error(host, tmp_path):
    spool = left_by(host) / "worker-0.spool"
    content = bytearray(spool.read_bytes())
    content[40] ^= 1
    spool.write_bytes(content)
    with pytest.raises(LoadError, match="wrong checksum"):
        pressed(host, tmp_path / "load")


def test_an_engine_whose_own_totals_differ_from_its_windows_is_an_error(host, tmp_path):
    spool = left_by(host) / "worker-0.spool"
    *windows, end = read_spool(spool)
    spool.unlink()
    writer = SpoolWriter(spool)
    for record in (*windows, end | {"sent": end["sent"] + 1}):
        writer.append(record)
    writer.close()
    with pytest.raises(LoadError, match=f"counted {end['sent'] + 1:,} sent"):
        pressed(host, tmp_path / "load")


def test_a_second_fetch_replaces_what_the_first_left(host, tmp_path):
    left_by(host)
    (tmp_path / "load").mkdir()
    (tmp_path / "load" / "worker-7.spool").write_text("old")
    pressed(host, tmp_path / "load")
    assert not (tmp_path / "load" / "worker-7.spool").exists()


def test_what_locust_counted_is_read_from_its_own_files(host, tmp_path):
    locust = left_by(host) / "locust"
    locust.mkdir()
    (locust / "locust_stats.csv").write_text(
        "Type,Name,Request Count,Failure Count\ncapacity,read,7,1\n,Aggregated,12,3\n"
    )
    outcome, _ = pressed(host, tmp_path / "load")
    assert (outcome.locust_requests, outcome.locust_failures) == (12, 3)


def test_locust_files_that_are_not_there_are_noted(host, tmp_path):
    outcome, _ = pressed(host, tmp_path / "load")
    assert outcome.locust_requests == 0
    assert "its master was gone" in outcome.notes["locust"]


def test_a_page_is_asked_for_by_its_port(host, tmp_path):
    drive(
        PLAN,
        TESTBED,
        shell=host,
        folder=tmp_path / "load",
        progress=lambda _: None,
        care=Care(web_port=8089),
    )
    assert json.loads((host.root / NAME / "session.json").read_text())["web_port"] == 8089


def test_tikv_must_keep_its_promise_to_the_load_host_before_it_is_pressed(host, tmp_path):
    plan = replace(PLAN, target="tikv", endpoints=("10.0.0.1:2479",))
    pressed(host, tmp_path / "load", plan)
    assert host.checked == [["--pd", "10.0.0.1:2479"]]
    host.promise = "region 7: get ended failed (other): gone\nremedy: look there"
    shutil.rmtree(host.root)
    host.started.clear()
    with pytest.raises(ConfigureError, match="region 7: get ended failed"):
        pressed(host, tmp_path / "load", plan)
    assert host.started == []
