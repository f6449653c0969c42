"""What reached the double and what became of it, for a test to hold the client's count against."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["APPLIED", "RECEIVED", "Counters"]

RECEIVED = "received"
APPLIED = "applied"  # a read that was served counts, too


@dataclass
class Counters:
    """(server, method, event) -> times. An event is received, applied, or what went wrong."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def count(self, server: str, method: str, event: str) -> None:
        self.counts[server, method, event] += 1

    def to_json(self) -> dict[str, dict[str, dict[str, int]]]:
        """server -> method -> event -> times."""
        made: dict[str, dict[str, dict[str, int]]] = {}
        for (server, method, event), times in sorted(self.counts.items()):
            made.setdefault(server, {}).setdefault(method, {})[event] = times
        return made
