"""How much of what was planned is in the archive, and what is not, each gap with its cause.

`<target>/coverage.json`. A worker-second is one planned second of one worker; a second in which
nobody looked on is no gap, for the load goes on by itself (design.md D9).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = ["Coverage", "Gap", "GapCause", "TargetCoverage"]

GapCause = Literal[
    "worker_died",
    "load_host_down",
    "disk_full",
    "stopped",
    "budget_spent",
    "not_fetched",
    "unknown",
]


class Gap(Frozen):
    """Planned seconds, `from_s` to `until_s` (unix time), of which these workers left no window."""

    from_s: int
    until_s: int
    workers: tuple[int, ...]
    cause: GapCause
    told: str  # what says so, in words

    @property
    def seconds(self) -> int:
        """How long it lasted."""
        return self.until_s - self.from_s

    @property
    def worker_seconds(self) -> int:
        """How much is missing."""
        return self.seconds * len(self.workers)


class Coverage(Frozen):
    """One phase of one session: worker-seconds that were planned, and those in the archive."""

    session: str
    phase: str
    began_s: int
    expected_s: int
    held_s: int
    gaps: tuple[Gap, ...] = ()

    @property
    def percent(self) -> float:
        """Share of what was planned, 0-100; 100 only where nothing is missing."""
        if not self.expected_s:
            return 100.0
        share = 100.0 * self.held_s / self.expected_s
        return share if self.held_s >= self.expected_s else min(share, 99.9999)


class TargetCoverage(Frozen):
    """The whole file: every phase whose length was planned, in order."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: str
    phases: tuple[Coverage, ...] = ()

    def of(self, session: str, phase: str) -> Coverage | None:
        """One phase, or None when it never began."""
        held = [one for one in self.phases if (one.session, one.phase) == (session, phase)]
        return held[0] if held else None
