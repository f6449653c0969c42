"""Terraform's own AWS provider against a small AWS on loopback: what comes up, and what is left.

Starting the provider takes seconds each time, so what one apply can show is shown by one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from soakbed.adapters.terraform import Terraform
from soakbed.adapters.terraform_root import plugin_missing
from soakbed.archive.intent_log import IntentLog
from soakbed.errors import ProvisionError
from soakbed.records.intents import open_intents
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec
from soakbed.stages.provision import ProvisionOutcome, provision
from soakbed.stages.teardown import teardown
from tests.contract.provider_contract import breaches
from tests.plan_faults import faults_in
from tests.standins.aws import Call, refuse
from tests.standins.aws_cloud import LocalAws

PROJECT = Path(__file__).resolve().parents[2]
SPEC = TestbedSpec.model_validate(
    {
        "name": "t-cloud",
        "provider": "aws",
        "aws": {"region": "eu-central-1", "zones": ["eu-central-1a", "eu-central-1b"]},
        "hosts": {
            "d1": {"duty": "data"},
            "d2": {"duty": "data"},
            "d3": {"duty": "data"},
            "l1": {"duty": "load"},
        },
    }
)
TAGS = {
    *("soakbed:project", "soakbed:testbed", "soakbed:lease", "soakbed:run", "soakbed:owner"),
    *("soakbed:purpose", "soakbed:destroy_after", "Name"),
}
# What AWS makes by itself with a VPC or a host, and removes with it: it bears the tags of these.
COMPANIONS = {"interface": 4, "group": 1, "table": 1, "acl": 1}
PLACES = Places(
    project=PROJECT,
    state=Path("/nonexistent"),
    cache=Path("/nonexistent"),
    terraform=os.environ.get("SOAKBED_TERRAFORM", ""),
    terraform_plugins=os.environ.get("SOAKBED_TERRAFORM_PLUGINS", ""),
)
LACKING = plugin_missing(PLACES)
pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING)


class KeepingTerraform(Terraform):
    """Terraform as it is, and what it last planned."""

    planned: dict[str, Any]

    def plan(self, *arguments, **named):
        self.planned = super().plan(*arguments, **named)
        return self.planned


@dataclass
class Bench:
    """One testbed's places on the small AWS. No SSH ever leaves: a program of ours answers it."""

    aws: LocalAws
    places: Places
    said: list[str] = field(default_factory=list)
    terraform: KeepingTerraform = field(init=False)

    def provision(self) -> ProvisionOutcome:
        self.terraform = KeepingTerraform(self.places)
        return provision(
            SPEC,
            terraform=self.terraform,
            places=self.places,
            progress=self.said.append,
        )

    def what_was_asked(self) -> str:
        """For whoever reads of a failure: the last calls with their answers, and those lost."""
        return "\n".join([*map(str, self.aws.door.calls[-60:]), *self.aws.door.faults])

    def teardown(self) -> None:
        teardown(
            SPEC,
            terraform=Terraform(self.places),
            places=self.places,
            progress=self.said.append,
        )

    @property
    def log(self) -> IntentLog:
        return IntentLog.of(self.places)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    folder = tmp_path_factory.mktemp("aws")
    (folder / "bin").mkdir()
    ssh = folder / "bin/ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {folder}/ssh.log\n')
    ssh.chmod(0o755)
    with LocalAws(folder) as made, pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
            patch.delenv(name, raising=False)
        patch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
        yield made


def bench_at(aws: LocalAws, folder: Path) -> Bench:
    aws.reset()
    own = {"state": folder / "states/t-cloud", "cache": folder / "cache"}
    own["checkip"] = f"{aws.door.url}/my-address"
    return Bench(aws, PLACES.model_copy(update=own))


def room_for(hosts: int, zone: str, code: str = "InsufficientInstanceCapacity"):
    """A zone that takes so many hosts and refuses the next."""
    given: list[Call] = []

    def full(call: Call) -> bool:
        if call.parameters["Placement.AvailabilityZone"] != zone:
            return False
        given.append(call)
        return len(given) > hosts

    return refuse("RunInstances", code, where=full)


