"""What the answers of hosts that somebody already has mean: refusals, each with its way out. Pure.

Asked by `static_checks`. A rule says nothing where a host could not be asked: that is told already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soakbed.records.testbed import Host
from soakbed.units import GIB, MIB, bytes_text

__all__ = [
    "DOOR",
    "LOAD_FOLDER",
    "TARGET_PORTS",
    "Declared",
    "Door",
    "Known",
    "Refusal",
    "about_clock",
    "about_door",
    "about_each",
    "about_likeness",
    "about_reach",
    "ports_of",
    "remarks",
    "wanted_ports",
]

Refusal = tuple[str, str]  # what is wrong, and the way out

LOAD_FOLDER = "/var/lib/soakbed"
# Where members of the targets and the null servers of `calibrate` listen; Redis' bus is 10,000
# above its ports. The roles' defaults say them too, and a test compares.
TARGET_PORTS = (
    *(2379, 2380, 2381, 2382),
    *(6379, 6380, 16379, 16380),
    *(2479, 2480, 20160, 20180),
    27379,
)
# The same as role host_preflight refuses, but before anything is changed.
LEAST_FREE_BYTES = 2 * GIB
LEAST_MEMORY_BYTES = 512 * MIB
MOST_CLOCK_OFFSET_MS = 500
# Firmware and kernel keep some of what a machine is sold with: 15.4 of 16 GiB are usual.
_MEMORY_OF_DECLARED = (0.85, 1.05)
# Machines of one type differ by a few pages; 5 % is no accident.
_MEMORY_ALIKE = 0.05

# Containers may hide that they share a kernel, but its start is one. Read one after the other, its
# moment moves by no more than clocks are slewed; two machines do not start in the same millisecond.
_ONE_KERNEL_NS = 2_000_000

# One login answers all: who am I, may I become root, and is there a python3.
DOOR = (
    'echo "soakbed-uid=$(id -u)"; '
    'sudo -n true >/dev/null 2>&1 && echo "soakbed-sudo=yes"; '
    'python3 -c "" 2>/dev/null && echo "soakbed-python=yes"; true'
)


@dataclass(frozen=True, slots=True)
class Door:
    """How far a host let us in. `refusal`: ssh's own words when it did not, else ""."""

    refusal: str = ""
    root: bool = False
    python: bool = False

    @classmethod
    def of(cls, out: str, err: str, *, refused: bool) -> Door:
        """From what `DOOR` wrote, between whatever else a login shell says."""
        told = dict(re.findall(r"^soakbed-(\w+)=(\w+)\s*$", out, re.MULTILINE))
        if refused or "uid" not in told:
            return cls(refusal=err.strip() or out.strip() or "it says nothing")
        return cls(
            root=told["uid"] == "0" or told.get("sudo") == "yes",
            python=told.get("python") == "yes",
        )


@dataclass(frozen=True, slots=True)
class Declared:
    """What a host is said to have; 0 = nothing is said."""

    cores: int = 0
    memory_gib: float = 0.0


@dataclass(frozen=True, slots=True)
class Known:
    """What a host said of itself. `address`: why it cannot listen at its own, "" if it can.

    `taken`: port -> who listens there, "" unknown; `this_machine`: equal for two names of one host;
    `booted_ns`: when its kernel started, by its own clock.
    """

    system: Mapping[str, str]
    systemd: bool
    machine: str
    this_machine: str
    booted_ns: int
    cores: int
    memory_bytes: int
    free_bytes: Mapping[str, int]
    address: str
    taken: Mapping[str, str]
    offset_ms: float
    bound_ms: float

    @classmethod
    def of(cls, facts: Mapping[str, Any], *, offset_ns: int, bound_ns: int) -> Known:
        """From the first answer of the probe, and the best reading of its clock."""
        taken = {name: facts[name] for name in cls.__slots__ if name in facts}
        return cls(**taken, offset_ms=offset_ns / 1e6, bound_ms=bound_ns / 1e6)


def ports_of(host: Host) -> list[int]:
    """Where a host will be listened to by others, but for SSH."""
    return list(TARGET_PORTS) if host.duty == "data" else []


def wanted_ports(host: Host, other: Host) -> list[int]:
    """At which ports of the other a host must find an answer.

    Every host knocks at every other's SSH port, as the roles do when they measure round trips.
    """
    return [*ports_of(other), other.port]


