"""Histograms of one key added up by row, in bounded memory; adding is exact.

They come dense, a row of counts for each window that was read from a spool, or sparse, as a sealed
hour has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from loadgen.contract.histogram import BUCKETS
from soakbed.archive.data.frames import DTYPES
from soakbed.archive.data.sealed_hours import Sparse

__all__ = ["Batch", "Block", "CountsDiffer", "HistogramRows", "Rows"]

Rows = dict[str, Any]  # column -> array or list; buckets and counts flat, `entries` per row

# Rows whose counts are added up at once: they stay in the cache of a core.
_BAND = 600

_Ints = NDArray[np.int64]


class CountsDiffer(ValueError):
    """Counts of some windows are not what the windows say that they add up to."""


class Batch:
    """What windows of one worker and phase have in common with all their histograms: the row of
    each, its length and whether it is complete.
    """

    __slots__ = ("complete", "length_s", "places", "rows", "unique", "whole")

    def __init__(self, rows: _Ints, length_s: _Ints, complete: NDArray[np.bool_]) -> None:
        self.rows = rows
        self.length_s = length_s
        self.complete = complete
        self.whole = bool(complete.all())
        self.unique = bool((np.diff(rows) > 0).all())  # no two in one row
        first, last = int(rows[0]), int(rows[-1])
        follow = self.unique and last - first + 1 == len(rows)
        self.places: slice | _Ints = slice(first, last + 1) if follow else rows

    @classmethod
    def of(cls, windows: list[dict[str, Any]], start_s: int) -> Batch:
        """Of windows as `frames.window_of` gives them; row 0 begins at `start_s`."""
        return cls(
            np.array([one["start_s"] for one in windows], dtype=np.int64) - start_s,
            np.array([one["length_s"] for one in windows], dtype=np.int64),
            np.array([one["complete"] and "again" not in one for one in windows]),
        )

    def part(self, of: _Ints) -> Batch:
        """The windows `of` it alone."""
        if len(of) == len(self.rows):
            return self
        return Batch(self.rows[of], self.length_s[of], self.complete[of])


class Block:
    """Histograms of one key: `counts` [n, buckets], scalars int64[n], `of` which window each is."""

    __slots__ = ("counts", "of", "scalars", "totals")

    def __init__(self, of: _Ints, told: list[dict[str, Any]]) -> None:
        self.of = of
        self.totals = np.array([one["total"] for one in told], dtype=np.int64)
        self.scalars = {
            name: np.array([one[name] for one in told], dtype=np.int64)
            for name in ("sum_us", "max_us", "clamped")
        }
        self.counts = _dense(told)


def _dense(told: list[dict[str, Any]]) -> NDArray[Any]:
    """Counts of each histogram as a row, in the narrowest type that any of them came in."""
    widths = [one.get("width", 4) for one in told]
    size = max(one["size"] for one in told)
    wide = max(widths)
    if min(widths) == wide:
        rows = b"".join([one["raw"].ljust(size * wide, b"\0") for one in told])
        return np.frombuffer(rows, DTYPES[wide]).reshape(len(told), size)
    made = np.zeros((len(told), size), dtype=DTYPES[wide])
    for width in set(widths):
        here = [at for at, one in enumerate(widths) if one == width]
        made[here] = _dense([told[at] for at in here] + [_padding(size, width)])[:-1]
    return made


def _padding(size: int, width: int) -> dict[str, Any]:
    return {"raw": b"", "size": size, "width": width}


class HistogramRows:
    """Counts of `rows` rows of one key, and their scalars."""

    __slots__ = (
        "_counts",
        "_sparse",
        "clamped",
        "cut",
        "length_s",
        "max_us",
        "sum_us",
        "totals",
        "windows",
    )

    def __init__(self, rows: int) -> None:
        self._counts: NDArray[np.uint32] | None = None  # rows * BUCKETS, once any is dense
        self._sparse: list[tuple[_Ints, Sparse]] = []  # row of each window; small until rows()
        self.sum_us, self.max_us, self.clamped, self.totals, self.windows, self.length_s = (
            np.zeros(rows, dtype=np.int64) for _ in range(6)
        )
        self.cut = np.zeros(rows, dtype=bool)

    def add(self, block: Block, batch: Batch) -> None:
        """Dense histograms, each into its row; exact, also where rows repeat."""
        counts = self._dense()
        rows, size = batch.rows, block.counts.shape[1]
        if isinstance(batch.places, slice):
            part = counts[batch.places, :size]
            np.add(part, block.counts, out=part)
        else:
            for row, held in zip(rows.tolist(), block.counts, strict=True):
                counts[row, :size] += held
        self._add_scalars(block, batch)

    def add_sparse(self, block: Sparse, batch: Batch) -> None:
        """The same of a sealed hour, whose rows only rise; kept until the rows are asked for."""
        self._sparse.append((batch.rows, block))
        self._add_scalars(block, batch)

    def add_all(self, block: Block, batch: Batch) -> None:
        """Dense histograms into the only row."""
        size = block.counts.shape[1]
        self._dense()[0, :size] += block.counts.sum(axis=0, dtype=np.uint32)
        self._add_all_scalars(block, batch)

    def add_by_row(self, block: Sparse, batch: Batch) -> None:
        """Those of a sealed hour whose rows never fall, many windows to a row."""
        begins = np.flatnonzero(np.diff(batch.rows, prepend=-1))
        rows, scalars = batch.rows[begins], block.scalars
        self.sum_us[rows] += np.add.reduceat(scalars["sum_us"], begins)
        self.totals[rows] += np.add.reduceat(block.totals, begins)
        self.clamped[rows] += np.add.reduceat(scalars["clamped"], begins)
        longest_us = np.maximum.reduceat(scalars["max_us"], begins)
        self.max_us[rows] = np.maximum(self.max_us[rows], longest_us)
        ends = np.append(begins[1:], len(batch.rows))
        self.windows[rows] += ends - begins
        self.length_s[rows] = batch.length_s[ends - 1]
        self.cut[rows] |= np.logical_or.reduceat(~batch.complete, begins)
        edges = np.append(block.edges[begins], block.edges[-1]).astype(np.int32)
        entries = (block.counts.astype(np.uint32), block.buckets.astype(np.int32), edges)
        self._dense()[rows] += csr_array(entries, (len(rows), BUCKETS)).toarray()

    def _dense(self) -> NDArray[np.uint32]:
        if self._counts is None:
            self._counts = np.zeros((len(self.windows), BUCKETS), dtype=np.uint32)
        return self._counts

    def _add_scalars(self, block: Block | Sparse, batch: Batch) -> None:
        rows, scalars = batch.places, block.scalars
        if batch.unique:
            self.sum_us[rows] += scalars["sum_us"]
            self.totals[rows] += block.totals
            self.clamped[rows] += scalars["clamped"]
            self.max_us[rows] = np.maximum(self.max_us[rows], scalars["max_us"])
            self.windows[rows] += 1
        else:
            np.add.at(self.sum_us, batch.rows, scalars["sum_us"])
            np.add.at(self.totals, batch.rows, block.totals)
            np.add.at(self.clamped, batch.rows, scalars["clamped"])
            np.maximum.at(self.max_us, batch.rows, scalars["max_us"])
            np.add.at(self.windows, batch.rows, 1)
        self.length_s[rows] = batch.length_s
        if not batch.whole:
            self.cut[batch.rows[~batch.complete]] = True

    def _add_all_scalars(self, block: Block, batch: Batch) -> None:
        self.sum_us += block.scalars["sum_us"].sum()
        self.totals += block.totals.sum()
        self.clamped += block.scalars["clamped"].sum()
        self.max_us[0] = max(self.max_us[0], block.scalars["max_us"].max())
        self.windows += len(batch.rows)
        self.length_s[0] = batch.length_s[-1]
        self.cut[0] |= not batch.complete.all()

    def rows(self) -> Rows | None:
        """The rows that hold a window, sparse. None: none does."""
        held = np.flatnonzero(self.windows)
        if not len(held):
            return None
        count = len(self.windows)
        bands = [self._band(first, min(first + _BAND, count)) for first in range(0, count, _BAND)]
        entries, buckets, counts = (np.concatenate(one) for one in zip(*bands, strict=True))
        return {
            "row": held,
            "windows": self.windows[held],
            "length_s": self.length_s[held],
            "complete": ~self.cut[held],
            "count": self.totals[held],
            "sum_us": self.sum_us[held],
            "max_us": self.max_us[held],
            "clamped": self.clamped[held],
            "entries": entries[held],
            "buckets": buckets,
            "counts": counts,
        }

    def _band(self, first: int, last: int) -> tuple[_Ints, NDArray[np.uint16], NDArray[Any]]:
        """Entries of each row from `first` to `last`, and buckets and counts of all of them."""
        low, dense = self._summed(first, last)
        width = dense.shape[1]
        flat = dense.ravel()
        places = np.flatnonzero(flat != 0)  # asked of the counts it takes twice as long
        counts = flat[places]
        starts = np.arange(len(dense) + 1) * width
        totals = self.totals[first:last]
        # Of a sealed hour the totals were counted from its counts: what is asked is the adding.
        if self._counts is None:
            same = counts.sum(dtype=np.int64) == totals.sum()
        else:
            same = (dense.sum(axis=1, dtype=np.int64) == totals).all()
        if not same:
            raise CountsDiffer("counts of windows do not add up to their totals")
        entries = np.diff(np.searchsorted(places, starts))
        buckets = places - np.repeat(starts[:-1] - low, entries)
        return entries, buckets.astype(np.uint16), counts

    def _summed(self, first: int, last: int) -> tuple[int, NDArray[Any]]:
        """The least bucket in use, and counts of these rows from it to the last in use."""
        blocks = []
        for rows, block in self._sparse:
            begin, end = np.searchsorted(rows, (first, last)).tolist()
            if begin < end:
                blocks.append((rows[begin:end] - first, block.between(begin, end)))
        used = [held for _, block in blocks for held in _ends(block.buckets)]
        if self._counts is not None:
            used += _ends(np.flatnonzero(self._counts[first:last].any(axis=0)))
        low, high = min(used, default=0), max(used, default=0)
        shape = (last - first, high - low + 1)
        dense = _added(blocks, low, shape) if blocks else np.zeros(shape, dtype=np.uint32)
        if self._counts is not None:
            dense = dense + self._counts[first:last, low : high + 1]
        return low, dense


def _added(
    blocks: Sequence[tuple[_Ints, Sparse]], low: int, shape: tuple[int, int]
) -> NDArray[Any]:
    """Counts by row and bucket from `low` on, of blocks none of which has a row twice."""
    most = sum(int(one.counts.max(initial=0)) for _, one in blocks)
    kind = np.uint16 if most < 1 << 16 else np.uint32
    rows = [np.repeat(rows.astype(np.int32), np.diff(one.edges)) for rows, one in blocks]
    columns = np.concatenate([one.buckets for _, one in blocks], dtype=np.int32)
    columns -= low
    counts = np.concatenate([one.counts for _, one in blocks], dtype=kind)
    # What stands in one place is added, in a loop of C++ that no ufunc of numpy matches.
    made: NDArray[Any] = coo_array((counts, (np.concatenate(rows), columns)), shape).toarray()
    return made


def _ends(buckets: NDArray[Any]) -> list[int]:
    return [int(buckets.min()), int(buckets.max())] if len(buckets) else []
