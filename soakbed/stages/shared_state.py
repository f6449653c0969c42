"""Whose hosts a shared state holds: those of another controller are neither changed nor unmade.

A lease is begun and extended by the one controller that keeps it. A second one, with a lease and
keys of its own, would have Terraform make every host anew, in the middle of the first one's run.
"""

from __future__ import annotations

from collections.abc import Collection

from soakbed.adapters.terraform import Terraform
from soakbed.errors import ProvisionError
from soakbed.records.cloud_resource import LeaseName

__all__ = ["refuse_anothers_hosts"]


def refuse_anothers_hosts(terraform: Terraform, ours: Collection[LeaseName]) -> None:
    """Raise ProvisionError where the state holds hosts on a lease that is none of `ours`.

    Raises AwsRefused where the state cannot be read. A state on this machine is not asked.
    """
    others = sorted(terraform.leases_in_state() - set(ours))
    if not others:
        return
    told = ", ".join(f"testbed {one.testbed} on lease {one.lease}" for one in others)
    raise ProvisionError(
        f"{terraform.state_url} holds {told}, which another controller made and keeps; nothing "
        "was changed",
        remedy="go on with it from that controller, or name another key for this testbed "
        "(remote_state.key); where that controller is lost, wait until the lease has ended, then "
        f"run soakbed reap --testbed {others[0].testbed}, and remove that object once nothing is "
        "left",
    )