def about_door(host: Host, door: Door) -> Iterator[Refusal]:
    """Whether we get in, become root, and find what asks the rest."""
    where = f"{host.user}@{host.reached_at}:{host.port}"
    if door.refusal:
        last = door.refusal.splitlines()[-1]
        yield (
            f"{host.name}: {where} does not let us in: {last}",
            f"see that {host.name} runs, and that user and key are its own",
        )
        return
    if not door.root:
        yield (
            f"{host.name}: {host.user} is not root and has no sudo without a password",
            f"let {host.user} become root without a password, or name root in the spec:\n       "
            f"echo '{host.user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/soakbed",
        )
    if not door.python:
        yield f"{host.name}: it has no python3", "apt-get install python3 python3-venv"


def about_each(host: Host, known: Known) -> Iterator[Refusal]:
    """Whether one host by itself can be used: system, size, disk, address, ports."""
    name = host.name
    if not _is_debian_12(known.system):
        shown = known.system.get("PRETTY_NAME", "an unknown system")
        yield (
            f"{name}: it runs {shown}",
            "use hosts with Debian 12: packages and roles fit no other",
        )
    if not known.systemd:
        yield (
            f"{name}: systemd does not run it",
            "use machines or containers that boot with systemd: everything runs as its units",
        )
    for folder, free in known.free_bytes.items():
        if free < LEAST_FREE_BYTES:
            yield (
                f"{name}: {bytes_text(free)} free at {folder}, "
                f"needs {bytes_text(LEAST_FREE_BYTES)}",
                f"free some disk at {folder} of {name}, or name another data_dir",
            )
    if 0 < known.memory_bytes < LEAST_MEMORY_BYTES:
        yield (
            f"{name}: {bytes_text(known.memory_bytes)} of memory, "
            f"needs {bytes_text(LEAST_MEMORY_BYTES)}",
            "use larger hosts",
        )
    if known.address:
        yield (
            f"{name}: databases cannot listen at {host.address}: {known.address}",
            f"give {name} an inner_address: one of its own, as `ip address` shows them there",
        )
    yield from _about_ports(name, known.taken)


def about_clock(host: Host, known: Known) -> Iterator[Refusal]:
    """Whether the host's time is near ours."""
    if abs(known.offset_ms) - known.bound_ms > MOST_CLOCK_OFFSET_MS:
        yield (
            f"{host.name}: its clock is {known.offset_ms:,.0f} ms off "
            f"(known to {known.bound_ms:.0f} ms), at most {MOST_CLOCK_OFFSET_MS} ms is allowed",
            "let chrony or systemd-timesyncd run on the hosts and on this machine",
        )


def about_likeness(
    hosts: Sequence[Host],
    known: Mapping[str, Known],
    declared: Mapping[str, Declared],
    *,
    ours: str = "",
) -> Iterator[Refusal]:
    """Whether hosts are what they are said to be, and those of one duty alike where nobody says.

    `ours`: the controller's machine type as `uname -m` says it, "" to leave that out.
    """
    for host in hosts:
        yield from _about_declared(host.name, known[host.name], declared.get(host.name, Declared()))
    for duty in ("data", "load"):
        same = [host.name for host in hosts if host.duty == duty]
        silent = [name for name in same if declared.get(name, Declared()) == Declared()]
        yield from _about_sizes(duty, {name: known[name] for name in silent})
    machines = {known[host.name].machine for host in hosts if host.duty == "data"}
    if len(machines) > 1:
        yield (
            f"the data hosts are of {len(machines)} architectures: {', '.join(sorted(machines))}",
            "use data hosts of one architecture; members of one target must be alike",
        )
    unlike = [h.name for h in hosts if h.duty == "load" and known[h.name].machine != ours]
    if unlike and ours:
        yield (
            f"{', '.join(unlike)} are no {ours} as this machine is, whose Python packages they get",
            f"use load hosts of {ours}, or run soakbed on a machine like theirs",
        )
    names: dict[str, str] = {}
    for host in hosts:
        before = names.setdefault(known[host.name].this_machine, host.name)
        if before != host.name:
            yield f"{before} and {host.name} are one host", "give every host a machine of its own"


