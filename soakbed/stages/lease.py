"""The lease of a testbed: begun with its hosts, kept in the state folder, dropped with them."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from soakbed.archive.run_folder import write_whole
from soakbed.errors import ProvisionError
from soakbed.records.lease import Lease, first_lease
from soakbed.records.places import Places
from soakbed.records.testbed_spec import TestbedSpec

__all__ = ["FILE", "drop_lease", "held_lease", "hold_lease", "keep_lease", "leases_below"]

FILE = "lease.json"


def hold_lease(spec: TestbedSpec, places: Places) -> Lease | None:
    """The lease that hosts are made on, begun if there is none; None where the spec wants none.

    To be called before anything is made. One that lapsed begins anew under its old word, since
    what has outlived its hosts (networks, keys) is tagged with that.
    """
    if spec.leased is None:
        return None
    before, now_s = held_lease(places), time.time()
    if before is not None and not before.has_lapsed(now_s):
        return before
    lease = first_lease(
        spec.name,
        provider=spec.provider,
        region=spec.aws.region if spec.aws else "",
        now_s=now_s,
        lasts_h=spec.leased.first_h,
        least_id=before.id if before else "",
    )
    keep_lease(lease, places)
    return lease


def held_lease(places: Places) -> Lease | None:
    """The lease in the state folder; None where there is none.

    Raises ProvisionError when it cannot be read: to begin another would forget what was made.
    """
    return _read(places.state / FILE)


def keep_lease(lease: Lease, places: Places) -> None:
    """Write the lease, whole or not at all."""
    places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(places.state / FILE, lease.model_dump_json(by_alias=True, indent=1) + "\n")


def drop_lease(places: Places) -> None:
    """Forget the lease: nothing is left that it spoke for."""
    (places.state / FILE).unlink(missing_ok=True)


def leases_below(states: Path) -> list[Lease]:
    """The leases of all testbeds whose state lies in one folder.

    Raises ProvisionError when one cannot be read, as `held_lease`.
    """
    return [lease for path in sorted(states.glob(f"*/{FILE}")) if (lease := _read(path))]


def _read(path: Path) -> Lease | None:
    try:
        return Lease.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ProvisionError(
            f"{path} cannot be read: {error}",
            remedy="write it anew by the tags of the testbed's resources (`soakbed reap` shows "
            "them), or remove it once nothing of the testbed is left",
        ) from error
