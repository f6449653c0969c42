"""One resource in a cloud, and the rule that says whose it is: exact tags, and nothing else.

Something without our tags is ours only where a list that we wrote names its very id (the intent
log), or where it goes with an instance of ours. Whatever bears tags of another lease is another's,
even then. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from soakbed.records.frozen import Frozen

__all__ = [
    "DESTROY_AFTER",
    "LEASE",
    "OWNER",
    "PREFIX",
    "PROJECT",
    "PURPOSE",
    "RUN",
    "TESTBED",
    "CloudResource",
    "Kind",
    "LeaseName",
    "LeaseSeen",
    "lease_of",
    "lease_of_tags",
    "leases_seen",
    "those_of",
]

# Tags of everything that can carry some; infra/modules/aws writes the same words.
PROJECT = "soakbed:project"
TESTBED = "soakbed:testbed"
LEASE = "soakbed:lease"
RUN = "soakbed:run"
OWNER = "soakbed:owner"
PURPOSE = "soakbed:purpose"
DESTROY_AFTER = "soakbed:destroy_after"  # unix time, whole seconds
PREFIX = "soakbed:"
_OURS = "soakbed"
_BY_NAME = ("key pair", "placement group")  # which a cloud, and so the intent log, knows by name

Kind = Literal[
    "spot request",
    "instance",
    "network interface",
    "volume",
    "placement group",
    "key pair",
    "internet gateway",
    "route table",
    "subnet",
    "security group",
    "vpc",
]


class CloudResource(Frozen):
    """One thing that a cloud holds, as it told of itself.

    `links`: ids of what goes with it (volumes, interfaces and the spot request of an instance), or
    of what must be loosed before it can go (the VPC of a gateway, a table's associations).
    """

    kind: Kind
    id: str
    region: str
    name: str = ""  # that the cloud itself knows it by: of key pairs, groups; else the tag Name
    state: str = ""
    tags: dict[str, str] = {}
    links: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f" ({self.name})" if self.name not in ("", self.id) else ""
        state = f", {self.state}" if self.state else ""
        return f"{self.kind} {self.id}{named} in {self.region}{state}"


@dataclass(frozen=True, slots=True, order=True)
class LeaseName:
    """What makes a lease one of a kind: its testbed, and the random word that was drawn for it."""

    testbed: str
    lease: str


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """One lease, as the tags of its resources tell of it.

    `ends_s`: the latest end that any of them tells; None where none tells a readable one.
    """

    name: LeaseName
    ends_s: int | None
    owner: str
    purpose: str
    run: str
    resources: tuple[CloudResource, ...]

    def has_lapsed(self, now_s: float) -> bool:
        """Whether it is surely over: a lease whose end nobody can read is not."""
        return self.ends_s is not None and self.ends_s < now_s


def lease_of(resource: CloudResource) -> LeaseName | None:
    """Whose it is by its own tags; None where they do not say so in full.

    >>> told = {PROJECT: "soakbed", TESTBED: "aws-4x", LEASE: "k3v9"}
    >>> lease_of(CloudResource(kind="vpc", id="vpc-1", region="eu-west-1", tags=told))
    LeaseName(testbed='aws-4x', lease='k3v9')
    """
    return lease_of_tags(resource.tags)


def lease_of_tags(tags: Mapping[str, str]) -> LeaseName | None:
    """The lease that tags name in full; None where they do not."""
    testbed, lease = tags.get(TESTBED, ""), tags.get(LEASE, "")
    if tags.get(PROJECT) != _OURS or not testbed or not lease:
        return None
    return LeaseName(testbed, lease)


def those_of(
    resources: Iterable[CloudResource],
    leases: Iterable[LeaseName],
    *,
    made: Iterable[str] = (),
) -> list[CloudResource]:
    """Those of `resources` that belong to one of `leases`, in the order given.

    `made`: ids that the intent log says were made for one of these leases; of key pairs and
    placement groups names, which count only where the thing bears no tag at all.
    """
    wanted, seen, named = set(leases), list(resources), set(made) - {""}
    if not wanted:
        return []
    sure = [one for one in seen if lease_of(one) in wanted]
    along = {link for one in sure if one.kind == "instance" for link in one.links} - {""}
    return [
        one
        for one in seen
        if lease_of(one) in wanted
        or (one.id in named | along and not _says_anything(one))
        or (one.name in named and one.kind in _BY_NAME and not one.tags)
    ]


def leases_seen(resources: Iterable[CloudResource]) -> list[LeaseSeen]:
    """Every lease that the tags of `resources` name in full, by testbed and lease."""
    held: dict[LeaseName, list[CloudResource]] = {}
    for one in resources:
        if name := lease_of(one):
            held.setdefault(name, []).append(one)
    return [_seen(name, held[name]) for name in sorted(held)]


def _seen(name: LeaseName, resources: list[CloudResource]) -> LeaseSeen:
    # One whose extension failed must not speak for those that were told of it.
    ends = [end for one in resources if (end := _end(one.tags)) is not None]
    newest = max(resources, key=lambda one: _end(one.tags) or 0)
    return LeaseSeen(
        name=name,
        ends_s=max(ends, default=None),
        owner=newest.tags.get(OWNER, ""),
        purpose=newest.tags.get(PURPOSE, ""),
        run=newest.tags.get(RUN, ""),
        resources=tuple(resources),
    )


def _end(tags: Mapping[str, str]) -> int | None:
    told = tags.get(DESTROY_AFTER, "")
    return int(told) if told.isascii() and told.isdigit() else None


def _says_anything(resource: CloudResource) -> bool:
    """Whether any tag of it speaks of soakbed: then its tags decide, and nothing else."""
    return any(key.startswith(PREFIX) for key in resource.tags)
