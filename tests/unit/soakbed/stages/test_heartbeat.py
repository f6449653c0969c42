"""The heartbeat: tags first, then every host; what cannot be told is told again, and no end."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from soakbed.adapters.ssh import Result
from soakbed.archive.data.watched import read_events
from soakbed.archive.run_folder import RunFolder
from soakbed.errors import ProvisionError
from soakbed.records.cloud_resource import LeaseName
from soakbed.records.lease import Lease
from soakbed.records.places import Places
from soakbed.records.spec import RunSpec, WorkloadSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.records.testbed_spec import LeaseSpec, TestbedSpec
from soakbed.stages import heartbeat
from soakbed.stages.heartbeat import Heartbeat, heartbeat_of
from soakbed.stages.lease import FILE, drop_lease, held_lease, hold_lease, keep_lease
from tests.fakes import FakeHosts
from tests.standins.aws_memory import MemoryRegion

NOW_S = 1_800_000_000.0
HOUR_S = 3600
OWN = LeaseName("t", "k3v9q2x7")
HOSTS = {
    **{f"d{i}": {"duty": "data", "address": f"10.83.9.{10 + i}"} for i in (1, 2, 3)},
    "l1": {"duty": "load", "address": "10.83.9.20"},
}
TESTBED = Testbed(
    name="t",
    provider="local",
    shares_machine=True,
    known_hosts_file="/nowhere/ssh/known_hosts",
    hosts={name: Host(name=name, key_file="k", **told) for name, told in HOSTS.items()},
)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW_S)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(project=tmp_path, state=tmp_path / "states" / "t", cache=tmp_path)


def spec(**more: Any) -> TestbedSpec:
    told = {"name": "t", "provider": "local", "network_cidr": "10.83.9.0/24", "hosts": HOSTS}
    return TestbedSpec.model_validate(told | more)


def held(places: Places, *, begun_h: float = -1, ends_h: float = 1) -> Lease:
    lease = Lease(
        id=OWN.lease,
        testbed="t",
        provider="aws",
        region="eu-central-1",
        begun_s=int(NOW_S + begun_h * HOUR_S),
        ends_s=int(NOW_S + ends_h * HOUR_S),
    )
    keep_lease(lease, places)
    return lease


class Told(FakeHosts):
    """Hosts in `away` cannot be given anything either; `order` says who was told when."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def run(self, host: Host, command: Sequence[str], **more: Any) -> Result:
        result = super().run(host, command, **more)
        if command[0] != "head":
            return result
        return Result(0, self.given.get(host.name, {}).get(command[-1], ""), "")

    def put_texts(self, host: Host, folder: str, texts: dict[str, str]) -> None:
        self.order.append(host.name)
        self.run(host, ["put"])
        super().put_texts(host, folder, {f"{folder}/{name}": text for name, text in texts.items()})


def beat(places: Places, hosts: FakeHosts, said: list[str] | None = None, **more: Any) -> Heartbeat:
    tell = (said if said is not None else []).append
    return Heartbeat(LeaseSpec(margin_h=2), places, TESTBED, hosts, tell, **more)


def test_every_host_and_the_state_are_told_of_the_plan_and_the_margin(places):
    held(places)
    hosts = Told()
    beat(places, hosts)(NOW_S + 72 * HOUR_S)
    ends_s = int(NOW_S) + 74 * HOUR_S
    assert held_lease(places).ends_s == ends_s
    assert hosts.given == {name: {"/var/lib/soakbed/lease": f"{ends_s}\n"} for name in HOSTS}


def test_a_damaged_file_on_a_host_is_mended_at_the_next_beat_though_the_end_is_the_same(places):
    held(places)
    hosts = Told()
    heart = beat(places, hosts)
    heart(NOW_S + HOUR_S)
    hosts.given.clear()
    heart(NOW_S + HOUR_S)
    assert set(hosts.given) == set(HOSTS)


def test_a_host_that_is_away_is_an_event_once_and_the_others_are_told(places, tmp_path):
    held(places)
    run = RunFolder.begin(
        tmp_path / "results",
        RunSpec(testbed=spec(), workload=WorkloadSpec(name="w", keys=1000), targets=("etcd",)),
    )
    hosts, said = Told(), []
    hosts.away = {"d2"}
    heart = beat(places, hosts, said, run=run)
    for _ in range(3):
        heart(target="etcd")
    assert set(hosts.given) == set(HOSTS) - {"d2"}
    (event,) = read_events(run.folder("etcd"))[0]
    assert (event.kind, event.host, event.severity) == ("lease_not_extended", "d2", "note")
    assert len(said) == 3 and all("d2 was not told its lease" in line for line in said)
    hosts.away.clear()
    heart(target="etcd")
    assert set(hosts.given) == set(HOSTS)


def test_a_second_controller_on_the_same_hosts_never_cuts_the_firsts_lease_short(places, tmp_path):
    hosts, said = Told(), []
    held(places)
    beat(places, hosts)(NOW_S + 72 * HOUR_S)
    before = {name: dict(files) for name, files in hosts.given.items()}
    second = places.model_copy(update={"state": tmp_path / "elsewhere" / "t"})
    held(second)
    beat(second, hosts, said)()
    assert hosts.given == before
    assert len(said) == len(HOSTS)
    until = time.strftime("%Y-%m-%d %H:%M", time.gmtime(NOW_S + 74 * HOUR_S))
    assert f"d1 holds a lease until {until} UTC of another controller" in "".join(said)
    # A longer one of the second is given, and the first then keeps that in its turn.
    beat(second, hosts)(NOW_S + 90 * HOUR_S)
    ends = {files["/var/lib/soakbed/lease"] for files in hosts.given.values()}
    assert ends == {f"{int(NOW_S) + 92 * HOUR_S}\n"}


