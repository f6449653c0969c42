"""What AWS makes by itself beside a testbed's own: it gets the tags of what it goes with.

Terraform tags what it makes. The network interfaces and spot requests of hosts, and a VPC's default
group, table and list, are AWS's own doing; they end with the host or the VPC. Each is marked like
the host it belongs to, so that whoever sorts a bill or an account by tags finds no stranger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soakbed.adapters.aws_resources import Region
from soakbed.records.cloud_resource import PREFIX, LeaseName, lease_of_tags

__all__ = ["mark_companions"]

Row = Mapping[str, Any]
_NAME = "Name"


@dataclass(frozen=True, slots=True)
class _Companion:
    id: str
    has: Mapping[str, str]
    should: Mapping[str, str]


def mark_companions(region: Region, lease: LeaseName, instances: Sequence[str]) -> int:
    """Give what goes with `instances`, and with their VPC, the tags that they bear themselves.

    Instances that do not bear `lease` are left out, and so is whatever speaks of another lease or
    was put beside ours by a person. Returns how many were marked anew; raises AwsRefused.
    """
    rows = [one for one in _instances(region, instances) if _is_of(lease, _tags(one))]
    found = [*_of_hosts(region, rows), *_of_vpcs(region, rows)]
    wrong = [
        one
        for one in found
        if _ours_or_bare(lease, one.has) and not one.should.items() <= one.has.items()
    ]
    for one in wrong:
        tags = [{"Key": key, "Value": value} for key, value in sorted(one.should.items())]
        region.ask("ec2", "create_tags", Resources=[one.id], Tags=tags)
    return len(wrong)


def _instances(region: Region, ids: Sequence[str]) -> Iterator[Row]:
    if ids:
        only = [{"Name": "instance-id", "Values": list(ids)}]
        for row in region.all_of("ec2", "describe_instances", "Reservations", Filters=only):
            yield from row["Instances"]


def _of_hosts(region: Region, rows: Sequence[Row]) -> Iterator[_Companion]:
    """Interfaces that came with a host, and end with it; spot requests."""
    whose: dict[str, dict[str, str]] = {}
    requests: dict[str, dict[str, str]] = {}
    for row in rows:
        for card in row.get("NetworkInterfaces", ()):
            if card.get("Attachment", {}).get("DeleteOnTermination"):
                whose[str(card["NetworkInterfaceId"])] = _named(_tags(row), "network")
        if request := row.get("SpotInstanceRequestId"):
            requests[str(request)] = _named(_tags(row), "spot")
    yield from _listed(region, "describe_network_interfaces", "NetworkInterface", whose)
    yield from _listed(region, "describe_spot_instance_requests", "SpotInstanceRequest", requests)


def _listed(
    region: Region, listing: str, what: str, whose: Mapping[str, Mapping[str, str]]
) -> Iterator[_Companion]:
    if not whose:
        return
    names = {"NetworkInterface": "network-interface-id"}
    only = [{"Name": names.get(what, "spot-instance-request-id"), "Values": sorted(whose)}]
    for row in region.all_of("ec2", listing, f"{what}s", Filters=only):
        id = str(row[f"{what}Id"])
        if id in whose:
            yield _Companion(id, _tags(row), whose[id])


def _of_vpcs(region: Region, rows: Sequence[Row]) -> Iterator[_Companion]:
    """What a VPC cannot be without, and takes with it."""
    of_vpc = {str(row["VpcId"]): _tags(row) for row in rows if row.get("VpcId")}
    for vpc, tags in sorted(of_vpc.items()):
        own = dict(tags)
        own[_NAME] = f"soakbed-{tags['soakbed:testbed']}"
        only = [{"Name": "vpc-id", "Values": [vpc]}]
        for row in region.all_of("ec2", "describe_security_groups", "SecurityGroups", Filters=only):
            if row.get("GroupName") == "default":
                yield _Companion(str(row["GroupId"]), _tags(row), _named(own, "default-group"))
        for row in region.all_of("ec2", "describe_route_tables", "RouteTables", Filters=only):
            if any(one.get("Main") for one in row.get("Associations", ())):
                yield _Companion(str(row["RouteTableId"]), _tags(row), _named(own, "main-routes"))
        for row in region.all_of("ec2", "describe_network_acls", "NetworkAcls", Filters=only):
            if row.get("IsDefault"):
                yield _Companion(str(row["NetworkAclId"]), _tags(row), _named(own, "default-acl"))


def _named(tags: Mapping[str, str], part: str) -> dict[str, str]:
    ours = {key: value for key, value in tags.items() if key.startswith(PREFIX)}
    return ours | {_NAME: f"{tags.get(_NAME, 'soakbed')}-{part}"}


def _tags(row: Row) -> dict[str, str]:
    # Of network interfaces, and of nothing else, tags are told as TagSet.
    told: Iterable[Row] = row.get("Tags") or row.get("TagSet") or ()
    return {str(tag["Key"]): str(tag["Value"]) for tag in told}


def _is_of(lease: LeaseName, tags: Mapping[str, str]) -> bool:
    return lease_of_tags(tags) == lease


def _ours_or_bare(lease: LeaseName, tags: Mapping[str, str]) -> bool:
    return _is_of(lease, tags) or not any(key.startswith(PREFIX) for key in tags)
