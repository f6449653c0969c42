"""The roles themselves, run on this machine with their services left alone: no root needed."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
ANSIBLE = Path(sys.executable).parent / "ansible-playbook"
HOSTS = {"d1": "10.0.0.1", "d2": "10.0.0.2", "d3": "10.0.0.3"}


def inventory(folder: Path) -> Path:
    hosts = {
        name: {
            "host_address": address,
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
        }
        for name, address in HOSTS.items()
    }
    file = folder / "inventory.yml"
    file.write_text(json.dumps({"all": {"children": {"data": {"hosts": hosts}}}}))
    return file


def rendered(folder: Path, target: str, **variables: Any) -> dict[str, str]:
    """Run the role with its service left alone; name of file -> text, for host d1."""
    places = {
        f"{target}_config_dir": str(folder / "config"),
        f"{target}_unit_dir": str(folder / "units"),
        f"{target}_data_dir": str(folder / "data"),
        f"{target}_user": getpass.getuser(),
        f"{target}_owner": getpass.getuser(),
        f"{target}_service_managed": False,
        f"{target}_bundle": "/none",
        f"{target}_bundle_stamp": "stamp",
    }
    (folder / "units").mkdir(parents=True, exist_ok=True)
    # Beside the roles, since a playbook finds its vars_files and plugins from where it lies.
    play = {"hosts": "d1", "gather_facts": False, "roles": [target]}
    profile = variables.pop("profile", "tuned")
    play["vars_files"] = [str(PROJECT / f"playbooks/group_vars/{profile}.yml")]
    (folder / "play.yml").write_text(json.dumps([play]))
    (folder / "variables.json").write_text(json.dumps({**places, **variables}))
    done = subprocess.run(
        [ANSIBLE, "-i", inventory(folder), "-e", f"@{folder}/variables.json", folder / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(PROJECT / "playbooks" / "ansible.cfg"),
        },
    )
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    files = [*(folder / "config").iterdir(), *(folder / "units").iterdir()]
    return {file.name: file.read_text() for file in files}
