"""spec -> hosts: the first arrow of the flow. Leaves testbed.json.

Running it twice changes nothing; a host that died since is made again, alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soakbed.adapters.host_image import ensure_image
from soakbed.adapters.host_keys import ensure_host_keys
from soakbed.adapters.local_machine import answers_ssh, bridge_name
from soakbed.adapters.terraform import Terraform
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.spec import HostSpec, TestbedSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.host_checks import check_local_machine

__all__ = ["Progress", "ProvisionOutcome", "provision", "split_cpus", "tfvars_of"]

Progress = Callable[[str], None]

# A host that runs greets at once; three seconds leave room for a machine under full load.
_ALIVE_WITHIN_S = 3.0
_SSH_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class ProvisionOutcome:
    """The hosts, and how many resources had to be made, changed or removed for them."""

    testbed: Testbed
    changed: int


def provision(
    spec: TestbedSpec, *, terraform: Terraform, places: Places, progress: Progress
) -> ProvisionOutcome:
    """Make the hosts, wait until each lets us in, and describe them."""
    local = spec.provider == "local"
    terraform.end_stragglers()
    if local:
        check_local_machine(spec, places)
        addresses = {name: host.address for name, host in spec.hosts.items()}
        ensure_host_keys(places.state / "ssh", addresses, testbed=spec.name)
    image = ensure_image(places, progress=progress) if local else None
    tfvars = tfvars_of(spec, places=places, image=image, cpus=sorted(os.sched_getaffinity(0)))
    replace = _dead(spec, progress) if local and terraform.state_file.exists() else []
    applied = terraform.apply(tfvars, replace, progress=progress)
    testbed = Testbed.model_validate(applied.outputs["testbed"])
    _wait_for_ssh(testbed.hosts.values())
    (places.state / "testbed.json").write_text(testbed.model_dump_json(by_alias=True, indent=2) + "\n")
    return ProvisionOutcome(testbed, applied.added + applied.changed + applied.destroyed)


def tfvars_of(
    spec: TestbedSpec, *, places: Places, image: Path | None, cpus: Iterable[int]
) -> dict[str, Any]:
    """The one input object of infra/. `cpus`: those of this machine that hosts may use."""
    shares = split_cpus(cpus, spec.hosts) if spec.provider == "local" else {}
    return {
        "name": spec.name,
        "provider_kind": spec.provider,
        "network_cidr": spec.network_cidr,
        "image": str(image or ""),
        "ssh_dir": str(places.state.absolute() / "ssh"),
        "hosts": {
            name: {**host.model_dump(), "cpus": list(shares.get(name, ()))}
            for name, host in spec.hosts.items()
        },
    }


def split_cpus(
    cpus: Iterable[int], hosts: Mapping[str, HostSpec]
) -> dict[str, tuple[int, ...]]:
    """Give load hosts the last CPU and data hosts all others, so that neither steals.

    With one CPU there is nothing to split, and all share it.
    """
    have = tuple(sorted(cpus))
    if len(have) < 2:
        return dict.fromkeys(hosts, have)
    return {
        name: have[-1:] if host.duty == "load" else have[:-1] for name, host in hosts.items()
    }


def _dead(spec: TestbedSpec, progress: Progress) -> list[str]:
    """Terraform addresses of what its state may name but this machine no longer has."""
    if not Path("/sys/class/net", bridge_name(spec.name)).exists():
        # The machine was restarted, or somebody cleaned up: hosts hang on the bridge, so it
        # takes them all with it.
        return ["module.local[0].terraform_data.network"]
    with ThreadPoolExecutor(len(spec.hosts)) as pool:
        alive = pool.map(
            lambda host: answers_ssh(host.address, host.port, within_s=_ALIVE_WITHIN_S),
            spec.hosts.values(),
        )
        dead = [name for name, lives in zip(spec.hosts, alive, strict=True) if not lives]
    for name in dead:
        progress(f"host {name}: does not answer, will be made again")
    return [f'module.local[0].terraform_data.host["{name}"]' for name in dead]


def _wait_for_ssh(hosts: Iterable[Host]) -> None:
    """Raise, naming every host that does not greet in time."""
    waiting = list(hosts)
    deadline = time.monotonic() + _SSH_WITHIN_S
    while True:
        waiting = [
            host
            for host in waiting
            if not answers_ssh(host.address, host.port, within_s=_ALIVE_WITHIN_S)
        ]
        if not waiting:
            return
        if time.monotonic() > deadline:
            names = ", ".join(f"{host.name} ({host.address}:{host.port})" for host in waiting)
            raise ProvisionError(
                f"no SSH within {_SSH_WITHIN_S:.0f} s from {names}",
                remedy="see that these hosts run and that this machine may reach them",
            )
        time.sleep(0.2)
