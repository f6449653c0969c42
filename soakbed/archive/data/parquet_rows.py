"""Rows of one Parquet file, with as little of it read as its statistics allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

__all__ = ["rows_by_word", "rows_of", "taken"]

_LAYOUTS = 320  # four tables an hour of a target of 72 hours


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a file says of itself: `places` column path -> number, `whole` columns of integers."""

    metadata: pq.FileMetaData
    schema: pa.Schema
    places: Mapping[str, int]
    whole: frozenset[str]


def rows_of(
    path: Path,
    columns: Sequence[str],
    wanted: Mapping[str, Any],
    at_s: NDArray[np.int64] | None = None,
) -> pa.Table:
    """Rows of one file in which the columns of `wanted` have these values.

    By the statistics of the row groups, of which `tables` writes one per phase, operation and
    kind: that reads a tenth of the file, where a filter of Arrow's reads all of the key's columns.
    A column of whole numbers that are all the same is not read either. `at_s`, sorted: only row
    groups with a `start_s` that may be among these. A file without such a group is not opened.
    """
    held = path.stat()
    layout = _layout(path, (held.st_mtime_ns, held.st_size, held.st_ino))
    names = layout.schema.names
    groups, mixed = _groups(layout, wanted, at_s)
    same = {
        name: value
        for name in columns
        if name in layout.whole
        and (value := _same(layout.metadata, groups, layout.places[name])) is not None
    }
    asked = [name for name in names if (name in columns or name in mixed) and name not in same]
    if not groups:
        return layout.schema.empty_table().select([name for name in names if name in columns])
    with pq.ParquetFile(path, metadata=layout.metadata) as file:
        # Without a column nobody knows how many rows there are. Arrow's threads, each with memory
        # of its own, take twice the time of the cores for a few columns.
        found = file.read_row_groups(groups, columns=asked or [names[0]], use_threads=False)
    found = _with_same(found, same, layout.schema)
    for name in mixed:
        found = found.filter(pc.equal(found.column(name), pa.scalar(wanted[name])))
    return found


@lru_cache(maxsize=_LAYOUTS)
def _layout(path: Path, _version: tuple[int, ...]) -> _Layout:
    """Of a file that is as it was: phase after phase asks for the same files."""
    metadata = pq.read_metadata(path)
    schema = metadata.schema.to_arrow_schema()
    return _Layout(
        metadata=metadata,
        schema=schema,
        places={metadata.schema.column(i).path: i for i in range(metadata.num_columns)},
        whole=frozenset(field.name for field in schema if pa.types.is_integer(field.type)),
    )


def _groups(
    layout: _Layout, wanted: Mapping[str, Any], at_s: NDArray[np.int64] | None
) -> tuple[list[int], set[str]]:
    """Row groups that may hold such rows, and columns of which their statistics are not enough."""
    groups, mixed = [], set()
    for index in range(layout.metadata.num_row_groups):
        group = layout.metadata.row_group(index)
        told = {name: group.column(layout.places[name]).statistics for name in wanted}
        known = {name: one for name, one in told.items() if one and one.has_min_max}
        if not all(one.min <= wanted[name] <= one.max for name, one in known.items()):
            continue
        if at_s is None or _may_hold(group.column(layout.places["start_s"]).statistics, at_s):
            groups.append(index)
            mixed |= {n for n in wanted if n not in known or known[n].min != known[n].max}
    return groups, mixed


def _with_same(found: pa.Table, same: Mapping[str, int], schema: pa.Schema) -> pa.Table:
    """Columns whose every value is known without reading them."""
    for name, value in same.items():
        values = pa.array(np.full(found.num_rows, value), schema.field(name).type)
        found = found.append_column(name, values)
    return found


def _may_hold(told: Any, at_s: NDArray[np.int64]) -> bool:  # noqa: ANN401
    """Whether a column with these statistics may hold one of `at_s`, sorted."""
    if told is None or not told.has_min_max:
        return True
    first, last = np.searchsorted(at_s, (told.min, told.max + 1)).tolist()
    return bool(first < last)


def _same(metadata: Any, groups: Sequence[int], column: int) -> int | None:  # noqa: ANN401
    """The one value that a column has in all of `groups`; None where there are several, or nulls,
    or nobody knows.
    """
    value: int | None = None
    for index in groups:
        told = metadata.row_group(index).column(column).statistics
        if told is None or not told.has_min_max or told.null_count or told.min != told.max:
            return None
        if value is not None and told.min != value:
            return None
        value = int(told.min)
    return value


def rows_by_word(table: pa.Table, name: str) -> Iterator[tuple[str, slice | NDArray[np.int64]]]:
    """(word, which rows have it); a slice where they are evenly spaced."""
    column = table.column(name).unify_dictionaries().combine_chunks()
    numbers = column.indices.to_numpy()
    for number, word in enumerate(column.dictionary.to_pylist()):
        rows = np.flatnonzero(numbers == number)
        steps = np.diff(rows[:2])
        if len(steps) and (np.diff(rows) == steps[0]).all():
            yield word, slice(int(rows[0]), int(rows[-1]) + 1, int(steps[0]))
        elif len(rows):
            yield word, rows


def taken(table: pa.Table, rows: slice | NDArray[np.int64]) -> pa.Table:
    """These rows alone."""
    if isinstance(rows, slice) and rows.step == 1:
        return table.slice(rows.start, rows.stop - rows.start)
    return table.take(pa.array(np.arange(table.num_rows)[rows]))
