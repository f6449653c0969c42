"""Samples the host it runs on, every few seconds, one line each, until its time or space is up.

`stages.samples` puts this file on each host and starts it under systemd, so it uses the standard
library alone and needs nobody: what it has written is whole up to its last line. Counters are
written as they stand, never as rates: a sample that is missing costs resolution, not truth.
`archive.data.samples` turns them into columns.

A file is lines of `CRC32 JSON`. A line that begins a process is an object: what the columns are,
and of whom each speaks ("host", or the "machine" that a container shares). A sample is a list in
the order of COLUMNS, null where this host cannot say, and after it `{unit: [UNIT_COLUMNS]}`.
Nothing is synced to disk: that would press the very disk that is measured. A host that loses power
loses its last half minute of samples.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SCHEMA = 1
COLUMNS = (
    "at_s", "mono_s", "cpu_busy_s", "cpu_steal_s", "memory_used_bytes",
    "disk_read_bytes", "disk_written_bytes", "disk_reads", "disk_writes", "disk_busy_s",
    "net_received_bytes", "net_sent_bytes",
    "disk_read_wait_s", "disk_write_wait_s", "net_received_packets", "net_sent_packets",
    "bw_in_allowance_exceeded", "bw_out_allowance_exceeded", "pps_allowance_exceeded",
    "conntrack_allowance_exceeded", "linklocal_allowance_exceeded",
)  # fmt: skip
# What the driver of a cloud's network card (ena) counts: packets that were queued or dropped
# because the instance has no more bandwidth, packets per second or connections to give.
ALLOWANCES = COLUMNS[-5:]
# began_s, since the machine's boot, tells a unit that was started again from one that went on.
UNIT_COLUMNS = ("began_s", "cpu_s", "memory_bytes", "read_bytes", "written_bytes")
HOST, MACHINE = "host", "machine"
SECTOR_BYTES = 512  # of /proc/diskstats, whatever the disk's own sectors are
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGESIZE")


def text(path: str | Path) -> str:
    """A file's text; "" when it is gone or this host does not show it."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


@dataclass(slots=True)
class Usage:
    """What some processes have used since they began, children that ended included."""

    cpu_s: float = 0.0
    memory_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    began_s: float | None = None  # of the oldest, since the machine's boot


def usage_of(pids: Iterable[int | str]) -> Usage:
    """CPU, resident memory, and bytes read from and given to disks, of processes that live."""
    used = Usage()
    for pid in pids:
        stat = text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(stat) < 22:
            continue  # it has just ended; its parent has taken over what it used
        used.cpu_s += sum(map(int, stat[11:15])) / TICKS_PER_S
        used.memory_bytes += int(stat[21]) * PAGE_BYTES
        began_s = int(stat[19]) / TICKS_PER_S
        used.began_s = began_s if used.began_s is None else min(used.began_s, began_s)
        for line in text(f"/proc/{pid}/io").splitlines():
            name, _, value = line.partition(": ")
            if name == "read_bytes":
                used.read_bytes += int(value)
            elif name == "write_bytes":
                used.written_bytes += int(value)
    return used


