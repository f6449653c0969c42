#!/usr/bin/python
"""Measures what a host can do, before anything is put on it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import statistics
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_parts import (
    existing,
    hard_limit_nofile,
    in_container,
    memory_bytes,
    mount_of,
    queue_of,
)

DOCUMENTATION = r"""
module: host_measurements
short_description: Measure fsync, round trips, cores, memory and disk of a host
description: Reads only, but for one scratch file in O(data_dir), which is removed.
options:
  data_dir: {type: str, required: true, description: Where database files will lie.}
  peers: {type: dict, required: true, description: Other hosts by name, as address and port.}
  fsync_count: {type: int, default: 200, description: How many 4 KiB writes are synced.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The host is measured
  host_measurements:
    data_dir: /data
    peers: {d2: {address: 10.83.17.12, port: 22}}
"""
RETURN = r"""
soakbed: {type: dict, returned: always, description: The numbers, under the topic preflight.}
"""

BLOCK_BYTES = 4096
ROUND_TRIPS = 5


def fsync_us(data_dir: str, count: int) -> dict[str, float]:
    """Median and 99th percentile of a 4 KiB write with fdatasync, as a write-ahead log does."""
    scratch = existing(data_dir) / f".soakbed-fsync-{os.getpid()}"
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    taken = []
    try:
        # Laid out first: a log writes into space that it has already been given.
        os.write(handle, bytes(BLOCK_BYTES * count))
        os.fdatasync(handle)
        os.lseek(handle, 0, os.SEEK_SET)
        block = os.urandom(BLOCK_BYTES)
        for _ in range(count):
            begun = time.perf_counter_ns()
            os.write(handle, block)
            os.fdatasync(handle)
            taken.append((time.perf_counter_ns() - begun) / 1000)
    finally:
        os.close(handle)
        scratch.unlink()
    cuts = statistics.quantiles(taken, n=100)
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "count": count}


def round_trip_us(address: str, port: int) -> float | None:
    """The fastest of a few TCP handshakes with the SSH port; None when nothing answers.

    A refusal is an answer, too: sshd need not listen where hosts reach each other.
    """
    taken = []
    for _ in range(ROUND_TRIPS):
        begun = time.perf_counter_ns()
        try:
            socket.create_connection((address, port), timeout=2).close()
        except ConnectionRefusedError:
            pass
        except OSError:
            return None
        taken.append((time.perf_counter_ns() - begun) / 1000)
    return round(min(taken), 1)


def measured(data_dir: str, peers: dict, fsync_count: int) -> dict:
    """Everything, as plain numbers with their unit in the name."""
    point, file_system, options = mount_of(data_dir)
    queue = queue_of(data_dir)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "machine_cores": os.cpu_count(),
        "memory_bytes": memory_bytes(),
        "disk_free_bytes": shutil.disk_usage(existing(data_dir)).free,
        "data_mount": point,
        "data_file_system": file_system,
        "data_mount_options": options,
        "data_disk_scheduler": (queue / "scheduler").read_text().strip() if queue else "",
        "kernel": platform.release(),
        "machine": platform.machine(),
        "container": in_container(),
        "clock_source": clock_source(),
        "nofile_hard": hard_limit_nofile(),
        "fsync_us": fsync_us(data_dir, fsync_count),
        "rtt_us": {
            name: round_trip_us(peer["address"], int(peer["port"]))
            for name, peer in sorted(peers.items())
        },
    }


def clock_source() -> str:
    """What the kernel reads time from; "" when it does not say."""
    file = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return file.read_text().strip() if file.exists() else ""


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "data_dir": {"type": "str", "required": True},
            "peers": {"type": "dict", "required": True},
            "fsync_count": {"type": "int", "default": 200},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        numbers = measured(given["data_dir"], given["peers"], given["fsync_count"])
    except OSError as error:
        module.fail_json(msg=f"could not measure {given['data_dir']}: {error}")
    module.exit_json(changed=False, soakbed={"preflight": numbers})


if __name__ == "__main__":
    main()
