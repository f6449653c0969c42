"""Four local hosts dressed up as hosts that somebody already has, and a static testbed over them.

Its user is none that may do anything, but sudo lets him; and hosts reach each other by other
addresses than we reach them, as in most clouds.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from soakbed.adapters.ssh import Ssh
from soakbed.adapters.terraform import Terraform
from soakbed.records.places import Places
from soakbed.records.testbed import Testbed
from soakbed.records.testbed_spec import TestbedSpec
from soakbed.stages.provision import provision
from tests.end_to_end.conftest import PROJECT, Soakbed

USER = "admin"
DATA_DIR = "/data/fast"
BOOTED = "/proc/sys/kernel/random/boot_id"
# The last command leaves the host as a cloud's image leaves it: root cannot log in.
DRESS = f"""
useradd --create-home --shell /bin/sh {USER}
echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}
install -d -o {USER} -m 700 /home/{USER}/.ssh
install -o {USER} -m 600 ~root/.ssh/authorized_keys /home/{USER}/.ssh/authorized_keys
ip address add "$1/24" dev host0
rm ~root/.ssh/authorized_keys
"""


def inner(address: str) -> str:
    """Where other hosts reach the one that we reach at `address`."""
    network, _, last = address.rpartition(".")
    return f"{network}.{int(last) + 100}"


def make_local_hosts(soakbed: Soakbed) -> Testbed:
    """The hosts of a local testbed and nothing on them."""
    spec = TestbedSpec.model_validate_json(soakbed.testbed.read_text())
    state = soakbed.folder / "state" / spec.name
    state.mkdir(parents=True)
    places = Places(project=PROJECT, state=state, cache=Path.home() / ".cache/soakbed")
    came_up = provision(spec, terraform=Terraform(places), places=places, progress=str)
    return came_up.testbed


def as_hosts_you_have(soakbed: Soakbed, hosts: Testbed) -> Soakbed:
    """A static testbed over the hosts of a local one."""
    with Ssh(hosts) as shell:
        for host in hosts.hosts.values():
            shell.run(host, ["sh", "-ec", DRESS, "dress", inner(host.address)])
    spec = {
        "schema": 1,
        "name": f"{hosts.name}-have",
        "provider": "static",
        "hosts": {
            name: {
                "duty": host.duty,
                "address": host.address,
                "inner_address": inner(host.address),
                "user": USER,
                "key_file": host.key_file,
                "data_dir": DATA_DIR,
            }
            for name, host in hosts.hosts.items()
        },
    }
    file = soakbed.folder / "static.json"
    file.write_text(json.dumps(spec))
    known = {"SOAKBED_KNOWN_HOSTS": hosts.known_hosts_file}
    return replace(soakbed, testbed=file, environment=soakbed.environment | known)
