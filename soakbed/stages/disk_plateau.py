"""How much disk a target will need on a host, from what the workload asks for; asked beforehand.

A key space that is bounded gives a disk use that grows to a plateau. Every part of it has a formula
with its source here; where a database decides by itself within bounds, the upper one is taken. What
would not fit is refused before anything is pressed, not found out in hour 40.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from soakbed.adapters.ssh import Shell
from soakbed.errors import LoadError
from soakbed.records.run import ReadyTarget
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.housekeeping import LEAST_SOAK_S
from soakbed.stages.load_plan import PREFIX
from soakbed.units import GIB, MIB

__all__ = ["MOST_FILLED_SHARE", "Demand", "Room", "check_room", "demand_of", "refusals", "room_of"]

# Above it file systems fragment and databases begin to warn; the watch tells at 90 %.
MOST_FILLED_SHARE = 0.80
# Journals of one host, as role host_journal bounds them.
_JOURNAL_BYTES = 512 * MIB

# Keys are a prefix and 12 digits (loadgen/keyspace.py).
_KEY_DIGITS = 12

# etcd: roles/etcd/defaults/main.yml, read back from members where they tell.
_ETCD_RETENTION_S = 300
_ETCD_QUOTA_BYTES = 8 * GIB
_ETCD_SNAPSHOT_COUNT = 100_000
# A revision is kept between one and two retentions: periodic compaction runs once per retention
# (etcd docs v3.5, maintenance.md, "Auto compaction").
_ETCD_RETENTIONS = 2
# bbolt's pages of 4 KiB are 90 % full at best, and a value of 1 KiB fits three times (bbolt,
# DefaultFillPercent, as etcd sets it); 60 values of 500 KB took 1.3 times their bytes.
_ETCD_PAGES = 1.5
# protobuf's KeyValue beside key and value, and the revision as a key (mvccpb/kv.proto).
_ETCD_PER_REVISION_BYTES = 64
# Five log files of 64 MB are kept (--max-wals), and all since the last but one snapshot of Raft.
_ETCD_WAL_BYTES = 5 * 64 * MIB
_ETCD_PER_ENTRY_BYTES = 100

# Redis: an entry of the log is a command in RESP, of a base file a record; the same order.
_REDIS_PER_KEY_BYTES = 60
# The log is rewritten at twice its size and 64 MB at least (redis.conf 7.0, auto-aof-rewrite-*),
# and while it is, the old one is there beside the new one.
_REDIS_LOGS = 3
_REDIS_LEAST_LOG_BYTES = 64 * MIB
# In memory: dict entry, SDS headers, object header and allocator classes, beside key and value.
_REDIS_IN_MEMORY_BYTES = 120

# TiKV: keys of RocksDB bear a prefix and 8 bytes of sequence; levels above the last hold a ninth of
# it (max_bytes_for_level_multiplier 10), and a compaction writes its output beside its input.
_TIKV_PER_KEY_BYTES = 40
_TIKV_LEVELS = 10 / 9
_TIKV_COMPACTION = 2
# Raft log: raft-engine.purge-threshold as role tikv sets it, a fiftieth of the disk, at most 10 GB;
# it is asked every 10 s and rewrites files of 128 MB (raftstore.raft-engine-purge-interval).
_TIKV_MOST_RAFT_BYTES = 10 * GIB
_TIKV_LEAST_RAFT_BYTES = 256 * MIB
_TIKV_PURGE_EVERY_S = 10
# RocksDB's own log and memtables on disk (4 of 128 MiB), PD's database and log.
_TIKV_FIXED_BYTES = GIB
_TIKV_REPLICAS = 3


@dataclass(frozen=True, slots=True)
class Demand:
    """What one host's disk has to hold at most, part by part, and limits within the target.

    `within`: (what, bytes needed, bytes allowed) where the target has a limit of its own.
    """

    parts: Mapping[str, int]
    within: tuple[tuple[str, int, int], ...] = ()

    @property
    def bytes_(self) -> int:
        """All parts together."""
        return sum(self.parts.values())

    @property
    def sentence(self) -> str:
        """The parts in words, the largest first."""
        held = sorted(self.parts.items(), key=lambda one: -one[1])
        return ", ".join(f"{name} {size / 1e9:.1f} GB" for name, size in held)


@dataclass(frozen=True, slots=True)
class Room:
    """The disk of one host's data folder: its size, what is free, what the target has of it."""

    total_bytes: int
    free_bytes: int
    own_bytes: int

    @property
    def for_target_bytes(self) -> int:
        """What the target may have: what is free, and what it holds already."""
        return self.free_bytes + self.own_bytes