def offered_nowhere_in(zone: str):
    """A zone that has none of the types that are asked for, and no room that could be tried."""

    def without(call: Call, body: bytes) -> bytes:
        if call.action != "DescribeInstanceTypeOfferings":
            return body
        return body.replace(zone.encode(), b"eu-central-1z")

    return without


@pytest.fixture(scope="module")
def came_up(aws: LocalAws, tmp_path_factory) -> tuple[Bench, ProvisionOutcome]:
    """A testbed for which its first zone had room for two hosts of four."""
    bench = bench_at(aws, tmp_path_factory.mktemp("came-up"))
    aws.door.rules = [room_for(2, "eu-central-1a")]
    try:
        return bench, bench.provision()
    except ProvisionError as error:
        error.add_note(bench.what_was_asked())
        raise


def test_a_zone_without_room_for_all_keeps_none_and_the_next_is_taken(came_up) -> None:
    bench, outcome = came_up
    assert outcome.testbed.cloud
    assert outcome.testbed.cloud.zone == "eu-central-1b"
    assert {host.zone for host in outcome.testbed.hosts.values()} == {"eu-central-1b"}
    assert set(outcome.testbed.hosts) == set(SPEC.hosts)
    assert len(bench.aws.holds()["instance"]) == 4
    assert len(bench.aws.holds()["subnet"]) == 1
    (said,) = [line for line in bench.said if "unmaking" in line]
    assert said.startswith("eu-central-1a: InsufficientInstanceCapacity: ")
    assert any("3125 Mbit/s" in line for line in bench.said)


def test_hosts_are_known_by_their_consoles_and_reached_where_the_operator_can(came_up) -> None:
    bench, outcome = came_up
    known = (bench.places.state / "ssh/known_hosts").read_text().splitlines()
    assert len(known) == 4
    calls = (Path(os.environ["PATH"].split(":")[0]).parent / "ssh.log").read_text()
    for host in outcome.testbed.hosts.values():
        (line,) = [line for line in known if line.startswith(f"{host.ssh_address},{host.address} ")]
        console = bench.aws.client().get_console_output(InstanceId=host.instance_id)["Output"]
        assert line.split(" ", 1)[1] in console
        assert f"admin@{host.ssh_address} " in calls
    assert "StrictHostKeyChecking=yes" in calls


def test_what_came_up_keeps_the_promises_of_a_provider(came_up) -> None:
    _, outcome = came_up
    assert breaches(outcome.testbed, SPEC) == []


def test_everything_that_was_made_had_been_written_down_before(came_up) -> None:
    bench, _ = came_up
    seen: set[tuple[str, str]] = set()
    for step in bench.log.read():
        if step.step != "create":
            assert (step.lease, step.address) in seen
        seen.add((step.lease, step.address))
    there = open_intents(bench.log.read())
    assert {it.step for it in there} == {"made"}
    held = bench.aws.holds()
    ids = {it.id for it in there}
    for kind in ("instance", "vpc", "subnet", "gateway", "rule"):
        # Without tags: the default group's rule, which AWS makes with a VPC and removes with it.
        assert {id for id, tags in held[kind].items() if tags} <= ids, kind
    assert len({(it.type, it.id) for it in there}) == len(there), "each its own"


def test_all_that_can_carry_tags_says_whose_it_is_and_until_when(came_up) -> None:
    bench, _ = came_up
    held = bench.aws.holds()
    ours = {id: tags for all in held.values() for id, tags in all.items() if tags}
    assert len(held["volume"]) == 4
    bare = {kind for kind, all in held.items() for tags in all.values() if not tags}
    assert bare == {"rule"}, "the default group's own, which AWS makes and removes with it"
    lease = open_intents(bench.log.read())[0].lease
    for id, tags in ours.items():
        assert set(tags) == TAGS, id
        assert (tags["soakbed:testbed"], tags["soakbed:lease"]) == ("t-cloud", lease)
        assert tags["soakbed:destroy_after"].isdigit()
        assert tags["Name"].startswith("soakbed-t-cloud-")
    no_tags = {"aws_route_table_association"}
    made = [it for it in open_intents(bench.log.read()) if it.type not in no_tags]
    assert len(ours) == len(made) + len(held["volume"]) + sum(COMPANIONS.values())


