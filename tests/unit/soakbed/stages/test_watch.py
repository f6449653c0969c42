"""A watch that outlives what it watches by: SSH that is refused, a controller that was killed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from loadgen.contract.plan import Keyspace, Phase, Plan
from soakbed.adapters import patient
from soakbed.adapters.ssh import CommandFailed, HostUnreachable
from soakbed.errors import LoadError
from soakbed.records.testbed import Host, Testbed
from soakbed.records.watch import Watch
from soakbed.stages import watch, watch_notes
from soakbed.stages.load import Care, drive, session_is_there
from soakbed.stages.load_session import LoadSession
from soakbed.stages.watch_notes import WatchNotes, watch_of
from tests.fakes import FakeEngine, FakeLoadHost

PLAN = Plan(
    run_id="r1",
    session="steady",
    target="etcd",
    endpoints=("10.0.0.1:2379",),
    keyspace=Keyspace(100, "/bench/"),
    phases=(Phase("warmup", "open", 2, 100.0), Phase("steady", "open", 6, 100.0)),
    tls=None,
)
NAME = "r1-etcd-steady"
L1 = Host(name="l1", duty="load", address="10.0.0.9", key_file="k", cpus=(1,))
TESTBED = Testbed(
    name="t", provider="local", shares_machine=True, known_hosts_file="k", hosts={"l1": L1}
)
AWAY = HostUnreachable("l1 does not answer", remedy="wait")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "LOOK_IN_S", 0.0)
    monkeypatch.setattr(watch, "BACKFILL_S", (0.0, 0.0))
    monkeypatch.setattr(watch, "REST_GRACE_S", 0.0)
    monkeypatch.setattr(patient, "PAUSE_S", 0.0)


@pytest.fixture
def host(tmp_path: Path) -> FakeLoadHost:
    return FakeLoadHost(tmp_path / "sessions")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "etcd" / "load" / "steady"


def pressed(host: FakeLoadHost, folder: Path, plan: Plan = PLAN, **care):
    said: list[str] = []
    told = Care(patient=True, **care)
    outcome = drive(plan, TESTBED, shell=host, folder=folder, progress=said.append, care=told)
    return outcome, said


def last_seen(folder: Path) -> Watch:
    found = watch_of(folder)
    assert found is not None
    return found


def test_hosts_that_are_away_longer_than_the_whole_session_are_waited_for(
    host, folder, monkeypatch
):
    monkeypatch.setattr(watch, "session_limit_s", lambda _: 0.05)
    host.raises = [AWAY] * 300
    outcome, said = pressed(host, folder)
    assert outcome.outcome == "finished"
    assert sum("looking again" in line for line in said) == 300


def test_a_session_that_does_not_end_though_its_host_answers_is_stopped(host, folder, monkeypatch):
    monkeypatch.setattr(watch, "session_limit_s", lambda _: 0.05)
    host.looks = 10**9
    with pytest.raises(LoadError, match="did not end within"):
        pressed(host, folder)
    assert host.active == set()


def test_a_line_that_breaks_while_it_is_fetched_from_costs_nothing(host, folder):
    host.looks = 3
    host.line_breaks = [AWAY, AWAY, AWAY]
    outcome, _ = pressed(host, folder)
    assert outcome.outcome == "finished"
    spool = "worker-0.spool"
    assert (folder / spool).read_bytes() == (host.root / NAME / spool).read_bytes()


def test_the_windows_are_here_before_the_session_is_over(host, folder):
    host.looks = 3
    seen = []
    host.raises = Peeks(lambda: seen.append((folder / "worker-0.spool").exists()))
    pressed(host, folder)
    assert seen == [False, True, True, True]


class Peeks:
    """Stands in for the list of what a look raises: raises nothing, calls a function each time."""

    def __init__(self, peek) -> None:
        self.peek = peek

    def __bool__(self) -> bool:
        self.peek()
        return False


def test_watch_json_says_how_it_stands_and_what_is_planned(host, folder):
    pressed(host, folder)
    seen = last_seen(folder)
    assert (seen.run_id, seen.target, seen.session) == ("r1", "etcd", "steady")
    assert seen.state == "over"
    assert seen.planned_s == 8
    assert [phase.offered_per_s for phase in seen.phases] == [100.0, 100.0]
    assert seen.workers[0].per_s == 5.0


def test_what_is_done_is_counted_by_the_newest_window(host, folder):
    notes = WatchNotes(PLAN, folder)
    (folder / "clock-0.json").write_text('{"warmup": 1000, "steady": 1002}')
    host.root.joinpath(NAME).mkdir(parents=True)
    host.root.joinpath(NAME, "worker-0.spool").touch()
    host.shown = {"phase": "steady", "start_s": 1004}
    notes.seen(LoadSession(PLAN, TESTBED, shell=host).glance())
    assert last_seen(folder).done_s == 5


def test_a_stop_that_is_asked_for_stops_the_load_and_keeps_what_it_did(host, folder):
    host.looks = 10**9
    asked = iter([False, False, True])
    outcome, said = pressed(host, folder, stop_asked=lambda: next(asked, True))
    assert host.stopped == [
        f"soakbed-load-worker@{NAME}:0.service",
        f"soakbed-load-master@{NAME}.service",
    ]
    assert outcome.sent > 0
    assert any("stopped: it was asked for" in line for line in said)


def test_a_stop_while_the_host_is_away_is_carried_out_when_it_is_back(host, folder):
    host.looks = 10**9
    host.raises = [AWAY] * 3
    host.stop_raises = [AWAY] * 2
    pressed(host, folder, stop_asked=lambda: bool(host.started))
    assert len(host.stopped) == 2


def test_whoever_minds_it_can_have_it_stopped_with_a_reason(host, folder, monkeypatch):
    monkeypatch.setattr(watch, "MIND_S", 0.0)
    host.looks = 10**9
    _, said = pressed(host, folder, mind=lambda since_s: "the disk of d1 is full")
    assert any("the disk of d1 is full" in line for line in said)
    assert host.active == set()


def test_units_that_neither_run_nor_ended_are_started_again(host, folder):
    host.leaves = "cut"

    def mended(units):
        for spool in host.root.glob("*/worker-0.spool"):  # from the second start on
            host.leaves = "all"
            spool.unlink()

    host.on_start = mended
    host.looks = 2
    outcome, said = pressed(host, folder)
    assert outcome.outcome == "finished"
    assert any("has time left: started again" in line for line in said)


def test_a_session_that_broke_off_goes_on_and_is_not_begun_anew(host, folder):
    left = broken(host)
    assert session_is_there(NAME, TESTBED, shell=host)
    host.on_start = lambda _units: left.unlink(missing_ok=True)  # this fake cannot go on with one
    _, said = pressed(host, folder)
    assert "goes on by the same clock" in said[0]
    assert host.removed == []


def broken(host: FakeLoadHost, plan: Plan = PLAN) -> Path:
    folder = host.root / NAME
    folder.mkdir(parents=True)
    plan.write(folder / "plan.json")
    (folder / "session.json").write_text('{"ranks": [0]}')
    spool = folder / "worker-0.spool"
    FakeEngine(plan, 0, spool, pace_s=0).run()
    spool.write_bytes(spool.read_bytes()[:-20])
    return spool


def test_a_broken_session_that_was_to_stop_is_not_started_again(host, folder):
    broken(host)
    outcome, _ = pressed(host, folder, stop_asked=lambda: True)
    assert host.started == []
    assert outcome.sent > 0


def test_evidence_of_a_session_that_begins_anew_is_set_aside_not_lost(host, folder):
    folder.mkdir(parents=True)
    (folder / "worker-0.spool").write_bytes(b"fifty hours")
    pressed(host, folder)
    kept = folder.parent.parent / "set-aside" / "steady" / "1" / "worker-0.spool"
    assert kept.read_bytes() == b"fifty hours"


def test_a_time_without_a_controller_is_noted_once(host, folder, monkeypatch):
    monkeypatch.setattr(watch_notes, "LEAST_SILENCE_S", 0.0)
    host.looks = 2
    pressed(host, folder)
    assert last_seen(folder).unwatched == ()
    WatchNotes(PLAN, folder).say("pressing")  # as a controller leaves it that is killed
    host.looks = 2
    _, said = pressed(host, folder)
    kinds = [one.kind for one in last_seen(folder).unwatched]
    assert kinds == ["controller_gone"]
    assert any("no controller looked on" in line for line in said)


def test_a_time_in_which_ssh_was_refused_is_noted_with_the_reason(host, folder, monkeypatch):
    monkeypatch.setattr(watch_notes, "LEAST_SILENCE_S", 0.0)
    host.looks = 3
    host.raises = [AFTER_A_LOOK, AWAY, AWAY]
    pressed(host, folder)
    (noted,) = last_seen(folder).unwatched
    assert noted.kind == "host_away"
    assert "l1 does not answer" in noted.told
    assert noted.from_s < noted.until_s


AFTER_A_LOOK = None  # the fake raises nothing for it


def test_a_load_host_that_started_again_is_noted(host, folder):
    host.looks = 4
    host.boots = ["one", "one", "two", "two", "two"]
    pressed(host, folder)
    (noted,) = last_seen(folder).unwatched
    assert noted.kind == "host_restarted"
    assert "l1" in noted.told


def test_a_host_whose_systemd_does_not_answer_yet_is_waited_for(host, folder):
    host.raises = [CommandFailed("l1: Failed to connect to bus", remedy="wait")] * 3
    outcome, _ = pressed(host, folder)
    assert outcome.outcome == "finished"


def test_a_damaged_watch_json_is_begun_anew(host, folder):
    folder.mkdir(parents=True)
    (folder / "watch.json").write_text('{"half": ')
    assert watch_of(folder) is None
    pressed(host, folder)
    assert last_seen(folder).state == "over"


def test_a_plan_of_another_load_is_not_gone_on_with(host, folder):
    broken(host, replace(PLAN, seed=99))
    _, said = pressed(host, folder)
    assert not any("goes on" in line for line in said)


def test_the_heartbeat_is_told_when_the_session_will_have_ended(host, folder, monkeypatch):
    beats: list[float] = []
    monkeypatch.setattr(watch, "BEAT_S", 0.0)
    host.looks = 5
    began_s = time.time()
    pressed(host, folder, beat=beats.append)
    limit_s = watch.session_limit_s(PLAN)
    assert len(beats) > 1
    assert all(began_s - 2 + limit_s <= told <= time.time() + limit_s for told in beats)


def test_the_heartbeat_is_not_asked_at_every_look(host, folder):
    beats: list[float] = []
    host.looks = 5
    pressed(host, folder, beat=beats.append)
    assert len(beats) == 1
