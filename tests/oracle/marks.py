"""Windows in which an engine was the limit, or dropped requests, gathered over a phase.

Bounded in memory however long the phase was: seconds are counted, the first windows are kept whole.
"""

from __future__ import annotations

from typing import Any

from loadgen.contract.limits import LIMITS, Broken, limits_broken
from loadgen.contract.window import Window
from soakbed.records.numbers import LimitBroken, MarkedSeconds

__all__ = ["MOST_MARKED", "Marks"]

# More than a reader looks at; a run with more of them is invalid a hundred times over.
MOST_MARKED = 500


class Marks:
    """What `GeneratorNumbers` says of single windows. The order of calls does not matter."""

    def __init__(self) -> None:
        self._judged: set[int] = set()
        self._bound: set[int] = set()
        self._dropping: set[int] = set()
        self._by_reason: dict[str, set[int]] = {}
        self._worst: dict[str, tuple[float, int, int]] = {}  # value, -start_s, -worker
        self._marked: list[MarkedSeconds] = []
        self._left_out = 0
        self._length_s = 1

    def take(self, window: Window) -> None:
        """Judge one window of one worker."""
        self._length_s = window.length_s
        broken = limits_broken(window)
        dropped = sum(operation.dropped for operation in window.operations.values())
        if window.complete:
            self._judged.add(window.start_s)
        if broken:
            self._bound.add(window.start_s)
        if dropped:
            self._dropping.add(window.start_s)
        for one in broken:
            self._by_reason.setdefault(one.reason, set()).add(window.start_s)
            found = (one.value, -window.start_s, -window.worker)
            self._worst[one.reason] = max(found, self._worst.get(one.reason, found))
        if broken or dropped:
            self._keep(_marked(window, broken, dropped))

    def _keep(self, mark: MarkedSeconds) -> None:
        self._marked.append(mark)
        if len(self._marked) > 2 * MOST_MARKED:
            self._trim()

    def _trim(self) -> None:
        self._marked.sort(key=lambda mark: (mark.at_s, mark.worker))
        self._left_out += max(0, len(self._marked) - MOST_MARKED)
        del self._marked[MOST_MARKED:]

    def numbers(self, began_s: int) -> dict[str, Any]:
        """The fields of `GeneratorNumbers` that speak of single windows."""
        self._trim()
        length_s = self._length_s
        return {
            "judged_s": len(self._judged) * length_s,
            "bound_s": len(self._bound) * length_s,
            "dropping_s": len(self._dropping) * length_s,
            "broken": tuple(
                LimitBroken(
                    reason=limit.reason,
                    seconds=len(self._by_reason[limit.reason]) * length_s,
                    worst=worst[0],
                    limit=limit.most,
                    worker=-worst[2],
                    at_s=-worst[1] - began_s,
                )
                for limit in LIMITS
                if (worst := self._worst.get(limit.reason))
            ),
            "marked": tuple(
                mark.model_copy(update={"at_s": mark.at_s - began_s}) for mark in self._marked
            ),
            "marked_left_out": self._left_out,
        }


def _marked(window: Window, broken: tuple[Broken, ...], dropped: int) -> MarkedSeconds:
    """`at_s` is unix time until the phase's beginning is known."""
    return MarkedSeconds(
        at_s=window.start_s,
        seconds=window.length_s,
        worker=window.worker,
        broken={one.reason: one.value for one in broken},
        dropped=dropped,
        due=sum(operation.due for operation in window.operations.values()),
        sent=sum(operation.sent for operation in window.operations.values()),
        overdue_max=window.generator.overdue_max,
    )
