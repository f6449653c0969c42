"""Which store of TiKV led which region before and after a session of load."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = ["Placement", "PlacementChange", "PlacedRegion"]


class PlacedRegion(Frozen):
    """See loadgen.clients.tikv_regions.RegionNow, which prints it."""

    id: int
    start: str
    end: str
    leader: str
    version: int
    conf_ver: int


class Placement(Frozen):
    """`<target>/placement/<session>-before.json` and `-after.json`."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    at_s: float
    regions: tuple[PlacedRegion, ...]

    @property
    def leaders(self) -> dict[str, int]:
        """Address of a store -> regions that it leads; "nobody" for those without a leader."""
        counted = Counter(one.leader or "nobody" for one in self.regions)
        return dict(sorted(counted.items()))


class PlacementChange(Frozen):
    """Before and after one session; None where nobody could be asked."""

    before: Placement | None = None
    after: Placement | None = None

    @property
    def moved(self) -> tuple[tuple[int, str, str], ...]:
        """(region, leader before, leader after) of regions that another store leads now."""
        then = {one.id: one.leader for one in self.before.regions} if self.before else {}
        now = self.after.regions if self.after else ()
        return tuple(
            (one.id, then[one.id] or "nobody", one.leader or "nobody")
            for one in now
            if one.id in then and then[one.id] != one.leader
        )

    @property
    def reshaped(self) -> int:
        """Regions that are new, gone, or that were split, merged, or moved to other replicas."""
        if self.before is None or self.after is None:
            return 0
        then, now = (
            {one.id: (one.start, one.end, one.version, one.conf_ver) for one in side.regions}
            for side in (self.before, self.after)
        )
        return sum(then.get(id_) != now.get(id_) for id_ in then.keys() | now.keys())
