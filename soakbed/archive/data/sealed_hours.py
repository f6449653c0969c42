"""A sealed hour as arrays: one checksum, an inflate for each kind of histogram, and no object per
window. `loadgen.contract.sealed` is the format and reads it at leisure.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.sealed import RARE, SealedDamaged, SealedHour

__all__ = ["HourArrays", "Sparse"]

Column = NDArray[Any]

_RAW = -zlib.MAX_WBITS
_TYPES = {"B": "<u1", "H": "<u2", "I": "<u4", "q": "<i8", "d": "<f8"}
_SCALARS = ("sum_us", "max_us", "clamped")
_BROKEN = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    EOFError,
    zlib.error,
    cast(type[Exception], IsalError),  # its stub calls it an instance
)


@dataclass(frozen=True, slots=True)
class Sparse:
    """Histograms of n windows. `buckets` uint16 and `counts` (unsigned, as narrow as they are) of
    all entries, window by window; `edges` int64[n + 1] where each window's begin; `totals` int64[n]
    values of each.
    """

    buckets: NDArray[np.uint16]
    counts: NDArray[Any]
    edges: NDArray[np.int64]
    totals: NDArray[np.int64]
    scalars: Mapping[str, NDArray[np.int64]]  # sum_us, max_us, clamped: n each

    def between(self, first: int, last: int) -> Sparse:
        """The windows from `first` to `last`, the end left out."""
        low, high = int(self.edges[first]), int(self.edges[last])
        return Sparse(
            buckets=self.buckets[low:high],
            counts=self.counts[low:high],
            edges=self.edges[first : last + 1] - low,
            totals=self.totals[first:last],
            scalars={name: held[first:last] for name, held in self.scalars.items()},
        )


class HourArrays:
    """All windows of one sealed hour, in their order; `histograms` False: their counts alone.

    Raises SealedDamaged.
    """

    def __init__(self, hour: SealedHour, *, histograms: bool = True) -> None:
        self.hour = hour
        self._wanted = histograms
        self.windows = int(hour.head["windows"])
        self.phases: list[tuple[str, str]] = [tuple(one) for one in hour.head["phases"]]
        self.shapes: list[tuple[str, ...]] = [tuple(one) for one in hour.head["shapes"]]
        try:
            self._read()
        except SealedDamaged:
            raise
        except _BROKEN as error:
            raise SealedDamaged(hour.path, f"cannot be read: {error}", hour.records) from error

    def _read(self) -> None:
        self.columns: dict[str, Column] = {}
        self.histograms: dict[str, Sparse] = {}
        for name, packed, length in self.hour.blocks(isal_zlib.crc32):
            if name and not self._wanted:
                continue
            content = isal_zlib.decompress(packed, _RAW, max(length, 1))
            if len(content) != length:
                raise ValueError(f"{len(content)} bytes of {length} in block {name!r}")
            if name:
                self.histograms[name] = self._sparse(name, content)
            else:
                for told, held in self.hour.columns_in(content):
                    self.columns[told["name"]] = _array(told, held)
        self._place_operations()

    def _place_operations(self) -> None:
        """Which windows have an operation: its rows are numbered by them."""
        shape = self.columns["shape"] if self.windows else np.zeros(0, dtype=np.int64)
        self._before: dict[str, NDArray[np.int64]] = {}
        for name in {name for shape in self.shapes for name in shape}:
            having = [number for number, held in enumerate(self.shapes) if name in held]
            there = np.isin(shape, having)
            self._before[name] = np.append(0, np.cumsum(there, dtype=np.int64))

    def rows_of(self, operation: str, first: int, last: int) -> tuple[int, int]:
        """Where windows `first` to `last` stand in the columns of an operation ("": of all)."""
        before = self._before.get(operation)
        return (first, last) if before is None else (int(before[first]), int(before[last]))

    def column(self, name: str, first: int, last: int, operation: str = "") -> Column:
        """A column of the windows from `first` to `last`; of an operation that all of them have."""
        low, high = self.rows_of(operation, first, last)
        return self.columns[f"{operation}.{name}" if operation else name][low:high]

    def _sparse(self, name: str, codes: bytes) -> Sparse:
        columns = self.columns
        entries = columns[f"{name}.entries"].astype(np.int64)
        edges = np.append(0, np.cumsum(entries))
        if edges[-1] != len(codes):
            raise ValueError(f"{name}: {len(codes)} codes for {edges[-1]} entries")
        gaps, counts = self._decoded(name, codes)
        filled = entries > 0
        begins, lengths = edges[:-1][filled], entries[filled]
        # The first entry of a window has distance 0; one running sum serves them all.
        buckets = np.cumsum(gaps, dtype=np.int32)
        first = columns[f"{name}.first"].astype(np.int64)
        if len(first) != len(begins):
            raise ValueError(f"{name}: {len(first)} first buckets of {len(begins)} windows")
        buckets += np.repeat((first - buckets[begins]).astype(np.int32), lengths)
        if len(buckets) and (buckets.max() >= BUCKETS or buckets.min() < 0):
            raise ValueError(f"{name}: a bucket is outside the layout")
        scalars = {one: columns[f"{name}.{one}"].astype(np.int64) for one in _SCALARS}
        return Sparse(buckets.astype(np.uint16), counts, edges, _totals(counts, edges), scalars)

    def _decoded(self, name: str, codes: bytes) -> tuple[Column, Column]:
        """Distance and count of each entry."""
        columns = self.columns
        gaps, counts = (
            np.frombuffer(codes.translate(_table(columns[f"{name}.{one}"])), np.uint8)
            for one in ("gap", "count")
        )
        rare = columns[f"{name}.rare_gap"], columns[f"{name}.rare_count"]
        if not len(rare[0]):
            return gaps, counts
        at = np.flatnonzero(np.frombuffer(codes, np.uint8) == RARE)
        return _replaced(gaps, at, rare[0]), _replaced(counts, at, rare[1])


def _table(values: Column) -> bytes:
    """What `bytes.translate` puts in the place of each code."""
    made = np.zeros(256, dtype=np.uint8)
    made[: len(values)] = values
    return made.tobytes()


def _replaced(values: Column, at: NDArray[np.int64], rare: Column) -> Column:
    """`values` with those of `rare` at their places, in the narrowest type that holds both."""
    kind = np.promote_types(np.uint8, np.min_scalar_type(int(rare.max())))
    made = values.astype(kind)
    made[at] = rare
    return made


def _totals(counts: Column, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of the windows' counts. Their running sum may pass its end: differences stay exact, as
    no window of counts below 2^16 has 2^32 values.
    """
    wide = np.uint32 if counts.dtype.itemsize < 4 else np.uint64
    running = np.zeros(len(counts) + 1, dtype=wide)
    np.cumsum(counts, dtype=wide, out=running[1:])
    return np.diff(running[edges]).astype(np.int64)


def _array(told: Mapping[str, Any], content: bytes) -> Column:
    """A column as `loadgen.contract.columns.decoded` gives it; None among doubles is NaN."""
    count = int(told["count"])
    if "same" in told:
        value = told["same"]
        return np.full(count, np.nan if value is None else value)
    if "step" in told:
        return int(told["first"]) + int(told["step"]) * np.arange(count, dtype=np.int64)
    held = np.frombuffer(content, _TYPES[told["type"]])
    if len(held) != count:
        raise ValueError(f"{told['name']}: {len(held)} values of {count}")
    return held.astype(bool) if told.get("truth") else held
