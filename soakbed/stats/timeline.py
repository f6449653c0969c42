"""A phase as steps over time, in bounded memory however long it lasted and in whatever order
its windows come: the step is the shortest power of two of windows that leaves few enough of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soakbed.stats.distinct import distinct
from soakbed.stats.percentiles import smallest_sample_for
from soakbed.stats.phase_data import Columns

__all__ = ["MAX_STEPS", "Steps", "Timeline", "joined_to_carry", "step_for"]

# Enough for a pixel each on a wide screen; the histograms of two operations take 40 MB at most.
MAX_STEPS = 1024

_Ints = NDArray[np.int64]
_SUMS = ("sent", "ok", "errors")


@dataclass(frozen=True, slots=True)
class Steps:
    """Stretches of time in order, all workers merged; those without a window are absent.

    All arrays are of one length n. `keys` is start_s // `step_s`; `windows_s` the seconds of all
    windows, so n workers that pressed all the time make n times `seconds`. `ok` is by operation
    and is -1 where no window of the step had the operation.
    """

    step_s: int
    keys: _Ints
    start_s: _Ints
    end_s: _Ints
    windows_s: _Ints
    complete: NDArray[np.bool_]
    sent: _Ints
    errors: _Ints
    ok: dict[str, _Ints]

    @property
    def seconds(self) -> _Ints:
        """Length of each stretch."""
        return self.end_s - self.start_s

    @property
    def ok_of_all(self) -> _Ints:
        """Ok operations of each stretch."""
        made = np.zeros(len(self.keys), dtype=np.int64)
        for held in self.ok.values():
            made += np.maximum(held, 0)
        return made


class Timeline:
    """Gathers what the steps need of each second; 72 h of them are a few MB."""

    def __init__(self, *, max_steps: int = MAX_STEPS) -> None:
        self._max_steps = max_steps
        self._windows: list[tuple[_Ints, _Ints, _Ints, _Ints]] = []
        self._counted: dict[str, list[tuple[_Ints, dict[str, _Ints]]]] = {}

    def take_windows(self, part: Columns) -> None:
        """Add rows of PhaseData.generator()."""
        at_s, inverse = distinct(part["start_s"])
        ends_s = np.zeros(len(at_s), dtype=np.int64)
        np.maximum.at(ends_s, inverse, part["start_s"].astype(np.int64) + part["length_s"])
        cut = np.bincount(inverse, ~part["complete"].astype(bool), len(at_s)).astype(np.int64)
        windows_s = np.bincount(inverse, part["length_s"], len(at_s)).astype(np.int64)
        self._windows.append((at_s.astype(np.int64), ends_s, windows_s, cut))

    def take_counters(self, operation: str, part: Columns) -> None:
        """Add rows of PhaseData.counters()."""
        at_s, inverse = distinct(part["start_s"])
        errors = part["failed"].astype(np.int64) + part["unknown"]
        columns = {"sent": part["sent"], "ok": part["ok"], "errors": errors}
        # Sums of doubles are exact here: no window has 2^53 operations.
        sums = {
            name: np.bincount(inverse, held, len(at_s)).astype(np.int64)
            for name, held in columns.items()
        }
        self._counted.setdefault(operation, []).append((at_s.astype(np.int64), sums))

    def steps(self) -> Steps:
        """What was taken, in as many steps as allowed. Raises ValueError when nothing was."""
        at_s, ends_s, windows_s, cut = map(np.concatenate, zip(*self._windows, strict=True))
        longest_s = int((ends_s - at_s).max())
        step_s = step_for(int(at_s.min()), int(at_s.max()), longest_s, self._max_steps)
        keys, inverse = distinct(at_s // step_s)
        start_s = np.full(len(keys), np.iinfo(np.int64).max)
        end_s = np.zeros(len(keys), dtype=np.int64)
        np.minimum.at(start_s, inverse, at_s)
        np.maximum.at(end_s, inverse, ends_s)
        counted = {name: self._sums(name, keys, step_s) for name in sorted(self._counted)}
        nothing = np.zeros(len(keys), dtype=np.int64)
        return Steps(
            step_s=step_s,
            keys=keys,
            start_s=start_s,
            end_s=end_s,
            windows_s=_summed(inverse, windows_s, len(keys)),
            complete=_summed(inverse, cut, len(keys)) == 0,
            sent=sum((held["sent"] for held in counted.values()), start=nothing),
            errors=sum((held["errors"] for held in counted.values()), start=nothing),
            ok={name: held["ok"] for name, held in counted.items()},
        )

    def _sums(self, operation: str, keys: _Ints, step_s: int) -> dict[str, _Ints]:
        """The counts of one operation by step; `ok` is -1 where a step has no such row."""
        parts = self._counted[operation]
        at = np.searchsorted(keys, np.concatenate([at_s for at_s, _ in parts]) // step_s)
        made = {
            name: _summed(at, np.concatenate([sums[name] for _, sums in parts]), len(keys))
            for name in _SUMS
        }
        made["ok"][np.bincount(at, minlength=len(keys)) == 0] = -1
        return made


def _summed(at: NDArray[np.intp], values: _Ints, length: int) -> _Ints:
    made = np.zeros(length, dtype=np.int64)
    np.add.at(made, at, values)
    return made


def step_for(first_s: int, last_s: int, window_s: int, max_steps: int = MAX_STEPS) -> int:
    """Seconds of a step: `window_s` doubled until windows that start from `first_s` to `last_s`
    lie in at most `max_steps` steps.

    >>> step_for(1000, 1000 + 72 * 3600, 1)
    256
    """
    step_s = max(1, window_s)
    while last_s // step_s - first_s // step_s >= max_steps:
        step_s *= 2
    return step_s


def joined_to_carry(ok: Sequence[_Ints], percentile: float, *, count: int) -> _Ints:
    """Where to begin new, longer steps among `count`, so that each carries `percentile`.

    `ok` holds the ok operations of each step by operation, -1 where it has none. Judged by the
    rarest operation of a thin step (one in ten is thinner), so that a curve has few gaps; when
    even a third of the phase would not carry it, the steps stay as they are.
    """
    every = np.arange(count)
    if not count:
        return every
    most = np.iinfo(np.int64).max
    rarest = np.min([np.where(held < 0, most, held) for held in ok], axis=0, initial=most)
    rarest = np.sort(np.broadcast_to(np.where(rarest == most, 0, rarest), count))
    thin = int(rarest[count // 10])
    needed = -(-smallest_sample_for(percentile) // thin) if thin else 0
    if needed <= 1 or needed * 3 > count:
        return every
    return every[::needed]
