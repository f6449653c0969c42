"""Rows of one hour as columns, and the four Parquet files that they become."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from soakbed.archive.data.tables import OF_ONE_WINDOW, Table, arrow_schema, table_named

__all__ = ["Cells", "HistogramRows", "Rows", "write_table"]

# Level 3 is what the size in results/README.md was measured with.
ZSTD_LEVEL = 3
_PART = "part-0.parquet"


@dataclass(frozen=True, slots=True)
class Cells:
    """What a grid held: cells are [row x name], the counts of all of them one after the other.

    `windows` and `complete` are of rows; `summed` (count, sum, max, clamped), `present` and
    `lengths` (buckets that are not empty) of cells.
    """

    keys: list[tuple[Any, ...]]
    names: list[tuple[str, str]]
    windows: NDArray[np.int64]
    complete: NDArray[np.bool_]
    present: NDArray[np.bool_]
    summed: NDArray[np.int64]
    lengths: NDArray[np.int64]
    buckets: NDArray[np.uint16]
    counts: NDArray[np.uint32]


class HistogramRows:
    """Rows of `windows` or `workers`, gathered step by step."""

    def __init__(self, table: str) -> None:
        self._table = table_named(table)
        self._parts: list[pa.Table] = []

    def add(self, one: Cells) -> None:
        """Take what a grid held; cells that no window had are left out."""
        keys, names, summed = one.keys, one.names, one.summed
        cells = np.flatnonzero(one.present)
        row, name = cells // len(names), cells % len(names)
        offsets = np.concatenate(([0], np.cumsum(one.lengths[cells]))).astype(np.int32)
        told: dict[str, Any] = {
            "session": _taken([key[0] for key in keys], row),
            "phase": _taken([key[1] for key in keys], row),
            "mode": _taken([key[2] for key in keys], row),
            "start_s": np.array([key[3] for key in keys], dtype=np.int64)[row],
            "operation": _taken([of[0] for of in names], name),
            "kind": _taken([of[1] for of in names], name),
            "count": summed[cells, 0],
            "sum_us": summed[cells, 1],
            "max_us": summed[cells, 2],
            "clamped": summed[cells, 3],
            "buckets": pa.ListArray.from_arrays(offsets, pa.array(one.buckets, pa.uint16())),
            "counts": pa.ListArray.from_arrays(offsets, pa.array(one.counts, pa.uint32())),
        }
        last = np.array([key[4] for key in keys], dtype=np.int64)[row]
        if self._table.name == "windows":
            told |= {"length_s": last, "workers": one.windows[row], "complete": one.complete[row]}
        else:
            told |= {
                "length_s": np.full(len(row), 600),
                "worker": last,
                "windows": one.windows[row],
            }
        self._parts.append(_made(self._table, told))

    def table(self) -> pa.Table:
        """All of them, sorted so that one kind of time lies together."""
        schema = arrow_schema(self._table)
        if not self._parts:
            return schema.empty_table()
        whole = pa.concat_tables(self._parts).unify_dictionaries().combine_chunks()
        keys = [whole["start_s"].to_numpy()]
        for name in ("kind", "operation", "phase", "session"):
            keys.append(whole[name].chunk(0).indices.to_numpy())
        return whole.take(pa.array(np.lexsort(keys)))


@dataclass(slots=True)
class Rows:
    """All rows of an hour."""

    windows: HistogramRows = field(default_factory=lambda: HistogramRows("windows"))
    workers: HistogramRows = field(default_factory=lambda: HistogramRows("workers"))
    generator: list[tuple[Any, ...]] = field(default_factory=list)
    counters: list[tuple[Any, ...]] = field(default_factory=list)
    states: list[dict[str, NDArray[np.int64]]] = field(default_factory=list)

    def write(self, into: Path, hour: str) -> None:
        """Four files below `into`, each in its table's folder of the hour."""
        for name in ("windows", "workers"):
            write_table(getattr(self, name).table(), into / name / f"hour={hour}" / _PART)
        for name in ("generator", "counters"):
            table = table_named(name)
            columns = list(zip(*getattr(self, name), strict=True))
            told: dict[str, Any] = {
                column.name: list(columns[index]) if columns else []
                for index, column in enumerate(table.columns)
                if column.name not in OF_ONE_WINDOW
            }
            if name == "generator":
                told |= {
                    key: np.concatenate([s[key] for s in self.states]) for key in OF_ONE_WINDOW
                }
            write_table(_made(table, told), into / name / f"hour={hour}" / _PART)


def write_table(table: pa.Table, path: Path) -> None:
    """One file, durable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lists = {"buckets", "counts"}
    dictionaries = [name for name in table.column_names if name not in lists]
    dictionaries += [f"{name}.list.element" for name in lists if name in table.column_names]
    with path.open("wb") as file:
        pq.write_table(
            table,
            file,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=dictionaries,
            row_group_size=3600,
        )
        file.flush()
        os.fsync(file.fileno())


def _taken(values: list[str], index: NDArray[np.int64]) -> pa.DictionaryArray:
    encoded = pa.array(values, pa.string()).dictionary_encode()
    taken = encoded.indices.to_numpy()[index]
    return pa.DictionaryArray.from_arrays(pa.array(taken, pa.int32()), encoded.dictionary)


def _made(table: Table, told: dict[str, Any]) -> pa.Table:
    schema = arrow_schema(table)
    arrays = []
    for one in schema:
        values = told[one.name]
        if isinstance(values, list) and pa.types.is_dictionary(one.type):
            values = pa.array(values, pa.string()).dictionary_encode()
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values, one.type))
    return pa.Table.from_arrays(arrays, schema=schema)
