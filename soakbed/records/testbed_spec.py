"""The testbed that the user asked for: a file in `infra/testbeds/`, checked before it is made.

`aws`, `lease`, `budget` and `remote_state` are parts of their own; a file that has none of them
reads as it always did.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from soakbed.records.frozen import Frozen, Sparing
from soakbed.records.testbed import Duty, Provider

__all__ = [
    "AwsSpec",
    "Budget",
    "HostSpec",
    "HourPrice",
    "LeaseSpec",
    "PlainName",
    "RemoteState",
    "TestbedSpec",
]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
_WIDEST_OPERATOR_PREFIX = 8  # an operator's own network is no eighth of the internet
_OF_STATIC_HOSTS = ("inner_address", "data_dir", "cores", "memory_gib")
_SUBNET_PREFIXES = range(16, 29)  # what a VPC may have


def _ipv4(value: str) -> str:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        raise ValueError("not an IPv4 address; write one like 10.83.17.11") from None
    return value


class HostSpec(Sparing):
    """One host to make (local: address inside the network) or to use (static: user and key too).

    In a cloud `address` stays "": the cloud gives it. `inner_address` is for static hosts that
    reach each other by another address than the one that SSH uses, and `cores` and `memory_gib`
    say what a static host has, where hosts of one duty are not alike.
    """

    grown: ClassVar = frozenset(
        {"instance_type", "inner_address", "data_dir", "cores", "memory_gib"}
    )

    duty: Duty
    address: str = ""
    user: str = "root"
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    key_file: str = ""  # static only; other hosts get a key of their own
    instance_type: str = ""  # aws only; "" is the testbed's
    inner_address: str = ""  # static only; "" is address
    data_dir: Annotated[str, Field(pattern=r"^(/[\w.-]+)*$")] = ""  # static only; "" is /data
    cores: Annotated[int, Field(ge=0)] = 0  # static only, as the next; 0 says nothing
    memory_gib: Annotated[float, Field(ge=0)] = 0.0

    @field_validator("address", "inner_address")
    @classmethod
    def _address_is_ipv4(cls, value: str) -> str:
        return _ipv4(value) if value else value


def _short_and_plain(value: str) -> str:
    """Names become names of machines, units and folders."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            "not a short plain name; "
            "use a-z, 0-9 and -, at most 20 characters, beginning with a letter"
        )
    return value


PlainName = Annotated[str, AfterValidator(_short_and_plain)]


class HourPrice(Frozen):
    """What all hosts of a testbed cost per hour, as its user says: `currency` is a word, EUR."""

    amount: Annotated[float, Field(ge=0)]
    currency: Annotated[str, Field(min_length=1, max_length=12)]


class Budget(Frozen):
    """The most that one provisioning of a testbed may cost in all: `currency` is a word, USD."""

    amount: Annotated[float, Field(gt=0)]
    currency: Annotated[str, Field(min_length=1, max_length=12)] = "USD"


class LeaseSpec(Frozen):
    """How long hosts live without news: `first_h` from their making, `margin_h` past the plan."""

    margin_h: Annotated[float, Field(gt=0, le=168)] = 2.0
    first_h: Annotated[float, Field(ge=0.25, le=24)] = 2.0


