"""Made-up samples of hosts, in the form of the sampler's own files. Nothing here was measured."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from soakbed.stages.probes.samples import (
    ALLOWANCES,
    COLUMNS,
    HOST,
    MACHINE,
    SCHEMA,
    UNIT_COLUMNS,
)

MIB = 2**20
_SOURCES = {
    "cpu": [HOST, "cgroup"],
    "cpu_steal": [MACHINE, "/proc/stat"],
    "memory": [HOST, "resident memory of processes"],
    "disk_bytes": [HOST, "/proc/PID/io of processes"],
    "disk_operations": [MACHINE, "/proc/diskstats vda"],
    "network": [HOST, "links host0"],
}


# What rises each second on a host that is pressed.
_PER_S = {
    "cpu_steal_s": 0.02,
    "disk_written_bytes": 9 * MIB,
    "disk_read_bytes": 0.2 * MIB,
    "disk_reads": 4.0,
    "disk_writes": 220.0,
    "disk_busy_s": 0.31,
    "disk_read_wait_s": 0.002,
    "disk_write_wait_s": 0.09,
    "net_received_packets": 9_000,
    "net_sent_packets": 9_500,
    "net_received_bytes": 6 * MIB,
    "net_sent_bytes": 7 * MIB,
}
_START = {
    "schema": SCHEMA,
    "boot": "one",
    "cores": 2,
    "machine_cores": 2,
    "sources": _SOURCES,
    "columns": COLUMNS,
    "unit_columns": UNIT_COLUMNS,
}


def write_samples(
    path: Path,
    *,
    from_s: float,
    to_s: float,
    unit: str,
    cores: float = 0.6,
    every_s: int = 1,
    card: Mapping[str, float] | None = None,
) -> None:
    """A host that is busy all the time, and busier as time goes on.

    `card`: counters of a cloud's network card and how far they rise a second; None: it has none.
    """
    random = np.random.default_rng([int(from_s), len(unit)])
    lines = [_line({**_START, "interval_s": every_s})]
    used = dict.fromkeys(COLUMNS, 0.0)
    rises = card or {}
    said = [column for column in COLUMNS if column not in ALLOWANCES or column in rises]
    for step in range(int((to_s - from_s) / every_s) + 1):
        at = float(step * every_s)
        used |= {"at_s": from_s + at, "mono_s": 100 + at}
        used["memory_used_bytes"] = 180 * MIB + 1.5 * MIB * at
        if step:
            jitter = 1 + float(random.uniform(-0.1, 0.1))
            for column, per_s in (("cpu_busy_s", cores), *_PER_S.items(), *rises.items()):
                used[column] += per_s * every_s * jitter
        own = [100.0, 0.9 * used["cpu_busy_s"], 150 * MIB, 0.0, 0.95 * used["disk_written_bytes"]]
        row = [round(used[column], 6) if column in said else None for column in COLUMNS]
        lines.append(_line([*row, {unit: own}]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"".join(lines), mtime=0))


def _line(record: object) -> bytes:
    said = json.dumps(record).encode()
    return b"%08x %s\n" % (zlib.crc32(said), said)
