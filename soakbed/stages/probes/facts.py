"""Facts of the host it runs on, as one line of JSON; reads only.

`stages.collect` sends the text of this file to each host's `python3 -c`, so it uses the standard
library alone. What a host cannot say is left out, never zero. The judge finds
facts by the names of keys: settings lie below `sysctl`, `thp`, `limits`, `scheduler`, `mounts`.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SYSCTLS = (
    "fs.file-max",
    "kernel.numa_balancing",
    "kernel.sched_autogroup_enabled",
    "net.core.netdev_max_backlog",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "vm.dirty_background_ratio",
    "vm.dirty_ratio",
    "vm.max_map_count",
    "vm.overcommit_memory",
    "vm.swappiness",
)
THP = Path("/sys/kernel/mm/transparent_hugepage")


def text(path: str | Path) -> str:
    """A file's text; "" when this host does not have it or does not show it."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def said(*command: str) -> str:
    """What a command writes; "" when it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def chosen(setting: str) -> str:
    """The value in brackets of a /sys setting such as `always [madvise] never`."""
    found = re.search(r"\[(.+?)\]", setting)
    return found.group(1) if found else setting


def sysctls() -> dict[str, str]:
    """Kernel settings that databases care for."""
    found = {name: text("/proc/sys/" + name.replace(".", "/")) for name in SYSCTLS}
    return {name: " ".join(value.split()) for name, value in found.items() if value}


def disks(folders: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Space and mount options of the folders that matter."""
    space: dict[str, Any] = {}
    mounts: dict[str, str] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            continue
        stat = os.statvfs(folder)
        space[folder] = {
            "total_bytes": stat.f_blocks * stat.f_frsize,
            "free_bytes": stat.f_bavail * stat.f_frsize,
            "inodes_free": stat.f_favail,
        }
        mounts[folder] = said("findmnt", "-no", "FSTYPE,OPTIONS", "--target", folder)
    return space, mounts


def memory() -> dict[str, int]:
    """Memory of the machine, in bytes."""
    pairs = (line.split() for line in text("/proc/meminfo").splitlines())
    found = {words[0].rstrip(":"): int(words[1]) * 1024 for words in pairs if len(words) == 3}
    names = {
        "total_bytes": "MemTotal",
        "available_bytes": "MemAvailable",
        "swap_bytes": "SwapTotal",
    }
    return {ours: found[theirs] for ours, theirs in names.items() if theirs in found}


def units() -> dict[str, dict[str, Any]]:
    """Restarts, memory and end of every soakbed unit that systemd knows."""
    asked = "--property=Id,NRestarts,Result,ActiveState,MemoryCurrent"
    found: dict[str, dict[str, Any]] = {}
    for block in said("systemctl", "show", asked, "--all", "soakbed-*").split("\n\n"):
        pairs = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        # The sampler is no member: that it was started again is no fault of the target's.
        if pairs.get("Id", "soakbed-samples-").startswith("soakbed-samples-"):
            continue
        unit: dict[str, Any] = {"state": pairs["ActiveState"], "result": pairs["Result"]}
        for ours, theirs in (("restarts", "NRestarts"), ("memory_bytes", "MemoryCurrent")):
            if pairs.get(theirs, "").isdigit():
                unit[ours] = int(pairs[theirs])
        if pairs["Result"] == "oom-kill":
            unit["oom_kills"] = 1
        found[pairs["Id"]] = unit
    return found


def throttled_us() -> dict[str, int]:
    """How long CPU quotas have held this host back; {} where there is no quota to ask."""
    for path, key, per_us in (
        ("/sys/fs/cgroup/cpu.stat", "throttled_usec", 1),
        ("/sys/fs/cgroup/cpu/cpu.stat", "throttled_time", 1000),
    ):
        found = re.search(rf"^{key} (\d+)$", text(path), re.MULTILINE)
        if found:
            return {"throttled_us": int(found.group(1)) // per_us}
    return {}


def counters() -> dict[str, Any]:
    """Counters since boot, of the machine where a container shares them."""
    ticks = text("/proc/stat").splitlines()[0].split()[1:9]
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    network = {}
    for line in text("/proc/net/dev").splitlines()[2:]:
        name, _, numbers = line.partition(":")
        words = numbers.split()
        network[name.strip()] = {"received_bytes": int(words[0]), "sent_bytes": int(words[8])}
    return {
        "cpu_ticks": dict(zip(names, map(int, ticks), strict=True)),
        "network": network,
        **throttled_us(),
    }


def facts(folders: list[str]) -> dict[str, Any]:
    """Everything, by topic."""
    space, mounts = disks(folders)
    model = re.search(r"^model name\s*:\s*(.+)$", text("/proc/cpuinfo"), re.MULTILINE)
    oom = re.search(r"^oom_kill (\d+)$", text("/proc/vmstat"), re.MULTILINE)
    schedulers = {
        path.parts[3]: chosen(text(path)) for path in Path("/sys/block").glob("*/queue/scheduler")
    }
    return {
        "at_s": round(time.time(), 3),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": said("sh", "-c", ". /etc/os-release && echo $PRETTY_NAME"),
        "container": said("systemd-detect-virt", "--container"),
        "cpu": {"model": model.group(1) if model else "", "cores": len(os.sched_getaffinity(0))},
        "memory": memory(),
        "load_average": list(os.getloadavg()),
        "uptime_s": float((text("/proc/uptime") or "0").split()[0]),
        "disk": space,
        "mounts": mounts,
        "sysctl": sysctls(),
        "thp": {name: chosen(text(THP / name)) for name in ("enabled", "defrag")},
        "scheduler": schedulers,
        "governor": {"cpu0": text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")},
        "limits": {"nofile": list(resource.getrlimit(resource.RLIMIT_NOFILE))},
        "units": units(),
        **({"machine_oom_kills": {"oom_kills": int(oom.group(1))}} if oom else {}),
        "counters": counters(),
    }


if __name__ == "__main__":
    print(json.dumps(facts(sys.argv[1:])))
