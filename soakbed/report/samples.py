"""What hosts used while they were pressed, and what happened meanwhile, as the page needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["HostSeries", "MarkedEvent", "events_of", "host_series_of"]

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HostSeries:
    """Samples of one host in order of time; NaN where a sample could not be taken.

    `at_s`: unix time at a sample's end, `seconds`: what it covers. `columns`: by name, as in the
    archive's table `hosts`: bytes and counts are those of the sample, not sums since boot.
    """

    host: str
    duty: str
    at_s: Column
    seconds: Column
    columns: Mapping[str, Column]

    def per_s(self, name: str) -> Column:
        """A column of counts as a rate."""
        return self.columns[name] / self.seconds

    def between(self, from_s: float, to_s: float) -> NDArray[np.bool_]:
        """Which samples lie inside a stretch of time, whole."""
        return (self.at_s - self.seconds >= from_s - 1) & (self.at_s <= to_s + 1)


@dataclass(frozen=True, slots=True)
class MarkedEvent:
    """Something that happened: a fault, an alarm, a damage. `until_s` equals `at_s` for a moment.

    Times are unix seconds; `severity`: note, window, phase or run (what of it is invalid).
    """

    at_s: float
    until_s: float
    host: str
    source: str
    kind: str
    severity: str
    text: str


def host_series_of(target_folder: Path) -> tuple[HostSeries, ...]:
    """Samples of every host while this target was pressed; () where none was taken."""
    return ()


def events_of(target_folder: Path) -> tuple[MarkedEvent, ...]:
    """What happened while this target was pressed, in order of time."""
    return ()
