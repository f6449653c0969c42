"""The end of what a testbed has on AWS: Terraform first, then whatever its leases still hold.

Terraform's word is not trusted: it may have been killed between a call and its answer, or its
state may be lost. So AWS itself is asked, by exact tags and by the intent log, and asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from soakbed.adapters.aws import AwsRegion
from soakbed.adapters.remote_state import StateLocked
from soakbed.adapters.terraform import Terraform
from soakbed.archive.intent_log import IntentLog
from soakbed.errors import ProvisionError
from soakbed.records.cloud_resource import CloudResource, LeaseName
from soakbed.records.intents import Intent, open_intents
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec
from soakbed.stages.cloud_notes import CloudNotes
from soakbed.stages.lease import held_lease
from soakbed.stages.reap import remove_lease
from soakbed.stages.shared_state import refuse_anothers_hosts

__all__ = ["ZONE_FILE", "Unmade", "unmake_on_aws"]

Progress = Callable[[str], None]
ZONE_FILE = "zone.json"


@dataclass(frozen=True, slots=True)
class Unmade:
    """What one teardown removed: resources by Terraform, and what it did not know of."""

    by_terraform: int
    leftovers: tuple[CloudResource, ...]


def unmake_on_aws(
    testbed: TestbedSpec | str, *, terraform: Terraform, places: Places, progress: Progress
) -> Unmade:
    """Remove everything that this testbed's leases hold, and see that nothing is left.

    Raises AwsRefused where AWS cannot be seen, ProvisionError naming what it would not let go, or
    the controller whose hosts a shared state holds. Where nothing was ever made, or all is known
    to be gone, AWS is not asked.
    """
    name = testbed if isinstance(testbed, str) else testbed.name
    log = IntentLog.of(places)
    stays = _where(name, terraform, places, open_intents(log.read()))
    refuse_anothers_hosts(terraform, [LeaseName(name, lease) for _, lease in stays])
    if not stays:
        return Unmade(0, ())
    regions = {region: AwsRegion(region) for region in sorted({region for region, _ in stays})}
    for region in regions.values():
        region.identity()  # else Terraform would wait for credentials, and for long
    notes = [CloudNotes(log, name, lease, region, progress) for region, lease in sorted(stays)]
    removed = _destroy(terraform, notes, progress)
    gone: list[CloudResource] = []
    left: list[str] = []
    for note in notes:
        # Names stand for what was begun and never got an id: key pairs and placement groups.
        made = {word for it in note.of_this_lease() for word in (it.id, it.name) if word}
        reaped = remove_lease(
            regions[note.region], LeaseName(name, note.lease), made=made, progress=progress
        )
        gone += reaped.gone
        left += [str(one) for one in reaped.left]
        if not reaped.left:
            note.all_gone()
    if left:
        raise ProvisionError(
            f"testbed {name} left something behind:\n" + "\n".join(f"- {one}" for one in left),
            remedy="wait a minute and run teardown again; what a person put in the way (an address "
            "or a disk of their own) they must take out themselves",
        )
    (places.state / ZONE_FILE).unlink(missing_ok=True)
    return Unmade(removed, tuple(gone))


def _where(
    name: str, terraform: Terraform, places: Places, intents: list[Intent]
) -> set[tuple[str, str]]:
    """(region, lease) of all that this machine ever began for this testbed and did not see go."""
    stays = {(intent.region, intent.lease) for intent in intents if intent.testbed == name}
    if (lease := held_lease(places)) is not None and lease.region:
        stays.add((lease.region, lease.id))
    tfvars = terraform.last_tfvars() or {}
    if tfvars.get("provider_kind") == "aws":
        stays.add(_of(tfvars))
    return stays


def _of(tfvars: Mapping[str, Any]) -> tuple[str, str]:
    return str(tfvars["region"]), str(tfvars["lease_id"])


def _destroy(terraform: Terraform, notes: list[CloudNotes], progress: Progress) -> int:
    """What Terraform knows of; how many resources that was."""
    tfvars = terraform.last_tfvars()
    if tfvars is None or not terraform.has_state():
        return 0
    (mine,) = [it for it in notes if (it.region, it.lease) == _of(tfvars)]
    try:
        done = terraform.destroy(tfvars, progress=progress, tell=mine.tell)
    except StateLocked:
        raise  # whoever holds it may be making hosts
    except ProvisionError as error:
        # What follows does not need Terraform, and looks for itself.
        progress(f"{error.problem}\ngoing on without Terraform")
        return 0
    return done.destroyed
