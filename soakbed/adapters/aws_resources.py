"""What of soakbed's one region of AWS holds: found by tags, kept longer, removed in order.

Nothing here decides whose something is (`records.cloud_resource` does). To find is all or
nothing: a kind that cannot be listed raises, for an empty list must mean that there is nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from soakbed.adapters.aws import AwsRefused, is_gone
from soakbed.records.cloud_resource import DESTROY_AFTER, PROJECT, RUN, CloudResource, Kind

__all__ = ["Left", "Region", "delete", "extend", "find", "regions_of"]

Row = Mapping[str, Any]
Progress = Callable[[str], None]

# An instance takes up to two minutes to end, its interfaces some seconds more.
GONE_WITHIN_S = 420.0
_LOOK_AGAIN_S = 3.0
_MOST_TAGGED = 500  # resources in one call
_MOST_NAMED = 200  # values of one filter; also AWS's own limit

# Somebody else still holds it, or is about to let go: worth another try, for a while.
_BUSY = {
    "DependencyViolation",
    "IncorrectInstanceState",
    "IncorrectState",
    "InvalidNetworkInterface.InUse",
    "InvalidParameterValue",  # of an interface that is in use
    "InvalidPlacementGroup.InUse",
    "RequestLimitExceeded",
    "ResourceInUse",
    "VolumeInUse",
}


class Region(Protocol):
    """One region of AWS; adapters.aws.AwsRegion is one."""

    @property
    def name(self) -> str:
        """Its name, such as eu-central-1."""

    def ask(self, service: str, operation: str, **parameters: object) -> dict[str, Any]:
        """One call. Raises AwsRefused."""

    def all_of(
        self, service: str, operation: str, key: str, **parameters: object
    ) -> Iterable[dict[str, Any]]:
        """What lies below `key` on every page. Raises AwsRefused."""


@dataclass(frozen=True, slots=True)
class Left:
    """What could not be removed, and why."""

    resource: CloudResource
    why: str

    def __str__(self) -> str:
        return f"{self.resource}: {self.why}"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How EC2 lists one kind, and what it calls its parts."""

    kind: Kind
    listing: str
    rows: str
    id: str
    named: str  # the filter by which one is asked for: its id, or the name that Terraform knows
    name: str = ""  # where the cloud's own name for it lies, if it has one
    state: str = ""
    over: tuple[str, ...] = ()  # states in which it is listed, and gone


# In the order in which they can be removed: each before what it stands in.
_KINDS = (
    _Kind("spot request", "describe_spot_instance_requests", "SpotInstanceRequests",
          "SpotInstanceRequestId", "spot-instance-request-id", state="State",
          over=("cancelled", "closed", "failed")),
    _Kind("instance", "describe_instances", "Reservations", "InstanceId", "instance-id",
          state="State", over=("terminated",)),
    _Kind("network interface", "describe_network_interfaces", "NetworkInterfaces",
          "NetworkInterfaceId", "network-interface-id", state="Status"),
    _Kind("volume", "describe_volumes", "Volumes", "VolumeId", "volume-id", state="State",
          over=("deleting", "deleted")),
    _Kind("placement group", "describe_placement_groups", "PlacementGroups", "GroupId",
          "group-name", name="GroupName", state="State", over=("deleting", "deleted")),
    _Kind("key pair", "describe_key_pairs", "KeyPairs", "KeyPairId", "key-name", name="KeyName"),
    _Kind("internet gateway", "describe_internet_gateways", "InternetGateways",
          "InternetGatewayId", "internet-gateway-id"),
    _Kind("route table", "describe_route_tables", "RouteTables", "RouteTableId", "route-table-id"),
    _Kind("subnet", "describe_subnets", "Subnets", "SubnetId", "subnet-id", state="State"),
    _Kind("security group", "describe_security_groups", "SecurityGroups", "GroupId", "group-id",
          name="GroupName"),
    _Kind("vpc", "describe_vpcs", "Vpcs", "VpcId", "vpc-id", state="State"),
)  # fmt: skip


def regions_of(region: Region) -> list[str]:
    """Every region that the account can use. Raises AwsRefused."""
    listed = region.all_of("ec2", "describe_regions", "Regions")
    return sorted(str(one["RegionName"]) for one in listed)


