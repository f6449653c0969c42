#!/usr/bin/python
"""What of a target is on a host and runs there: the one look that a role's decisions rest on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_parts import (
    CAP_SYS_RESOURCE,
    existing,
    hard_limit_nofile,
    has_capability,
    memory_bytes,
)
from ansible.module_utils.member_units import MEMBER_UNITS, bundle_on_host, sha256_of, show

DOCUMENTATION = r"""
module: host_state
short_description: Look at what of a target is installed and running on a host
description: Reads only.
options:
  target: {type: str, required: true, description: Name of the target.}
  units: {type: list, elements: str, required: true, description: Its units on this host.}
  data_dir: {type: path, required: true, description: Where its database files lie.}
  nofile: {type: int, required: true, description: Open files that its units ask for.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The host is looked at
  host_state: {target: etcd, units: [soakbed-etcd.service], data_dir: /data/etcd, nofile: 65536}
  register: __etcd_state
"""
RETURN = r"""
bundle: {type: str, returned: always, description: Stamp of the binaries, "" when not whole.}
units: {type: dict, returned: always, description: State of each unit.}
strangers: {type: list, returned: always, description: Units of other targets that run.}
data: {type: bool, returned: always, description: Whether there are database files.}
cores: {type: int, returned: always, description: Cores that this host may use.}
memory_bytes: {type: int, returned: always, description: Memory that this host may use.}
disk_bytes: {type: int, returned: always, description: Size of the disk of the data folder.}
nofile: {type: int, returned: always, description: Open files that a unit would get.}
soakbed: {type: dict, returned: always, description: Binaries and limits, topic installed.}
"""

CERTIFICATES = ("ca.crt", "host.crt")


def limits(units: dict, wanted: int) -> list[str]:
    """Units that run with fewer open files than they ask for."""
    return [
        f"{name}: LimitNOFILE: wanted {wanted}, found {unit['nofile']}: "
        "the host's hard limit is lower and cannot be raised"
        for name, unit in sorted(units.items())
        if unit["pid"] and unit["nofile"] < wanted
    ]


def nofile(wanted: int) -> int:
    """Open files that a unit gets which asks for `wanted`."""
    return wanted if has_capability(CAP_SYS_RESOURCE) else min(wanted, hard_limit_nofile())


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "target": {"type": "str", "required": True},
            "units": {"type": "list", "elements": "str", "required": True},
            "data_dir": {"type": "path", "required": True},
            "nofile": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    data_dir = Path(given["data_dir"])
    every = show(sorted({*MEMBER_UNITS, *given["units"]}))
    units = {name: every[name] for name in given["units"]}
    stamp, binaries = bundle_on_host(given["target"])
    pki = [sha256_of(f"/etc/soakbed/pki/{name}") for name in CERTIFICATES]
    module.exit_json(
        changed=False,
        bundle=stamp,
        units=units,
        strangers=[n for n, unit in every.items() if unit["active"] and n not in given["units"]],
        data=data_dir.is_dir() and any(data_dir.iterdir()),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory_bytes(),
        disk_bytes=shutil.disk_usage(existing(given["data_dir"])).total,
        nofile=nofile(given["nofile"]),
        pki="-".join(pki) if all(pki) else "",
        soakbed={
            "installed": {
                "binaries": binaries,
                "machine": os.uname().machine,
                "restarts": {name: unit["restarts"] for name, unit in units.items()},
                "limits": limits(units, given["nofile"]),
            }
        },
    )


if __name__ == "__main__":
    main()
