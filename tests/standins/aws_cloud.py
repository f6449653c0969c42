"""A small AWS on loopback: moto's server, a door before it, and what moto does not know.

moto knows no placement groups and shows one and the same console for all machines; the door adds
both. Nothing of it can be mistaken for the real one: accounts, addresses and keys are moto's.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import boto3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ports import free_port
from tests.standins.aws import Answer, AwsDoor, Call, ec2_error

__all__ = ["LocalAws"]

_XMLNS = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'
_UP_WITHIN_S = 60
_INSTANCE = re.compile(rb"<instanceId>(i-[0-9a-f]+)</instanceId>")
_GROUP_NAME = re.compile(rb"(<placement>[^/]*?)<groupName\s*(?:/>|></groupName>)", re.DOTALL)
_RULE = re.compile(rb"<securityGroupRuleId>(sgr-[0-9a-f]+)</securityGroupRuleId>")
_GROUPS = re.compile(rb"<groupSet><item>.*?</groupSet>", re.DOTALL)
_NO_GROUPS = re.compile(rb"<groupSet\s*/>|<groupSet></groupSet>")
_NO_DESCRIPTION = re.compile(rb"<description\s*/>|<description></description>")

# What exists, by kind: boto3's listing, where its rows are, and each row's id.
_KINDS = {
    "instance": ("describe_instances", "Reservations", "InstanceId"),
    "volume": ("describe_volumes", "Volumes", "VolumeId"),
    "interface": ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    "group": ("describe_security_groups", "SecurityGroups", "GroupId"),
    "rule": ("describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId"),
    "subnet": ("describe_subnets", "Subnets", "SubnetId"),
    "table": ("describe_route_tables", "RouteTables", "RouteTableId"),
    "gateway": ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "vpc": ("describe_vpcs", "Vpcs", "VpcId"),
    "key": ("describe_key_pairs", "KeyPairs", "KeyPairId"),
    "placement group": ("describe_placement_groups", "PlacementGroups", "GroupId"),
    "spot request": ("describe_spot_instance_requests", "SpotInstanceRequests",
                     "SpotInstanceRequestId"),
}  # fmt: skip


class LocalAws:
    """`with LocalAws(folder) as aws:` runs one; `reset` empties it between tests.

    `aws.door.rules` refuse; `aws.environment` is what its users need; `aws.holds()` is what a
    region has that an empty one has not: kind -> {id: tags}.
    """

    def __init__(self, folder: Path, *, region: str = "eu-central-1") -> None:
        self.region = region
        self._folder = folder
        self._port = free_port()
        self.door = AwsDoor(("127.0.0.1", self._port))
        self._groups = _PlacementGroups()
        self._at_first: dict[str, dict[str, Any]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Settings of AWS's own; no credential of the machine is ever used beside them."""
        return {
            "AWS_ENDPOINT_URL": self.door.url,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-stand-in",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str = "ec2") -> Any:
        """boto3 itself, straight to moto for what no rule may touch."""
        return boto3.client(
            service,
            region_name=self.region,
            endpoint_url=self.door.url,
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="secret-of-the-stand-in",
        )

    def reset(self) -> None:
        """As new: nothing made, no rules, no calls remembered."""
        url = f"http://127.0.0.1:{self._port}/moto-api/reset"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30).close()
        self._groups.held.clear()
        self.door.asks = [_interface_of_its_instance]
        self.door.edits = [
            *(self._groups.written_into_instances, _groups_of_interfaces, _Descriptions()),
        ]
        self.door.rules = []
        self.door.last_rules = [self._groups.answer, _console, _own_address]
        self._at_first = self._everything()
        self.door.calls.clear()

    def holds(self) -> dict[str, dict[str, dict[str, str]]]:
        """What was made and is still there; kinds of which nothing is left are not in it."""
        rules, self.door.rules = self.door.rules, []
        now = self._everything()
        self.door.rules = rules
        made = {
            kind: {id: tags for id, tags in found.items() if id not in self._at_first[kind]}
            for kind, found in now.items()
        }
        return {kind: found for kind, found in made.items() if found}

    def _everything(self) -> dict[str, dict[str, Any]]:
        client = self.client()
        return {kind: dict(self._of(client, *how)) for kind, how in _KINDS.items()} | {
            # On AWS a VPC takes its list along; moto leaves it behind.
            "acl": self._lists_of_vpcs(client)
        }

    def _lists_of_vpcs(self, client: Any) -> dict[str, Any]:
        there = {vpc["VpcId"] for vpc in client.describe_vpcs()["Vpcs"]}
        return {
            one["NetworkAclId"]: {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}
            for one in client.describe_network_acls()["NetworkAcls"]
            if one["VpcId"] in there
        }

    def _of(self, client: Any, listing: str, rows: str, id: str) -> Any:
        for row in getattr(client, listing)()[rows]:
            for one in row["Instances"] if listing == "describe_instances" else [row]:
                state = one.get("State")
                if isinstance(state, dict) and state.get("Name") == "terminated":
                    continue
                told = one.get("Tags") or one.get("TagSet") or ()  # the latter of interfaces
                yield one[id], {tag["Key"]: tag["Value"] for tag in told}

    def __enter__(self) -> LocalAws:
        images = self._folder / "images.json"
        images.write_text(json.dumps(_IMAGES))
        self._log = (self._folder / "moto.log").open("wb")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)],
            env={**os.environ, "MOTO_AMIS_PATH": str(images)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.door.__enter__()
        deadline = time.monotonic() + _UP_WITHIN_S
        while True:
            try:
                self.reset()
                break
            except OSError:
                if time.monotonic() > deadline or self._server.poll() is not None:
                    self.__exit__()
                    raise
                time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.door.__exit__()
        self._server.terminate()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._log.close()


def _image(arch: str, ours: str, number: int) -> dict[str, Any]:
    return {
        "ami_id": f"ami-0debian12{ours}{number}",
        "state": "available",
        "public": True,
        "owner_id": "136693071363",
        "image_location": "amazon/debian",
        "sriov": "simple",
        "root_device_type": "ebs",
        "root_device_name": "/dev/xvda",
        "description": "Debian 12",
        "image_type": "machine",
        "platform": None,
        "architecture": arch,
        "name": f"debian-12-{ours}-2026110{number}-1234",
        "virtualization_type": "hvm",
        "hypervisor": "xen",
        "creation_date": f"2026-11-0{number}T00:00:00.000Z",
    }


_IMAGES = [
    _image(arch, ours, number)
    for (arch, ours), number in itertools.product([("x86_64", "amd64"), ("arm64", "arm64")], (1, 2))
]


def _console(call: Call) -> Answer | None:
    """What Debian's cloud image prints when it is up: the public host keys among other things."""
    if call.action != "GetConsoleOutput":
        return None
    instance = call.parameters["InstanceId"]
    seed = instance.encode().ljust(32, b"k")[:32]  # so that a machine keeps its key
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    key = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    text = (
        "[    0.000000] Linux version 6.1.0-28-cloud-amd64\r\n"
        "-----BEGIN SSH HOST KEY KEYS-----\r\n"
        f"{key} root@{instance}\r\n"
        "-----END SSH HOST KEY KEYS-----\r\n"
    )
    output = base64.b64encode(text.encode()).decode()
    return _answer(
        "GetConsoleOutput", f"<instanceId>{instance}</instanceId><output>{output}</output>"
    )


def _own_address(call: Call) -> Answer | None:
    """What checkip.amazonaws.com says, at /my-address."""
    return Answer(200, "203.0.113.7\n") if call.path == "/my-address" else None


def _interface_of_its_instance(call: Call, body: bytes) -> bytes:
    """On AWS an interface that comes with an instance ends with it."""
    if call.action != "RunInstances" or "NetworkInterface.1.DeviceIndex" not in call.parameters:
        return body
    return body + b"&NetworkInterface.1.DeleteOnTermination=true"


def _groups_of_interfaces(call: Call, body: bytes) -> bytes:
    """On AWS an instance is in the groups of its interface; moto shows them at the latter alone."""
    if call.action not in {"RunInstances", "DescribeInstances"}:
        return body
    parts = re.split(rb"(?=<architecture>)", body)
    return b"".join(
        _NO_GROUPS.sub(lambda _, it=found[0]: it, part, count=1)
        if (found := _GROUPS.search(part))
        else part
        for part in parts
    )


class _Descriptions:
    """What is written to a rule between groups; moto shows it for rules of addresses alone."""

    def __init__(self) -> None:
        self._of: dict[bytes, bytes] = {}

    def __call__(self, call: Call, body: bytes) -> bytes:
        if call.action.startswith("AuthorizeSecurityGroup"):
            said = call.parameters.get("IpPermissions.1.Groups.1.Description", "")
            self._of |= dict.fromkeys(_RULE.findall(body), said.encode()) if said else {}
        elif call.action == "DescribeSecurityGroupRules":
            return _RULE.sub(self._described, _NO_DESCRIPTION.sub(b"", body))
        return body

    def _described(self, found: re.Match[bytes]) -> bytes:
        said = self._of.get(found[1], b"")
        return found[0] + (b"<description>" + said + b"</description>" if said else b"")


class _PlacementGroups:
    """CreatePlacementGroup and its like, and each instance's word of the group it is in."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self._number = itertools.count(1)
        self._of_instance: dict[bytes, bytes] = {}

    def answer(self, call: Call) -> Answer | None:
        """Rule of the door."""
        ask = {
            "CreatePlacementGroup": self._create,
            "DeletePlacementGroup": self._delete,
            "DescribePlacementGroups": self._describe,
            "CreateTags": self._tag,
        }.get(call.action)
        return ask(call) if ask else None

    def written_into_instances(self, call: Call, body: bytes) -> bytes:
        """Edit of the door: what moto answers, with the group that each instance was put into."""
        if call.action == "RunInstances" and (name := call.parameters.get("Placement.GroupName")):
            for instance in _INSTANCE.findall(body):
                self._of_instance[instance] = name.encode()
        if call.action not in {"RunInstances", "DescribeInstances"}:
            return body
        parts = re.split(rb"(?=<instanceId>i-)", body)
        return b"".join(self._with_group(part) for part in parts)

    def _with_group(self, part: bytes) -> bytes:
        found = _INSTANCE.match(part)
        name = self._of_instance.get(found[1], b"") if found else b""
        return _GROUP_NAME.sub(rb"\1<groupName>" + name + b"</groupName>", part) if name else part

    def _create(self, call: Call) -> Answer:
        name = call.parameters["GroupName"]
        if name in self.held:
            return ec2_error("InvalidPlacementGroup.Duplicate")
        self.held[name] = {
            "id": f"pg-{next(self._number):017x}",
            "strategy": call.parameters["Strategy"],
            "tags": dict(_tags(call.parameters, "TagSpecification.1.Tag.")),
        }
        return _answer(
            call.action, f"<return>true</return><placementGroup>{self._xml(name)}</placementGroup>"
        )

    def _delete(self, call: Call) -> Answer:
        if self.held.pop(call.parameters["GroupName"], None) is None:
            return ec2_error("InvalidPlacementGroup.Unknown")
        return _answer(call.action, "<return>true</return>")

    def _describe(self, call: Call) -> Answer:
        named = call.values("GroupName.") + [
            name for name, one in self.held.items() if one["id"] in call.values("GroupId.")
        ]
        if (call.values("GroupId.") and not named) or set(named) - set(self.held):
            return ec2_error("InvalidPlacementGroup.Unknown")
        filters = [
            (name, call.values(prefix.replace("Name", "Value.")))
            for prefix, name in call.parameters.items()
            if re.fullmatch(r"Filter\.\d+\.Name", prefix)
        ]
        found = [
            name
            for name in named or self.held
            if all(self._value(name, key) in values for key, values in filters)
        ]
        items = "".join(f"<item>{self._xml(name)}</item>" for name in found)
        return _answer(call.action, f"<placementGroupSet>{items}</placementGroupSet>")

    def _tag(self, call: Call) -> Answer | None:
        ours = [one for one in self.held.values() if one["id"] in call.values("ResourceId.")]
        for one in ours:
            one["tags"] |= dict(_tags(call.parameters, "Tag."))
        # moto knows no such id, and a call of one kind is all that soakbed makes.
        return _answer(call.action, "<return>true</return>") if ours else None

    def _value(self, name: str, key: str) -> str | None:
        one = self.held[name]
        if key.startswith("tag:"):
            return one["tags"].get(key.removeprefix("tag:"))
        return {"group-name": name, "group-id": one["id"], "state": "available"}[key]

    def _xml(self, name: str) -> str:
        one = self.held[name]
        tags = "".join(
            f"<item><key>{escape(key)}</key><value>{escape(value)}</value></item>"
            for key, value in one["tags"].items()
        )
        return (
            f"<groupName>{name}</groupName><groupId>{one['id']}</groupId><state>available</state>"
            f"<strategy>{one['strategy']}</strategy><tagSet>{tags}</tagSet>"
        )


def _tags(parameters: dict[str, str], prefix: str) -> Any:
    for name, key in parameters.items():
        if name.startswith(prefix) and name.endswith(".Key"):
            yield key, parameters.get(name.removesuffix("Key") + "Value", "")


def _answer(action: str, inner: str) -> Answer:
    return Answer(
        200, f"<{action}Response {_XMLNS}><requestId>r-1</requestId>{inner}</{action}Response>"
    )
