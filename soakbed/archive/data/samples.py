"""Samples of one host, as its sampler wrote them, -> columns of the tables `hosts` and `units`.

The file holds counters as they stood; the columns hold what was used between one sample and the
next. Nothing is made up: a line that was cut or damaged is counted and left out, which makes the
next sample's stretch longer; over a reboot no difference is taken, for counters begin anew.
"""

from __future__ import annotations

import gzip
import math
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from soakbed.archive.data.sample_columns import (
    COUNTERS,
    HOSTS_COLUMNS,
    RATES,
    SCOPES,
    UNIT_COUNTERS,
    UNITS_COLUMNS,
)

__all__ = [
    "SAMPLES_FILE",
    "ClockStep",
    "HostSamples",
    "TargetSamples",
    "read_samples",
    "samples_of_records",
    "samples_of_target",
]

SAMPLES_FILE = "samples.jsonl.gz"
SCHEMA = 1
# A step moves windows of one host against those of another; the judge allows as much offset.
LEAST_CLOCK_STEP_S = 0.05
# A longer stretch than so many planned ones is a gap.
GAP_INTERVALS = 3

_NUMBERS = frozenset((int, float))
_NUMBERS_OR_NONE = _NUMBERS | {type(None)}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The host's clock was set: by `step_s` forward (or back), somewhere before `at_s`."""

    at_s: float
    step_s: float


@dataclass(slots=True)
class HostSamples:
    """What a file holds. `hosts` and `units` are columns of equal length, named as in
    `sample_columns`.

    `starts`: how often a sampler began. `damages` counts what was left out, by cause; `gaps` are
    stretches (from, to) without samples.
    """

    hosts: dict[str, NDArray[Any]]
    units: dict[str, NDArray[Any]]
    samples: int = 0
    starts: int = 0
    damages: dict[str, int] = field(default_factory=dict)
    clock_steps: list[ClockStep] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    restarts: list[tuple[float, str]] = field(default_factory=list)  # (found at, unit)
    sources: dict[str, list[str]] = field(default_factory=dict)  # of the last start


@dataclass(frozen=True, slots=True)
class TargetSamples:
    """Samples of every host while one target was pressed: tables `hosts` and `units`, and by host.

    A host without a file is in `by_host` all the same, with columns that hold nothing.
    """

    hosts: dict[str, NDArray[Any]]
    units: dict[str, NDArray[Any]]
    by_host: dict[str, HostSamples]


@dataclass(slots=True)
class _Stretch:
    """Samples of one boot, in order, taken in one way: differences between them mean something.

    Plain numbers in a row, not objects: 72 hours are 50,000 samples of every host.
    """

    start: dict[str, Any]
    count: int = 0
    flat: array[float] = field(default_factory=lambda: array("d"))
    unit_rows: dict[str, array[int]] = field(default_factory=dict)  # unit -> which samples
    unit_flat: dict[str, array[float]] = field(default_factory=dict)

    def take(self, numbers: list[float | None], units: dict[str, list[float]]) -> None:
        """Append one sample."""
        self.flat.extend([math.nan if number is None else number for number in numbers])
        for unit, values in units.items():
            if unit not in self.unit_rows:
                self.unit_rows[unit], self.unit_flat[unit] = array("q"), array("d")
            self.unit_rows[unit].append(self.count)
            self.unit_flat[unit].extend(values)
        self.count += 1


def samples_of_target(target_folder: Path, duties: Mapping[str, str]) -> TargetSamples:
    """Samples under `target_folder` of the hosts that `duties` names; host after host, by name."""
    by_host = {
        host: read_samples(target_folder / "hosts" / host / SAMPLES_FILE, host=host, duty=duty)
        for host, duty in sorted(duties.items())
    }
    sizes = [(one.hosts["at_s"].size, one.units["at_s"].size) for one in by_host.values()]
    hosts = _joined([one.hosts for one in by_host.values()], HOSTS_COLUMNS)
    units = _joined([one.units for one in by_host.values()], UNITS_COLUMNS)
    # Each host looks into the tables, so that 72 hours are held once.
    shown = [0, 0]
    for one, (rows, unit_rows) in zip(by_host.values(), sizes, strict=True):
        ends = [shown[0] + rows, shown[1] + unit_rows]
        one.hosts = {name: column[shown[0] : ends[0]] for name, column in hosts.items()}
        one.units = {name: column[shown[1] : ends[1]] for name, column in units.items()}
        shown = ends
    return TargetSamples(hosts=hosts, units=units, by_host=by_host)


