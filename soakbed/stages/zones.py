"""Which zone to make the hosts in, and which to try next when it has none to give. Pure.

All hosts of a testbed live in one zone: between zones a round trip costs half a millisecond and
traffic money, and a cluster placement group cannot span them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soakbed.errors import ProvisionError

__all__ = ["ZoneRefused", "in_order", "lack_of_capacity", "nowhere"]

# EC2's words for "not here, not now"; another zone may well have it. Those that end in
# LimitExceeded are the account's own limits: they hold in every zone, so trying on is in vain.
# Source: "Error codes for the Amazon EC2 API"; Server.* are an instance's StateReason.
_LACKS = (
    "InsufficientCapacity",
    "InsufficientHostCapacity",
    "InsufficientInstanceCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientAddressCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "Unsupported",
)
_SAID = re.compile(rf"\b(?:(?:Server|Client)\.)?({'|'.join(_LACKS)})\b:?\s*([^\n]*)")
_NOT_OFFERED = "NotOffered"


@dataclass(frozen=True, slots=True)
class ZoneRefused:
    """One zone that did not give all hosts: AWS's code for it, and its words."""

    zone: str
    code: str
    words: str

    def __str__(self) -> str:
        return (
            f"{self.zone}: {self.code}: {self.words}" if self.words else f"{self.zone}: {self.code}"
        )


def lack_of_capacity(zone: str, complaint: str) -> ZoneRefused | None:
    """What a failed apply in `zone` says about capacity; None if it failed for another reason.

    >>> print(lack_of_capacity("eu-west-1a", "api error InsufficientInstanceCapacity: none left"))
    eu-west-1a: InsufficientInstanceCapacity: none left
    >>> lack_of_capacity("eu-west-1a", "api error VcpuLimitExceeded: ask for more") is None
    True
    """
    found = _SAID.search(complaint)
    return ZoneRefused(zone, found[1], found[2].strip()) if found else None


def in_order(
    wanted: Sequence[str], *, kept: str, offers: Mapping[str, frozenset[str]], types: frozenset[str]
) -> tuple[list[str], list[ZoneRefused]]:
    """The zones to try, best first, and those that need no try.

    `kept`: where this testbed lives or was being made, "" for nowhere yet; it goes first, for what
    is there stays there. `offers`: zone -> instance types that it has at all; a zone that lacks
    one of `types` is refused without making anything.
    """
    order = [*([kept] if kept else []), *(zone for zone in wanted if zone != kept)]
    refused = []
    for zone in order:
        if lacking := sorted(types - offers.get(zone, frozenset())):
            refused.append(ZoneRefused(zone, _NOT_OFFERED, f"it has no {', '.join(lacking)}"))
    without = {refusal.zone for refusal in refused}
    return [zone for zone in order if zone not in without], refused


def nowhere(refused: Sequence[ZoneRefused], *, hosts: int) -> ProvisionError:
    """The error where no zone gave all hosts; each zone's own words in it."""
    return ProvisionError(
        f"no zone gave all {hosts} hosts; what was made in each was unmade:\n"
        + "\n".join(f"- {refusal}" for refusal in refused),
        remedy="name more zones (aws.zones) or another instance_type in the testbed's file, wait, "
        'or leave "spot" out; then provision again',
    )
