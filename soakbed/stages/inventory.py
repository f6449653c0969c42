"""Testbed -> inventory: the hosts as Ansible wants them told.

Pure but for `write_inventory`. The same document is kept in the run folder.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from soakbed.records.testbed import Host, Testbed

__all__ = ["inventory", "write_inventory"]

# Source: EC2 User Guide, "NVMe instance store volumes".
_LOCAL_DISK = "Amazon EC2 NVMe Instance Storage"


def inventory(testbed: Testbed) -> dict[str, Any]:
    """Groups `data` and `load`, and how each host is reached. YAML, since JSON is YAML.

    `ansible_host` is where we reach a host, `host_address` where the other hosts do.
    """
    groups = {
        duty: {"hosts": {host.name: _host(host) for host in testbed.of_duty(duty)}}
        for duty in ("data", "load")
    }
    common = {
        # The name of the interpreter, so that nothing is discovered at each connection.
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": " ".join(
            [
                "-F /dev/null",
                f"-o UserKnownHostsFile={shlex.quote(testbed.known_hosts_file)}",
                "-o StrictHostKeyChecking=yes",
            ]
        ),
        "testbed_name": testbed.name,
        "testbed_shares_machine": testbed.shares_machine,
    }
    return {"all": {"vars": common, "children": groups}}


def write_inventory(testbed: Testbed, file: Path) -> Path:
    """Write the document; no secrets are in it, only the names of key files."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(inventory(testbed), indent=1) + "\n")
    return file


def _host(host: Host) -> dict[str, Any]:
    # Databases of a cloud's host lie on its local disk, and on nothing else by accident.
    in_cloud = bool(host.instance_id) and host.duty == "data"
    return {
        "ansible_host": host.reached_at,
        "ansible_port": host.port,
        "ansible_user": host.user,
        "ansible_become": host.user != "root",
        "ansible_ssh_private_key_file": host.key_file,
        "host_address": host.address,
        "host_data_dir": host.data_dir,
    } | ({"host_disk_model": _LOCAL_DISK} if in_cloud else {})
