"""Histograms of one key added up by row, in bounded memory; adding is exact.

They come dense, a row of counts for each window that was read from a spool, or sparse, as a sealed
hour has them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from soakbed.archive.data.frames import DTYPES
from soakbed.archive.data.sealed_hours import Sparse

__all__ = ["Batch", "Block", "CountsDiffer", "HistogramRows", "Rows"]

Rows = dict[str, Any]  # column -> array or list; buckets and counts flat, `entries` per row

_Ints = NDArray[np.int64]


class CountsDiffer(ValueError):
    """Counts of some windows are not what the windows say that they add up to."""


class Batch:
    """What windows of one worker and phase have in common with all their histograms: the row of
    each, its length and whether it is complete.
    """

    __slots__ = ("complete", "length_s", "rows", "unique")

    def __init__(self, rows: _Ints, length_s: _Ints, complete: NDArray[np.bool_]) -> None:
        self.rows = rows
        self.length_s = length_s
        self.complete = complete
        self.unique = bool((np.diff(rows) > 0).all())  # no two in one row

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
        # Row of each window, its entries, buckets and counts; small until rows are asked for.
        self._sparse: list[tuple[_Ints, _Ints, NDArray[np.uint16], NDArray[Any]]] = []
        self.sum_us, self.max_us, self.clamped, self.totals, self.windows, self.length_s = (
            np.zeros(rows, dtype=np.int64) for _ in range(6)
        )
        self.cut = np.zeros(rows, dtype=bool)

    def add(self, block: Block, batch: Batch) -> None:
        """Dense histograms, each into its row; exact, also where rows repeat."""
        counts = self._dense()
        rows, size = batch.rows, block.counts.shape[1]
        first, last = int(rows[0]), int(rows[-1])
        if last - first + 1 == len(rows) and batch.unique:
            part = counts[first : last + 1, :size]
            np.add(part, block.counts, out=part)
        else:
            for row, held in zip(rows.tolist(), block.counts, strict=True):
                counts[row, :size] += held
        self._add_scalars(block, batch)

    def add_sparse(self, block: Sparse, batch: Batch) -> None:
        """The same of a sealed hour; they are only kept until the rows are asked for."""
        self._sparse.append((batch.rows, np.diff(block.edges), block.buckets, block.counts))
        self._add_scalars(block, batch)

    def add_all(self, block: Block, batch: Batch) -> None:
        """Dense histograms into the only row."""
        size = block.counts.shape[1]
        self._dense()[0, :size] += block.counts.sum(axis=0, dtype=np.uint32)
        self._add_all_scalars(block, batch)

    def add_all_sparse(self, block: Sparse, batch: Batch) -> None:
        """The same of a sealed hour."""
        # Sums of doubles are exact here: no stretch has 2^53 operations.
        held = np.bincount(block.buckets, block.counts)
        self._dense()[0, : len(held)] += held.astype(np.uint32)
        self._add_all_scalars(block, batch)

    def _dense(self) -> NDArray[np.uint32]:
        if self._counts is None:
            self._counts = np.zeros((len(self.windows), BUCKETS), dtype=np.uint32)
        return self._counts

    def _add_scalars(self, block: Block | Sparse, batch: Batch) -> None:
        rows, scalars = batch.rows, block.scalars
        if batch.unique:
            self.sum_us[rows] += scalars["sum_us"]
            self.totals[rows] += block.totals
            self.clamped[rows] += scalars["clamped"]
            self.max_us[rows] = np.maximum(self.max_us[rows], scalars["max_us"])
            self.windows[rows] += 1
        else:
            np.add.at(self.sum_us, rows, scalars["sum_us"])
            np.add.at(self.totals, rows, block.totals)
            np.add.at(self.clamped, rows, scalars["clamped"])
            np.maximum.at(self.max_us, rows, scalars["max_us"])
            np.add.at(self.windows, rows, 1)
        self.length_s[rows] = batch.length_s
        self.cut[rows[~batch.complete]] = True

    def _add_all_scalars(self, block: Block | Sparse, batch: Batch) -> None:
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
        low, dense = self._summed()
        totals = self.totals[held]
        # Of a sealed hour the totals were counted from its counts: what is asked is the adding.
        sums = dense.sum(axis=1, dtype=np.int64)[held] if self._counts is not None else dense.sum()
        if (sums != (totals if self._counts is not None else totals.sum())).any():
            raise CountsDiffer("counts of windows do not add up to their totals")
        width = dense.shape[1]
        places = np.flatnonzero(dense.ravel() != 0)  # asked of the counts it takes twice as long
        starts = np.arange(len(dense) + 1) * width
        entries = np.diff(np.searchsorted(places, starts))
        buckets = places - np.repeat(starts[:-1] - low, entries)
        return {
            "row": held,
            "windows": self.windows[held],
            "length_s": self.length_s[held],
            "complete": ~self.cut[held],
            "count": totals,
            "sum_us": self.sum_us[held],
            "max_us": self.max_us[held],
            "clamped": self.clamped[held],
            "entries": entries[held],
            "buckets": buckets.astype(np.uint16),
            "counts": dense.ravel()[places],
        }

    def _summed(self) -> tuple[int, NDArray[np.uint32]]:
        """The least bucket in use, and counts of all rows from it to the last in use."""
        used = [held for _, _, buckets, _ in self._sparse for held in _ends(buckets)]
        if self._counts is not None:
            used += _ends(np.flatnonzero(self._counts.any(axis=0)))
        low, high = min(used, default=0), max(used, default=0)
        width = high - low + 1
        made = np.zeros(len(self.windows) * width, dtype=np.uint32)
        for rows, entries, buckets, counts in self._sparse:
            places = np.repeat(rows * width - low, entries) + buckets
            np.add.at(made, places, counts.astype(np.uint32))
        dense = made.reshape(-1, width)
        if self._counts is not None:
            dense += self._counts[:, low : high + 1]
        return low, dense


def _ends(buckets: NDArray[Any]) -> list[int]:
    return [int(buckets.min()), int(buckets.max())] if len(buckets) else []
