"""When a target's planned housekeeping has its turns, from how long it is pressed."""

from __future__ import annotations

from soakbed.records.spec import RunSpec

__all__ = ["LEAST_SOAK_S", "defrag_every_s"]

# Shorter runs give nothing back: a file grows to its plateau in the first tens of minutes, and what
# it is by then is what the run needs.
LEAST_SOAK_S = 2 * 3600
_MOST_EVERY_S = 6 * 3600  # four times a day, as operators do who look at it daily
_LEAST_EVERY_S = 600
_TURNS = 12  # over the whole soak: often enough to be seen in figures, rare enough to see around it


def defrag_every_s(spec: RunSpec) -> int:
    """Seconds between two turns of one member of etcd; 0: none in this run.

    A twelfth of the steady phase, whole minutes, from ten minutes to six hours.
    """
    steady_s, asked = spec.workload.phases.steady_s, spec.workload.housekeeping
    if asked == "off" or (asked == "auto" and steady_s < LEAST_SOAK_S):
        return 0
    every_s = steady_s // _TURNS // 60 * 60
    return min(max(every_s, _LEAST_EVERY_S), _MOST_EVERY_S)
