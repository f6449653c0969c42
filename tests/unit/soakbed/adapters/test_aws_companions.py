"""What AWS makes beside our hosts bears their tags; what others have, or put there, does not."""

from __future__ import annotations

import pytest

from soakbed.adapters import aws_resources
from soakbed.adapters.aws_companions import mark_companions
from soakbed.adapters.aws_resources import extend, find
from soakbed.records.cloud_resource import PREFIX as OURS
from soakbed.records.cloud_resource import LeaseName, those_of
from soakbed.stages import reap as stage
from soakbed.stages.reap import remove_lease
from tests.standins.aws_memory import MemoryRegion

OWN = LeaseName("aws-4x", "k3v9q2x7")
TAGS = {
    "soakbed:project": "soakbed",
    "soakbed:testbed": OWN.testbed,
    "soakbed:lease": OWN.lease,
    "soakbed:run": "-",
    "soakbed:owner": "ann",
    "soakbed:purpose": "benchmark",
    "soakbed:destroy_after": "1900000000",
}
# Of each kind what goes with one host and its VPC: AWS makes them bare.
BARE = ("network interface", "route table", "security group", "network acl", "spot request")


def bare(region: MemoryRegion) -> list[str]:
    return [kind for kind in BARE for tags in region.tags_of(kind) if not tags]


@pytest.fixture
def aws() -> MemoryRegion:
    region = MemoryRegion()
    region.own = region.plant({**TAGS, "Name": "soakbed-aws-4x-d1"}, named="own", spot=True)
    return region


def test_all_that_goes_with_a_host_and_its_network_says_whose_it_is(aws):
    assert sorted(bare(aws)) == sorted(BARE)
    assert mark_companions(aws, OWN, [aws.own["instance"]]) == len(BARE)
    assert bare(aws) == []
    names = {tags["Name"] for kind in BARE for tags in aws.tags_of(kind)}
    assert {"soakbed-aws-4x-d1-network", "soakbed-aws-4x-d1-spot"} < names
    assert {"soakbed-aws-4x-default-group", "soakbed-aws-4x-main-routes"} < names
    assert "soakbed-aws-4x-default-acl" in names
    for kind in BARE:
        for tags in aws.tags_of(kind):
            assert {key: tags[key] for key in TAGS} == TAGS


def test_marking_again_changes_nothing_until_the_hosts_lease_is_longer(aws):
    hosts = [aws.own["instance"]]
    mark_companions(aws, OWN, hosts)
    aws.calls.clear()
    assert mark_companions(aws, OWN, hosts) == 0
    assert "create_tags" not in [operation for operation, _ in aws.calls]
    extend(aws, those_of(find(aws), [OWN]), destroy_after_s=1_950_000_000, run_id="r-1")
    mark_companions(aws, OWN, hosts)
    for kind in BARE:
        ends = {(t["soakbed:destroy_after"], t["soakbed:run"]) for t in aws.tags_of(kind)}
        assert ends == {("1950000000", "r-1")}


def test_nothing_of_others_is_marked_in_another_network_or_in_ours(aws):
    theirs = aws.plant({"team": "billing"}, named="theirs", spot=True)
    another = {**TAGS, "soakbed:lease": "somebody-elses"}
    aws.plant(another, named="another", spot=True)
    beside = aws._make("network interface", {}, SubnetId=aws.own["subnet"], Status="in-use")
    aws._make("security group", {"team": "x"}, GroupName="byhand", VpcId=aws.own["vpc"])
    every = list(aws._held["instance"])
    before = {
        id: repr(row)
        for rows in aws._held.values()
        for id, row in rows.items()
        if row.get("VpcId") == theirs["vpc"] or id in {beside, theirs["instance"]}
    }
    assert mark_companions(aws, OWN, every) == len(BARE), "of three networks only our own"
    after = {id: repr(row) for rows in aws._held.values() for id, row in rows.items()}
    assert {id: after[id] for id in before} == before
    assert [t for t in aws.tags_of("security group") if t == {"team": "x"}]
    assert sum(tags.get("soakbed:lease") == "somebody-elses" for tags in aws.tags_of("vpc")) == 1


def test_what_speaks_of_another_lease_keeps_its_tags(aws):
    (group,) = [
        row for row in aws._held["security group"].values() if row["GroupName"] == "default"
    ]
    group["Tags"] = [{"Key": f"{OURS}lease", "Value": "anothers"}]
    mark_companions(aws, OWN, [aws.own["instance"]])
    assert {f"{OURS}lease": "anothers"} in aws.tags_of("security group")


def test_tags_of_a_person_stay_beside_ours(aws):
    card = aws._held["instance"][aws.own["instance"]]["NetworkInterfaces"][0]["NetworkInterfaceId"]
    aws._held["network interface"][card]["TagSet"] = [{"Key": "cost", "Value": "42"}]
    mark_companions(aws, OWN, [aws.own["instance"]])
    assert [t for t in aws.tags_of("network interface") if t.get("cost") == "42" and t["Name"]]


def test_marked_or_not_all_of_it_goes_with_the_lease(aws, monkeypatch):
    monkeypatch.setattr(stage, "_LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(aws_resources, "_LOOK_AGAIN_S", 0.001)
    mark_companions(aws, OWN, [aws.own["instance"]])
    reaped = remove_lease(aws, OWN, made=(), progress=str)
    assert reaped.left == ()
    assert {kind for kind in aws.holds() if kind != "spot request"} == set()