def about_reach(
    host: Host, others: Mapping[str, Host], found: Mapping[str, Mapping[str, str]]
) -> Iterator[Refusal]:
    """Whether a host gets through to the others, where the databases will listen and to SSH."""
    for name, answers in found.items():
        other = others[name]
        closed: dict[str, list[str]] = {}
        for port, words in answers.items():
            if why := _not_reached(host, other, int(port), words):
                closed.setdefault(why, []).append(port)
        for why, ports in closed.items():
            yield (
                f"{host.name} does not reach {name} at {other.address}, "
                f"port{'s' if len(ports) > 1 else ''} {', '.join(ports)}: {why}",
                "open the hosts to each other in firewall and security group; where they reach "
                "each other at other addresses than we reach them, name those as inner_address",
            )


def remarks(known: Mapping[str, Known]) -> Iterator[str]:
    """What is no reason to refuse, and worth knowing."""
    by_boot = sorted(known, key=lambda name: known[name].booted_ns)
    together: list[list[str]] = []
    for name in by_boot:
        before = together[-1][-1] if together else ""
        near = before and known[name].booted_ns - known[before].booted_ns < _ONE_KERNEL_NS
        together[-1:] = [[*together[-1], name]] if near else [*together[-1:], [name]]
    for names in together:
        if len(names) > 1:
            yield f"{', '.join(sorted(names))} share one machine, so that each slows the others"


def _is_debian_12(system: Mapping[str, str]) -> bool:
    """Debian 12 itself, or a system that says it is made of it."""
    if system.get("ID") == "debian":
        return system.get("VERSION_ID") == "12"
    of_debian = "debian" in system.get("ID_LIKE", "").split()
    names = (system.get("DEBIAN_CODENAME"), system.get("VERSION_CODENAME"))
    return of_debian and "bookworm" in names


def _about_ports(name: str, taken: Mapping[str, str]) -> Iterator[Refusal]:
    """Members of a target of ours may be up: an interrupted run goes on with them."""
    for port, holder in taken.items():
        if not holder.startswith("soakbed-"):
            yield (
                f"{name}: port {port} is taken by {holder or 'a program that we may not see'}",
                f"stop {holder or 'it'} on {name}: a database of the testbed will listen there",
            )


def _about_declared(name: str, known: Known, said: Declared) -> Iterator[Refusal]:
    if said.cores and known.cores != said.cores:
        yield (
            f"{name}: it has {known.cores} CPUs, the spec says {said.cores}",
            f"mend cores of {name} in the spec, or use the host that was meant",
        )
    least, most = (said.memory_gib * GIB * share for share in _MEMORY_OF_DECLARED)
    if said.memory_gib and not least <= known.memory_bytes <= most:
        yield (
            f"{name}: it has {bytes_text(known.memory_bytes)} of memory, "
            f"the spec says {said.memory_gib:g} GiB",
            f"mend memory_gib of {name} in the spec, or use the host that was meant",
        )


def _about_sizes(duty: str, known: Mapping[str, Known]) -> Iterator[Refusal]:
    way_out = (
        f"use {duty} hosts of one size, or say in the spec that they differ: "
        '"cores" and "memory_gib" of each'
    )
    if len({one.cores for one in known.values()}) > 1:
        shown = ", ".join(f"{name} {one.cores}" for name, one in known.items())
        yield f"the {duty} hosts are of different CPUs: {shown}", way_out
    sizes = [one.memory_bytes for one in known.values()]
    if sizes and max(sizes) - min(sizes) > _MEMORY_ALIKE * max(sizes):
        shown = ", ".join(f"{name} {bytes_text(one.memory_bytes)}" for name, one in known.items())
        yield f"the {duty} hosts are of different memory: {shown}", way_out


def _not_reached(host: Host, other: Host, port: int, words: str) -> str:
    """Why this answer is none that will do; "" if it will."""
    if port in ports_of(other):
        if words in ("taken", f"name {other.name}"):
            return ""
        if words.startswith("name "):
            return f"{words.removeprefix('name ') or 'something else'} answers there"
        return words
    # sshd need not listen there, unless a Locust worker must get through to the master by it.
    tunnelled = host.duty == other.duty == "load"
    answers = ("taken",) if tunnelled else ("taken", "refused")
    return "" if words in answers or words.startswith("name ") else words