def find(region: Region, *, made: Iterable[str] = ()) -> list[CloudResource]:
    """Everything that bears our project's tag, what goes with its instances, and what is `made`.

    `made`: ids, or names of key pairs and placement groups. What is gone is left out, and what
    goes by itself with its VPC (main route table, default security group). Raises AwsRefused when
    one kind cannot be seen.
    """
    found: dict[str, CloudResource] = {}
    for kind in _KINDS:
        tagged = {"Name": f"tag:{PROJECT}", "Values": ["soakbed"]}
        _keep(found, _listed(region, kind, tagged))
    links = {link for one in found.values() if one.kind == "instance" for link in one.links}
    asked = sorted((links | set(made)) - set(found) - {""})
    for kind in _KINDS if asked else ():
        for at in range(0, len(asked), _MOST_NAMED):
            # By a filter: an id that does not exist is an error as a parameter.
            one_of = {"Name": kind.named, "Values": asked[at : at + _MOST_NAMED]}
            _keep(found, _listed(region, kind, one_of))
    return list(found.values())


def extend(
    region: Region, resources: Sequence[CloudResource], *, destroy_after_s: int, run_id: str = ""
) -> None:
    """Write a later end, and whose it is now, on resources that carry tags. Raises AwsRefused."""
    tags = [{"Key": DESTROY_AFTER, "Value": str(destroy_after_s)}]
    tags += [{"Key": RUN, "Value": run_id}] if run_id else []
    for kind in _KINDS:
        ids = [one.id for one in resources if one.tags and one.kind == kind.kind]
        for at in range(0, len(ids), _MOST_TAGGED):
            region.ask("ec2", "create_tags", Resources=ids[at : at + _MOST_TAGGED], Tags=tags)


def delete(
    region: Region,
    resources: Iterable[CloudResource],
    *,
    progress: Progress,
    within_s: float = GONE_WITHIN_S,
) -> list[Left]:
    """Remove `resources` and nothing else, each before what it stands in; what is gone is fine.

    Returns what AWS would not let go, with its words. Look again (`find`) before you believe it.
    """
    given = list(resources)
    until_s = time.monotonic() + within_s
    left: list[Left] = []
    for kind in _KINDS:
        those = [one for one in given if one.kind == kind.kind]
        if not those:
            continue
        progress(f"{region.name}: {kind.kind}: {', '.join(one.name or one.id for one in those)}")
        if kind.kind == "security group":
            left += [Left(one, why) for one in those if (why := _loosed(region, one, those))]
        left += [Left(one, why) for one in those if (why := _removed(region, one, until_s))]
        if kind.kind == "instance":
            _wait_until_ended(region, kind, those, until_s)
    return left


def _keep(found: dict[str, CloudResource], more: Iterable[CloudResource]) -> None:
    found.update({one.id: one for one in more if one.id not in found})


def _listed(region: Region, kind: _Kind, only: Row) -> Iterable[CloudResource]:
    for row in region.all_of("ec2", kind.listing, kind.rows, Filters=[only]):
        for one in row["Instances"] if kind.kind == "instance" else [row]:
            made = _resource(region.name, kind, one)
            if made.state not in kind.over and not _goes_with_its_vpc(kind, one):
                yield made


def _resource(region: str, kind: _Kind, row: Row) -> CloudResource:
    # Of network interfaces, and of nothing else, tags are told as TagSet.
    told = row.get("Tags") or row.get("TagSet") or ()
    tags = {str(tag["Key"]): str(tag["Value"]) for tag in told}
    state = row.get(kind.state, "") if kind.state else ""
    return CloudResource(
        kind=kind.kind,
        id=str(row.get(kind.id) or row.get(kind.name) or ""),
        region=region,
        name=str(row.get(kind.name, "") if kind.name else tags.get("Name", "")),
        state=str(state["Name"] if isinstance(state, Mapping) else state),
        tags=tags,
        links=tuple(_links(kind.kind, row)),
    )


def _goes_with_its_vpc(kind: _Kind, row: Row) -> bool:
    if kind.kind == "security group":
        return bool(row.get("GroupName") == "default")
    return kind.kind == "route table" and any(a.get("Main") for a in row.get("Associations", ()))


