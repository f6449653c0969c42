"""The input of infra/aws: what a spec asks for, and what is known only when it is provisioned."""

from __future__ import annotations

import getpass
import re
from typing import Any

from soakbed.records.frozen import Frozen
from soakbed.records.places import Places
from soakbed.records.testbed_spec import AwsSpec, TestbedSpec

__all__ = ["AwsAnswers", "aws_tfvars"]


class AwsAnswers(Frozen):
    """What the spec leaves open: answered at the first provisioning, and kept for all later ones.

    `operator_cidr` is never "auto" here; `destroy_after` is in seconds since 1970 (UTC).
    """

    zone: str
    operator_cidr: str
    lease_id: str
    destroy_after: int
    run_id: str = "-"


def aws_tfvars(spec: TestbedSpec, answers: AwsAnswers, *, places: Places) -> dict[str, Any]:
    """The input of infra/aws. Reads the public half of the testbed's key, and never the other.

    Raises FileNotFoundError where there is no key yet, ValueError where the spec is not for AWS.
    """
    if spec.aws is None:
        raise ValueError(f"testbed {spec.name} is not for AWS")
    ssh_dir = places.state.absolute() / "ssh"
    asked = spec.aws
    return {
        "name": spec.name,
        "provider_kind": spec.provider,
        "ssh_dir": str(ssh_dir),
        "public_key": (ssh_dir / "id_ed25519.pub").read_text().strip(),
        "region": asked.region,
        "network_cidr": asked.network_cidr,
        "instance_type": asked.instance_type,
        "spot": asked.spot,
        "boot_disk_gb": asked.boot_disk_gb,
        "image_owner": asked.image_owner,
        "image_name": asked.image_name,
        "owner": _owner(asked),
        "purpose": asked.purpose,
        **answers.model_dump(),
        "hosts": {
            name: {"duty": host.duty, "instance_type": host.instance_type}
            for name, host in spec.hosts.items()
        },
    }


def _owner(asked: AwsSpec) -> str:
    """Who answers for the hosts: as written, else the local user, as a tag may have it."""
    if asked.owner:
        return asked.owner
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        user = "unknown"
    return re.sub(r"[^\w.@-]", "-", user, flags=re.ASCII)[:64]
