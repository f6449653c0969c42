"""Whether a disk that fills will be full before the load ends, from what looks at it have seen.

What was foreseen before the start (`stages.disk_plateau`) rests on formulas; this rests on the host
itself, which keeps one point each ten minutes (`probes/watch.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LEAST_POINTS", "full_at_s"]

# An hour of points. etcd's database grows until its second retention (ten minutes) and Redis's log
# until its first rewrite: shorter stretches would foretell a full disk from every start.
LEAST_POINTS = 7


def full_at_s(
    points: Sequence[tuple[float, float]], *, limit_bytes: float, until_s: float
) -> float | None:
    """When a disk that goes on so reaches `limit_bytes`, in Unix seconds; None: not by `until_s`.

    `points`: (Unix seconds, bytes used), by time. The slope is Theil-Sen's (Sen 1968), which a log
    that is rewritten now and then, and so falls, does not mislead; with it must grow its lower
    bound of 95 %, so a disk that only wavers is not told of.
    """
    if len(points) < LEAST_POINTS:
        return None
    # Here, because it takes a third of a second to import and every command would pay for it.
    from scipy.stats import theilslopes

    times = [at_s for at_s, _ in points]
    used = [bytes_ for _, bytes_ in points]
    slope, intercept, low, _ = theilslopes(used, times, alpha=0.95)
    if slope <= 0 or low <= 0:
        return None
    at_s = max(times[-1], times[-1] + (limit_bytes - (intercept + slope * times[-1])) / slope)
    return float(at_s) if at_s <= until_s else None
