"""Caveats over where the regions of TiKV were led while the steady phase was measured.

A leader that moves costs a redirect to each operation under way, and loads another store from then
on; the figures are still the target's, so that it is a caveat and no verdict.
"""

from __future__ import annotations

from soakbed.records.placement import PlacementChange
from soakbed.records.verdict import Caveat
from soakbed.stages.evidence import Evidence

__all__ = ["of_placement"]

_MOST_NAMED = 3


def of_placement(evidence: Evidence) -> list[Caveat]:
    """What moved in the steady phase, by PD's word before and after and by the redirects in it."""
    steady = evidence.numbers.phase("steady", "steady")
    if evidence.numbers.target != "tikv" or steady is None:
        return []
    change, redirects = evidence.placement, steady.generator.redirects
    told = _changed(change)
    if redirects:
        told.append(f"{redirects:,} redirects were followed")
        if len(told) == 1:
            told = [f"{told[0]}: {_unseen(change)}"]
    if not told:
        return []
    sentence = f"In the steady phase {'; '.join(told)}. Its latencies hold these moves."
    return [Caveat(subject="regions moved", sentence=sentence)]


def _unseen(change: PlacementChange) -> str:
    """What redirects mean that the map before and after does not show."""
    if change.before is not None and change.after is not None:
        return "leaders moved there and back, since each region is led as before it"
    return "regions were split or led by another store, and nobody recorded where they were"


def _changed(change: PlacementChange) -> list[str]:
    told = []
    if change.before and change.after and change.moved:
        named = [f"region {id_}: {then} -> {now}" for id_, then, now in change.moved[:_MOST_NAMED]]
        more = len(change.moved) - len(named)
        told.append(
            f"{len(change.moved)} of {len(change.after.regions)} regions came to be led by another "
            f"store ({', '.join(named)}{f', and {more} more' if more else ''}); regions led by "
            f"store were {_counts(change.before.leaders)}, and {_counts(change.after.leaders)} "
            "after it"
        )
    if change.reshaped:
        told.append(f"{change.reshaped} regions were split, merged, or got other replicas")
    return told


def _counts(leaders: dict[str, int]) -> str:
    return ", ".join(f"{store} {count}" for store, count in leaders.items())
