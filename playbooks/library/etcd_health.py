#!/usr/bin/python
"""Waits until etcd is ready in meaning, not only in ports, and reads back what it runs with."""

from __future__ import annotations

import re
import ssl
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.etcd_control import OPTIONS, Etcdctl, EtcdctlFailed, control
from ansible.module_utils.member_units import environment_of, show
from ansible.module_utils.mutual_tls import admits_strangers, context, https_get

DOCUMENTATION = r"""
module: etcd_health
short_description: Wait for quorum, one leader, no alarm, and the same view on every member
description: Asks over mutual TLS only. Reads back flags, version and quota of the local member.
options:
  etcdctl: {type: path, required: true, description: The program.}
  endpoints: {type: list, elements: str, required: true, description: URLs of all members.}
  ca: {type: path, required: true, description: The CA's certificate.}
  cert: {type: path, required: true, description: Certificate of user root.}
  key: {type: path, required: true, description: Its key.}
  name: {type: str, required: true, description: Name of the local member.}
  address: {type: str, required: true, description: Address of the local member.}
  ports: {type: dict, required: true, description: "Its ports client, peer, metrics, http."}
  quota_bytes: {type: int, required: true, description: The quota it must report.}
  timeout_s: {type: int, default: 60, description: How long readiness may take.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The member is ready
  etcd_health:
    etcdctl: /opt/soakbed/bin/etcdctl
    endpoints: [https://10.83.17.11:2379]
    ca: /etc/soakbed/pki/ca.crt
    cert: /etc/soakbed/pki/admin.crt
    key: /etc/soakbed/pki/admin.key
    name: d1
    address: 10.83.17.11
    ports: {client: 2379, peer: 2380, metrics: 2381, http: 2382}
    quota_bytes: 8589934592
"""
RETURN = r"""
soakbed: {type: dict, returned: success, description: Health and effective, two topics.}
"""

UNIT = "soakbed-etcd.service"
POLL_S = 0.2


class NotYet(Exception):
    """Not ready; the text says what is missing."""


def cluster_view(etcd: Etcdctl, members: int) -> dict:
    """What all members say about the cluster, if they say the same."""
    rows = [row["Status"] for row in etcd.json("endpoint", "status")]
    if len(rows) != members:
        raise NotYet(f"{len(rows)} of {members} members answer")
    leaders = {row.get("leader", 0) for row in rows}
    if len(leaders) != 1 or leaders == {0}:
        raise NotYet(f"members name {len(leaders)} leaders")
    clusters = {row["header"]["cluster_id"] for row in rows}
    if len(clusters) != 1:
        raise NotYet(f"members belong to {len(clusters)} clusters; wipe them all")
    if any(row.get("isLearner") for row in rows):
        raise NotYet("a member is still a learner")
    alarms = sorted({alarm for row in rows for alarm in row.get("errors") or []})
    if alarms:
        raise NotYet(f"alarms: {', '.join(alarms)}")
    return {"members": len(rows), "leaders": 1, "alarms": []}


def metric(text: str, name: str) -> float:
    """One number from the metrics page."""
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    if found is None:
        raise NotYet(f"the metrics page has no {name}")
    return float(found[1])


def member_view(given: dict, tls: ssl.SSLContext) -> dict:
    """What the local member says about itself, on its metrics port."""
    address, port = given["address"], int(given["ports"]["metrics"])
    status, body = https_get(address, port, "/health", tls)
    if status != 200 or '"true"' not in body:
        raise NotYet(f"/health says {body.strip()}")
    _, page = https_get(address, port, "/metrics", tls)
    if metric(page, "etcd_server_has_leader") != 1:
        raise NotYet("the member sees no leader")
    quota = int(metric(page, "etcd_server_quota_backend_bytes"))
    if quota != given["quota_bytes"]:
        raise NotYet(f"quota is {quota} bytes, wanted {given['quota_bytes']}")
    return {"quota_backend_bytes": quota, "is_leader": metric(page, "etcd_server_is_leader") == 1}


def effective(given: dict, tls: ssl.SSLContext, quota: int) -> dict[str, str]:
    """The running process's own settings and version."""
    environment = environment_of(show([UNIT])[UNIT]["pid"])
    settings = {k: v for k, v in sorted(environment.items()) if k.startswith("ETCD_")}
    if settings.get("ETCD_UNSAFE_NO_FSYNC") != "false":
        raise NotYet("the running member does not say that it syncs its log")
    _, version = https_get(given["address"], int(given["ports"]["http"]), "/version", tls)
    return {**settings, "version": version.strip(), "quota_backend_bytes": str(quota)}


def look(given: dict) -> dict:
    """Everything at once; raises when anything is not as it must be."""
    tls = context(given["ca"], given["cert"], given["key"])
    member = member_view(given, tls)
    cluster = cluster_view(control(given), len(given["endpoints"]))
    running = effective(given, tls, member["quota_backend_bytes"])
    for port in given["ports"].values():
        if admits_strangers(given["address"], int(port), given["ca"]):
            raise NotYet(f"port {port} answers a client that shows no certificate")
    return {"health": {**cluster, **member}, "effective": {given["name"]: running}}


def main() -> None:
    """Run as a module."""
    more = {
        "name": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "ports": {"type": "dict", "required": True},
        "quota_bytes": {"type": "int", "required": True},
        "timeout_s": {"type": "int", "default": 60},
    }
    module = AnsibleModule(argument_spec=OPTIONS | more, supports_check_mode=True)
    until = time.monotonic() + module.params["timeout_s"]
    while True:
        try:
            module.exit_json(changed=False, soakbed=look(module.params))
        except (NotYet, EtcdctlFailed, OSError) as reason:
            if time.monotonic() > until:
                waited = module.params["timeout_s"]
                module.fail_json(msg=f"etcd is not ready after {waited} s: {reason}")
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
