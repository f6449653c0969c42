"""Windows in which an engine was the limit, or dropped requests, gathered over a phase.

The limits are those of `loadgen.contract.limits`, asked of whole columns. Bounded in memory however
long the phase was: seconds are counted, the first windows are kept whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.limits import LEAST_DELAY_US, LEAST_VALUES, LIMITS, MOST_DELAY_SHARE
from soakbed.records.numbers import LimitBroken, MarkedSeconds
from soakbed.stats.distinct import distinct
from soakbed.stats.phase_data import Columns, PhaseData

__all__ = ["MOST_MARKED", "Marks", "broken_limits"]

# More than a reader looks at; a run with more of them is invalid a hundred times over.
MOST_MARKED = 500

_VALUES = {  # reason -> column
    "cpu": "cpu_share",
    "core_taken": "wait_share",
    "own_delay": "late_p95_us",
    "loop_lag": "loop_lag_max_us",
    "nic": "nic_share",
}
# What `broken_limits` looks at.
_JUDGED = ("complete", *_VALUES.values(), "late_count", "response_count", "response_p95_us")
_COUNTED = ("dropped", "due", "sent")
_KEYS = ("start_s", "worker", "seq")
_SEQ_BITS = 40
_Ints = NDArray[np.int64]
_NONE: _Ints = np.zeros(0, dtype=np.int64)


def broken_limits(part: Columns) -> dict[str, NDArray[np.bool_]]:
    """For each reason, which rows of PhaseData.generator() broke the limit.

    Says of every row what `loadgen.contract.limits.limits_broken` says of its window.
    """
    complete = part["complete"].astype(bool)
    made = {}
    for limit in LIMITS:
        with np.errstate(invalid="ignore"):  # NaN: nobody could tell, and nothing was broken
            made[limit.reason] = complete & (part[_VALUES[limit.reason]] > limit.most)
    late_us, response_us = part["late_p95_us"], part["response_p95_us"]
    counts = (part["late_count"] >= LEAST_VALUES) & (late_us > LEAST_DELAY_US)
    small = (part["response_count"] > 0) & (late_us <= MOST_DELAY_SHARE * response_us)
    made["own_delay"] &= counts & ~small
    return made


class Marks:
    """What `GeneratorNumbers` says of single windows. The order of parts does not matter."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[_Ints]] = {}  # judged, bound, dropping, and each reason
        self._worst: dict[str, tuple[float, int, int]] = {}  # value, -start_s, -worker
        self._marked_ids: list[_Ints] = []  # of all marked windows, with repeats
        self._first = np.zeros((0, 3), dtype=np.int64)  # start_s, worker, seq of the first of them
        self._length_s = 1

    def take_windows(self, part: Columns) -> None:
        """Judge rows of PhaseData.generator()."""
        if not len(part["start_s"]):
            return
        self._length_s = int(part["length_s"][-1])
        self._add("judged", part["start_s"][part["complete"].astype(bool)])
        broken = broken_limits(part)
        any_broken = np.logical_or.reduce(list(broken.values()))
        self._add("bound", part["start_s"][any_broken])
        for reason, rows in broken.items():
            if rows.any():
                self._add(reason, part["start_s"][rows])
                found = _worst(part, rows, _VALUES[reason])
                self._worst[reason] = max(found, self._worst.get(reason, found))
        self._mark(part, any_broken)

    @property
    def window_s(self) -> int:
        """Seconds of a window."""
        return self._length_s

    def take_counters(self, part: Columns) -> None:
        """Find rows of PhaseData.counters() in which requests were dropped."""
        dropping = part["dropped"] > 0
        if dropping.any():
            self._add("dropping", part["start_s"][dropping])
            self._mark(part, dropping)

    def _add(self, name: str, starts_s: _Ints) -> None:
        self._seconds.setdefault(name, []).append(distinct(starts_s)[0])

    def _count_s(self, name: str) -> int:
        held = self._seconds.get(name, [_NONE])
        return len(distinct(np.concatenate(held))[0]) * self._length_s

    def _mark(self, part: Columns, rows: NDArray[np.bool_]) -> None:
        if not rows.any():
            return
        keys = np.stack([part[name][rows].astype(np.int64) for name in _KEYS], axis=1)
        self._marked_ids.append((keys[:, 1] << _SEQ_BITS) + keys[:, 2])
        keys = np.concatenate((self._first, keys))
        keys = keys[np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0]))]
        new = np.concatenate(([True], (keys[1:] != keys[:-1]).any(axis=1)))
        self._first = keys[new][:MOST_MARKED]

    def numbers(self, data: PhaseData, began_s: int) -> dict[str, Any]:
        """The fields of `GeneratorNumbers` that speak of single windows.

        Reads `data` a second time for the windows that are shown, where there are any.
        """
        # Sorted, because np.unique takes three times as long over the millions of a bad soak.
        ids = np.sort(np.concatenate([_NONE, *self._marked_ids]))
        marked = len(ids) - int((ids[1:] == ids[:-1]).sum())
        return {
            "judged_s": self._count_s("judged"),
            "bound_s": self._count_s("bound"),
            "dropping_s": self._count_s("dropping"),
            "broken": tuple(
                LimitBroken(
                    reason=limit.reason,
                    seconds=self._count_s(limit.reason),
                    worst=worst[0],
                    limit=limit.most,
                    worker=-worst[2],
                    at_s=-worst[1] - began_s,
                )
                for limit in LIMITS
                if (worst := self._worst.get(limit.reason))
            ),
            "marked": tuple(_shown(data, self._first, began_s)),
            "marked_left_out": marked - len(self._first),
        }


