"""What came up: the hosts of one testbed, as plain data.

Written once by `stages.provision` from Terraform's one output; read by everything after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = ["Duty", "Host", "Testbed"]

Duty = Literal["data", "load"]


class Host(Frozen):
    """One machine, and how to reach it over SSH."""

    name: str
    duty: Duty
    address: str  # where hosts reach each other; databases listen there
    ssh_address: str = ""  # where the controller reaches it; "" = at its address
    user: str = "root"
    port: int = 22
    key_file: str
    cpus: tuple[int, ...] = ()  # which CPUs of the shared machine it may use; () = its own machine
    cores: int = 0  # that it counted itself, once it was prepared; 0 = nobody asked
    data_dir: str = "/data"  # where database files go; a bind mount on local hosts
    image: str = ""  # hash of the image recipe, local hosts only

    @property
    def reached_at(self) -> str:
        """Where the controller reaches it over SSH."""
        return self.ssh_address or self.address


class Testbed(Frozen):
    """The hosts of one cluster, as they came up. `shares_machine`: all hosts run on one machine."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    name: str
    provider: Literal["local", "static"]
    shares_machine: bool
    known_hosts_file: str
    hosts: dict[str, Host]

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
