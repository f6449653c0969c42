"""What in a plan of Terraform (`terraform show -json`) would open, expose or betray hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["faults_in"]

_WORLD = {"0.0.0.0/0", "::/0"}


def _resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)


def faults_in(plan: dict[str, Any]) -> list[str]:
    """One line for each fault; [] for a plan that opens, exposes and betrays nothing."""
    faults = ["a private key is in the plan"] if "PRIVATE KEY" in json.dumps(plan) else []
    for resource in _resources(plan["planned_values"]["root_module"]):
        where, values, kind = resource["address"], resource["values"], resource["type"]
        if kind == "aws_vpc_security_group_ingress_rule":
            if {values.get("cidr_ipv4"), values.get("cidr_ipv6")} & _WORLD:
                faults.append(f"{where}: open to the world")
        elif kind == "aws_security_group":
            rules = values.get("ingress") or []
            if any(set(rule.get("cidr_blocks") or []) & _WORLD for rule in rules):
                faults.append(f"{where}: open to the world")
        elif kind == "aws_instance":
            disks = values.get("root_block_device") or [{}]
            if not all(disk.get("encrypted") for disk in disks) or values.get("ebs_block_device"):
                faults.append(f"{where}: a disk that is not encrypted, or not known to be")
            if [one["http_tokens"] for one in values.get("metadata_options") or []] != ["required"]:
                faults.append(f"{where}: metadata by version 1")
    return faults
