#!/usr/bin/python
"""Waits until this host's TiKV store answers, and reads back what it runs with."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.member_report import ended, report
from ansible.module_utils.mutual_tls import admits_strangers
from ansible.module_utils.pd_api import (
    OPTIONS,
    NotYet,
    Pd,
    data,
    differing,
    flat,
    pd_of,
    plain_version,
    request,
)

DOCUMENTATION = r"""
module: tikv_health
short_description: Check the store of one host and read its configuration back
description: Asks over mutual TLS only, the store on its status port and PD for its version.
options:
  unit: {type: str, required: true, description: The store's unit.}
  endpoints: {type: list, elements: str, required: true, description: Where PD answers.}
  ca: {type: path, required: true, description: The CA's certificate.}
  cert: {type: path, required: true, description: A certificate of that CA.}
  key: {type: path, required: true, description: Its key.}
  name: {type: str, required: true, description: Name of the store.}
  address: {type: str, required: true, description: Its address.}
  port: {type: int, required: true, description: Its port for clients.}
  status_port: {type: int, required: true, description: Its port for status and metrics.}
  wants: {type: dict, default: {}, description: Settings that must be read back like this.}
  timeout_s: {type: int, default: 60, description: How long readiness may take.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The store answers
  tikv_health:
    unit: soakbed-tikv.service
    endpoints: [10.83.17.11:2479]
    ca: /etc/soakbed/pki/ca.crt
    cert: /etc/soakbed/pki/admin.crt
    key: /etc/soakbed/pki/admin.key
    name: d1
    address: 10.83.17.11
    port: 20160
    status_port: 20180
    wants: {storage.api-version: "1"}
"""
RETURN = r"""
soakbed: {type: dict, returned: success, description: Effective settings of the store.}
"""

POLL_S = 0.2


def registered(pd: Pd, place: str) -> dict:
    """The store as PD knows it; raises NotYet unless it is Up."""
    rows = {row["store"]["address"]: row["store"] for row in pd.ask("/stores")["stores"]}
    if place not in rows:
        raise NotYet(f"PD does not know the store {place} yet")
    if (state := rows[place]["state_name"]) != "Up":
        raise NotYet(f"PD calls the store {place} {state}")
    return rows[place]


def look(pd: Pd, given: dict) -> dict[str, str]:
    """Everything at once; raises when anything is not as it must be."""
    address = given["address"]
    status = f"{address}:{given['status_port']}"
    request(status, pd.tls, "/status")
    running = flat(data(request(status, pd.tls, "/config"), status))
    if wrong := differing(running, given["wants"]):
        raise NotYet(wrong)
    store = registered(pd, f"{address}:{given['port']}")
    for port in (given["port"], given["status_port"]):
        if admits_strangers(address, port, given["ca"]):
            raise NotYet(f"port {port} answers a client that shows no certificate")
    return {**running, "version": plain_version(store.get("version", ""))}


def main() -> None:
    """Run as a module."""
    more = {
        "name": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "status_port": {"type": "int", "required": True},
        "wants": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(argument_spec=OPTIONS | more, supports_check_mode=True)
    given = module.params
    pd = pd_of(given)
    until = time.monotonic() + given["timeout_s"]
    while True:
        try:
            effective = {f"{given['name']}-tikv": look(pd, given)}
            module.exit_json(changed=False, soakbed={"effective": effective})
        except (NotYet, OSError) as reason:
            gone = ended([given["unit"]])
            if gone or time.monotonic() > until:
                how = "has ended" if gone else f"is not ready after {given['timeout_s']} s"
                module.fail_json(msg=f"TiKV {how}: {reason}\n{report([given['unit']])}")
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
