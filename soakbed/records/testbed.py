"""What came up: the hosts of one testbed, as plain data.

Written once by `stages.provision` from Terraform's one output; read by everything after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from soakbed.records.frozen import Frozen, Sparing

__all__ = ["Cloud", "Duty", "Host", "Provider", "Testbed"]

Duty = Literal["data", "load"]
Provider = Literal["local", "static", "aws"]


class Host(Sparing):
    """One machine, and how to reach it over SSH.

    `address` is where hosts reach each other; `ssh_address` is where the controller reaches this
    one, "" where that is the same.
    """

    grown: ClassVar = frozenset({"ssh_address", "instance_id", "instance_type", "zone"})

    name: str
    duty: Duty
    address: str
    user: str = "root"
    port: int = 22
    key_file: str
    cpus: tuple[int, ...] = ()  # which CPUs of the shared machine it may use; () = its own machine
    cores: int = 0  # that it counted itself, once it was prepared; 0 = nobody asked
    data_dir: str = "/data"  # where database files go; a bind mount on local hosts
    image: str = ""  # hash of the image recipe, local hosts only
    ssh_address: str = ""
    instance_id: str = ""  # in a cloud only, as the next two
    instance_type: str = ""
    zone: str = ""

    @property
    def reached_at(self) -> str:
        """The address that SSH uses."""
        return self.ssh_address or self.address


class Cloud(Frozen):
    """Where in a cloud a testbed is, and of what it was made.

    `network_sustained_mbit` is what the weakest of its hosts may send for hours (Mbit/s), whatever
    it may send in a burst.
    """

    provider: Literal["aws"]
    region: str
    zone: str
    image_id: str
    image_name: str
    instance_types: tuple[str, ...]
    placement_group: str
    network_sustained_mbit: int


class Testbed(Sparing):
    """The hosts of one cluster, as they came up. `shares_machine`: all hosts run on one machine."""

    grown: ClassVar = frozenset({"cloud"})

    schema_: Literal[1] = Field(default=1, alias="schema")
    name: str
    provider: Provider
    shares_machine: bool
    known_hosts_file: str
    hosts: dict[str, Host]
    cloud: Cloud | None = None  # None outside clouds

    def of_duty(self, duty: Duty) -> list[Host]:
        """Hosts of one duty, by name."""
        return sorted(
            (host for host in self.hosts.values() if host.duty == duty), key=lambda h: h.name
        )

    def with_cores(self, cores: Mapping[str, int]) -> Testbed:
        """The same testbed, with the cores that each host counted; hosts not named stay as told."""
        counted = {
            name: host.model_copy(update={"cores": cores.get(name, host.cores)})
            for name, host in self.hosts.items()
        }
        return self.model_copy(update={"hosts": counted})