class RemoteState(Frozen):
    """An S3 object that keeps Terraform's state, so that several controllers share one testbed."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    key: Annotated[str, Field(min_length=1, max_length=900)]
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]


class AwsSpec(Frozen):
    """Where and of what hosts are made on AWS.

    `zones` in order of preference: all hosts stand in the first that has room for them.
    `operator_cidr` is who may log in, "auto" for the address that this controller has to the world;
    `owner` "" is the local user's name. `image_name`: `{arch}` stands for amd64 or arm64.
    """

    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    zones: Annotated[tuple[str, ...], Field(min_length=1)]
    instance_type: Annotated[str, Field(min_length=1)] = "c6id.2xlarge"
    spot: bool = False
    operator_cidr: str = "auto"
    owner: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]{0,64}$")] = ""
    purpose: Annotated[str, Field(pattern=r"^[A-Za-z0-9_ .@-]{1,64}$")] = "benchmark"
    network_cidr: str = "10.90.0.0/16"
    boot_disk_gb: Annotated[int, Field(ge=10, le=1000)] = 30
    image_owner: Annotated[str, Field(pattern=r"^(\d{12}|amazon|aws-marketplace|self)$")] = (
        "136693071363"  # Debian's own account; source: wiki.debian.org/Cloud/AmazonEC2Image
    )
    image_name: Annotated[str, Field(min_length=3)] = "debian-12-{arch}-*"

    @field_validator("operator_cidr")
    @classmethod
    def _operator_is_somebody(cls, value: str) -> str:
        if value == "auto":
            return value
        try:
            network = ipaddress.IPv4Network(value)
        except ValueError:
            raise ValueError(
                "not a network of IPv4 addresses; write auto, or your own like 203.0.113.7/32"
            ) from None
        if network.prefixlen < _WIDEST_OPERATOR_PREFIX:
            raise ValueError(
                f"SSH would be open to {network.num_addresses:,} addresses; "
                "write auto, or your own like 203.0.113.7/32"
            )
        return value

    @field_validator("network_cidr")
    @classmethod
    def _network_is_private(cls, value: str) -> str:
        try:
            network = ipaddress.IPv4Network(value)
        except ValueError:
            raise ValueError("not a network; write one like 10.90.0.0/16") from None
        if network.prefixlen not in _SUBNET_PREFIXES or not network.is_private:
            raise ValueError(
                "not a private network of 16 to 65,536 addresses; write one like 10.90.0.0/16"
            )
        return value

    @model_validator(mode="after")
    def _zones_are_of_the_region(self) -> AwsSpec:
        strange = [zone for zone in self.zones if not re.fullmatch(self.region + "[a-z]", zone)]
        if strange or len(set(self.zones)) != len(self.zones):
            raise ValueError(
                f"zones {', '.join(self.zones)} are not zones of {self.region}, each once; "
                f"write them like {self.region}a"
            )
        return self


class TestbedSpec(Sparing):
    """One cluster shape: a file in `infra/testbeds/`."""

    grown: ClassVar = frozenset({"aws", "lease", "budget", "remote_state"})

    schema_: Literal[1] = Field(default=1, alias="schema")
    name: PlainName
    provider: Provider
    network_cidr: str = ""  # local only: the bridge gets the first address
    hosts: dict[str, HostSpec]
    hour_price: HourPrice | None = None  # wins over the price table
    aws: AwsSpec | None = None
    lease: LeaseSpec | None = None  # what was written; `leased` is what counts
    budget: Budget | None = None
    remote_state: RemoteState | None = None

    @property
    def leased(self) -> LeaseSpec | None:
        """The lease that its hosts live on: as written, always in a cloud, else none."""
        return self.lease or (LeaseSpec() if self.provider == "aws" else None)

    @field_validator("hosts")
    @classmethod
    def _enough_of_each_duty(cls, value: dict[str, HostSpec]) -> dict[str, HostSpec]:
        data = sum(host.duty == "data" for host in value.values())
        if data < 3:
            raise ValueError(
                f"{data} hosts of duty data, a majority needs at least 3; "
                'add hosts with "duty": "data"'
            )
        if data == len(value):
            raise ValueError('no host of duty load; add one with "duty": "load"')
        return value

    @model_validator(mode="after")
    def _hosts_fit_the_provider(self) -> TestbedSpec:
        {"aws": self._check_aws, "static": self._check_static, "local": self._check_local}[
            self.provider
        ]()
        return self

    def _check_aws(self) -> None:
        if self.aws is None:
            raise ValueError(
                "provider aws without its part; "
                'add "aws": {"region": "eu-central-1", "zones": ["eu-central-1a"]}'
            )
        if self.network_cidr:
            raise ValueError("network_cidr beside aws; move it into the part aws")
        self._refuse("address", "key_file", why="AWS and soakbed give it")
        self._refuse(*_OF_STATIC_HOSTS, why="it is for static hosts")

    def _check_static(self) -> None:
        self._refuse("instance_type", why="it is for hosts in a cloud")
        self._refuse_parts("aws")
        self._every_host_has_an_address_of_its_own()
        without = [name for name, host in self.hosts.items() if not host.key_file]
        if without:
            raise ValueError(f"hosts {', '.join(without)} have no key_file; name a private key")

    def _check_local(self) -> None:
        self._refuse("instance_type", why="it is for hosts in a cloud")
        self._refuse(*_OF_STATIC_HOSTS, why="it is for static hosts")
        self._refuse_parts("aws", "remote_state")
        self._every_host_has_an_address_of_its_own()
        try:
            network = ipaddress.IPv4Network(self.network_cidr)
        except ValueError:
            raise ValueError(
                f"network_cidr {self.network_cidr!r} is not a network; write one like 10.83.17.0/24"
            ) from None
        for name, host in self.hosts.items():
            bridge, last = network.network_address + 1, network.broadcast_address
            if not bridge < ipaddress.IPv4Address(host.address) < last:
                raise ValueError(
                    f"{name} has {host.address}, outside {network} or the bridge's own address; "
                    f"use {network.network_address + 10} or above"
                )

    def _every_host_has_an_address_of_its_own(self) -> None:
        for written in ("address", "inner_address"):
            said = [getattr(host, written) for host in self.hosts.values()]
            have = [address for address in said if address]
            if written == "address" and len(have) < len(said):
                without = [name for name, host in self.hosts.items() if not host.address]
                raise ValueError(f"hosts {', '.join(without)} have no address; write one for each")
            if len(set(have)) != len(have):
                raise ValueError(f"two hosts share one {written}; give each its own")

    def _refuse(self, *keys: str, why: str) -> None:
        for key in keys:
            having = [name for name, host in self.hosts.items() if getattr(host, key)]
            if having:
                raise ValueError(
                    f"hosts {', '.join(having)} have {key} on provider {self.provider}: {why}; "
                    "leave it out"
                )

    def _refuse_parts(self, *parts: str) -> None:
        for part in parts:
            if getattr(self, part) is not None:
                raise ValueError(f"part {part} on provider {self.provider}; leave it out")
