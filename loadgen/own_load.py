"""What the machine gives the engine: waiting for its core, and bytes over its link.

Read once a window, from files that are kept open; nothing here runs per operation.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["Link", "OwnLoad", "interface_to", "route_to"]

_SCHEDSTAT = "/proc/self/schedstat"
_NET = Path("/sys/class/net")
_ROUTES = Path("/proc/net")
_MEGABIT_BYTES = 1_000_000 // 8


class Link:
    """One network interface: bytes so far, and how many a second it could carry each way.

    `bytes_per_s` is None where the link has no honest speed: loopback says none, a veth pair says
    10 Gbit/s whatever the machine can do, a virtual card often says -1.
    """

    def __init__(self, name: str, *, root: Path = _NET) -> None:
        self.name = name
        folder = root / name
        self.bytes_per_s = _bytes_per_s(folder)
        self._counters = [
            os.open(folder / "statistics" / f"{way}_bytes", os.O_RDONLY) for way in ("rx", "tx")
        ]

    def counted(self) -> tuple[int, int]:
        """Bytes received and sent since the interface came up."""
        received, sent = (int(os.pread(fd, 32, 0)) for fd in self._counters)
        return received, sent

    def close(self) -> None:
        """Close the counters."""
        for fd in self._counters:
            os.close(fd)
        self._counters = []


class OwnLoad:
    """Both, as differences since the last question. Without a source the answer is None."""

    def __init__(self, links: Sequence[Link] = (), *, schedstat: str = _SCHEDSTAT) -> None:
        self._links = links
        self._counted = [link.counted() for link in links]
        try:
            self._schedstat = os.open(schedstat, os.O_RDONLY)
        except OSError:  # a kernel built without it
            self._schedstat = -1
        self._waited_ns = self._waited()

    @classmethod
    def towards(cls, endpoints: Iterable[str]) -> OwnLoad:
        """With the links over which these addresses ("10.0.0.1:2379") are reached."""
        hosts = [endpoint.rpartition(":")[0].strip("[]") for endpoint in endpoints]
        names = dict.fromkeys(name for host in hosts if (name := interface_to(host)))
        links = []
        for name in names:
            try:
                links.append(Link(name))
            except OSError:  # it went away, or /sys is not there
                continue
        return cls(links)

    def begin(self) -> None:
        """Forget what was counted until now."""
        self._waited_ns = self._waited()
        self._counted = [link.counted() for link in self._links]

    def wait_share(self, wall_s: float) -> float | None:
        """Share of `wall_s` in which the engine was ready to run and something else had its core.

        Main thread only, which is the loop. None where the kernel does not count it.
        """
        before, self._waited_ns = self._waited_ns, self._waited()
        if self._schedstat < 0:
            return None
        return round((self._waited_ns - before) / 1e9 / max(wall_s, 1e-6), 4)

    def nic_share(self, wall_s: float) -> float | None:
        """Bytes of the busier direction over what the link carries; the busiest link.

        All traffic of the interface counts, ours or not: a full link is full. None where no link
        has an honest speed.
        """
        before, self._counted = self._counted, [link.counted() for link in self._links]
        shares = [
            max(now - then for now, then in zip(new, old, strict=True))
            / (link.bytes_per_s * max(wall_s, 1e-6))
            for link, new, old in zip(self._links, self._counted, before, strict=True)
            if link.bytes_per_s
        ]
        return round(max(shares), 4) if shares else None

    def told(self) -> str:
        """The links in words, for the notes of the session."""
        said = [
            f"{link.name} at {link.bytes_per_s // _MEGABIT_BYTES:,} Mbit/s"
            if link.bytes_per_s
            else f"{link.name}, no honest speed"
            for link in self._links
        ]
        return "; ".join(said) or "not found"

    def close(self) -> None:
        """Close what is open."""
        for link in self._links:
            link.close()
        if self._schedstat >= 0:
            os.close(self._schedstat)
            self._schedstat = -1

    def _waited(self) -> int:
        if self._schedstat < 0:
            return 0
        # Time on the CPU, time waiting for it (both ns), times run (kernel: scheduler/sched-stats).
        return int(os.pread(self._schedstat, 96, 0).split()[1])


def interface_to(host: str) -> str:
    """Name of the interface over which an address is reached; "" when that cannot be known.

    The kernel's main table is read, not asked: no packet is sent.
    """
    try:
        address = ipaddress.ip_address(host)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # UDP: only the route is looked up
            if probe.getsockname()[0] == host:
                return "lo"  # an address of this machine
        return route_to(host)
    except (OSError, ValueError):
        return ""


def route_to(host: str, *, proc: Path = _ROUTES) -> str:
    """Name of the interface of the longest route in the main table that holds the address; "".

    Raises OSError when there is no table, ValueError when this is no address or no table.
    """
    address = ipaddress.ip_address(host)
    routes = _routes4(proc) if address.version == 4 else _routes6(proc)
    fitting = [(network.prefixlen, name) for network, name in routes if address in network]
    return max(fitting, default=(0, ""))[1]


def _routes4(proc: Path) -> list[tuple[ipaddress.IPv4Network, str]]:
    made = []
    for line in (proc / "route").read_text().splitlines()[1:]:
        name, destination, *_ = words = line.split()
        base = int.from_bytes(bytes.fromhex(destination), "little")
        mask = int.from_bytes(bytes.fromhex(words[7]), "little")
        made.append((ipaddress.IPv4Network((base, mask.bit_count())), name))
    return made


def _routes6(proc: Path) -> list[tuple[ipaddress.IPv6Network, str]]:
    made = []
    for line in (proc / "ipv6_route").read_text().splitlines():
        destination, length, *_, name = line.split()
        network = ipaddress.IPv6Network((int(destination, 16), int(length, 16)))
        made.append((network, name))
    return made


def _bytes_per_s(folder: Path) -> int | None:
    """What the link carries each way. Only a card or a bond of cards speaks from knowledge."""
    if not any((folder / sign).exists() for sign in ("device", "bonding")):
        return None
    try:
        megabits = int((folder / "speed").read_text())
    except (OSError, ValueError):
        return None
    return megabits * _MEGABIT_BYTES if megabits > 0 else None
