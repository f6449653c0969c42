"""What a soak is minded by: grave events stop it with a record, silences are events and no gaps."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from soakbed.archive.run_folder import RunFolder
from soakbed.records import policy
from soakbed.records.cost import HourCost, RunCost
from soakbed.records.spec import HostSpec, RunSpec, TestbedSpec, WorkloadSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.records.testbed_spec import Budget
from soakbed.records.watch import Unwatched
from soakbed.stages import care
from soakbed.stages.care import care_for

HOSTS = {f"d{i}": HostSpec(duty="data", address=f"10.83.9.{10 + i}") for i in (1, 2, 3)}
HOSTS["l1"] = HostSpec(duty="load", address="10.83.9.20")
TESTBED = Testbed(
    name="t",
    provider="local",
    shares_machine=True,
    known_hosts_file="/nowhere/ssh/known_hosts",
    hosts={"l1": Host(name="l1", duty="load", address="10.83.9.20", key_file="k")},
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    testbed = TestbedSpec(name="t", provider="local", network_cidr="10.83.9.0/24", hosts=HOSTS)
    work = WorkloadSpec(name="long", keys=1000)
    made = RunFolder.begin(
        tmp_path / "results", RunSpec(testbed=testbed, workload=work, targets=("etcd",))
    )
    made.write("soak", {"schema": 1, "asked_s": 0})
    return made


def cared_for(run: RunFolder, said: list[str] | None = None):
    tell = (said if said is not None else []).append
    return care_for(run, "etcd", TESTBED, shell=None, progress=tell)


@pytest.mark.parametrize(
    ("kind", "stops"),
    [pytest.param("disk_error", True, id="grave"), pytest.param("leader_change", False, id="not")],
)
def test_what_the_policy_stops_for_is_a_record_and_keeps_the_hosts(run, monkeypatch, kind, stops):
    event = policy.event(kind, 5.0, host="d1", source="watch", text="it happened")
    monkeypatch.setattr(care, "watch", lambda *_, **__: [event])
    said: list[str] = []
    why = cared_for(run, said).mind(1.0)
    assert said == ["warning: d1: it happened"]
    assert bool(why) == run.stop_asked() == stops
    if stops:
        assert run.stop().keeps_hosts and "it happened" in run.stop().why


def test_the_watch_is_told_until_when_certificates_must_last(run, monkeypatch):
    asked: dict[str, float] = {}
    monkeypatch.setattr(care, "watch", lambda *_, **told: asked.update(told) or [])
    assert cared_for(run).mind(7.0) == ""
    assert asked["since_s"] == 7.0 and asked["until_s"] > 1_700_000_000


def test_a_silence_is_an_event_beside_the_target(run):
    silence = Unwatched(kind="host_away", from_s=10.0, until_s=70.0, told="l1 does not answer")
    cared_for(run).note(silence)
    (line,) = (run.path / "etcd" / "events.jsonl").read_text().split("\n\n")[-1:]
    told = json.loads(line)
    assert (told["kind"], told["at_s"], told["until_s"]) == ("unwatched", 10.0, 70.0)


def test_a_bench_is_not_minded_and_can_be_stopped(run):
    (run.path / "soak.json").unlink()
    held = cared_for(run)
    assert held.mind(1.0) == "" and held.duties is None and not held.patient
    run.ask_to_stop("enough")
    assert held.stop_asked()


def costing(run: RunFolder, *, spent: float) -> None:
    """Hosts at 10 an hour on a budget of 100, of which so much is spent."""
    since_s = time.time() - spent / 10 * 3600
    hour = HourCost(per_hour=10.0, currency="EUR", basis="hour_price of the testbed")
    budget = Budget(amount=100, currency="EUR")
    kept = RunCost(hour=hour, began_s=since_s, hosts_since_s=since_s, budget=budget)
    run.write("cost", kept)


@pytest.mark.parametrize("is_soak", [True, False], ids=["soak", "bench"])
def test_a_spent_budget_is_a_stop_that_keeps_the_evidence_and_says_the_figures(run, is_soak):
    if not is_soak:
        (run.path / "soak.json").unlink()
    costing(run, spent=98.0)
    said: list[str] = []
    held = cared_for(run, said)
    assert held.stop_asked() and held.stop_asked()
    stop = run.stop()
    assert stop.cause == "budget" and not stop.keeps_hosts
    assert "budget of 100.00 EUR is spent: 98.00" in stop.why
    assert said == [f"warning: {stop.why}"], "said once"


def test_while_the_budget_allows_it_the_load_goes_on(run):
    costing(run, spent=97.0)
    assert not cared_for(run).stop_asked() and not run.stop_asked()
