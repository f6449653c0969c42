#!/usr/bin/python
"""Starts a host's members together, and says all there is to know when one does not come up."""

from __future__ import annotations

import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.member_report import report
from ansible.module_utils.member_units import show

DOCUMENTATION = r"""
module: members_started
short_description: Start units together, or restart those that run with another configuration
description: Units are not enabled; only the target under test runs (and a reboot shows).
options:
  units: {type: list, elements: str, required: true, description: Units to start, in order.}
  config: {type: str, required: true, description: Stamp that a running unit must carry.}
  restart: {type: bool, default: false, description: Also restart those that carry another.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The member is started
  members_started: {units: [soakbed-etcd.service], config: 0a1b2c}
"""
RETURN = r"""
did: {type: list, returned: always, description: Units that were started or restarted.}
stale: {type: list, returned: always, description: Units that run with another configuration.}
"""


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "config": {"type": "str", "required": True},
            "restart": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    states = show(given["units"])
    idle = [name for name in given["units"] if not states[name]["active"]]
    stale = [n for n in given["units"] if n not in idle and states[n]["config"] != given["config"]]
    rounds = [("start", idle)]
    if given["restart"]:
        # One after the other, in order: the later one still serves while the first comes up.
        rounds += [("restart", [name]) for name in stale]
        stale = []
    did = [name for _, names in rounds for name in names]
    if did and not module.check_mode:
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        for verb, names in rounds:
            done = subprocess.run(["systemctl", verb, *names], check=False) if names else None
            if done is not None and done.returncode != 0:
                module.fail_json(msg=f"{', '.join(names)} did not {verb}\n{report(names)}")
    module.exit_json(changed=bool(did), did=did, stale=stale)


if __name__ == "__main__":
    main()
