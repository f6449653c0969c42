"""The machine that carries local hosts, read: what of a testbed is on it, and what is in the way.

`stages.provision` asks which hosts live, `stages.host_checks` what is in the way, and
`stages.teardown` looks for anything left. Only `sweep` changes something.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from soakbed.errors import ProvisionError
from soakbed.records.places import Places

__all__ = [
    "Remains",
    "bridge_name",
    "ended_but_listed",
    "folder_of",
    "living_hosts",
    "networks_in_use",
    "remains_of",
    "sweep",
]

_ROOTS = Path("/var/lib/soakbed")
_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")
_SYS_NET = Path("/sys/class/net")


def bridge_name(testbed: str) -> str:
    """The bridge of a testbed. Interface names hold 15 characters, so the name is hashed.

    >>> bridge_name("local-4x")
    'sb-0de75f15'
    """
    return f"sb-{hashlib.sha256(testbed.encode()).hexdigest()[:8]}"


def folder_of(testbed: str) -> Path:
    """Where the hosts' root file systems and data lie."""
    return _ROOTS / testbed


@dataclass(frozen=True, slots=True)
class Remains:
    """What of one local testbed is on this machine, one line for each thing found."""

    processes: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    control_groups: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lines())

    def lines(self) -> list[str]:
        """One line for each thing found, headed by its kind."""
        return [
            f"{kind.name.replace('_', ' ')}: {found}"
            for kind in fields(self)
            for found in getattr(self, kind.name)
        ]

    def counts(self) -> str:
        """How many of each kind, in one line: "namespaces: 4, mounts: 4"."""
        found = (
            (kind.name.replace("_", " "), len(getattr(self, kind.name))) for kind in fields(self)
        )
        return ", ".join(f"{kind}: {count}" for kind, count in found if count)


def remains_of(testbed: str, *, since: Remains | None = None) -> Remains:
    """Look at the machine itself, whatever Terraform's state says.

    `since`: an earlier look. Its network namespaces and links are looked for again, even where
    no process and no bridge leads to them any more.
    """
    earlier = since or Remains()
    pids = _processes(testbed)
    ours = _network_namespace(os.getpid())
    spaces = {_network_namespace(pid) for pid in pids} | set(earlier.namespaces)
    links = dict.fromkeys([*_links(testbed), *(n for n in earlier.links if _link_exists(n))])
    folder = folder_of(testbed)
    return Remains(
        processes=tuple(f"{pid} {_command_of(pid)}" for pid in sorted(pids)),
        namespaces=tuple(sorted(_held(spaces - {ours, ""}, testbed))),
        mounts=tuple(_mounts(testbed)),
        links=tuple(links),
        addresses=tuple(_addresses(testbed)),
        control_groups=tuple(str(group) for group in _control_groups(testbed)),
        folders=(str(folder),) if folder.exists() else (),
    )


def living_hosts(testbed: str) -> set[str]:
    """Names of the hosts in which at least one process runs."""
    return {
        host.name
        for group in _control_groups(testbed)
        for host in group.iterdir()
        # os.walk passes over groups that end meanwhile; rglob fails on them.
        if any(_members(Path(path, "cgroup.procs")) for path, _, _ in os.walk(host))
    }