def read_samples(path: Path, *, host: str, duty: str) -> HostSamples:
    """Columns of a host's samples, `path` plain or gzip; a file that is not there has none.

    Never raises over what is in the file: whatever cannot be read is counted in `damages`.
    """
    damages: dict[str, int] = {}
    return samples_of_records(_lines(path, damages), host=host, duty=duty, damages=damages)


def samples_of_records(
    records: Iterator[Any], *, host: str, duty: str, damages: dict[str, int] | None = None
) -> HostSamples:
    """The same of what the lines of a file say, in their order; further `damages` are counted."""
    made = HostSamples({}, {}, damages={} if damages is None else damages)
    host_parts: list[dict[str, NDArray[Any]]] = []
    unit_parts: list[dict[str, NDArray[Any]]] = []
    for stretch in _stretches(records, made):
        made.samples += stretch.count
        made.sources = stretch.start["sources"]
        if stretch.count < 2:
            continue
        raw = _columns(stretch.flat, stretch.start["columns"])
        host_parts.append(_host_columns(raw, stretch.start, host, duty))
        unit_parts += _unit_columns(stretch, raw, host, made.restarts)
        _look_at_clocks(raw, float(stretch.start["interval_s"]), made)
    made.hosts = _joined(host_parts, HOSTS_COLUMNS)
    made.units = _joined(unit_parts, UNITS_COLUMNS)
    return made


def _lines(path: Path, damages: dict[str, int]) -> Iterator[Any]:
    """What each whole line says; others are counted."""
    if not path.is_file():
        return
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        while True:
            try:
                line = file.readline()
            except (EOFError, OSError, zlib.error):
                _count(damages, "the packed file is cut or damaged")
                return
            if not line:
                return
            check, _, said = line.rstrip(b"\n").partition(b" ")
            if not said and not check:
                continue  # where a sampler was started again
            try:
                whole = int(check, 16) == zlib.crc32(said) and line.endswith(b"\n")
                record = orjson.loads(said) if whole else None
            except ValueError:
                record = None
            if record is None:
                _count(damages, "lines cut or damaged")
            else:
                yield record


def _stretches(records: Iterator[Any], made: HostSamples) -> list[_Stretch]:
    """Samples by boot and by meaning; what has no start that explains it is counted."""
    damages = made.damages
    found: list[_Stretch] = []
    last_s = -np.inf
    known = False
    for record in records:
        if isinstance(record, dict):
            made.starts += 1
            known = record.get("schema") == SCHEMA
            if not known:
                _count(damages, "starts of another schema")
            elif not found or _meaning(found[-1].start) != _meaning(record):
                found.append(_Stretch(record))
                last_s = -np.inf
        elif not known:
            _count(damages, "samples without a start that explains them")
        elif not _fits(record, found[-1].start):
            _count(damages, "samples of the wrong form")
        elif record[1] <= last_s:
            _count(damages, "samples out of order")
        else:
            last_s = record[1]
            found[-1].take(record[:-1], record[-1])
    return found


