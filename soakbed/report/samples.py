"""What hosts used while they were pressed, and what happened meanwhile, as plots need it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soakbed.archive.data.collate import known
from soakbed.archive.data.host_events import host_events
from soakbed.archive.data.reading import TargetData
from soakbed.archive.data.samples import SAMPLES_FILE, HostSamples, read_samples
from soakbed.records.events import Event

__all__ = ["HostSeries", "used_and_happened"]

Column = NDArray[np.float64]

# As many points per line as a wide screen has room for.
MOST_POINTS = 480
# What holds of a moment or is a part of the time; everything else is counted over a sample.
_STATES = (
    "cores",
    "cpu_busy",
    "cpu_steal",
    "cpu_steal_share",
    "disk_busy_share",
    "memory_used_bytes",
)


@dataclass(frozen=True, slots=True)
class HostSeries:
    """Samples of one host in order of time; NaN where a sample could not be taken.

    `at_s`: unix time at a sample's end, `seconds`: what it covers. `columns` by name, as in the
    archive's table `hosts`: bytes are those of the sample, not sums since boot.
    """

    host: str
    duty: str
    at_s: Column
    seconds: Column
    columns: Mapping[str, Column]

    def per_s(self, name: str) -> Column:
        """A column of bytes or counts as a rate."""
        return self.columns[name] / self.seconds

    def between(self, from_s: float, to_s: float) -> HostSeries:
        """The samples that end inside a stretch of time."""
        inside = (self.at_s > from_s) & (self.at_s <= to_s)
        kept = {name: column[inside] for name, column in self.columns.items()}
        return HostSeries(self.host, self.duty, self.at_s[inside], self.seconds[inside], kept)

    def thinned(self) -> HostSeries:
        """Neighbours merged until there are at most MOST_POINTS: counts added, states averaged."""
        step = -(-self.at_s.size // MOST_POINTS)
        if step <= 1:
            return self
        starts = np.arange(0, self.at_s.size, step)
        sizes = np.diff(np.append(starts, self.at_s.size))
        kept = {
            name: np.add.reduceat(column, starts) / (sizes if name in _STATES else 1)
            for name, column in self.columns.items()
        }
        ends = np.minimum(starts + step, self.at_s.size) - 1
        seconds = np.add.reduceat(self.seconds, starts)
        return HostSeries(self.host, self.duty, self.at_s[ends], seconds, kept)


def used_and_happened(
    target_folder: Path, duties: Mapping[str, str]
) -> tuple[tuple[HostSeries, ...], tuple[Event, ...]]:
    """Samples of every host, by name, and events in order of time, while a target was pressed.

    Both are empty where nothing was sampled or collected.
    """
    held = {
        host: read_samples(target_folder / "hosts" / host / SAMPLES_FILE, host=host, duty=duty)
        for host, duty in sorted(duties.items())
    }
    return tuple(_series(held, duties)), _events(target_folder, held)


def _events(target_folder: Path, held: Mapping[str, HostSamples]) -> tuple[Event, ...]:
    """Of the archive's table, which has the damages of the spools too, once it was made."""
    collated = known(target_folder)
    if collated is None:
        return tuple(host_events(target_folder, held).events)
    return TargetData(target_folder, collated).events()


def _series(held: Mapping[str, HostSamples], duties: Mapping[str, str]) -> Iterator[HostSeries]:
    for host, read in held.items():
        rows = {
            name: column.astype(np.float64)
            for name, column in read.hosts.items()
            if np.issubdtype(column.dtype, np.number)
        }
        if rows and rows["at_s"].size:
            yield HostSeries(host, duties[host], rows.pop("at_s"), rows.pop("seconds"), rows)
