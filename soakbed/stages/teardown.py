"""The end of a testbed: nothing of it stays on the machine, proven by looking."""

from __future__ import annotations

import shutil

from soakbed.adapters.local_machine import Remains, remains_of, sweep
from soakbed.adapters.terraform import Progress, Terraform
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec

__all__ = ["teardown"]


def teardown(
    testbed: TestbedSpec | str, *, terraform: Terraform, places: Places, progress: Progress
) -> Remains:
    """Unmake the hosts, remove their secrets, and return what was found before.

    Terraform goes first, but its word is not trusted: it may have been killed, or its state lost.
    So the machine is swept by exact names, and then looked at. A second teardown finds nothing,
    and that is fine. Hosts of a static testbed are not touched.
    """
    name = testbed if isinstance(testbed, str) else testbed.name
    terraform.end_stragglers()
    before = remains_of(name)
    tfvars = terraform.last_tfvars()
    if tfvars is not None and terraform.state_file.exists():
        _destroy(terraform, tfvars, progress)
    sweep(name, places)
    left = remains_of(name, namespaces=frozenset(before.namespaces))
    if left:
        raise ProvisionError(
            f"testbed {name} left something behind:\n" + "\n".join(left.lines()),
            remedy="end what holds it, then run teardown again",
        )
    for secret in ("terraform", "ssh", "pki", "secrets"):
        shutil.rmtree(places.state / secret, ignore_errors=False) if (places.state / secret).exists() else None
    (places.state / "testbed.json").unlink(missing_ok=True)
    return before


def _destroy(terraform: Terraform, tfvars: dict, progress: Progress) -> None:
    try:
        terraform.destroy(tfvars, progress=progress)
    except ProvisionError as error:
        # The sweep that follows does not need Terraform, and looks for itself.
        progress(f"{error.problem}\nclearing the machine without Terraform")
