"""Pressing a target when a stop was asked for, and leaving hosts alone while load is on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from soakbed import pipeline, pressing
from soakbed.archive.run_folder import RunFolder
from soakbed.errors import LoadError
from soakbed.pipeline import Bench
from soakbed.pressing import Pressing, Stopwatch, Tools
from soakbed.records.cost import HourCost, RunCost
from soakbed.records.lease import Lease
from soakbed.records.places import Places
from soakbed.records.run import LoadOutcome, ReadyTarget
from soakbed.records.spec import HostSpec, RunSpec, TestbedSpec, WorkloadSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.records.testbed_spec import Budget
from soakbed.stages.lease import keep_lease
from soakbed.stages.summarise import assemble_summary

HOSTS = {f"d{i}": HostSpec(duty="data", address=f"10.83.9.{10 + i}") for i in (1, 2, 3)}
HOSTS["l1"] = HostSpec(duty="load", address="10.83.9.20")
SPEC = RunSpec(
    testbed=TestbedSpec(name="t", provider="local", network_cidr="10.83.9.0/24", hosts=HOSTS),
    workload=WorkloadSpec(name="long", keys=1000),
    targets=("etcd", "redis_cluster"),
)
TESTBED = Testbed(
    name="t",
    provider="local",
    shares_machine=True,
    known_hosts_file="/nowhere/ssh/known_hosts",
    hosts={
        name: Host(name=name, duty=one.duty, address=one.address, key_file="k")
        for name, one in HOSTS.items()
    },
)
READY = ReadyTarget(
    target="etcd",
    profile="tuned",
    version="3.5",
    substituted=False,
    artifacts=(),
    endpoints=("10.83.9.11:2379",),
    binaries={},
    effective={},
)


def outcome(session: str, how: str = "finished") -> LoadOutcome:
    counts = {"sent": 9, "ok": 9, "failed": 0, "unknown": 0}
    return LoadOutcome(
        session=session, outcome=how, started_s=100.0, ended_s=130.0, workers=1, **counts
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder.begin(tmp_path / "results", SPEC)
    made.write("testbed", TESTBED)
    return made


@pytest.fixture
def press(run: RunFolder, tmp_path: Path, monkeypatch) -> Pressing:
    """With every stage that asks hosts replaced by a note that it was called."""
    press = pressing_of(run, tmp_path)
    monkeypatch.setattr(pressing, "sampled", lambda *_, **__: Stopwatch(print).stage("samples"))
    monkeypatch.setattr(pressing, "wipe_target", lambda *_, **__: CALLED.append("wipe"))
    monkeypatch.setattr(Pressing, "collect", lambda *_: CALLED.append("collect"))
    monkeypatch.setattr(Pressing, "_keep_facts", lambda *_, **__: None)
    monkeypatch.setattr(Pressing, "_measuring", lambda *_: True)
    CALLED.clear()
    return press


CALLED: list[str] = []


def pressing_of(run: RunFolder, tmp_path: Path) -> Pressing:
    places = Places(project=tmp_path, state=tmp_path / "state", cache=tmp_path / "cache")
    tools = Tools(terraform=None, ansible=None, artifacts=None, progress=CALLED.append)
    return Pressing(SPEC, run, places, tools, Stopwatch(CALLED.append), None)


def loads(monkeypatch, load) -> None:
    """`load(run, session)` stands for a session of load: its outcome, or an error."""

    def one(press, ready, _testbed, _shell, course):
        session = course.session
        CALLED.append(session)
        made = load(press.run, session)
        press.run.folder(ready.target, "load")
        press.run.write(f"{ready.target}/load/{session}", made)

    monkeypatch.setattr(Pressing, "_load", one)


def test_a_stop_in_one_session_begins_none_after_it_and_keeps_the_evidence(run, press, monkeypatch):
    run.write("etcd/ready", READY)

    def stopped(held, session):
        held.ask_to_stop("enough")
        return outcome(session, "stopped")

    loads(monkeypatch, stopped)
    press("etcd", TESTBED, None)
    assert [word for word in CALLED if word in ("capacity", "steady")] == ["capacity"]
    assert CALLED.index("collect") < CALLED.index("wipe")
    assert run.has("etcd/wiped")


def test_copies_are_compared_when_the_load_is_over_and_before_anything_is_wiped(
    run, press, monkeypatch
):
    run.write("etcd/ready", READY)
    loads(monkeypatch, lambda _run, session: outcome(session))
    monkeypatch.setattr(pressing, "quiesce", lambda *_, **__: CALLED.append("compare"))
    press("etcd", TESTBED, None)
    order = [word for word in CALLED if word in ("steady", "compare", "collect", "wipe")]
    assert order == ["steady", "compare", "collect", "wipe"]


def test_a_session_that_sent_nothing_before_it_was_stopped_is_no_error(run, press, monkeypatch):
    run.write("etcd/ready", READY)

    def nothing(held, _session):
        held.ask_to_stop("enough")
        raise LoadError("sent nothing", remedy="none")

    loads(monkeypatch, nothing)
    press("etcd", TESTBED, None)
    assert "collect" not in CALLED and "wipe" in CALLED


def test_the_same_error_without_a_stop_goes_on_up(run, press, monkeypatch):
    run.write("etcd/ready", READY)

    def nothing(_held, _session):
        raise LoadError("sent nothing", remedy="none")

    loads(monkeypatch, nothing)
    with pytest.raises(LoadError):
        press("etcd", TESTBED, None)
    assert "wipe" not in CALLED


def test_a_target_that_has_not_begun_stays_so_after_a_stop_and_the_summary_says_why(run, press):
    run.ask_to_stop("stopped by its operator")
    press("redis_cluster", TESTBED, None)
    assert CALLED == []
    held = assemble_summary(run.path).targets["redis_cluster"]
    assert held.status == "not_measured"
    assert "stopped by its operator" in held.reason


def test_a_grave_event_keeps_the_target_as_it_is(run, press, monkeypatch):
    run.write("etcd/ready", READY)

    def stopped(held, session):
        held.ask_to_stop("d1: disk error", keeps_hosts=True)
        return outcome(session, "stopped")

    loads(monkeypatch, stopped)
    press("etcd", TESTBED, None)
    assert "collect" in CALLED and "wipe" not in CALLED
    assert any("left as it is" in word for word in CALLED)


def spent(run: RunFolder, *, of: float) -> None:
    """Hosts at 1 an hour that were made two hours ago, on a budget of `of`."""
    since_s = time.time() - 7200
    hour = HourCost(per_hour=1.0, currency="EUR", basis="hour_price of the testbed")
    budget = Budget(amount=of, currency="EUR")
    kept = RunCost(hour=hour, began_s=since_s, hosts_since_s=since_s, budget=budget)
    run.write("cost", kept)


def test_a_budget_that_is_spent_begins_no_further_session_and_no_further_target(
    run, press, monkeypatch
):
    run.write("etcd/ready", READY)

    def costly(held, session):
        spent(held, of=2.1)
        return outcome(session)

    spent(run, of=100.0)
    loads(monkeypatch, costly)
    press("etcd", TESTBED, None)
    assert [word for word in CALLED if word in ("capacity", "steady")] == ["capacity"]
    assert CALLED.index("collect") < CALLED.index("wipe")
    press("redis_cluster", TESTBED, None)
    held = assemble_summary(run.path).targets["redis_cluster"]
    assert held.status == "not_measured" and "the budget of 2.10 EUR is spent" in held.reason


def bench(run: RunFolder, tmp_path: Path) -> Bench:
    press = pressing_of(run, tmp_path)
    return Bench(SPEC, run, press.places, press.tools, press.watch)


def begun(run: RunFolder, *, accounted: bool) -> None:
    run.write("soak", {"schema": 1, "asked_s": time.time()})
    (run.folder("etcd", "load", "steady") / "watch.json").write_text("{}")
    if accounted:
        run.write("etcd/load/steady", outcome("steady"))


@pytest.mark.parametrize(
    ("accounted", "living", "alone"),
    [
        pytest.param(False, set(HOSTS), True, id="its load is on"),
        pytest.param(True, set(HOSTS), False, id="its load is accounted for"),
        pytest.param(False, {"d1", "d2"}, False, id="its hosts are gone"),
    ],
)
def test_hosts_are_left_alone_while_a_soaks_load_is_on(
    run, tmp_path, monkeypatch, accounted, living, alone
):
    prepared: list[str] = []

    def prepare(*_, **__):
        prepared.append("hosts")
        return TESTBED

    monkeypatch.setattr(pipeline, "prepare", prepare)
    monkeypatch.setattr(pipeline, "living_hosts", lambda _name: living)
    begun(run, accounted=accounted)
    made = bench(run, tmp_path)
    assert made._hosts(is_on=made._load_is_on()) == TESTBED
    assert prepared == ([] if alone else ["hosts"])


@pytest.mark.parametrize(
    ("ends_s", "answers", "alone"),
    [
        pytest.param(10**10, False, True, id="the lease goes on: they are waited for"),
        pytest.param(1, True, True, id="one answers: it has heard of a later end"),
        pytest.param(1, False, False, id="the lease ended and nobody answers"),
    ],
)
def test_hosts_that_their_lease_ended_are_not_waited_for(
    run, tmp_path, monkeypatch, ends_s, answers, alone
):
    monkeypatch.setattr(pipeline, "living_hosts", lambda _name: set(HOSTS))
    monkeypatch.setattr(pipeline, "greets", lambda *_, **__: answers)
    begun(run, accounted=False)
    made = bench(run, tmp_path)
    keep_lease(Lease(id="w", testbed="t", provider="aws", begun_s=0, ends_s=ends_s), made.places)
    assert made._load_is_on() is alone
    assert any("the lease of the hosts ended" in line for line in CALLED) is not alone


def test_a_living_controller_extends_the_lease_before_what_may_take_long(
    run, tmp_path, monkeypatch
):
    beats: list[str] = []
    press = replace(
        pressing_of(run, tmp_path), heart=lambda _ends_s=0.0, *, target: beats.append(target)
    )
    monkeypatch.setattr(pressing, "configure_target", lambda *_, **__: READY)
    monkeypatch.setattr(pressing, "collect", lambda *_, **__: {"schema": 1})
    monkeypatch.setattr(Pressing, "_alarms", lambda *_: [])
    monkeypatch.setattr(Pressing, "_keep_facts", lambda *_, **__: None)
    press._ready("etcd", TESTBED, None)
    press.collect("redis_cluster", TESTBED, None)
    assert beats == ["etcd", "redis_cluster"]
