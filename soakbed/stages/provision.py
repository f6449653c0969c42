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
from soakbed.adapters.local_machine import living_hosts, remains_of, sweep
from soakbed.adapters.openssh import greets, refusal_of
from soakbed.adapters.terraform import Terraform
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.spec import HostSpec, TestbedSpec
from soakbed.records.testbed import Testbed
from soakbed.stages.cost_plan import note_hosts
from soakbed.stages.host_checks import check_local_machine
from soakbed.stages.provision_aws import make_on_aws
from soakbed.stages.static_checks import check_static_hosts

__all__ = ["Progress", "ProvisionOutcome", "provision", "split_cpus", "tfvars_of"]

Progress = Callable[[str], None]

# A host in which processes run may be under full load, and making it again throws its data away.
_SILENT_FOR_S = 20.0
_OPEN_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class ProvisionOutcome:
    """The hosts, and how many resources had to be made, changed or removed for them."""

    testbed: Testbed
    changed: int


def provision(
    spec: TestbedSpec, *, terraform: Terraform, places: Places, progress: Progress
) -> ProvisionOutcome:
    """Make the hosts, wait until each lets us in, and describe them."""
    terraform.end_stragglers()
    if spec.provider == "aws":
        made = make_on_aws(spec, terraform=terraform, places=places, progress=progress)
        return _opened(*made, places)
    image: Path | None = None
    replace: list[str] = []
    if spec.provider == "local":
        check_local_machine(spec, places)
        addresses = {name: host.address for name, host in spec.hosts.items()}
        ensure_host_keys(places.state / "ssh", addresses, testbed=spec.name)
        image = ensure_image(places, progress=progress)
        replace = _broken(spec, terraform, places, progress)
    else:
        check_static_hosts(spec, places, progress=progress)
    tfvars = tfvars_of(spec, places=places, image=image, cpus=os.sched_getaffinity(0))
    note_hosts(places)
    applied = terraform.apply(tfvars, replace, progress=progress)
    return _opened(Testbed.model_validate(applied.outputs["testbed"]), applied.touched, places)


def _opened(testbed: Testbed, changed: int, places: Places) -> ProvisionOutcome:
    _wait_until_open(testbed)
    described = testbed.model_dump_json(by_alias=True, indent=2)
    (places.state / "testbed.json").write_text(described + "\n")
    return ProvisionOutcome(testbed, changed)


def tfvars_of(
    spec: TestbedSpec, *, places: Places, image: Path | None, cpus: Iterable[int]
) -> dict[str, Any]:
    """The input of infra/. `cpus`: those of this machine that its local hosts may use."""
    shares = split_cpus(cpus, spec.hosts) if spec.provider == "local" else {}
    return {
        "name": spec.name,
        "provider_kind": spec.provider,
        "network_cidr": spec.network_cidr,
        "image": str(image or ""),
        "ssh_dir": str(places.state.absolute() / "ssh"),
        "hosts": {
            name: {
                **host.model_dump(exclude={"cores", "memory_gib"}),
                "key_file": _absolute(host.key_file, places),
                "cpus": list(shares.get(name, ())),
            }
            for name, host in spec.hosts.items()
        },
    }


def split_cpus(cpus: Iterable[int], hosts: Mapping[str, HostSpec]) -> dict[str, tuple[int, ...]]:
    """Give load hosts the last CPUs and data hosts all others, so that neither steals.

    Each load host gets one of its own where that leaves the data hosts as many at least; else all
    load hosts share the last. With one CPU there is nothing to split, and all share it.
    """
    have = tuple(sorted(cpus))
    if len(have) < 2:
        return dict.fromkeys(hosts, have)
    load = sorted(name for name, host in hosts.items() if host.duty == "load")
    apart = len(load) if 2 * len(load) <= len(have) else 1
    own = {name: have[-1 - at % apart :][:1] for at, name in enumerate(load)}
    return {name: own.get(name, have[:-apart]) for name in hosts}


def _absolute(key_file: str, places: Places) -> str:
    """Terraform runs in infra/; a key's path is meant from the project, or from ~."""
    return str(places.project.absolute() / Path(key_file).expanduser()) if key_file else ""


def _broken(
    spec: TestbedSpec, terraform: Terraform, places: Places, progress: Progress
) -> list[str]:
    """Addresses of resources that Terraform's state names, but this machine no longer has."""
    if terraform.is_damaged():
        progress("Terraform's state is damaged; the hosts are made again from nothing")
        sweep(spec.name, places)
        terraform.forget()
    if not terraform.has_state():
        return []
    if not remains_of(spec.name).addresses:
        # The machine was restarted, or somebody cleaned up. Hosts hang on the bridge, so making
        # it again makes them all again.
        return ["module.local[0].terraform_data.network"]
    dead = _dead(spec)
    for name in dead:
        progress(f"host {name}: does not answer, will be made again")
    return [f'module.local[0].terraform_data.host["{name}"]' for name in dead]


def _dead(spec: TestbedSpec) -> list[str]:
    """Hosts in which nothing runs, or which are silent though something does."""
    living = living_hosts(spec.name)

    def is_dead(name: str) -> bool:
        deadline = time.monotonic() + _SILENT_FOR_S
        while name in living and time.monotonic() < deadline:
            if greets(spec.hosts[name].address, spec.hosts[name].port, within_s=5):
                return False
            time.sleep(0.2)
        return True

    with ThreadPoolExecutor(len(spec.hosts)) as pool:
        found = pool.map(is_dead, spec.hosts)
        return [name for name, dead in zip(spec.hosts, found, strict=True) if dead]


def _wait_until_open(testbed: Testbed) -> None:
    """Return once every host lets us in; raise with each one's last words if one does not."""
    proofs = _proofs(testbed)
    closed = dict.fromkeys(testbed.hosts, "")
    deadline = time.monotonic() + _OPEN_WITHIN_S

    def ask(name: str) -> str:
        host = testbed.hosts[name]
        return refusal_of(host, testbed.known_hosts_file, command=proofs[name])

    while True:
        with ThreadPoolExecutor(len(closed)) as pool:
            asked = pool.map(ask, closed)
            closed = {name: words for name, words in zip(closed, asked, strict=True) if words}
        if not closed:
            return
        if time.monotonic() > deadline:
            raise ProvisionError(
                f"hosts are not usable after {_OPEN_WITHIN_S:.0f} s:\n"
                + "\n".join(f"- {name}: {words}" for name, words in closed.items()),
                remedy="see that these hosts run, and that user and key are theirs; if local hosts "
                "cannot ping each other, a firewall filters bridges on this machine: "
                "sysctl -w net.bridge.bridge-nf-call-iptables=0",
            )
        time.sleep(0.5)


def _proofs(testbed: Testbed) -> dict[str, str]:
    """What each host must be able to do: local ones reach the next in a ring.

    Elsewhere ICMP may be closed on purpose, and there being let in is enough.
    """
    if testbed.provider == "static":
        return dict.fromkeys(testbed.hosts, "true")
    names = sorted(testbed.hosts)
    following = zip(names, [*names[1:], names[0]], strict=True)
    return {name: f"ping -q -c1 -W2 {testbed.hosts[after].address}" for name, after in following}
