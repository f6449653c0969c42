"""Percentiles over cells of unlike size: histograms merged with equal weight, never averaged.

A cell that was offered ten times as much would, if counts were simply added, speak ten times as
loudly, and a factor's effect would be that of its busiest cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen.contract.histogram import BUCKETS
from soakbed.stats.percentiles import HIGH_US, Counts, carried

__all__ = ["mixed_percentile_us"]

# Sums of shares miss 1 by rounding; a percentile must not move up a bucket for it.
_ROUNDING = 1e-12


def mixed_percentile_us(parts: Sequence[Counts], percentile: float) -> int | None:
    """The value that `percentile` (0-100) of the equal mixture of `parts` do not exceed.

    None without parts, or where one of them does not carry the percentile by itself. The upper
    edge of its bucket, never above the exact maximum.
    """
    if not parts or not all(carried(percentile, part.total) for part in parts):
        return None
    shares = np.zeros(BUCKETS)
    for part in parts:
        shares += part.buckets / (part.total * len(parts))
    index = int(np.argmax(np.cumsum(shares) >= percentile / 100 - _ROUNDING))
    return min(int(HIGH_US[index]), max(part.max_us for part in parts))
