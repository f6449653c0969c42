"""What hosts will be made of, and whether targets can be had for that: asked of the spec alone.

In a cloud all of that is known before anything is made and paid. Hosts that somebody already has
are asked themselves (`stages.static_checks`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from soakbed.adapters.artifact_pins import TargetPin, read_pins
from soakbed.errors import Mistake, SpecError
from soakbed.records.frozen import Frozen
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec

__all__ = ["InstanceType", "architecture_of", "instance_types", "require_hardware"]


_TABLE = "infra/modules/aws/instance_types.json"


class InstanceType(Frozen):
    """One row of infra/modules/aws/instance_types.json. `architecture` is amd64 or arm64."""

    architecture: str
    vcpus: int
    memory_gib: float
    nvme_gb: int  # 0: no local disk
    network_sustained_mbit: int
    ebs_most_mbit: int


def instance_types(places: Places) -> dict[str, InstanceType]:
    """Instance types whose hardware is known, by name."""
    table = json.loads((places.project / _TABLE).read_text())
    return {name: InstanceType.model_validate(row) for name, row in table["types"].items()}


def architecture_of(spec: TestbedSpec, places: Places) -> str:
    """Debian's word for the architecture that hosts of `spec` have: in a cloud that of their type.

    "" for this machine's, as hosts elsewhere have it: static load hosts that differ are refused.
    """
    if spec.aws is None:
        return ""
    known = instance_types(places)
    return next((known[kind].architecture for kind in _kinds(spec).values() if kind in known), "")


def require_hardware(
    spec: TestbedSpec, targets: Sequence[str], places: Places, *, allow_substitute: bool = True
) -> None:
    """Raise SpecError where instance types do not fit each other, their duty, or a target."""
    if spec.aws is None:
        return
    known = instance_types(places)
    mistakes = _of_types(spec, known)
    if not mistakes and not places.artifacts:  # the user's own folder may have what upstream lacks
        arch = architecture_of(spec, places)
        pins = read_pins(places.playbooks / "group_vars" / "all" / "artifacts.yml")
        for target in targets:
            if not _is_built_for(arch, pins[target], allow_substitute=allow_substitute):
                mistakes.append(_no_build(spec, target, pins[target], arch, known))
    if mistakes:
        raise SpecError(mistakes)


def _kinds(spec: TestbedSpec) -> dict[str, str]:
    """Host -> its instance type."""
    usual = spec.aws.instance_type if spec.aws else ""
    return {name: host.instance_type or usual for name, host in spec.hosts.items()}


def _of_types(spec: TestbedSpec, known: Mapping[str, InstanceType]) -> list[Mistake]:
    kinds = _kinds(spec)
    if unknown := sorted(set(kinds.values()) - set(known)):
        remedy = (
            f"use one of {', '.join(known)}, or add it to infra/modules/aws/instance_types.json"
        )
        return [
            _mistake(spec, kind, "what this type has is not known here", remedy) for kind in unknown
        ]
    mistakes = []
    built_for = {kind: known[kind].architecture for kind in sorted(set(kinds.values()))}
    if len(set(built_for.values())) > 1:
        told = ", ".join(f"{kind} is {arch}" for kind, arch in built_for.items())
        problem = "hosts of two architectures cannot share one image and one set of artifacts"
        mistakes.append(_mistake(spec, told, problem, "use types of amd64 or of arm64 alone"))
    data = {kinds[name] for name, host in spec.hosts.items() if host.duty == "data"}
    for kind in sorted(kind for kind in data if not known[kind].nvme_gb):
        problem = "data hosts keep their database on a local disk, and this type has none"
        mistakes.append(_mistake(spec, kind, problem, "use it for load hosts alone"))
    return mistakes


def _is_built_for(arch: str, pin: TargetPin, *, allow_substitute: bool) -> bool:
    upstream = pin.upstream is not None and bool(pin.upstream.files.get(arch))
    debian = pin.debian is not None and all(
        arch in package.sha256 for package in pin.debian.packages.values()
    )
    return upstream or (debian and (pin.upstream is None or allow_substitute))


def _no_build(
    spec: TestbedSpec,
    target: str,
    pin: TargetPin,
    arch: str,
    known: Mapping[str, InstanceType],
) -> Mistake:
    others = [name for name, kind in known.items() if kind.architecture != arch]
    return _mistake(
        spec,
        ", ".join(sorted(set(_kinds(spec).values()))),
        f"{target} {pin.version} has no build for {arch} in artifacts.yml",
        f"use a type of another architecture ({', '.join(others)}), leave {target} out, or name a "
        "folder that has its build in SOAKBED_ARTIFACTS",
    )


def _mistake(spec: TestbedSpec, value: str, problem: str, remedy: str) -> Mistake:
    return Mistake(f"testbed {spec.name}", "instance_type", value, problem, remedy)
