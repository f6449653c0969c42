"""What several of our modules look at on a host: container or not, mounts, capabilities."""

from __future__ import annotations

import os
from pathlib import Path

CAP_SYS_RESOURCE = 24


def in_container() -> bool:
    """Whether systemd says that this host is a container (it then shares a kernel)."""
    return Path("/run/systemd/container").exists()


def owns_network() -> bool:
    """Whether the network settings under /proc/sys/net are this host's own.

    dev_weight is shown in the machine's first network namespace only, so a container that sees it
    shares the machine's network, and must leave it alone.
    """
    return not in_container() or not Path("/proc/sys/net/core/dev_weight").exists()


def has_capability(number: int) -> bool:
    """Whether PID 1 may use a capability, and so can give it to units."""
    for line in Path("/proc/1/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def hard_limit_nofile() -> int:
    """The hard limit on open files that PID 1 has; units inherit it."""
    for line in Path("/proc/1/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            hard = line.split()[4]
            return 2**63 - 1 if hard == "unlimited" else int(hard)
    raise ValueError("/proc/1/limits has no line 'Max open files'")


def existing(path: str) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    found = Path(path)
    while not found.exists():
        found = found.parent
    return found


def mount_of(path: str) -> tuple[str, str, list[str]]:
    """Mount point, file system and options of the mount that holds a path."""
    best = ("/", "unknown", [])
    real = os.path.realpath(existing(path))
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        parts = before.split()
        point = parts[4].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, after.split()[0], parts[5].split(","))
    return best


def queue_of(path: str) -> Path | None:
    """The queue settings of the disk that holds a path; None when there is no such disk."""
    number = existing(path).stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    for folder in (device, device.resolve().parent):
        if (folder / "queue" / "scheduler").exists():
            return (folder / "queue").resolve()
    return None


def memory_bytes() -> int:
    """Memory this host may use: what the machine has, or less where a cgroup says so."""
    total = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if Path(file).exists():
            limit = Path(file).read_text().strip()
            if limit.isdigit():
                total = min(total, int(limit))
    return total