@pytest.mark.parametrize("there", ["", "nonsense", "9999999999", "1", "²²²²²²²²²²"])
def test_what_is_no_lease_in_a_hosts_file_is_written_over(places, there):
    held(places)
    hosts = Told()
    hosts.given = {name: {"/var/lib/soakbed/lease": there} for name in HOSTS}
    beat(places, hosts)()
    ends_s = held_lease(places).ends_s
    assert {f["/var/lib/soakbed/lease"] for f in hosts.given.values()} == {f"{ends_s}\n"}


def test_a_lease_of_our_own_is_cut_short_by_the_budget_on_hosts_too(places):
    held(places)
    hosts = Told()
    beat(places, hosts)(NOW_S + 72 * HOUR_S)
    beat(places, hosts, budget_h=5)(NOW_S + 72 * HOUR_S)
    ends_s = int(NOW_S) + 4 * HOUR_S  # of five hours one is over
    assert {f["/var/lib/soakbed/lease"] for f in hosts.given.values()} == {f"{ends_s}\n"}


def test_tags_are_written_before_any_host_is_told_and_only_when_the_end_moved(places):
    held(places)
    aws, hosts = MemoryRegion(), Told()
    tags = {"soakbed:project": "soakbed", "soakbed:testbed": "t", "soakbed:lease": OWN.lease}
    aws.plant({**tags, "soakbed:destroy_after": "1"}, named="own")
    aws.refuse = lambda operation, _: hosts.order.append(operation) or ""
    heart = beat(places, hosts, cloud=aws)
    heart(NOW_S)
    assert hosts.order.index("create_tags") < hosts.order.index("d1")
    ends = {one["soakbed:destroy_after"] for one in aws.tags_of("vpc")}
    assert ends == {str(held_lease(places).ends_s)}
    asked = len(aws.calls)
    heart(NOW_S)
    assert len(aws.calls) == asked


def test_a_cloud_that_refuses_keeps_no_host_from_hearing_of_it_and_is_asked_again(places):
    held(places)
    aws, hosts, said = MemoryRegion(), Told(), []
    aws.refuse = lambda *_: "UnauthorizedOperation"
    heart = beat(places, hosts, said, cloud=aws)
    heart()
    assert set(hosts.given) == set(HOSTS)
    assert "the cloud could not be told" in said[0] and "UnauthorizedOperation" in said[0]
    asked = len(aws.calls)
    heart()
    assert len(aws.calls) > asked


def test_no_beat_goes_beyond_the_budget(places):
    held(places, begun_h=-10, ends_h=1)
    priced = spec(
        lease={"margin_h": 2},
        hour_price={"amount": 2, "currency": "USD"},
        budget={"amount": 24, "currency": "USD"},
    )
    heart = heartbeat_of(priced, places, TESTBED, shell=Told(), progress=print)
    heart(NOW_S + 72 * HOUR_S)
    assert held_lease(places).ends_s == NOW_S + 2 * HOUR_S  # 12 h of which 10 are over


def test_hosts_without_a_lease_have_no_heartbeat(places):
    assert heartbeat_of(spec(), places, TESTBED, shell=None, progress=print) is None


def test_a_lease_that_was_dropped_meanwhile_is_not_begun_again_by_a_beat(places):
    hosts = Told()
    beat(places, hosts)()
    assert hosts.given == {} and held_lease(places) is None


# ---- the lease in the state


def test_a_lease_is_begun_once_and_kept(places):
    first = hold_lease(spec(lease={"first_h": 1}), places)
    assert first.ends_s == NOW_S + HOUR_S
    assert hold_lease(spec(lease={"first_h": 5}), places) == first
    assert json.loads((places.state / FILE).read_text())["id"] == first.id


def test_a_lapsed_lease_begins_anew_under_its_old_word(places):
    held(places, begun_h=-80, ends_h=0)
    again = hold_lease(spec(lease={"first_h": 1}), places)
    assert (again.id, again.begun_s, again.ends_s) == (OWN.lease, NOW_S, NOW_S + HOUR_S)


def test_a_testbed_without_a_lease_begins_none_and_one_on_aws_always_has_one(places):
    assert hold_lease(spec(), places) is None and held_lease(places) is None
    hosts = {name: {"duty": told["duty"]} for name, told in HOSTS.items()}
    aws = {"region": "eu-central-1", "zones": ["eu-central-1a"]}
    on_aws = TestbedSpec.model_validate(
        {"name": "t", "provider": "aws", "aws": aws, "hosts": hosts}
    )
    lease = hold_lease(on_aws, places)
    assert (lease.region, lease.ends_s) == ("eu-central-1", NOW_S + 2 * HOUR_S)


def test_a_lease_that_cannot_be_read_is_not_begun_anew(places):
    held(places)
    (places.state / FILE).write_text('{"id": "')
    with pytest.raises(ProvisionError, match="cannot be read"):
        hold_lease(spec(lease={}), places)


def test_a_dropped_lease_is_gone_and_dropping_it_twice_is_fine(places):
    held(places)
    drop_lease(places)
    drop_lease(places)
    assert held_lease(places) is None


def test_a_beat_comes_often_enough_for_a_host_whose_file_is_damaged():
    script = Path(__file__).parents[4] / "playbooks/roles/lease/files/soakbed-lease"
    (grace,) = [line for line in script.read_text().splitlines() if line.startswith("grace_s=")]
    assert int(grace.partition("=")[2]) > 2 * heartbeat.BEAT_S
