"""A region of AWS in memory, as `adapters.aws_resources` asks it: stricter than the real one.

What still holds something refuses to let it go (DependencyViolation and its like), an instance
takes a few looks to end, and what goes with it goes then. No process, no network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from soakbed.adapters.aws import AwsRefused

__all__ = ["KINDS", "MemoryRegion"]

Row = dict[str, Any]
Refuse = Callable[[str, dict[str, Any]], str]  # operation, parameters -> AWS's code, "" for none

# kind -> listing, where its rows lie, the key of its id, the filter for that
KINDS = {
    "spot request": ("describe_spot_instance_requests", "SpotInstanceRequests",
                     "SpotInstanceRequestId", "spot-instance-request-id"),
    "instance": ("describe_instances", "Reservations", "InstanceId", "instance-id"),
    "network interface": ("describe_network_interfaces", "NetworkInterfaces",
                          "NetworkInterfaceId", "network-interface-id"),
    "volume": ("describe_volumes", "Volumes", "VolumeId", "volume-id"),
    "placement group": ("describe_placement_groups", "PlacementGroups", "GroupId", "group-id"),
    "key pair": ("describe_key_pairs", "KeyPairs", "KeyPairId", "key-pair-id"),
    "internet gateway": ("describe_internet_gateways", "InternetGateways", "InternetGatewayId",
                         "internet-gateway-id"),
    "route table": ("describe_route_tables", "RouteTables", "RouteTableId", "route-table-id"),
    "network acl": ("describe_network_acls", "NetworkAcls", "NetworkAclId", "network-acl-id"),
    "subnet": ("describe_subnets", "Subnets", "SubnetId", "subnet-id"),
    "security group": ("describe_security_groups", "SecurityGroups", "GroupId", "group-id"),
    "vpc": ("describe_vpcs", "Vpcs", "VpcId", "vpc-id"),
}  # fmt: skip
_NAMES = {"group-name": "GroupName", "key-name": "KeyName"}
_DELETE = {
    "delete_network_interface": ("network interface", "NetworkInterfaceId"),
    "delete_volume": ("volume", "VolumeId"),
    "delete_placement_group": ("placement group", "GroupName"),
    "delete_key_pair": ("key pair", "KeyName"),
    "delete_internet_gateway": ("internet gateway", "InternetGatewayId"),
    "delete_route_table": ("route table", "RouteTableId"),
    "delete_subnet": ("subnet", "SubnetId"),
    "delete_security_group": ("security group", "GroupId"),
    "delete_vpc": ("vpc", "VpcId"),
}


class MemoryRegion:
    """`plant` makes one of each kind; `holds` says what is there; `refuse` may say no to a call."""

    def __init__(self, name: str = "eu-central-1", *, looks_to_end: int = 2) -> None:
        self.name = name
        self.refuse: Refuse = lambda _operation, _parameters: ""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._looks_to_end = looks_to_end
        self._held: dict[str, dict[str, Row]] = {kind: {} for kind in KINDS}
        self._rules: dict[str, Row] = {}
        self._number = itertools.count(1)

    def holds(self) -> dict[str, set[str]]:
        """Ids of what is there, by kind; instances that have ended are not."""
        there = {
            kind: {id for id, row in rows.items() if row.get("_ends") != 0}
            for kind, rows in self._held.items()
        }
        return {kind: ids for kind, ids in there.items() if ids}

    def tags_of(self, kind: str) -> list[dict[str, str]]:
        """The tags of each thing of a kind."""
        return [_tags(row) for row in self._held[kind].values()]

    def plant(self, tags: dict[str, str], *, named: str, spot: bool = False) -> dict[str, str]:
        """One of each kind that testbeds make, and what AWS makes along; kind -> id."""
        vpc = self._make("vpc", tags)
        subnet = self._make("subnet", tags, VpcId=vpc)
        association = {"RouteTableAssociationId": f"rtbassoc-{vpc}", "SubnetId": subnet}
        made = {
            "vpc": vpc,
            "subnet": subnet,
            "route table": self._make("route table", tags, VpcId=vpc, Associations=[association]),
            "internet gateway": self._make("internet gateway", tags, Attachments=[{"VpcId": vpc}]),
            "key pair": self._make("key pair", tags, KeyName=named),
            "placement group": self._make(
                "placement group", tags, GroupName=named, State="available"
            ),
            "volume": self._make("volume", tags, State="available"),
            "network interface": self._make(
                "network interface", tags, SubnetId=subnet, Status="available"
            ),
        }
        main = {"Main": True, "RouteTableAssociationId": f"rtbassoc-main-{vpc}"}
        self._make("route table", {}, VpcId=vpc, Associations=[main])
        self._make("security group", {}, GroupName="default", VpcId=vpc)
        self._make("network acl", {}, IsDefault=True, VpcId=vpc)
        groups = [
            self._make("security group", tags, GroupName=f"{named}-{n}", VpcId=vpc) for n in (1, 2)
        ]
        for group, other in (groups, groups[::-1]):
            self._allow(group, other)
        made["security group"] = groups[0]
        made["instance"] = self._instance(tags, subnet, groups, named=named, spot=spot)
        return made

    def _make(self, kind: str, tags: dict[str, str], **row: Any) -> str:
        id = f"{kind[:3]}-{next(self._number)}"
        word = "TagSet" if kind == "network interface" else "Tags"
        told = [{"Key": key, "Value": value} for key, value in tags.items()]
        self._held[kind][id] = {KINDS[kind][2]: id, word: told, **row}
        return id

    def _allow(self, group: str, other: str) -> None:
        rule = f"sgr-{next(self._number)}"
        self._rules[rule] = {
            "SecurityGroupRuleId": rule,
            "GroupId": group,
            "IsEgress": False,
            "ReferencedGroupInfo": {"GroupId": other},
        }

    def _instance(
        self, tags: dict[str, str], subnet: str, groups: list[str], *, named: str, spot: bool
    ) -> str:
        """What an instance brings along bears no tags."""
        disk = self._make("volume", {}, State="in-use")
        card = self._make("network interface", {}, SubnetId=subnet, Status="in-use")
        return self._make(
            "instance",
            tags,
            SubnetId=subnet,
            VpcId=self._held["subnet"][subnet]["VpcId"],
            Groups=groups,
            Placement=named,
            State={"Name": "running"},
            SpotInstanceRequestId=self._make("spot request", {}, State="active") if spot else "",
            BlockDeviceMappings=[{"Ebs": {"VolumeId": disk, "DeleteOnTermination": True}}],
            NetworkInterfaces=[
                {"NetworkInterfaceId": card, "Attachment": {"DeleteOnTermination": True}}
            ],
        )

    def ask(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        self._called(service, operation, parameters)
        if operation == "create_tags":
            return self._tag(parameters)
        if operation == "terminate_instances":
            for id in parameters["InstanceIds"]:
                self._row("instance", id)["_ends"] = self._looks_to_end
        elif operation == "cancel_spot_instance_requests":
            for id in parameters["SpotInstanceRequestIds"]:
                self._row("spot request", id)["State"] = "cancelled"
        elif operation == "detach_internet_gateway":
            self._row("internet gateway", parameters["InternetGatewayId"])["Attachments"] = []
        elif operation == "disassociate_route_table":
            self._loose_table(parameters["AssociationId"])
        elif operation == "revoke_security_group_ingress":
            for id in parameters["SecurityGroupRuleIds"]:
                self._rules.pop(id)
        else:
            self._delete(*_DELETE[operation], parameters)
        return {}

    def all_of(
        self, service: str, operation: str, key: str, **parameters: Any
    ) -> Iterator[dict[str, Any]]:
        self._called(service, operation, parameters)
        if operation == "describe_regions":
            return iter([{"RegionName": self.name}])
        (only,) = parameters["Filters"]
        if operation == "describe_security_group_rules":
            return iter([r for r in self._rules.values() if r["GroupId"] in only["Values"]])
        (kind,) = [kind for kind, how in KINDS.items() if how[:2] == (operation, key)]
        if kind == "instance":
            self._time_passes()
        rows = [row for row in self._held[kind].values() if _fits(kind, row, only)]
        return iter([{"Instances": rows}] if kind == "instance" else rows)

    def _called(self, service: str, operation: str, parameters: dict[str, Any]) -> None:
        assert service == "ec2"
        self.calls.append((operation, parameters))
        if code := self.refuse(operation, parameters):
            raise _refused(code)

    def _row(self, kind: str, id: str) -> Row:
        if id not in self._held[kind]:
            raise _refused(f"Invalid{kind.title().replace(' ', '')}ID.NotFound")
        return self._held[kind][id]

    def _time_passes(self) -> None:
        for row in self._held["instance"].values():
            if row.get("_ends", 0) > 0:
                row["_ends"] -= 1
                row["State"] = {"Name": "shutting-down" if row["_ends"] else "terminated"}
                if not row["_ends"]:
                    for disk in row["BlockDeviceMappings"]:
                        self._held["volume"].pop(disk["Ebs"]["VolumeId"], None)
                    for card in row["NetworkInterfaces"]:
                        self._held["network interface"].pop(card["NetworkInterfaceId"], None)

    def _tag(self, parameters: dict[str, Any]) -> dict[str, Any]:
        rows = {id: row for held in self._held.values() for id, row in held.items()}
        if unknown := set(parameters["Resources"]) - set(rows):
            raise _refused(f"InvalidID.{unknown}.NotFound")
        for id in parameters["Resources"]:
            word = "TagSet" if "TagSet" in rows[id] else "Tags"
            tags = _tags(rows[id]) | {one["Key"]: one["Value"] for one in parameters["Tags"]}
            rows[id][word] = [{"Key": key, "Value": value} for key, value in tags.items()]
        return {}

    def _loose_table(self, association: str) -> None:
        for row in self._held["route table"].values():
            row["Associations"] = [
                one
                for one in row["Associations"]
                if one.get("RouteTableAssociationId") != association
            ]

    def _delete(self, kind: str, named: str, parameters: dict[str, Any]) -> None:
        id = parameters[named]
        if named in ("GroupName", "KeyName"):
            names = [i for i, row in self._held[kind].items() if row[named] == id]
            id = names[0] if names else id
        row = self._row(kind, id)
        if code := self._held_by(kind, id, row):
            raise _refused(code)
        del self._held[kind][id]
        if kind == "vpc":
            for inside in ("route table", "security group", "network acl"):
                for other, its in list(self._held[inside].items()):
                    if its["VpcId"] == id:
                        del self._held[inside][other]

    def _held_by(self, kind: str, id: str, row: Row) -> str:
        """Why it cannot go yet, as AWS says it; "" if it can."""
        running = [i for i in self._held["instance"].values() if i["State"]["Name"] != "terminated"]
        if kind == "placement group":
            inside = any(one["Placement"] == row["GroupName"] for one in running)
            return "InvalidPlacementGroup.InUse" if inside else ""
        if kind == "volume":
            return "VolumeInUse" if row["State"] == "in-use" else ""
        if kind == "network interface":
            return "InvalidParameterValue" if row["Status"] == "in-use" else ""
        holders: dict[str, Any] = {
            "vpc": lambda: self._in_vpc(id),
            "subnet": lambda: any(
                one["SubnetId"] == id
                for one in (*running, *self._held["network interface"].values())
            ),
            "internet gateway": lambda: row["Attachments"],
            "route table": lambda: any(not a.get("Main") for a in row["Associations"]),
            "security group": lambda: (
                any(id in one["Groups"] for one in running)
                or any(
                    rule["ReferencedGroupInfo"]["GroupId"] == id and rule["GroupId"] != id
                    for rule in self._rules.values()
                )
            ),
        }
        return "DependencyViolation" if kind in holders and holders[kind]() else ""

    def _in_vpc(self, id: str) -> bool:
        tables = self._held["route table"].values()
        return (
            any(one["VpcId"] == id for one in self._held["subnet"].values())
            or any(
                one["VpcId"] == id and one["GroupName"] != "default"
                for one in self._held["security group"].values()
            )
            or any(
                one["VpcId"] == id and not any(a.get("Main") for a in one["Associations"])
                for one in tables
            )
            or any(
                a["VpcId"] == id
                for one in self._held["internet gateway"].values()
                for a in one["Attachments"]
            )
        )


def _fits(kind: str, row: Row, only: Row) -> bool:
    name, values = only["Name"], only["Values"]
    if name.startswith("tag:"):
        return _tags(row).get(name.removeprefix("tag:")) in values
    if name in _NAMES:
        return row[_NAMES[name]] in values
    if name == "vpc-id" and kind != "vpc":
        return row["VpcId"] in values
    assert name == KINDS[kind][3], name
    return row[KINDS[kind][2]] in values


def _tags(row: Row) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in row.get("Tags") or row.get("TagSet") or ()}


def _refused(code: str) -> AwsRefused:
    return AwsRefused(f"AWS refuses: {code}", remedy="none", code=code)
