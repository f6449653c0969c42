"""The end of a testbed: nothing of it stays on the machine, proven by looking."""

from __future__ import annotations

import shutil
import time

from soakbed.adapters.local_machine import Remains, ended_but_listed, remains_of, sweep
from soakbed.adapters.remote_state import StateLocked
from soakbed.adapters.terraform import Progress, Terraform
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec
from soakbed.stages.cost_plan import forget_hosts
from soakbed.stages.lease import drop_lease
from soakbed.stages.teardown_aws import unmake_on_aws

__all__ = ["teardown"]

_REAPED_WITHIN_S = 10.0
_SECRETS = ("pki", "secrets", "ssh", "terraform")


def teardown(
    testbed: TestbedSpec | str, *, terraform: Terraform, places: Places, progress: Progress
) -> Remains:
    """Unmake the hosts, remove their secrets, and return what there was before.

    Terraform goes first, but its word is not trusted: it may have been killed, or its state lost.
    So the machine is swept by exact names, and then looked at. A second teardown finds nothing,
    and that is fine. Hosts of a static testbed are not touched. What is on AWS is taken out there
    (`stages.teardown_aws`), and what this machine knows of it is removed only when it is gone.
    """
    name = testbed if isinstance(testbed, str) else testbed.name
    terraform.end_stragglers()
    local = _is_local(testbed, terraform)
    before = remains_of(name) if local else Remains()
    if _is_on_aws(testbed, terraform):
        unmade = unmake_on_aws(testbed, terraform=terraform, places=places, progress=progress)
        if unmade.leftovers:
            progress(f"{len(unmade.leftovers)} resources that Terraform did not know of are gone")
    else:
        _destroy(terraform, progress)
    if local:
        sweep(name, places)
        _prove_nothing_left(name, before)
    for secret in _SECRETS:
        if (places.state / secret).exists():
            shutil.rmtree(places.state / secret)
    (places.state / "testbed.json").unlink(missing_ok=True)
    forget_hosts(places)
    drop_lease(places)
    return before


def _is_local(testbed: TestbedSpec | str, terraform: Terraform) -> bool:
    """Whether its hosts are on this machine; if nobody can say any more, we look."""
    if isinstance(testbed, TestbedSpec):
        return testbed.provider == "local"
    tfvars = terraform.last_tfvars()
    return tfvars is None or tfvars["provider_kind"] == "local"


def _is_on_aws(testbed: TestbedSpec | str, terraform: Terraform) -> bool:
    """Whether anything of it may be on AWS: what was last made there counts, not only its file."""
    made_there = (terraform.last_tfvars() or {}).get("provider_kind") == "aws"
    return made_there or (isinstance(testbed, TestbedSpec) and testbed.provider == "aws")


def _destroy(terraform: Terraform, progress: Progress) -> None:
    tfvars = terraform.last_tfvars()
    if tfvars is None or not terraform.has_state():
        return
    try:
        terraform.destroy(tfvars, progress=progress)
    except StateLocked:
        raise  # another controller is at work on the same hosts
    except ProvisionError as error:
        # What follows does not need Terraform, and looks for itself.
        progress(f"{error.problem}\ngoing on without Terraform")


def _prove_nothing_left(name: str, before: Remains) -> None:
    deadline = time.monotonic() + _REAPED_WITHIN_S
    while ended_but_listed(name) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = remains_of(name, since=before)
    if left:
        raise ProvisionError(
            f"testbed {name} left something behind:\n" + "\n".join(left.lines()),
            remedy="end what holds it, then run teardown again",
        )