def all_pids() -> list[str]:
    """Processes of this host; a container sees its own alone."""
    return [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  (no objects)


def cpu_of_machine(stat: str) -> tuple[float, float]:
    """Busy and stolen CPU seconds since boot, from /proc/stat; waiting for a disk is idle."""
    ticks = list(map(int, stat.partition("\n")[0].split()[1:9]))
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks
    return (user + nice + system + irq + softirq) / TICKS_PER_S, steal / TICKS_PER_S


def memory_of_machine(meminfo: str) -> int | None:
    """Memory that could not be had for the asking, from /proc/meminfo: total less available."""
    kib = {
        words[0]: int(words[1])
        for words in map(str.split, meminfo.splitlines())
        if words and words[0] in ("MemTotal:", "MemAvailable:")
    }
    if len(kib) < 2:
        return None
    return (kib["MemTotal:"] - kib["MemAvailable:"]) * 1024


def disk_counters(diskstats: str, disk: str) -> dict[str, float]:
    """What /proc/diskstats counts of one disk, by column; {} when it does not list it.

    `disk_read_wait_s`: seconds that all finished reads took together, each from the moment it was
    queued; over the reads between two samples that is what iostat calls r_await.
    """
    for line in diskstats.splitlines():
        words = line.split()
        if words[2:3] == [disk] and len(words) > 12:
            counts = list(map(int, words[3:13]))
            return {
                "disk_read_bytes": counts[2] * SECTOR_BYTES,
                "disk_written_bytes": counts[6] * SECTOR_BYTES,
                "disk_reads": counts[0],
                "disk_writes": counts[4],
                "disk_busy_s": counts[9] / 1000,
                "disk_read_wait_s": counts[3] / 1000,
                "disk_write_wait_s": counts[7] / 1000,
            }
    return {}


def network_counters(dev: str, links: Iterable[str]) -> dict[str, int]:
    """Bytes and packets over `links`, from /proc/net/dev, by column; {} when none is there."""
    wanted = set(links)
    found = [
        numbers.split()
        for name, _, numbers in (line.partition(":") for line in dev.splitlines())
        if name.strip() in wanted
    ]
    if not found:
        return {}
    sums = {at: sum(int(words[at]) for words in found) for at in (0, 1, 8, 9)}
    names = ("net_received_bytes", "net_received_packets", "net_sent_bytes", "net_sent_packets")
    return dict(zip(names, sums.values(), strict=True))


def card_counters(names: bytes, values: bytes) -> dict[str, int]:
    """Counters by name: `names` of 32 bytes each, filled up with zeros, `values` of 8 bytes each.

    Of a name that comes twice the values are added; what has no value is left out.
    """
    count = min(len(names) // 32, len(values) // 8)
    found: dict[str, int] = {}
    for at, value in enumerate(struct.unpack_from(f"={count}Q", values)):
        name = names[at * 32 : at * 32 + 32].partition(b"\0")[0].decode(errors="replace")
        found[name] = found.get(name, 0) + value
    return found


def counters_of_link(link: str) -> dict[str, int]:
    """What the driver of a network card counts itself, by its own names; {} where it does not.

    The questions of `ethtool -S` (<linux/ethtool.h>: GSSET_INFO, GSTRINGS, GSTATS), so that no host
    needs the tool.
    """

    def answer(*question: int, form: str, room: int) -> bytes:
        held = array.array("B", struct.pack(form, *question).ljust(room, b"\0"))
        request = struct.pack("16sP16x", link.encode(), held.buffer_info()[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, 0x8946, request)
        return held.tobytes()

    try:
        count = struct.unpack("=16xI", answer(0x37, 0, 2, 0, form="=IIQI", room=20))[0]
        # The kernel copies as many as there are by then, whatever room there is.
        room = 2 * count + 1024
        names = answer(0x1B, 1, count, form="=III", room=12 + 32 * room)
        values = answer(0x1D, count, form="=II", room=8 + 8 * room)
    except OSError:
        return {}
    return card_counters(names[12 : 12 + 32 * count], values[8 : 8 + 8 * count])


def allowances_of(counters: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Sums over cards of what went beyond their allowances; one that no card counts is not in it.

    >>> allowances_of([{"pps_allowance_exceeded": 2, "tx_timeout": 9}, {"tx_timeout": 1}])
    {'pps_allowance_exceeded': 2}
    """
    held = list(counters)
    return {
        name: sum(one.get(name, 0) for one in held)
        for name in ALLOWANCES
        if any(name in one for one in held)
    }


def links_of_host() -> list[str]:
    """Network links that carry this host's own traffic: its cards, else all but loopback.

    Bridges and tunnels of a machine would count the same bytes twice.
    """
    known = sorted(path.name for path in Path("/sys/class/net").glob("*") if path.name != "lo")
    cards = [name for name in known if Path("/sys/class/net", name, "device").exists()]
    return cards or known


def disk_of(folder: str) -> str:
    """Name in /proc/diskstats of the disk that holds a folder; "" where none can be named."""
    real, best, source = os.path.realpath(folder), "", ""
    for line in text("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        inside = point == "/" or real == point or real.startswith(point + "/")
        if inside and len(point) >= len(best):
            best, source = point, after.split()[1]
    try:
        number = os.stat(real).st_dev  # noqa: PTH116
        if not os.major(number):  # btrfs and such count under the device that is mounted
            number = os.stat(source).st_rdev  # noqa: PTH116
    except OSError:
        return ""
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not device.exists():
        return ""
    device = device.resolve()
    return (device.parent if (device / "partition").exists() else device).name


def cgroup_of_host(groups_of_pid_1: str, mounts: str) -> Path | None:
    """The control group that all of this host's units lie in; None when it cannot be found.

    From /proc/1/cgroup and /proc/self/mounts. Version 2 goes first, as it alone counts CPU in
    every group. A group is believed only if PID 1 is in it: a container may show its machine's
    whole tree.
    """
    paths = {}
    for line in groups_of_pid_1.splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    candidates: list[Path] = []
    for line in mounts.splitlines():
        _, point, kind, options = line.split(" ")[:4]
        if kind == "cgroup2" and "" in paths:
            candidates.insert(0, Path(point + paths[""]))
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            candidates.append(Path(point + paths.get("name=systemd", "")))
    for group in candidates:
        if "1" in text(group / "cgroup.procs").split():
            return group.parent if group.name == "init.scope" else group
    return None


def cpu_of_cgroup(group: Path | None) -> float | None:
    """CPU seconds that a control group has used, processes that ended included."""
    if group is None:
        return None
    name, _, value = text(group / "cpu.stat").partition("\n")[0].partition(" ")
    return int(value) / 1e6 if name == "usage_usec" else None


def unit_groups(group: Path | None) -> Iterator[Path]:
    """Control groups of the soakbed units that run; instances of a template lie one level below."""
    if group is None:
        return
    yield from group.glob("system.slice/soakbed-*.service")
    yield from group.glob("system.slice/system-soakbed*.slice/soakbed-*.service")


class Sampler:
    """What this host can say, looked up once; then one sample per call."""

    def __init__(self, folder: str) -> None:
        self.container = Path("/run/systemd/container").exists()
        self.group = cgroup_of_host(text("/proc/1/cgroup"), text("/proc/self/mounts"))
        self.disk = disk_of(folder)
        self.links = links_of_host()
        # Asked once: a card of another kind never counts them, and asking costs it time.
        self.cards = [link for link in self.links if allowances_of([counters_of_link(link)])]
        self.cpu_from = "/proc/stat"
        if self.container:
            self.cpu_from = "processes" if cpu_of_cgroup(self.group) is None else "cgroup"

    def start(self, interval_s: float) -> dict[str, object]:
        """What the samples after it mean. `sources`: [of whom it speaks, where it is read]."""
        shared = MACHINE if self.container else HOST
        # The kernel shows this setting in a machine's first network namespace only.
        own_network = not self.container or not Path("/proc/sys/net/core/dev_weight").exists()
        disk = [shared, f"/proc/diskstats {self.disk}"] if self.disk else None
        card = [HOST, f"drivers of {' '.join(self.cards)}"] if self.cards else None
        resident = [HOST, "resident memory of processes"]
        given = [HOST, "/proc/PID/io of processes"]
        by_unit = [HOST, "processes" if cpu_of_cgroup(self.group) is None else "cgroup"]
        return {
            "schema": SCHEMA,
            "interval_s": interval_s,
            "at_s": round(time.time(), 3),
            "mono_s": round(time.monotonic(), 3),
            "boot": text("/proc/sys/kernel/random/boot_id").strip(),
            "cores": len(os.sched_getaffinity(0)),
            "machine_cores": os.cpu_count(),
            "columns": COLUMNS,
            "unit_columns": UNIT_COLUMNS,
            "sources": {
                "cpu": [HOST, self.cpu_from],
                "cpu_steal": [shared, "/proc/stat"],
                "memory": resident if self.container else [HOST, "/proc/meminfo"],
                "disk_bytes": given if self.container else disk,
                "disk_operations": disk,
                "network": [HOST if own_network else MACHINE, f"links {' '.join(self.links)}"],
                "network_allowance": card,
                "units_cpu": by_unit,
                "units_memory": resident,
                "units_disk": given,
            },
        }

    def sample(self) -> list[object]:
        """One sample in the order of COLUMNS, then the units."""
        busy_s, steal_s = cpu_of_machine(text("/proc/stat"))
        found: dict[str, float | None] = {
            "at_s": round(time.time(), 3),
            "mono_s": round(time.monotonic(), 3),
            "cpu_steal_s": round(steal_s, 3),
            **disk_counters(text("/proc/diskstats"), self.disk),
            **network_counters(text("/proc/net/dev"), self.links),
            **allowances_of(counters_of_link(link) for link in self.cards),
        }
        if self.container:
            used = usage_of(all_pids())
            from_group = cpu_of_cgroup(self.group) if self.cpu_from == "cgroup" else None
            busy_s = used.cpu_s if from_group is None else from_group
            found |= {"disk_read_bytes": used.read_bytes, "disk_written_bytes": used.written_bytes}
            found["memory_used_bytes"] = used.memory_bytes
        else:
            found["memory_used_bytes"] = memory_of_machine(text("/proc/meminfo"))
        return [*map((found | {"cpu_busy_s": round(busy_s, 3)}).get, COLUMNS), self.units()]

    def units(self) -> dict[str, list[object]]:
        """Every soakbed unit that has a process, this one included: its cost is no secret."""
        found: dict[str, list[object]] = {}
        for group in unit_groups(self.group):
            used = usage_of(text(group / "cgroup.procs").split())
            if used.began_s is None:
                continue
            cpu_s = cpu_of_cgroup(group)
            found[group.name] = [
                used.began_s,
                round(used.cpu_s if cpu_s is None else cpu_s, 3),
                used.memory_bytes,
                *(used.read_bytes, used.written_bytes),
            ]
        return found


def append(handle: int, record: object) -> int:
    """One line, in one write, so that a crash leaves it whole or cut but never mixed."""
    said = json.dumps(record, separators=(",", ":")).encode()
    return os.write(handle, b"%08x %s\n" % (zlib.crc32(said), said))


def main(file: Path, folder: str, *, interval_s: float, for_s: float, most_bytes: int) -> str:
    """Append samples of this host to `file`; returns why it ended: "time", "space" or "asked".

    `folder` is on the disk whose counters are wanted.
    """
    # Blocked and waited for: a sleep that a handler interrupts goes on to its end.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    sampler = Sampler(folder)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.fstat(handle).st_size
    if size:
        # What a crash may have cut ends here; an empty line otherwise, which nobody minds.
        size += os.write(handle, b"\n")
    size += append(handle, sampler.start(interval_s))
    began_s = next_s = time.monotonic()
    while True:
        size += append(handle, sampler.sample())
        if size > most_bytes:
            return "space"
        if time.monotonic() - began_s > for_s:
            return "time"
        next_s = max(next_s + interval_s, time.monotonic())  # a host that slept does not catch up
        if signal.sigtimedwait({signal.SIGTERM}, max(0.0, next_s - time.monotonic())):
            break
    append(handle, sampler.sample())  # so that the last phase is covered to its end
    return "asked"


if __name__ == "__main__":
    file, folder, interval_s, for_s, most_bytes = sys.argv[1:]
    times = {"interval_s": float(interval_s), "for_s": float(for_s)}
    print(main(Path(file), folder, **times, most_bytes=int(most_bytes)))