def demand_of(
    target: str,
    spec: RunSpec,
    *,
    rate_per_s: float,
    hosts: int,
    disk_bytes: int,
    sharing: int = 1,
    settings: Mapping[str, str] | None = None,
) -> Demand:
    """What a target needs on each of `hosts` data hosts while `rate_per_s` operations come in.

    `rate_per_s` 0: not known yet, so only what keys and fixed parts need. `disk_bytes`: of the data
    disk, which `sharing` hosts share. `settings`: read back from members, by name.
    """
    work = spec.workload
    prefix = next((text for name, text in PREFIX.items() if name == target), "")
    key_bytes = len(prefix) + _KEY_DIGITS
    writes_per_s = rate_per_s * (1 - work.read_share)
    one = _One(work.keys, key_bytes, work.value_bytes, writes_per_s, work.phases.steady_s)
    told = settings or {}
    match target:
        case "etcd":
            made = _etcd(one, told)
        case "redis_cluster":
            made = _redis(one, hosts, told)
        case _:
            made = _tikv(one, hosts, disk_bytes, sharing)
    return Demand({**made.parts, "journals": _JOURNAL_BYTES}, made.within)


@dataclass(frozen=True, slots=True)
class _One:
    """What all targets are asked to hold."""

    keys: int
    key_bytes: int
    value_bytes: int
    writes_per_s: float
    steady_s: int

    @property
    def pair_bytes(self) -> int:
        return self.key_bytes + self.value_bytes


def _etcd(one: _One, told: Mapping[str, str]) -> Demand:
    revision_bytes = one.pair_bytes + _ETCD_PER_REVISION_BYTES
    retention_s = seconds_of(told.get("ETCD_AUTO_COMPACTION_RETENTION", "")) or _ETCD_RETENTION_S
    kept_s = min(_ETCD_RETENTIONS * retention_s, one.steady_s)
    revisions = one.keys + math.ceil(one.writes_per_s * kept_s)
    database = math.ceil(revisions * revision_bytes * _ETCD_PAGES)
    entry_bytes = one.pair_bytes + _ETCD_PER_ENTRY_BYTES
    per_snapshot = int(told.get("ETCD_SNAPSHOT_COUNT") or _ETCD_SNAPSHOT_COUNT)
    entries = min(2 * per_snapshot, one.keys + math.ceil(one.writes_per_s * one.steady_s))
    quota = int(told.get("quota_backend_bytes") or _ETCD_QUOTA_BYTES)
    return Demand(
        {
            "database": database,
            # The new file of a defragmentation, while the old one is there.
            "defragmentation": database if one.steady_s >= LEAST_SOAK_S else 0,
            "log": max(_ETCD_WAL_BYTES, entries * entry_bytes),
        },
        (("the database in etcd_quota_backend_bytes", database, quota),),
    )


def _redis(one: _One, hosts: int, told: Mapping[str, str]) -> Demand:
    share = math.ceil(one.keys / hosts)  # of one master; its replica, on another host, has the same
    log = max(share * (one.pair_bytes + _REDIS_PER_KEY_BYTES), _REDIS_LEAST_LOG_BYTES)
    memory = share * (one.pair_bytes + _REDIS_IN_MEMORY_BYTES)
    limit = int(told.get("maxmemory") or 0)
    within = (("the keys of a master in maxmemory", memory, limit),) if limit else ()
    return Demand(
        {"log of the master": _REDIS_LOGS * log, "log of the replica": _REDIS_LOGS * log}, within
    )


