"""What one target used of its hosts, phase by phase: `resources.json`.

Made by `stages.resources` from the hosts' samples and from `numbers.json`. Every group of figures
says of whom it speaks: of the "host", or of the "machine" that local hosts share, where it must
not be read as the host's own. What was not sampled is null, never zero.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen
from soakbed.records.testbed import Duty

__all__ = ["HostUse", "OperationCosts", "PhaseResources", "Resources", "Scope", "UnitUse"]

Scope = Literal["host", "machine", "unknown"]


class HostUse(Frozen):
    """One host over one phase. Sums are over `covered_s`, the samples that lie wholly inside.

    `cores` are what the host may use; `cpu_cores` is the mean number of them that were busy,
    `cpu_cores_max` that of its busiest sample; waiting for a disk is not busy. `disk_busy_share`
    is the part of the time (0-1) in which the disk of the data folder had a request.
    `disk_read_await_us` and `disk_write_await_us` are the mean time of a request, from being queued
    to its end; null too where there was none. `allowance_exceeded`: packets that the network card
    of a cloud held back, by the name of its counter; {} where no card counts them.
    """

    host: str
    duty: Duty
    covered_s: float
    samples: int
    cores: int
    cpu_cores: float | None
    cpu_cores_max: float | None
    cpu_steal_cores: float | None
    memory_max_bytes: int | None
    disk_read_bytes: float | None
    disk_written_bytes: float | None
    disk_reads: float | None
    disk_writes: float | None
    disk_busy_share: float | None
    net_received_bytes: float | None
    net_sent_bytes: float | None
    # Not asked by every soakbed that wrote such a file.
    cpu_steal_share: float | None = None
    disk_read_await_us: float | None = None
    disk_write_await_us: float | None = None
    net_received_packets: float | None = None
    net_sent_packets: float | None = None
    allowance_exceeded: dict[str, float] = Field(default_factory=dict)
    # Of "cpu", "cpu_steal", "memory", "disk_bytes", "disk_operations", "network".
    scopes: dict[str, Scope]


class UnitUse(Frozen):
    """One systemd unit of a host over one phase; of its own processes whatever the host is.

    `memory_max_bytes` is resident memory. `written_bytes` is what it gave to the storage layer: a
    page counts once however often it changed before it went out. `restarts` counts how often it
    was found to have begun anew.
    """

    host: str
    unit: str
    covered_s: float
    cpu_s: float | None
    memory_max_bytes: int | None
    read_bytes: float | None
    written_bytes: float | None
    restarts: int


class OperationCosts(Frozen):
    """What operations cost; null where the samples cannot say, or where no operation ended ok.

    The target's are sums over all members on all data hosts, replicas and replication included.
    """

    cpu_s_per_million: float | None  # the target's, per million ok operations
    load_cpu_s_per_million: float | None  # the load generator's
    disk_written_bytes_per_operation: float | None  # by the members, over all ok operations
    disk_written_bytes_per_write: float | None  # the same over ok writes alone
    disk_read_bytes_per_operation: float | None
    write_amplification: float | None  # disk bytes of all members over bytes of the values written
    client_network_bytes_per_operation: float | None  # both directions, seen by the load hosts
    data_network_bytes_per_operation: float | None  # both directions, summed over data hosts


class PhaseResources(Frozen):
    """The whole windows of one phase: from `started_s`, `seconds` long.

    `operations` and `writes` are those that ended ok in them.
    """

    session: str
    phase: str
    started_s: float
    seconds: float
    operations: int
    writes: int
    hosts: tuple[HostUse, ...]
    units: tuple[UnitUse, ...]
    costs: OperationCosts


class Resources(Frozen):
    """Everything that the samples say of one target. `notes`: what limits them, in sentences."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: str
    phases: tuple[PhaseResources, ...] = ()
    notes: tuple[str, ...] = ()

    def phase(self, session: str, phase: str) -> PhaseResources | None:
        """One phase, or None when it never ran."""
        for one in self.phases:
            if (one.session, one.phase) == (session, phase):
                return one
        return None