def _links(kind: Kind, row: Row) -> Iterable[str]:
    if kind == "instance":
        for disk in row.get("BlockDeviceMappings", ()):
            if disk.get("Ebs", {}).get("DeleteOnTermination"):
                yield str(disk["Ebs"]["VolumeId"])
        for card in row.get("NetworkInterfaces", ()):
            if card.get("Attachment", {}).get("DeleteOnTermination"):
                yield str(card["NetworkInterfaceId"])
        yield str(row.get("SpotInstanceRequestId") or "")
    if kind == "internet gateway":
        yield from (str(one["VpcId"]) for one in row.get("Attachments", ()))
    if kind == "route table":
        associations = row.get("Associations", ())
        yield from (str(one["RouteTableAssociationId"]) for one in associations)


def _removed(region: Region, one: CloudResource, until_s: float) -> str:
    """Remove it; "" or why it is still there. One that others hold is tried again until then."""
    while True:
        try:
            _remove(region, one)
        except AwsRefused as refused:
            if is_gone(refused):
                return ""
            if refused.code not in _BUSY or time.monotonic() >= until_s:
                return refused.problem
            time.sleep(min(_LOOK_AGAIN_S, max(0.0, until_s - time.monotonic())))
        else:
            return ""


def _remove(region: Region, one: CloudResource) -> None:
    if one.kind == "internet gateway":
        for vpc in one.links:
            _unless_gone(region, "detach_internet_gateway", InternetGatewayId=one.id, VpcId=vpc)
    if one.kind == "route table":
        for association in one.links:
            _unless_gone(region, "disassociate_route_table", AssociationId=association)
    operation, parameters = _removal(one)
    region.ask("ec2", operation, **parameters)


def _removal(one: CloudResource) -> tuple[str, dict[str, object]]:
    removals: dict[Kind, tuple[str, dict[str, object]]] = {
        "spot request": ("cancel_spot_instance_requests", {"SpotInstanceRequestIds": [one.id]}),
        "instance": ("terminate_instances", {"InstanceIds": [one.id]}),
        "network interface": ("delete_network_interface", {"NetworkInterfaceId": one.id}),
        "volume": ("delete_volume", {"VolumeId": one.id}),
        "placement group": ("delete_placement_group", {"GroupName": one.name}),
        "key pair": ("delete_key_pair", {"KeyName": one.name}),
        "internet gateway": ("delete_internet_gateway", {"InternetGatewayId": one.id}),
        "route table": ("delete_route_table", {"RouteTableId": one.id}),
        "subnet": ("delete_subnet", {"SubnetId": one.id}),
        "security group": ("delete_security_group", {"GroupId": one.id}),
        "vpc": ("delete_vpc", {"VpcId": one.id}),
    }
    return removals[one.kind]


def _unless_gone(region: Region, operation: str, **parameters: object) -> None:
    try:
        region.ask("ec2", operation, **parameters)
    except AwsRefused as refused:
        if not is_gone(refused):
            raise


def _loosed(region: Region, group: CloudResource, those: Sequence[CloudResource]) -> str:
    """Groups of ours that name each other would hold each other for ever; "" or why they do."""
    others = {one.id for one in those} - {group.id}
    try:
        for rule in region.all_of(
            "ec2",
            "describe_security_group_rules",
            "SecurityGroupRules",
            Filters=[{"Name": "group-id", "Values": [group.id]}],
        ):
            if rule.get("ReferencedGroupInfo", {}).get("GroupId") in others:
                way = "egress" if rule.get("IsEgress") else "ingress"
                _unless_gone(
                    region,
                    f"revoke_security_group_{way}",
                    GroupId=group.id,
                    SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]],
                )
    except AwsRefused as refused:
        return "" if is_gone(refused) else refused.problem
    return ""


def _wait_until_ended(
    region: Region, kind: _Kind, those: Sequence[CloudResource], until_s: float
) -> None:
    """Whatever an instance holds can go only after it; one that does not end is found later."""
    named = {"Name": kind.named, "Values": [one.id for one in those]}
    while any(True for _ in _listed(region, kind, named)) and time.monotonic() < until_s:
        time.sleep(_LOOK_AGAIN_S)
