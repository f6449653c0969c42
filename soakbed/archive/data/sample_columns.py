"""Columns of the tables `hosts` and `units` as data, and the counters that they come from.

`results/README.md` lists them. What a host cannot say, or an older sampler did not ask, is null.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "ALLOWANCES",
    "COUNTERS",
    "HOSTS_COLUMNS",
    "RATES",
    "SCOPES",
    "UNITS_COLUMNS",
    "UNIT_COUNTERS",
]

# Of the driver (ena) -> what the card has not enough of.
ALLOWANCES: Mapping[str, str] = {
    "bw_in_allowance_exceeded": "inbound bandwidth",
    "bw_out_allowance_exceeded": "outbound bandwidth",
    "pps_allowance_exceeded": "packets per second",
    "conntrack_allowance_exceeded": "tracked connections",
    "linklocal_allowance_exceeded": "packets per second to DNS, clock and metadata of the cloud",
}
_EXCEEDED = (
    "packets that a cloud's network card queued or dropped for want of {}; null: not counted"
)

# name -> meaning, unit included.
HOSTS_COLUMNS: Mapping[str, str] = {
    "at_s": "unix time of the sample, by the host's own clock; sums are over the seconds before it",
    "seconds": "time since the sample before, by a clock that nobody sets",
    "host": "name of the host",
    "duty": "data or load",
    "cores": "CPU cores that the host may use",
    "cpu_busy": "cores that were busy on average; waiting for a disk is not busy",
    "cpu_steal": "cores that the hypervisor took away on average",
    "cpu_steal_share": "the same as a part (0-1) of all cores of whom it speaks; null: not known",
    "memory_used_bytes": "memory in use: total less available; of a container, resident memory",
    "disk_read_bytes": "bytes read from the disk of the data folder; of a container, by processes",
    "disk_written_bytes": "bytes written to it, likewise",
    "disk_reads": "requests to read that the disk of the data folder finished",
    "disk_writes": "requests to write that it finished",
    "disk_busy_share": "part of the time (0-1) in which it had any request",
    "disk_read_wait_s": "seconds that those reads took together, each from being queued to its "
    "end; over disk_reads it is the mean read",
    "disk_write_wait_s": "the same of those writes",
    "net_received_bytes": "bytes received over the network, loopback left out",
    "net_sent_bytes": "bytes sent over the network, loopback left out",
    "net_received_packets": "packets received over it; what a card joins counts once",
    "net_sent_packets": "packets sent over it; what a card divides counts once",
    **{name: _EXCEEDED.format(what) for name, what in ALLOWANCES.items()},
    "cpu_scope": "of whom cpu_busy speaks: host, or the machine that local hosts share",
    "cpu_steal_scope": "the same for cpu_steal and cpu_steal_share",
    "memory_scope": "the same for memory_used_bytes",
    "disk_bytes_scope": "the same for disk_read_bytes and disk_written_bytes",
    "disk_operations_scope": "the same for disk_reads, disk_writes, their waits, disk_busy_share",
    "network_scope": "the same for bytes and packets over the network",
}
UNITS_COLUMNS: Mapping[str, str] = {
    "at_s": "unix time of the sample, as in hosts",
    "seconds": "time since the sample before, as in hosts",
    "host": "name of the host",
    "unit": "systemd unit: a member, a worker of the load, or the sampler itself",
    "cpu_s": "CPU seconds used in these seconds, by all processes of the unit",
    "memory_bytes": "resident memory of its processes",
    "read_bytes": "bytes that they read from disks",
    "written_bytes": "bytes that they gave to be written to disks; a page counts once per writing",
    "restarted": "whether the unit had begun anew since the sample before",
}
# Columns that are the difference of the sampler's counter of the same name.
COUNTERS = (
    "disk_read_bytes",
    "disk_written_bytes",
    "disk_reads",
    "disk_writes",
    "disk_read_wait_s",
    "disk_write_wait_s",
    "net_received_bytes",
    "net_sent_bytes",
    "net_received_packets",
    "net_sent_packets",
    *ALLOWANCES,
)
# Counter of seconds -> the column that it gives as a part of the time.
RATES = {"cpu_busy_s": "cpu_busy", "cpu_steal_s": "cpu_steal", "disk_busy_s": "disk_busy_share"}
UNIT_COUNTERS = ("cpu_s", "read_bytes", "written_bytes")
SCOPES = ("cpu", "cpu_steal", "memory", "disk_bytes", "disk_operations", "network")