def test_a_second_provision_changes_nothing(came_up) -> None:
    bench, first = came_up
    bench.aws.door.calls.clear()
    again = bench.provision()
    assert again.changed == 0
    assert again.testbed == first.testbed
    changing = ("Run", "Create", "Delete", "Modify", "Authorize", "Revoke", "Terminate", "Attach")
    assert [it.action for it in bench.aws.door.calls if it.action.startswith(changing)] == []


def test_neither_the_state_nor_the_plan_holds_the_private_key(came_up) -> None:
    bench, _ = came_up
    private = (bench.places.state / "ssh/id_ed25519").read_text().splitlines()[1]
    files = [path for path in (bench.places.state / "terraform").rglob("*") if path.is_file()]
    assert any(path.name == "terraform.tfstate" for path in files)
    assert [path for path in files if private.encode() in path.read_bytes()] == []


def test_the_plan_opens_nothing_to_the_world_and_keeps_disks_and_metadata_closed(came_up) -> None:
    bench, _ = came_up
    plan = bench.terraform.planned  # of the second provision: all that is there, and known
    hosts = [one for one in plan["resource_changes"] if one["type"] == "aws_instance"]
    assert len(hosts) == 4
    assert faults_in(plan) == []


def test_a_teardown_leaves_nothing_and_a_second_asks_nobody(came_up) -> None:
    bench, _ = came_up
    bench.teardown()
    assert bench.aws.holds() == {}
    assert not any("did not know of" in line for line in bench.said), "Terraform knew all"
    assert open_intents(bench.log.read()) == []
    assert not (bench.places.state / "zone.json").exists()
    bench.aws.door.calls.clear()
    bench.teardown()
    assert bench.aws.door.calls == [], "all is known to be gone"


def test_killed_half_way_a_teardown_leaves_nothing(aws: LocalAws, tmp_path: Path) -> None:
    bench = bench_at(aws, tmp_path)
    begun, go_on, runs = threading.Event(), threading.Event(), []

    def answer_late(call: Call, body: bytes) -> bytes:
        """The second host is made, and nobody who asked for it ever hears of it."""
        if call.action == "RunInstances":
            runs.append(call)
            if len(runs) == 2:
                begun.set()
                go_on.wait(60)
        return body

    aws.door.edits.append(answer_late)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, SPEC.model_dump_json(by_alias=True), bench_json(bench)],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert begun.wait(120)
    finally:
        child.kill()
        child.wait()
        # The power goes, not only the pipeline: Terraform and its provider end as hard.
        for pid in Terraform(bench.places)._stragglers():
            os.kill(pid, signal.SIGKILL)
        go_on.set()
    assert len(aws.holds()["instance"]) >= 2
    bench.teardown()
    assert aws.holds() == {}
    assert any("Terraform did not know of" in line for line in bench.said)
    assert open_intents(bench.log.read()) == []


def test_where_no_zone_has_room_each_says_so_and_nothing_is_left(
    aws: LocalAws, tmp_path: Path
) -> None:
    bench = bench_at(aws, tmp_path)
    aws.door.rules = [room_for(0, "eu-central-1b")]
    aws.door.edits.append(offered_nowhere_in("eu-central-1a"))
    with pytest.raises(ProvisionError, match="no zone gave all 4 hosts") as raised:
        bench.provision()
    assert "- eu-central-1a: NotOffered: it has no c6id.2xlarge" in raised.value.problem
    assert "- eu-central-1b: InsufficientInstanceCapacity: " in raised.value.problem
    assert aws.holds() == {}
    assert open_intents(bench.log.read()) == []


CHILD = """
import sys
from soakbed.adapters.terraform import Terraform
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec
from soakbed.stages.provision import provision
spec, places = TestbedSpec.model_validate_json(sys.argv[1]), Places.model_validate_json(sys.argv[2])
provision(spec, terraform=Terraform(places), places=places, progress=print)
"""


def bench_json(bench: Bench) -> str:
    return bench.places.model_dump_json()