def _meaning(start: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(start.get(key) for key in ("boot", "columns", "unit_columns", "sources", "cores"))


def _fits(record: object, start: Mapping[str, Any]) -> bool:
    if not isinstance(record, list) or len(record) != len(start["columns"]) + 1:
        return False
    *numbers, units = record
    width = len(start["unit_columns"])
    return (
        _NUMBERS_OR_NONE.issuperset(map(type, numbers))
        and None not in numbers[:2]
        and isinstance(units, dict)
        and all(len(one) == width and _NUMBERS.issuperset(map(type, one)) for one in units.values())
    )


def _columns(flat: array[float], names: list[str]) -> dict[str, Floats]:
    values = np.frombuffer(flat, dtype=np.float64).reshape(-1, len(names))
    return {name: values[:, at] for at, name in enumerate(names)}


def _host_columns(
    raw: Mapping[str, Floats], start: Mapping[str, Any], host: str, duty: str
) -> dict[str, NDArray[Any]]:
    seconds = np.diff(raw["mono_s"])
    rows = seconds.size
    made: dict[str, NDArray[Any]] = {
        "at_s": raw["at_s"][1:],
        "seconds": seconds,
        "host": _words(rows, host),
        "duty": _words(rows, duty),
        "cores": np.full(rows, int(start["cores"])),
        "memory_used_bytes": raw["memory_used_bytes"][1:],
    }
    # What an older sampler did not ask is not known; the same holds of what is null in every row.
    unknown = np.full(rows, np.nan)
    for counter in COUNTERS:
        made[counter] = _rises(raw[counter]) if counter in raw else unknown
    for counter, column in RATES.items():
        made[column] = _rises(raw[counter]) / seconds
    made["cpu_steal_share"] = made["cpu_steal"] / _cores_of_steal(start)
    for group in SCOPES:
        source = start["sources"].get(group)
        made[f"{group}_scope"] = _words(rows, source[0] if source else "unknown")
    return made


def _cores_of_steal(start: Mapping[str, Any]) -> float:
    """How many cores there are of whom cpu_steal speaks; NaN where nobody wrote it down."""
    of_host = (start["sources"].get("cpu_steal") or [""])[0] == "host"
    return float(start["cores"] if of_host else start.get("machine_cores") or math.nan)


def _words(rows: int, word: str) -> NDArray[Any]:
    """One word in every row, held once: a unit's name at four bytes a letter is most of a table."""
    words = np.empty(rows, dtype=object)
    words.fill(word)  # np.full would make a word for every row
    return words


def _rises(counter: Floats) -> Floats:
    """What was added between samples; NaN where a counter fell, as it then began anew."""
    rises = np.diff(counter)
    return np.where(rises >= 0, rises, np.nan)


def _unit_columns(
    stretch: _Stretch, raw: Mapping[str, Floats], host: str, restarts: list[tuple[float, str]]
) -> Iterator[dict[str, NDArray[Any]]]:
    seconds = np.diff(raw["mono_s"], prepend=np.nan)
    for unit, held in sorted(stretch.unit_rows.items()):
        rows = np.frombuffer(held, dtype=np.int64)
        said = _columns(stretch.unit_flat[unit], stretch.start["unit_columns"])
        # Of a unit that was not there in the sample before, all that it has used is new.
        went_on = np.zeros(rows.size, dtype=bool)
        went_on[1:] = (np.diff(rows) == 1) & (np.diff(said["began_s"]) == 0)
        anew = ~went_on
        anew[0] = False
        restarts += [(float(raw["at_s"][at]), unit) for at in rows[anew]]
        made: dict[str, NDArray[Any]] = {
            "at_s": raw["at_s"][rows],
            "seconds": seconds[rows],
            "host": _words(rows.size, host),
            "unit": _words(rows.size, unit),
            "memory_bytes": said["memory_bytes"],
            "restarted": anew,
        }
        for counter in UNIT_COUNTERS:
            rises = np.diff(said[counter], prepend=0.0)
            rises = np.where(went_on, rises, said[counter])
            made[counter] = np.where(rises >= 0, rises, np.nan)
        later = rows > 0  # what came before the first sample is nobody's
        yield {column: one[later] for column, one in made.items()}


def _look_at_clocks(raw: Mapping[str, Floats], interval_s: float, made: HostSamples) -> None:
    """Steps of the host's clock, and stretches without samples."""
    mono = np.diff(raw["mono_s"])
    steps = np.diff(raw["at_s"]) - mono
    made.clock_steps += [
        ClockStep(float(raw["at_s"][at + 1]), round(float(steps[at]), 3))
        for at in np.flatnonzero(np.abs(steps) >= LEAST_CLOCK_STEP_S)
    ]
    made.gaps += [
        (float(raw["at_s"][at]), float(raw["at_s"][at + 1]))
        for at in np.flatnonzero(mono > GAP_INTERVALS * interval_s)
    ]


def _joined(
    parts: list[dict[str, NDArray[Any]]], columns: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """Parts of a table in one; those without rows have no say in what a column holds.

    The parts are used up, column by column, so that nothing is held twice.
    """
    said = [part for part in parts if part["at_s"].size]
    if not said:
        return {column: np.array([]) for column in columns}
    return {column: np.concatenate([part.pop(column) for part in said]) for column in columns}


def _count(damages: dict[str, int], what: str) -> None:
    damages[what] = damages.get(what, 0) + 1
