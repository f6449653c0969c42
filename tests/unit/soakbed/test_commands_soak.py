"""Leaving a soak, looking on, coming back and ending it, without hosts."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from loadgen.contract.plan import Keyspace, Phase, Plan
from soakbed import commands_soak
from soakbed.archive.lock import TestbedBusy, held_alone, holder
from soakbed.archive.run_folder import RunFolder
from soakbed.commands import Session
from soakbed.errors import ArchiveError, DetachedEnded
from soakbed.records.gaps import Coverage, Gap
from soakbed.records.lease import Lease
from soakbed.records.places import Places
from soakbed.records.spec import HostSpec, HourPrice, Phases, RunSpec, TestbedSpec, WorkloadSpec
from soakbed.records.watch import SoFar, WorkerNow
from soakbed.report.standing import standing_text
from soakbed.stages.lease import keep_lease
from soakbed.stages.standing import standing_of, under_way
from soakbed.stages.watch_notes import WatchNotes

PLAN = Plan(
    run_id="r1",
    session="steady",
    target="etcd",
    endpoints=("10.0.0.1:2379",),
    keyspace=Keyspace(100, "/bench/"),
    phases=(Phase("warmup", "open", 900, 500.0), Phase("steady", "open", 259_200, 500.0)),
    tls=None,
)


def spec_of(price: HourPrice | None = None) -> RunSpec:
    hosts = {f"d{i}": HostSpec(duty="data", address=f"10.83.9.{10 + i}") for i in (1, 2, 3)}
    hosts["l1"] = HostSpec(duty="load", address="10.83.9.20")
    testbed = TestbedSpec(
        name="t-soak", provider="local", network_cidr="10.83.9.0/24", hosts=hosts, hour_price=price
    )
    work = WorkloadSpec(name="long", keys=1000, phases=Phases(steady_s=259_200))
    return RunSpec(testbed=testbed, workload=work, targets=("etcd", "redis_cluster"))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(
        project=tmp_path,
        state=tmp_path / "state" / "t-soak",
        cache=tmp_path / "cache",
        archive=tmp_path / "results",
    )


@pytest.fixture(autouse=True)
def _own_locks(monkeypatch, tmp_path):
    monkeypatch.setattr("soakbed.commands._LOCKS", tmp_path / "locks")
    (tmp_path / "locks").mkdir()


@pytest.fixture
def session(places: Places) -> Session:
    console = Console(record=True, width=100, force_terminal=False, file=io.StringIO())
    return Session.begin(spec_of().testbed, places, console, command=["soakbed", "soak"])


@pytest.fixture
def run(places: Places) -> RunFolder:
    return RunFolder.begin(places.results, spec_of(HourPrice(amount=4.0, currency="EUR")))


def watched(run: RunFolder, **changed: object) -> WatchNotes:
    notes = WatchNotes(PLAN, run.folder("etcd", "load", "steady"))
    worker = WorkerNow(
        rank=0, phase="steady", start_s=36_899, per_s=498.0, not_ok_per_s=2.0, response_p99_us=7900
    )
    phases = tuple(
        one.model_copy(update={"began_s": at_s})
        for one, at_s in zip(notes.now.phases, (0, 900), strict=True)
    )
    told = {"workers": (worker,), "phases": phases, "seen_s": time.time(), **changed}
    notes.now = notes.now.model_copy(update=told)
    notes.write()
    return notes


def shown(run: RunFolder, pid: int | None = 77) -> str:
    console = Console(record=True, width=110, force_terminal=False, file=io.StringIO())
    console.print(standing_text(standing_of(run, pid)))
    return " ".join(console.export_text().split())


def test_the_view_says_how_far_how_fast_and_what_it_cost(run):
    os.utime(run.path / "spec.json", (time.time() - 7200, time.time() - 7200))
    watched(run, disk_free_bytes={"l1": 5 * 1024**3})
    text = shown(run)
    assert "14.2 % 10 h 15 min of 72 h 15 min" in text
    assert "498 of 500/s offered, by 1 of 1 worker" in text
    assert "7.90 ms" in text and "errors now 2.0/s" in text
    assert "8.00 EUR" in text and "5.0 GiB on l1" in text
    assert "controller: process 77" in text


def test_the_view_says_what_is_so_far_with_its_verdict_and_gaps(run):
    gap = Gap(from_s=36_000, until_s=36_004, workers=(0,), cause="worker_died", told="engine died")
    made = SoFar(
        at_s=1.0,
        phase="steady",
        seconds=36_000,
        due=100,
        sent=100,
        ok=97,
        failed=2,
        unknown=1,
        dropped=0,
        response_p99_us={"read": 7000},
        coverage=Coverage(
            session="steady",
            phase="steady",
            began_s=900,
            expected_s=36_000,
            held_s=35_996,
            gaps=(gap,),
        ),
        verdict="invalid",
        reasons=("3 of 100 operations failed or are unknown",),
    )
    watched(run, so_far=made)
    text = shown(run)
    assert "invalid; 3 of 100 operations failed" in text
    assert "99.99 % of the seconds so far, 1 gap" in text
    assert "4.0 s of worker 0, worker died: engine died" in text


def test_a_run_without_a_controller_says_how_to_go_on(run):
    watched(run)
    assert "no controller; soakbed resume goes on with the same clock" in shown(run, pid=None)


def test_a_run_before_any_load_is_shown_too(run):
    text = shown(run)
    assert "etcd: waiting; Redis Cluster: waiting" in text


def test_the_session_that_somebody_looked_at_last_is_under_way(run):
    watched(run)
    earlier = run.folder("etcd", "load", "capacity")
    (earlier / "watch.json").write_text("{}")
    os.utime(earlier / "watch.json", (1, 1))
    assert under_way(run) == run.path / "etcd" / "load" / "steady"


def test_status_for_scripts_is_json_with_the_run_in_it(session, run, capsys):
    watched(run)
    with held_alone(session.locks, "t-soak"):
        commands_soak.status(session, asks_hosts=False, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["unfinished"] == run.run_id == told["run"]["run_id"]
    assert told["run"]["controller_pid"] == os.getpid()
    assert told["run"]["watch"]["session"] == "steady"
    assert told["finished"] == []


def test_a_stop_is_a_record_that_is_asked_once(run):
    assert not run.stop_asked() and run.stop() is None
    run.ask_to_stop("first")
    run.ask_to_stop("second")
    assert run.stop().why == "first"


def test_stop_asks_the_controller_that_lives_and_waits_for_its_end(session, run, monkeypatch):
    asked: list[str] = []

    def finished(_session, held):
        asked.append(held.stop().why)
        return False

    monkeypatch.setattr(commands_soak, "_followed", finished)
    monkeypatch.setattr(commands_soak, "run_through", lambda *_: pytest.fail("two controllers"))
    with held_alone(session.locks, "t-soak"):
        stop(session)
    assert asked == ["stopped by its operator (soakbed stop)"]


def test_stop_ends_a_run_without_a_controller_itself(session, run, monkeypatch):
    ended: list[str] = []
    monkeypatch.setattr(
        commands_soak, "run_through", lambda _session, _spec, held: ended.append(held.run_id)
    )
    stop(session)
    assert ended == [run.run_id]
    assert run.stop_asked()


def stop(session: Session) -> None:
    places = session.places
    commands_soak.stop("current", places.results, lambda _: places, session.console, ["soakbed"])


def test_nothing_unfinished_says_how_to_start(session, places):
    with pytest.raises(ArchiveError, match="no run was left unfinished"):
        stop(session)


def test_a_second_soak_on_a_testbed_is_told_how_to_look_on(session):
    with held_alone(session.locks, "t-soak"), pytest.raises(TestbedBusy) as busy:
        commands_soak.soak(session, spec_of(), detach=True)
    assert "soakbed attach" in busy.value.remedy
    assert not session.places.results.exists(), "no run folder was begun"


def test_whoever_holds_a_testbed_is_known_by_its_lock(tmp_path):
    assert holder(tmp_path, "t") is None
    with held_alone(tmp_path, "t"):
        assert holder(tmp_path, "t") == os.getpid()
    assert holder(tmp_path, "t") is None


def test_looking_whether_it_is_held_does_not_keep_others_out(tmp_path):
    with held_alone(tmp_path, "t"):
        pass
    looking = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom pathlib import Path\nfrom soakbed.archive.lock import holder\n"
            "print(flush=True)\n"
            "while not Path(sys.argv[1], 'done').exists(): holder(Path(sys.argv[1]), 't')",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        looking.stdout.readline()
        for _ in range(50):
            with held_alone(tmp_path, "t"):
                pass
    finally:
        (tmp_path / "done").touch()
        looking.communicate(timeout=120)


def background(
    session: Session, monkeypatch, code: str, started: list[subprocess.Popen] | None = None
) -> None:
    """The soak in the background is this Python instead; it is left in `started`."""
    real = subprocess.Popen

    def start(_words, **how):
        process = real([sys.executable, "-c", code], **how)
        (started if started is not None else []).append(process)
        return process

    monkeypatch.setattr(commands_soak.subprocess, "Popen", start)
    monkeypatch.setattr(commands_soak, "_LOOK_S", 0.05)
    commands_soak.soak(session, spec_of(), detach=True)


def test_a_soak_that_ends_before_its_first_look_hands_on_its_words_and_exit_code(
    session, monkeypatch
):
    with pytest.raises(DetachedEnded, match="no image") as ended:
        background(session, monkeypatch, "print('no image'); raise SystemExit(3)")
    assert ended.value.exit_code == 3


def test_detach_returns_after_the_first_look_and_says_how_to_come_back(session, monkeypatch):
    run_id = "results/current/etcd/load/steady"
    folder = session.places.results.parent / run_id
    code = (
        "import os, sys, time, json, pathlib\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        "folder.mkdir(parents=True)\n"
        "worker = dict(rank=0, phase='steady', start_s=1, per_s=5.0, not_ok_per_s=0.0,"
        " response_p99_us=9)\n"
        "seen = dict(schema=1, run_id='r', target='etcd', session='steady', pid=os.getpid(),"
        " seen_s=time.time(), workers=[worker])\n"
        "print('etcd: steady', os.getsid(0) == os.getpid(), flush=True)\n"
        "(folder / 'new').write_text(json.dumps(seen))\n"
        "(folder / 'new').rename(folder / 'watch.json')\n"
        "time.sleep(60)\n"
    )
    started: list[subprocess.Popen] = []
    background(session, monkeypatch, code, started)
    run = RunFolder.open(session.places.results, "current")
    assert started[0].poll() is None, "it goes on"
    started[0].kill()
    started[0].wait()
    said = session.console.export_text()
    assert "soakbed attach" in said and f"soakbed resume {run.run_id}" in said
    assert "first look: etcd steady 5/s" in said
    assert "etcd: steady True" in (run.path / "controller.log").read_text()
    assert run.is_soak()


def test_ctrl_c_in_a_soak_under_load_asks_for_an_orderly_stop(session, run, monkeypatch):
    watched(run, state="pressing")

    def pressed(_session, _spec, held):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
        assert held.stop().why == "stopped by Ctrl-C"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    monkeypatch.setattr(commands_soak, "run_through", pressed)
    commands_soak._in_foreground(session, run.spec(), run)
    assert "soakbed soak --detach" in session.console.export_text()


def test_ctrl_c_before_any_load_interrupts_at_once(session, run, monkeypatch):
    def configuring(*_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    monkeypatch.setattr(commands_soak, "run_through", configuring)
    with pytest.raises(KeyboardInterrupt):
        commands_soak._in_foreground(session, run.spec(), run)
    assert not run.stop_asked()


def test_attach_goes_when_the_run_is_finished_and_ctrl_c_only_detaches(session, run, monkeypatch):
    monkeypatch.setattr(commands_soak, "_asked", lambda standing, _run: standing)
    monkeypatch.setattr(commands_soak.time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert not commands_soak._followed(session, run)
    assert "detached; the soak goes on" in session.console.export_text()
    run.write("summary", {})
    run.finish()
    assert commands_soak._followed(session, run)


@pytest.mark.parametrize(
    ("left_s", "said"),
    [
        pytest.param(5400, "the hosts end themselves", id="on"),
        pytest.param(-60, "the hosts have ended themselves", id="over"),
    ],
)
def test_status_tells_of_the_lease(session, run, capsys, left_s, said):
    ends_s = int(time.time()) + left_s
    lease = Lease(id="w", testbed="t-soak", provider="aws", begun_s=0, ends_s=ends_s)
    keep_lease(lease, session.places)
    commands_soak.status(session, asks_hosts=False, as_json=False)
    assert said in session.console.file.getvalue()
    commands_soak.status(session, asks_hosts=False, as_json=True)
    told = json.loads(capsys.readouterr().out)["lease"]
    assert told["ends_s"] == ends_s and abs(told["left_s"] - max(0, left_s)) < 60
