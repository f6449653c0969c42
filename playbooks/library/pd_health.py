#!/usr/bin/python
"""Waits until PD has quorum and a leader, sets what it may move, and reads its settings back."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.member_report import ended, report
from ansible.module_utils.mutual_tls import admits_strangers
from ansible.module_utils.pd_api import (
    OPTIONS,
    NotYet,
    Pd,
    differing,
    flat,
    pd_of,
    plain_version,
)

DOCUMENTATION = r"""
module: pd_health
short_description: Wait for PD's quorum and leader, and read back the local member's settings
description:
  - Asks over mutual TLS only.
  - PD keeps schedule limits in its own storage from its first start on, so they are set through
    its API where they differ.
options:
  unit: {type: str, required: true, description: The local member's unit.}
  endpoints: {type: list, elements: str, required: true, description: Where PD answers.}
  ca: {type: path, required: true, description: The CA's certificate.}
  cert: {type: path, required: true, description: A certificate of that CA.}
  key: {type: path, required: true, description: Its key.}
  name: {type: str, required: true, description: Name of the local member.}
  address: {type: str, required: true, description: Its address.}
  ports: {type: list, elements: int, required: true, description: Its ports, the clients' first.}
  limits: {type: dict, default: {}, description: Schedule limits to set where they differ.}
  wants: {type: dict, default: {}, description: Settings that must be read back like this.}
  timeout_s: {type: int, default: 60, description: How long readiness may take.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The member is ready
  pd_health:
    unit: soakbed-pd.service
    endpoints: [10.83.17.11:2479]
    ca: /etc/soakbed/pki/ca.crt
    cert: /etc/soakbed/pki/admin.crt
    key: /etc/soakbed/pki/admin.key
    name: d1
    address: 10.83.17.11
    ports: [2479, 2480]
    limits: {merge-schedule-limit: 0}
"""
RETURN = r"""
did: {type: list, returned: success, description: Limits that were changed.}
soakbed: {type: dict, returned: success, description: Health and effective, two topics.}
"""

POLL_S = 0.2


def cluster_view(pd: Pd) -> dict:
    """Quorum, as PD's leader sees it; raises NotYet when a member is away."""
    members = pd.ask("/members")
    healthy = {row["name"] for row in pd.ask("/health") if row["health"]}
    names = sorted(row["name"] for row in members.get("members", []))
    if len(names) != len(pd.endpoints):
        raise NotYet(f"{len(names)} of {len(pd.endpoints)} members have joined; wipe them all")
    if away := [name for name in names if name not in healthy]:
        raise NotYet(f"members not healthy: {', '.join(away)}")
    leader = (members.get("leader") or {}).get("name", "")
    if not leader:
        raise NotYet("no member leads")
    return {"members": len(names), "leader": leader}


def missing_limits(pd: Pd, limits: dict) -> dict:
    """Limits that PD does not have yet."""
    now = pd.ask("/config")["schedule"]
    if unknown := sorted(set(limits) - set(now)):
        raise NotYet(f"PD knows no schedule limit {', '.join(unknown)}")
    return {name: int(value) for name, value in limits.items() if now[name] != int(value)}


def member_view(pd: Pd, given: dict) -> dict[str, str]:
    """What the local member runs with."""
    endpoint = f"{given['address']}:{given['ports'][0]}"
    running = flat(pd.himself(endpoint, "/config"))
    if running.get("name") != given["name"]:
        raise NotYet(f"{endpoint} calls itself {running.get('name')}, wanted {given['name']}")
    if wrong := differing(running, given["wants"]):
        raise NotYet(wrong)
    for port in given["ports"]:
        if admits_strangers(given["address"], port, given["ca"]):
            raise NotYet(f"port {port} answers a client that shows no certificate")
    version = plain_version(pd.himself(endpoint, "/version")["version"])
    return {**running, "version": version}


def look(pd: Pd, given: dict, *, check: bool) -> dict:
    """Everything at once; raises when anything is not as it must be."""
    cluster = cluster_view(pd)
    missing = missing_limits(pd, given["limits"])
    if missing and not check:
        pd.ask("/config", {f"schedule.{name}": value for name, value in missing.items()})
        if left := missing_limits(pd, given["limits"]):
            raise NotYet(f"PD did not take {left}")
    running = member_view(pd, given)
    effective = {f"{given['name']}-pd": running}
    return {
        "did": [f"{name}={value}" for name, value in missing.items()],
        "soakbed": {"health": cluster, "effective": effective},
    }


def main() -> None:
    """Run as a module."""
    more = {
        "name": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "ports": {"type": "list", "elements": "int", "required": True},
        "limits": {"type": "dict", "default": {}},
        "wants": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(argument_spec=OPTIONS | more, supports_check_mode=True)
    given = module.params
    pd = pd_of(given)
    until = time.monotonic() + given["timeout_s"]
    while True:
        try:
            found = look(pd, given, check=module.check_mode)
            module.exit_json(changed=bool(found["did"]), **found)
        except (NotYet, OSError) as reason:
            gone = ended([given["unit"]])
            if gone or time.monotonic() > until:
                how = "has ended" if gone else f"is not ready after {given['timeout_s']} s"
                module.fail_json(msg=f"PD {how}: {reason}\n{report([given['unit']])}")
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
