"""Targets as the generator of made-up runs pretends them to be. Nothing here was measured."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pretence:
    """One target as the generator pretends it to be."""

    name: str
    version: str
    pinned: str
    capacity_per_s: float
    read_us: float
    write_us: float
    spread: float = 0.25  # sigma of the log-normal body
    stall_share: float = 0.004  # operations that met a stall, six times as long
    lag_us: float = 4.0
    cpu_share: float = 0.45
    capacity_cpu_share: float = 0.7
    workers: int = 1
    failed_share: float = 0.0
    failed_cause: str = "cluster_down"
    unknown_share: float = 0.0
    dropped: int = 0
    core_taken_at_s: int = -1  # a steady second in which something else had the engine's core
    alarms: tuple[str, ...] = ()
    restarts_after: int = 0
    units: tuple[str, ...] = ()
    effective: dict[str, str] = field(default_factory=dict)
    redirects: int = 0  # in each window
    parts: tuple[tuple[str, str], ...] = ()  # artifacts by name and version, the last is the main
    reason: str = "the upstream release could not be fetched"
    origin: str = "debian"
    client_port: int = 2379
    beside: dict[str, dict[str, str]] = field(default_factory=dict)  # members of other kinds


ETCD = Pretence(
    name="etcd",
    version="3.5.16",
    pinned="3.5.10",
    capacity_per_s=4200.0,
    read_us=3100.0,
    write_us=5600.0,
    spread=0.32,
    stall_share=0.008,
    lag_us=18.0,
    core_taken_at_s=4,
    units=("soakbed-etcd.service",),
    effective={"quota-backend-bytes": "8589934592", "auto-compaction-mode": "periodic"},
)
REDIS = Pretence(
    name="redis_cluster",
    version="7.0.15",
    pinned="7.0.15",
    capacity_per_s=46000.0,
    read_us=390.0,
    write_us=430.0,
    capacity_cpu_share=0.97,
    units=("soakbed-redis-master.service", "soakbed-redis-replica.service"),
    effective={"appendfsync": "everysec", "maxmemory-policy": "noeviction"},
)
# TiKV from the user's folder: another version, busy now and then, and regions that moved.
TIKV = Pretence(
    name="tikv",
    version="7.1.1",
    pinned="6.5.5",
    capacity_per_s=9100.0,
    read_us=1450.0,
    write_us=3300.0,
    spread=0.3,
    lag_us=12.0,
    failed_share=0.002,
    failed_cause="busy",
    redirects=3,
    units=("soakbed-pd.service", "soakbed-tikv.service"),
    effective={"storage.api-version": "1", "storage.enable-ttl": "false", "version": "7.1.1"},
    beside={"pd": {"replication.max-replicas": "3", "version": "7.1.0"}},
    parts=(("pd-server", "7.1.0"), ("tikv-server", "7.1.1")),
    reason="SOAKBED_ARTIFACTS has it of another version",
    origin="named",
    client_port=2479,
)