def _worst(part: Columns, rows: NDArray[np.bool_], column: str) -> tuple[float, int, int]:
    """The greatest value among `rows`; of equals the first, then the lowest worker."""
    values = part[column][rows]
    starts_s, workers = part["start_s"][rows], part["worker"][rows]
    first = np.lexsort((workers, starts_s, -values.astype(float)))[0]
    return values[first].item(), -int(starts_s[first]), -int(workers[first])


def _shown(data: PhaseData, keys: _Ints, began_s: int) -> list[MarkedSeconds]:
    """The windows of `keys` (start_s, worker, seq) whole, in that order."""
    if not len(keys):
        return []
    made: dict[tuple[int, ...], dict[str, Any]] = {}
    starts_s = np.unique(keys[:, 0])
    for part in data.generator((*_JUDGED, "overdue_max"), at_s=starts_s):
        broken = broken_limits(part)
        for key, row in _found(part, keys):
            made[key] = {
                "at_s": key[0] - began_s,
                "seconds": int(part["length_s"][row]),
                "worker": key[1],
                "broken": {
                    reason: part[_VALUES[reason]][row].item()
                    for reason, rows in broken.items()
                    if rows[row]
                },
                "overdue_max": int(part["overdue_max"][row]),
                **dict.fromkeys(_COUNTED, 0),
            }
    for _, part in data.counters(_COUNTED, at_s=starts_s):
        for key, row in _found(part, keys):
            for name in _COUNTED:
                made[key][name] += int(part[name][row])
    return [MarkedSeconds(**made[tuple(key)]) for key in keys.tolist()]


def _found(part: Columns, keys: _Ints) -> list[tuple[tuple[int, ...], int]]:
    """Rows of `part` that are among `keys`, each with its key."""
    starts_s = part["start_s"]
    if not len(starts_s):
        return []
    # Of a soak's marks few are of this hour, and those that are, numpy finds by a table.
    keys = keys[(keys[:, 0] >= starts_s.min()) & (keys[:, 0] <= starts_s.max())]
    near = np.flatnonzero(np.isin(starts_s, keys[:, 0]))
    wanted = set(map(tuple, keys.tolist()))
    rows = zip(*(part[name][near].tolist() for name in _KEYS), strict=True)
    return [(key, int(row)) for key, row in zip(rows, near, strict=True) if key in wanted]
