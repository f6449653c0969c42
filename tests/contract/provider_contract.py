"""What must be true of a testbed that came up, whoever made it; docs/adding-a-provider.md.

Every provider's real output is put to it: see `test_providers.PUT_TO_IT`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

from soakbed.records.testbed import Host, Testbed
from soakbed.records.testbed_spec import TestbedSpec
from soakbed.stages.inventory import inventory

__all__ = ["breaches", "keys_in"]

_PRIVATE = "PRIVATE KEY"


def breaches(testbed: Testbed, asked: TestbedSpec) -> list[str]:
    """Every promise of a provider that this testbed breaks; [] if it keeps all."""
    return [*_of_the_whole(testbed, asked), *_of_its_hosts(testbed, asked)]


def keys_in(folder: Path, *secrets: str) -> list[str]:
    """Files in Terraform's part of the state that hold a private key, or one of `secrets`."""
    found = []
    for path in sorted(folder.rglob("*")):
        text = path.read_text(errors="replace") if path.is_file() else ""
        if _PRIVATE in text or any(secret in text for secret in secrets):
            found.append(str(path))
    return found


def _of_the_whole(testbed: Testbed, asked: TestbedSpec) -> Iterator[str]:
    if (testbed.name, testbed.provider) != (asked.name, asked.provider):
        yield f"asked for {asked.name} of {asked.provider}: {testbed.name} of {testbed.provider}"
    if testbed.hosts.keys() != asked.hosts.keys():
        yield f"asked for {sorted(asked.hosts)}, came up {sorted(testbed.hosts)}"
    if testbed.shares_machine != (asked.provider == "local"):
        yield f"shares_machine is {testbed.shares_machine} on {asked.provider}"
    if (testbed.cloud is not None) != (asked.provider not in ("local", "static")):
        yield f"cloud is {testbed.cloud} on {asked.provider}"
    if not Path(testbed.known_hosts_file).is_absolute():
        yield f"known_hosts_file {testbed.known_hosts_file} depends on where it is read"
    said = [host.address for host in testbed.hosts.values()]
    ours = [host.ssh_address for host in testbed.hosts.values() if host.ssh_address]
    if len(set(said)) != len(said):
        yield "two hosts share one address"
    if len(set(ours)) != len(ours):
        yield "two hosts share one ssh_address"
    if Testbed.model_validate_json(testbed.model_dump_json(by_alias=True)) != testbed:
        yield "it does not survive being written and read"
    if _PRIVATE in json.dumps(inventory(testbed)) + testbed.model_dump_json():
        yield "it holds a private key"


def _of_its_hosts(testbed: Testbed, asked: TestbedSpec) -> Iterator[str]:
    for name, host in testbed.hosts.items():
        if host.name != name:
            yield f"{name} calls itself {host.name}"
        if name in asked.hosts and host.duty != asked.hosts[name].duty:
            yield f"{name} was asked for as {asked.hosts[name].duty} and is {host.duty}"
        yield from (f"{name}: {breach}" for breach in _of_a_host(host, asked.provider))


def _of_a_host(host: Host, provider: str) -> Iterator[str]:
    for what in ("address", "reached_at"):
        try:
            ipaddress.IPv4Address(getattr(host, what))
        except ValueError:
            yield f"{what} {getattr(host, what)!r} is no IPv4 address"
    if host.ssh_address == host.address:
        yield "ssh_address says what address says already"
    if not host.user or not Path(host.key_file).is_absolute():
        yield f"nobody can log in as {host.user!r} with {host.key_file!r}"
    if not Path(host.data_dir).is_absolute() or host.data_dir == "/":
        yield f"data_dir is {host.data_dir!r}"
    if bool(host.cpus) and provider != "local":
        yield "a machine of its own is not pinned"
    in_cloud = provider not in ("local", "static")
    for what in ("instance_id", "instance_type", "zone"):
        if bool(getattr(host, what)) != in_cloud:
            yield f"{what} is {getattr(host, what)!r} on {provider}"
    if bool(host.image) != (provider != "static"):
        yield f"image is {host.image!r} on {provider}"
