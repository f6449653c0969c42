"""This machine, read: what of a local testbed is on it, and whether a host answers.

`stages.provision` asks which hosts live, `stages.host_checks` what is in the way, and
`stages.teardown` looks for anything left. Only `sweep` changes something.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from soakbed.errors import ProvisionError
from soakbed.records.places import Places

__all__ = [
    "ROOTS",
    "Remains",
    "answers_ssh",
    "bridge_name",
    "folder_of",
    "networks_in_use",
    "remains_of",
    "sweep",
]

ROOTS = Path("/var/lib/soakbed")
_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")
_SYS_NET = Path("/sys/class/net")


def bridge_name(testbed: str) -> str:
    """The bridge of a testbed. Interface names hold 15 characters, so the name is hashed.

    >>> bridge_name("local-4x")
    'sb-5d1cbe5d'
    """
    return f"sb-{hashlib.sha256(testbed.encode()).hexdigest()[:8]}"


def folder_of(testbed: str) -> Path:
    """Where the hosts' root file systems and data lie."""
    return ROOTS / testbed


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
        return any(getattr(self, kind.name) for kind in fields(self))

    def lines(self) -> list[str]:
        """One line for each thing found, headed by its kind."""
        return [
            f"{kind.name.replace('_', ' ')}: {found}"
            for kind in fields(self)
            for found in getattr(self, kind.name)
        ]


def remains_of(testbed: str, *, namespaces: frozenset[str] = frozenset()) -> Remains:
    """Look at the machine itself, whatever Terraform's state says.

    `namespaces`: network namespaces that belonged to the hosts (from an earlier look), to be found
    again even where no process of ours is left in them.
    """
    pids = _processes(testbed)
    spaces = namespaces | {space for pid in pids if (space := _network_namespace(pid))}
    return Remains(
        processes=tuple(f"{pid} {_command_of(pid)}" for pid in sorted(pids)),
        namespaces=tuple(sorted(_living(spaces - {_network_namespace(os.getpid())}))),
        mounts=tuple(_mounts(testbed)),
        links=tuple(_links(testbed)),
        addresses=tuple(_addresses(testbed)),
        control_groups=tuple(str(group) for group in _control_groups(testbed)),
        folders=tuple(str(folder) for folder in [folder_of(testbed)] if folder.exists()),
    )


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


def answers_ssh(address: str, port: int, *, within_s: float) -> bool:
    """Whether an SSH server greets us there."""
    try:
        with socket.create_connection((address, port), timeout=within_s) as connection:
            connection.settimeout(within_s)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


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
            used.append((network, f"the route to {network} through {route.get('dev', '?')}"))
    return used


def _ip(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-4", "-j", *words], capture_output=True, text=True, check=True)
    listed: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return [entry for entry in listed if entry]


def _processes(testbed: str) -> set[int]:
    """Processes of the hosts: by mark, by root file system, by control group."""
    mark = f"SOAKBED_LOCAL_TESTBED={testbed}".encode()
    layer = f"upperdir={folder_of(testbed)}/"
    group = f"/soakbed/{testbed}/"
    found = set()
    for entry in _PROC.glob("[0-9]*"):
        # A process that ends while we look is no process left.
        with contextlib.suppress(OSError):
            if (
                mark in (entry / "environ").read_bytes().split(b"\0")
                or any(layer in line for line in _root_mounts(entry))
                or group in (entry / "cgroup").read_text()
            ):
                found.add(int(entry.name))
    return found


def _root_mounts(entry: Path) -> Iterator[str]:
    for line in (entry / "mountinfo").read_text().splitlines():
        if line.split(" ")[4] == "/":
            yield line


def _command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return "(ended)"


def _network_namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str((_PROC / str(pid) / "ns/net").readlink())
    return ""


def _living(spaces: frozenset[str] | set[str]) -> set[str]:
    """Those of the namespaces that a process or a mount still holds."""
    held = {_network_namespace(int(entry.name)) for entry in _PROC.glob("[0-9]*")}
    held |= {line.split(" ")[3] for line in _mount_lines()}
    return set(spaces) & held


def _mount_lines() -> list[str]:
    return (_PROC / "self/mountinfo").read_text().splitlines()


def _mounts(testbed: str) -> list[str]:
    folder = f"{folder_of(testbed)}/"
    points = [(line.split(" ")[4], line) for line in _mount_lines()]
    return [at for at, line in points if at.startswith(folder) or f"upperdir={folder}" in line]


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
