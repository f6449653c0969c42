"""`soakbed reap` against a small AWS: planted leaks go, what belongs to others stays, always."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from rich.console import Console

from soakbed.adapters.aws import AwsRegion
from soakbed.adapters.aws_resources import extend, find
from soakbed.commands_reap import Asked, reap_clouds
from soakbed.records.cloud_resource import Kind, LeaseName, those_of
from soakbed.stages import reap as stage

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("moto") is None,
    reason="moto stands in for AWS and is not installed: pip install -e .[dev]",
)

REGION = "eu-central-1"
PAST_S, FUTURE_S = 1_600_000_000, 4_000_000_000
OURS = {"soakbed:project": "soakbed", "soakbed:testbed": "aws-4x", "soakbed:lease": "k3v9q2x7"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tests.standins.aws_cloud import LocalAws

    with LocalAws(tmp_path_factory.mktemp("aws"), region=REGION) as made:
        yield made


@pytest.fixture
def aws(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Empty, with its settings in the environment, and with no waiting between looks."""
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(stage, "_LOOK_AGAIN_S", 0.0)
    cloud.reset()
    return cloud


class Planted:
    """One of each kind that testbeds make, with `tags`; `named` keeps names apart."""

    def __init__(self, aws: Any, tags: dict[str, str], *, named: str) -> None:
        self.client = aws.client()
        self.tags = [{"Key": key, "Value": value} for key, value in tags.items()]
        self.named = named
        self.vpc = self._make("vpc", CidrBlock="10.90.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self._make("subnet", VpcId=self.vpc, CidrBlock="10.90.0.0/24")["Subnet"][
            "SubnetId"
        ]
        gateway = self._make("internet_gateway")["InternetGateway"]["InternetGatewayId"]
        self.client.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        table = self._make("route_table", VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.client.associate_route_table(RouteTableId=table, SubnetId=self.subnet)
        self.groups = [self._group("hosts"), self._group("operator")]
        self._name_each_other()
        self._make("key_pair", KeyName=named)
        self._make("placement_group", GroupName=named, Strategy="cluster")
        self._make("volume", AvailabilityZone=f"{REGION}a", Size=30)
        self._make("network_interface", SubnetId=self.subnet)
        self.instance = self._instance()

    def _make(self, kind: str, **parameters: Any) -> dict[str, Any]:
        word = kind.replace("_", "-")
        told = [{"ResourceType": word, "Tags": self.tags}] if self.tags else []
        create = getattr(self.client, f"create_{kind}")
        return create(**parameters, **({"TagSpecifications": told} if told else {}))

    def _group(self, name: str) -> str:
        made = self._make(
            "security_group", GroupName=f"{self.named}-{name}", Description=name, VpcId=self.vpc
        )
        return made["GroupId"]

    def _name_each_other(self) -> None:
        for group, other in (self.groups, self.groups[::-1]):
            allowed = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]}
            self.client.authorize_security_group_ingress(GroupId=group, IpPermissions=[allowed])

    def _instance(self) -> str:
        told = [{"ResourceType": "instance", "Tags": self.tags}] if self.tags else []
        made = self.client.run_instances(
            ImageId="ami-0debian12amd641",
            InstanceType="c6id.2xlarge",
            MinCount=1,
            MaxCount=1,
            SubnetId=self.subnet,
            SecurityGroupIds=self.groups,
            **({"TagSpecifications": told} if told else {}),
        )
        return made["Instances"][0]["InstanceId"]


def until(end: float, **changes: str) -> dict[str, str]:
    return {**OURS, "soakbed:destroy_after": str(int(end)), "soakbed:owner": "ann", **changes}


def leases_in(aws: Any) -> set[str]:
    tags = [tags for kind in aws.holds().values() for tags in kind.values()]
    return {one.get("soakbed:lease", "") for one in tags if one}


def test_real_calls_find_remove_and_extend_what_is_ours_and_nothing_else(aws, tmp_path):
    Planted(aws, until(PAST_S), named="leak")
    Planted(aws, until(PAST_S, **{"soakbed:lease": "another1"}), named="of-ann")
    before = aws.holds()
    region = AwsRegion(REGION)
    seen = find(region)
    assert {one.kind for one in seen} == set(get_args(Kind)) - {"spot request"}
    extend(
        region,
        those_of(seen, [LeaseName("aws-4x", "another1")]),
        destroy_after_s=FUTURE_S,
        run_id="run-1",
    )
    told = Console(file=io.StringIO(), width=200)
    reap_clouds(Asked(all_expired=True, yes=True, regions=(REGION,)), tmp_path, told)
    left = aws.holds()
    assert leases_in(aws) == {"another1"}
    assert {kind: 2 * len(ids) for kind, ids in left.items() if kind != "interface"} == {
        kind: len(ids) for kind, ids in before.items() if kind != "interface"
    }, told.file.getvalue()
    ends = {
        tags["soakbed:destroy_after"] for kind in left.values() for tags in kind.values() if tags
    }
    assert ends == {str(FUTURE_S)}
