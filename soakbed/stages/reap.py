"""What nobody needs any more, in a cloud: seen, chosen by exact tags, removed, looked for again.

Only what a lease names in full is ever chosen (`records.cloud_resource`): one that has surely
ended, or one that was begun from here. Whoever cannot see everything removes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from soakbed.adapters.aws_resources import GONE_WITHIN_S, Left, Region, delete, find
from soakbed.records.cloud_resource import (
    PROJECT,
    CloudResource,
    LeaseName,
    LeaseSeen,
    leases_seen,
    those_of,
)

__all__ = ["Known", "Reaped", "Sight", "chosen", "look", "reap", "remove_lease"]

Progress = Callable[[str], None]
_SIDE_BY_SIDE = 8
_STILL_THERE = "it is still there after it was to go"
_LOOKS, _LOOK_AGAIN_S = 4, 3.0  # AWS lists what is gone for some seconds


@dataclass(frozen=True, slots=True)
class Known:
    """What this machine knows of leases begun from here: their regions, and what was made.

    `made`: ids (of key pairs and placement groups names) that the intent log says were made.
    """

    regions: Mapping[LeaseName, Collection[str]]
    made: Mapping[LeaseName, Collection[str]]

    def made_for(self, leases: Iterable[LeaseName]) -> set[str]:
        """What the intent log names for these leases."""
        return {id for name in leases for id in self.made.get(name, ())}


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen in all regions looked at.

    `unclear`: marked as soakbed's, without a lease in full or without an end that can be read.
    """

    resources: tuple[CloudResource, ...]
    leases: tuple[LeaseSeen, ...]
    unclear: tuple[CloudResource, ...]


@dataclass(frozen=True, slots=True)
class Reaped:
    """What was chosen and is gone, and what is left of it with the reason."""

    gone: tuple[CloudResource, ...]
    left: tuple[Left, ...]


def look(regions: Sequence[Region], known: Known) -> Sight:
    """Everything of soakbed's in `regions`. Raises AwsRefused where one of them cannot be seen."""
    made = known.made_for(known.made)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        seen = [one for found in pool.map(lambda r: find(r, made=made), regions) for one in found]
    leases = _with_untagged(seen, known)
    dated = {id(one) for lease in leases if lease.ends_s is not None for one in lease.resources}
    ours = {id(one) for lease in leases if lease.name in known.regions for one in lease.resources}
    unclear = [one for one in seen if PROJECT in one.tags and id(one) not in dated | ours]
    return Sight(tuple(seen), tuple(leases), tuple(unclear))


def chosen(
    leases: Iterable[LeaseSeen],
    *,
    testbed: str,
    all_expired: bool,
    ours: Collection[LeaseName],
    now_s: float,
) -> list[LeaseSeen]:
    """Which leases shall go: of one testbed ("" for any), what has ended; without `all_expired`
    also what has not ended but was begun from here. Neither asked for: none.
    """
    if not testbed and not all_expired:
        return []
    return [
        lease
        for lease in leases
        if (not testbed or lease.name.testbed == testbed)
        and (lease.has_lapsed(now_s) or (not all_expired and lease.name in ours))
    ]


def reap(
    regions: Sequence[Region],
    leases: Sequence[LeaseName],
    known: Known,
    *,
    progress: Progress,
    within_s: float = GONE_WITHIN_S,
) -> Reaped:
    """Remove what belongs to `leases` in `regions`, then look again. Raises as `look`."""
    made = known.made_for(leases)
    # Everything is seen before anything is removed.
    held = [(region, those_of(find(region, made=made), leases, made=made)) for region in regions]
    gone: list[CloudResource] = []
    left: list[Left] = []
    for region, those in held:
        if not those:
            continue
        refused = delete(region, those, progress=progress, within_s=within_s)
        why = {one.resource.id: one.why for one in refused}
        still = _still_there(region, leases, made=made | {one.id for one in those})
        left += [Left(one, why.get(one.id, _STILL_THERE)) for one in still]
        gone += [one for one in those if one.id not in {it.id for it in still}]
    return Reaped(tuple(gone), tuple(left))


def remove_lease(
    region: Region,
    lease: LeaseName,
    *,
    made: Collection[str],
    progress: Progress,
    within_s: float = GONE_WITHIN_S,
) -> Reaped:
    """Whatever one lease has left in its region, for teardown. Raises AwsRefused if it is blind."""
    known = Known(regions={lease: (region.name,)}, made={lease: made})
    return reap([region], [lease], known, progress=progress, within_s=within_s)


def _still_there(
    region: Region, leases: Sequence[LeaseName], *, made: Collection[str]
) -> list[CloudResource]:
    for after in range(_LOOKS):
        time.sleep(_LOOK_AGAIN_S if after else 0)
        if not (still := those_of(find(region, made=made), leases, made=made)):
            break
    return still


def _with_untagged(seen: Sequence[CloudResource], known: Known) -> list[LeaseSeen]:
    """The leases that tags name, each with what goes with it though it bears no tags."""
    tagged = {lease.name: lease for lease in leases_seen(seen)}
    made_alone = [name for name in known.made if name not in tagged]
    found = []
    for name in sorted({*tagged, *made_alone}):
        those = tuple(those_of(seen, [name], made=known.made.get(name, ())))
        of_tags = tagged.get(name)
        if not those:
            continue
        found.append(
            LeaseSeen(
                name=name,
                ends_s=of_tags.ends_s if of_tags else None,
                owner=of_tags.owner if of_tags else "",
                purpose=of_tags.purpose if of_tags else "",
                run=of_tags.run if of_tags else "",
                resources=those,
            )
        )
    return found
