"""A session on several load hosts: one master, workers everywhere, stopped everywhere."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from loadgen.contract.plan import Keyspace, Phase, Plan
from soakbed.adapters.ssh import HostUnreachable, Result
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.load_session import LoadSession, found_outcome
from tests.fakes import FakeHosts

PLAN = Plan(
    run_id="r1",
    session="steady",
    target="etcd",
    endpoints=("10.0.0.1:2379",),
    keyspace=Keyspace(100, "/bench/"),
    phases=(Phase("steady", "open", 5, 10.0),),
    tls=None,
    workers=4,
)
NAME = "r1-etcd-steady"
TESTBED = Testbed(
    name="t",
    provider="local",
    shares_machine=True,
    known_hosts_file="k",
    hosts={
        f"l{at}": Host(name=f"l{at}", duty="load", address=f"10.0.0.{at}", key_file="k", cpus=cpus)
        for at, cpus in enumerate(((0, 1), (0,), (0,)), 1)
    },
)


class LoadHosts(FakeHosts):
    """FakeHosts whose clock tells the time, and that hold what is said of a session."""

    def __init__(self, **finds: dict) -> None:
        super().__init__()
        self.finds = finds

    def run(self, host, command, *, timeout_s: float = 60, check: bool = True):
        done = super().run(host, command, timeout_s=timeout_s, check=check)
        if command[0] == "date":
            return Result(0, "1700000000\n", "")
        if "loadgen.look" in command:
            return Result(0, json.dumps(self.finds.get(host.name, {})), "")
        return done

    def of_units(self, word: str) -> list[tuple[str, list[str]]]:
        """Host and units of each `systemctl WORD`."""
        begins = f"systemctl {word} "
        return [
            (host, [unit.removesuffix(".service") for unit in line.removeprefix(begins).split()])
            for host, line in self.asked
            if line.startswith(begins)
        ]


def test_the_master_runs_on_the_first_load_host_alone_and_workers_on_all():
    hosts = LoadHosts()
    LoadSession(PLAN, TESTBED, shell=hosts).begin()
    assert hosts.of_units("start") == [
        (
            "l1",
            [
                f"soakbed-load-master@{NAME}",
                f"soakbed-load-worker@{NAME}:0",
                f"soakbed-load-worker@{NAME}:3",
            ],
        ),
        ("l2", [f"soakbed-load-worker@{NAME}:1"]),
        ("l3", [f"soakbed-load-worker@{NAME}:2"]),
    ]
    shares = {name: json.loads(files["session.json"]) for name, files in hosts.given.items()}
    assert {name: share["ranks"] for name, share in shares.items()} == {
        "l1": [0, 3],
        "l2": [1],
        "l3": [2],
    }


def test_every_host_is_told_one_moment_to_begin_and_has_time_until_then():
    hosts = LoadHosts()
    LoadSession(PLAN, TESTBED, shell=hosts).begin()
    told = {json.loads(files["plan.json"])["start_at_s"] for files in hosts.given.values()}
    assert told == {1_700_000_000 + 15 + 2}


def test_a_host_that_is_away_keeps_no_other_from_stopping_and_is_told():
    hosts = LoadHosts()
    hosts.away = {"l3"}
    with pytest.raises(HostUnreachable, match="l3"):
        LoadSession(PLAN, TESTBED, shell=hosts).stop()
    stopped = [(host, units[0]) for host, units in hosts.of_units("stop") if host != "l3"]
    assert stopped == [
        ("l2", f"soakbed-load-worker@{NAME}:1"),
        ("l1", f"soakbed-load-worker@{NAME}:3"),
        ("l1", f"soakbed-load-worker@{NAME}:0"),
        ("l1", f"soakbed-load-master@{NAME}"),
    ]


def found(*ranks: int, outcome: str = "finished", workers: int = 4) -> dict:
    plan = replace(PLAN, workers=workers).to_json()
    return {"plan": plan, "outcomes": {str(rank): outcome for rank in ranks}}


@pytest.mark.parametrize(
    ("finds", "expected"),
    [
        ({"l1": found(0, 3), "l2": found(1), "l3": found(2)}, "finished"),
        ({"l1": found(0, 3), "l2": found(1, outcome=""), "l3": found(2)}, "broken"),
        ({"l1": found(0, 3), "l2": found(1)}, "broken"),
        ({"l1": found(0, workers=2), "l2": found(1, workers=2)}, "finished"),
        ({}, ""),
    ],
    ids=["all", "one broke off", "one has lost it", "one bore no worker", "nothing"],
)
def test_a_session_has_ended_when_it_has_on_every_host_that_bore_a_worker(finds, expected):
    hosts = LoadHosts(**finds)
    assert found_outcome(NAME, TESTBED.of_duty("load"), shell=hosts) == expected