def _tikv(one: _One, hosts: int, disk_bytes: int, sharing: int) -> Demand:
    live = one.keys * (one.pair_bytes + _TIKV_PER_KEY_BYTES) * _TIKV_REPLICAS / hosts
    raft = max(_TIKV_LEAST_RAFT_BYTES, min(_TIKV_MOST_RAFT_BYTES, disk_bytes // 50 // sharing))
    unpurged = one.writes_per_s * _TIKV_REPLICAS / hosts * one.pair_bytes * _TIKV_PURGE_EVERY_S
    return Demand(
        {
            "keys and values": math.ceil(live * _TIKV_LEVELS * _TIKV_COMPACTION),
            "Raft log": raft + math.ceil(unpurged),
            "memtables and PD": _TIKV_FIXED_BYTES,
        }
    )


def seconds_of(told: str) -> int:
    """Seconds of a duration as Go writes it; 0 when it is none.

    >>> seconds_of("5m"), seconds_of("1h30m0s"), seconds_of("soon")
    (300, 5400, 0)
    """
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", told)
    if parts is None:
        return 0
    hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return 3600 * hours + 60 * minutes + seconds


def refusals(demand: Demand, rooms: Mapping[str, Room], *, sharing: int = 1) -> list[str]:
    """What does not fit, one sentence each; `sharing` hosts share one disk.

    A disk may be filled up to MOST_FILLED_SHARE, a limit of the target's own likewise.
    """
    found = []
    for name, room in rooms.items():
        needed, had = demand.bytes_ * sharing, room.for_target_bytes
        if needed > MOST_FILLED_SHARE * had:
            found.append(
                f"{name}: {needed / 1e9:.1f} GB will be needed of the {had / 1e9:.1f} GB that its "
                f"data disk has for it, over {MOST_FILLED_SHARE:.0%} ({demand.sentence}"
                f"{f'; {sharing} hosts share the disk' if sharing > 1 else ''})"
            )
    for what, needed, allowed in demand.within:
        if needed > MOST_FILLED_SHARE * allowed:
            found.append(
                f"{what}: {needed / 1e9:.2f} of {allowed / 1e9:.2f} GB will be needed, over "
                f"{MOST_FILLED_SHARE:.0%}"
            )
    return found


def room_of(host: Host, target: str, *, shell: Shell) -> Room:
    """Look at a host's data disk. Raises HostUnreachable, CommandFailed."""
    ask = 'df -B1 --output=size,avail "$1" | tail -n1; du -sB1 "$1/$2" 2>/dev/null | cut -f1'
    said = shell.run(host, ["sh", "-c", ask, "room", host.data_dir, target]).out.split()
    total, free, *own = map(int, said)
    return Room(total, free, own[0] if own else 0)


def check_room(
    ready: ReadyTarget,
    spec: RunSpec,
    testbed: Testbed,
    *,
    shell: Shell,
    rate_per_s: float,
    progress: Callable[[str], None],
) -> None:
    """Refuse a soak whose plateau would not fit; tell of a short run that comes near.

    Raises LoadError with every disk and limit that is too small, and the ways out.
    """
    data = testbed.of_duty("data")
    sharing = len(data) if testbed.shares_machine else 1
    rooms = {host.name: room_of(host, ready.target, shell=shell) for host in data}
    if sharing > 1:  # one disk: what all members hold of it is the target's
        first, *_ = rooms.values()
        own_bytes = sum(room.own_bytes for room in rooms.values())
        rooms = {"this machine": Room(first.total_bytes, first.free_bytes, own_bytes)}
    smallest = min(room.total_bytes for room in rooms.values())
    demand = demand_of(
        ready.target,
        spec,
        rate_per_s=rate_per_s,
        hosts=len(data),
        disk_bytes=smallest,
        sharing=sharing,
        settings=_settings(ready),
    )
    found = refusals(demand, rooms, sharing=sharing)
    if found and spec.workload.phases.steady_s >= LEAST_SOAK_S:
        raise LoadError(
            f"{ready.target} would run out of room before the end:\n- " + "\n- ".join(found),
            remedy="ask for fewer keys, smaller values or a lower rate, shorten the retention "
            "(etcd_auto_compaction_retention), or give the data hosts larger disks",
        )
    for sentence in found:
        progress(f"warning: {ready.target}: {sentence}")


def _settings(ready: ReadyTarget) -> dict[str, str]:
    """What members told of the settings that bound them; of several limits, the smallest."""
    found: dict[str, str] = {}
    for settings in ready.effective.values():
        for name in ("maxmemory", "quota_backend_bytes", "ETCD_SNAPSHOT_COUNT"):
            told = settings.get(name, "")
            if told.isdigit() and (name not in found or int(told) < int(found[name])):
                found[name] = told
        if retention := settings.get("ETCD_AUTO_COMPACTION_RETENTION"):
            found["ETCD_AUTO_COMPACTION_RETENTION"] = retention
    return found
