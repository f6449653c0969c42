"""Before any local host is made: can this machine carry them? Every refusal at once."""

from __future__ import annotations

import ipaddress
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from soakbed.adapters.local_machine import bridge_name, folder_of, living_hosts, networks_in_use
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec

__all__ = ["check_local_machine"]

Refusal = tuple[str, str]  # what is wrong, and the way out

_NEEDS_DISK_BYTES = 6 * 10**9
_NEEDS_MEMORY_BYTES = 3 * 10**9
# command -> the Debian package that brings it
_COMMANDS = {
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "mount": "mount",
    "ssh": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}
_STATIC = "use a static testbed of hosts you have (infra/README.md)"


def check_local_machine(spec: TestbedSpec, places: Places) -> None:
    """Raise ProvisionError with every reason why local hosts cannot be made here."""
    refusals = list(_refusals(spec, places))
    if refusals:
        raise ProvisionError(
            "this machine cannot carry local hosts:\n"
            + "\n".join(f"- {problem}" for problem, _ in refusals),
            remedy="\n       ".join(dict.fromkeys(way_out for _, way_out in refusals)),
        )


def _refusals(spec: TestbedSpec, places: Places) -> Iterator[Refusal]:
    if platform.system() != "Linux":
        # The checks below read Linux's own files, so there is nothing more to say.
        yield f"it runs {platform.system()}, and hosts are Linux containers", _STATIC
        return
    if os.geteuid() != 0:
        yield "mounts, bridges and containers need root", f"run as root, or {_STATIC}"
    missing = {command: package for command, package in _COMMANDS.items() if not _has(command)}
    if missing:
        packages = " ".join(dict.fromkeys(missing.values()))
        yield (
            f"it has no {', '.join(missing)}",
            f"apt-get install {packages} (`make setup` does it on Debian)",
        )
    if "ip" not in missing:
        yield from _address_range(spec)
    yield from _overlay_below(folder_of(spec.name))
    if not living_hosts(spec.name):
        # Hosts that run have what they need; only new ones must find room.
        yield from _too_little_disk(places)
        yield from _too_little_memory()


def _has(command: str) -> bool:
    # sbin is not in everybody's PATH, but it is in root's.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return shutil.which(command, path=path) is not None


def _address_range(spec: TestbedSpec) -> Iterator[Refusal]:
    wanted = ipaddress.IPv4Network(spec.network_cidr)
    for network, what in networks_in_use(apart_from=bridge_name(spec.name)):
        if network.overlaps(wanted):
            yield (
                f"{wanted} is in use: {what}",
                f"give testbed {spec.name} another network_cidr, such as 10.84.17.0/24",
            )


def _overlay_below(folder: Path) -> Iterator[Refusal]:
    """The kernel refuses an overlay whose upper layer lies on an overlay, as in most containers."""
    at = _nearest(folder)
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    kind = next((mounts[path] for path in (at, *at.parents) if path in mounts), "")
    if kind == "overlay":
        yield (
            f"{at} lies on an overlay, and hosts are overlays themselves",
            "mount a file system (a volume, a tmpfs of 6 GB) at /var/lib/soakbed",
        )


def _too_little_disk(places: Places) -> Iterator[Refusal]:
    folders = (_nearest(places.cache), _nearest(Path("/var/lib/soakbed")))
    for folder in {folder.stat().st_dev: folder for folder in folders}.values():
        free = shutil.disk_usage(folder).free
        if free < _NEEDS_DISK_BYTES:
            yield (
                f"{free / 1e9:.1f} GB free at {folder}, needs {_NEEDS_DISK_BYTES / 1e9:.0f}",
                f"free some disk at {folder}",
            )


def _too_little_memory() -> Iterator[Refusal]:
    free = psutil.virtual_memory().available
    if free < _NEEDS_MEMORY_BYTES:
        yield (
            f"{free / 1e9:.1f} GB of memory free, needs {_NEEDS_MEMORY_BYTES / 1e9:.0f}",
            f"end programs that hold memory, or {_STATIC}",
        )


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
