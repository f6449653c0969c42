"""How far apart the clocks of the load hosts are, and how well that is known.

Windows of several load hosts are merged by the second that each host's own clock said, so this is
the error of every second on the page. In a run's manifest under `clock_offsets`, by target and
session.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from soakbed.records.frozen import Frozen

__all__ = ["Apart", "ClockComparison", "ClockReading", "SessionClocks"]


class ClockReading(Frozen):
    """One host's clock against the controller's; positive: the host is ahead.

    `bound_us` is half the round trip of the probe that was kept, the fastest: the host read its
    clock somewhere within that trip, so that offset +- bound holds the truth.
    """

    offset_us: int
    bound_us: int
    probes: int


class Apart(Frozen):
    """Two load hosts, how far apart their clocks were read, and the bound of that."""

    hosts: tuple[str, str]
    apart_us: int
    bound_us: int

    @property
    def surely_us(self) -> int:
        """They are at least so far apart."""
        return max(self.apart_us - self.bound_us, 0)

    @property
    def most_us(self) -> int:
        """They are at most so far apart."""
        return self.apart_us + self.bound_us


class ClockComparison(Frozen):
    """All load hosts at one moment. `unknown`: host -> why its clock could not be read."""

    at_s: float
    hosts: dict[str, ClockReading] = {}
    unknown: dict[str, str] = {}

    def pairs(self) -> list[Apart]:
        """Every two hosts that were read; the controller's own clock drops out."""
        return [
            Apart(
                hosts=(one, other),
                apart_us=abs(self.hosts[one].offset_us - self.hosts[other].offset_us),
                bound_us=self.hosts[one].bound_us + self.hosts[other].bound_us,
            )
            for one, other in combinations(sorted(self.hosts), 2)
        ]


class SessionClocks(Frozen):
    """Around one session; None: nobody compared them then."""

    before: ClockComparison | None = None
    after: ClockComparison | None = None

    def moments(self) -> dict[str, ClockComparison | None]:
        """Both comparisons by their word."""
        return {"before": self.before, "after": self.after}

    @classmethod
    def in_manifest(cls, manifest: Mapping[str, Any], target: str) -> dict[str, SessionClocks]:
        """Session -> clocks, as a run's manifest holds them; an older one holds none."""
        held = (manifest.get("clock_offsets") or {}).get(target) or {}
        return {session: cls.model_validate(clocks) for session, clocks in held.items()}