def sweep(testbed: str, places: Places) -> None:
    """Remove whatever is left of the testbed, by exact names; fine if there is nothing."""
    given = json.dumps({"testbed": testbed, "bridge": bridge_name(testbed)})
    done = subprocess.run(
        [sys.executable, str(places.infra / "modules/local/machine.py"), "testbed-down"],
        env={**os.environ, "SOAKBED_LOCAL_INPUT": given},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProvisionError(
            f"testbed {testbed} could not be cleared from this machine: {done.stderr.strip()}",
            remedy="see what holds it (a shell inside a host's folder?), then run teardown again",
        )


def networks_in_use(*, apart_from: str) -> list[tuple[ipaddress.IPv4Network, str]]:
    """Networks this machine has an address in or a route to, but for those of one link."""
    used = []
    for link in _ip("address", "show"):
        for entry in link["addr_info"] if link["ifname"] != apart_from else ():
            network = ipaddress.IPv4Interface(f"{entry['local']}/{entry['prefixlen']}").network
            used.append((network, f"{entry['local']} on {link['ifname']}"))
    for route in _ip("route", "show"):
        if route["dst"] != "default" and route.get("dev") != apart_from:
            network = ipaddress.IPv4Network(route["dst"])
            used.append((network, f"a route to {network} through {route.get('dev', '?')}"))
    return used


def _ip(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-4", "-j", *words], capture_output=True, text=True, check=True)
    listed: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return [entry for entry in listed if entry]


def ended_but_listed(testbed: str) -> set[int]:
    """Zombies of the hosts: they hold nothing but a number, until their parent takes note.

    That is the first process of the machine, once systemd-nspawn is gone; some take a second.
    """
    group = f"/soakbed/{testbed}/"
    return {pid for pid in _pids() if group in _told(pid, "cgroup") and _is_zombie(pid)}


def _processes(testbed: str) -> set[int]:
    """Processes of the hosts: by mark, by root file system, by control group."""
    mark = f"SOAKBED_LOCAL_TESTBED={testbed}"
    layer = f"upperdir={folder_of(testbed)}/"
    group = f"/soakbed/{testbed}/"
    return {
        pid
        for pid in _pids()
        if mark in _told(pid, "environ").split("\0")
        or any(layer in line for line in _told(pid, "mountinfo").splitlines() if _at(line) == "/")
        or (group in _told(pid, "cgroup") and not _is_zombie(pid))
    }


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.glob("[0-9]*")]


def _is_zombie(pid: int) -> bool:
    # The name before it may hold anything, a ")" too.
    return _told(pid, "stat").rpartition(")")[2].split()[:1] in (["Z"], ["X"], [])


def _told(pid: int, what: str) -> str:
    """One of the kernel's texts about a process, "" if it ended or is not ours to read."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / what).read_bytes().decode(errors="replace")
    return ""


def _members(listing: Path) -> list[str]:
    with contextlib.suppress(OSError):  # the group ended while we looked
        return listing.read_text().split()
    return []


def _command_of(pid: int) -> str:
    return _told(pid, "cmdline").replace("\0", " ").strip() or "(ended)"


def _network_namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str((_PROC / str(pid) / "ns/net").readlink())
    return ""


def _held(spaces: Iterable[str], testbed: str) -> set[str]:
    """Those of the namespaces that a process or a mount still holds.

    The kernel gives the number of a namespace that is gone to the next one made. So what a host
    of another testbed holds is that testbed's, even where ours had the number before.
    """
    holders = {_network_namespace(pid) for pid in _pids() if not _of_another(pid, testbed)}
    holders |= {line.split(" ")[3] for line in _mount_lines()}
    return set(spaces) & holders


def _of_another(pid: int, testbed: str) -> bool:
    group = _told(pid, "cgroup")
    return "/soakbed/" in group and f"/soakbed/{testbed}/" not in group


def _mount_lines() -> list[str]:
    return (_PROC / "self/mountinfo").read_text().splitlines()


def _at(mount_line: str) -> str:
    return mount_line.split(" ")[4]


def _mounts(testbed: str) -> list[str]:
    folder = f"{folder_of(testbed)}/"
    lines = _mount_lines()
    return [_at(line) for line in lines if f" {folder}" in line or f"upperdir={folder}" in line]


def _link_exists(name: str) -> bool:
    return (_SYS_NET / name).exists()


def _links(testbed: str) -> list[str]:
    bridge = _SYS_NET / bridge_name(testbed)
    if not bridge.exists():
        return []
    return [bridge.name, *sorted(port.name for port in (bridge / "brif").iterdir())]


def _addresses(testbed: str) -> list[str]:
    bridge = bridge_name(testbed)
    return [
        f"{entry['local']}/{entry['prefixlen']} on {bridge}"
        for link in _ip("address", "show")
        if link["ifname"] == bridge
        for entry in link["addr_info"]
    ]


def _control_groups(testbed: str) -> list[Path]:
    trees = (_CGROUPS, _CGROUPS / "systemd", _CGROUPS / "unified")
    return [group for tree in trees if (group := tree / "soakbed" / testbed).exists()]
