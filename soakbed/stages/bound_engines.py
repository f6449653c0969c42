"""Engines that were the limit themselves, told while the load is on: events of whole ten minutes.

The judge asks every second of the steady phase (`judge_load.generator_bound`); this is for whoever
looks on, and bounded however long an engine is overworked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from soakbed.records import policy
from soakbed.records.events import Event
from soakbed.stats.marks import broken_limits
from soakbed.stats.phase_data import Columns

__all__ = ["BLOCK_S", "bound_engines"]

BLOCK_S = 600


@dataclass(slots=True)
class _Bound:
    """What one worker did in one block."""

    first_s: int
    until_s: int = 0
    windows: int = 0
    reasons: set[str] = field(default_factory=set)


def bound_engines(parts: Iterable[Columns]) -> list[Event]:
    """One event for each worker and block of ten minutes with windows in which its engine broke a
    limit, by time. `parts`: rows of PhaseData.generator(), in any order.

    A block is told of once it is over, so that asking again says the same of it.
    """
    found: dict[tuple[int, int], _Bound] = {}
    newest_s = 0
    for part in parts:
        if len(part["start_s"]):
            newest_s = max(newest_s, int(part["start_s"].max()))
            _take(part, found)
    over = {key: one for key, one in found.items() if (key[0] + 1) * BLOCK_S <= newest_s}
    return [
        policy.event(
            "engine_bound",
            float(one.first_s),
            until_s=float(one.until_s),
            host="",
            source="watch",
            text=f"an engine was the limit in {one.windows} windows: "
            + ", ".join(sorted(one.reasons)),
            worker=worker,
        )
        for (_, worker), one in sorted(over.items())
    ]


def _take(part: Columns, found: dict[tuple[int, int], _Bound]) -> None:
    """Add the windows of `part` that broke a limit to their blocks."""
    broken = broken_limits(part)
    rows = np.flatnonzero(np.logical_or.reduce(list(broken.values())))
    starts_s, workers = (part[name][rows].astype(np.int64) for name in ("start_s", "worker"))
    ends_s = starts_s + part["length_s"][rows].astype(np.int64)
    keys = np.stack((starts_s // BLOCK_S, workers), axis=1)
    for block, worker in np.unique(keys, axis=0).tolist():
        here = (keys[:, 0] == block) & (keys[:, 1] == worker)
        one = found.setdefault((block, worker), _Bound(int(starts_s[here].min())))
        one.first_s = min(one.first_s, int(starts_s[here].min()))
        one.until_s = max(one.until_s, int(ends_s[here].max()))
        one.windows += int(here.sum())
        one.reasons |= {
            reason.replace("_", " ") for reason, at in broken.items() if at[rows][here].any()
        }
