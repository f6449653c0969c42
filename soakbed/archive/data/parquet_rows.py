"""Rows of one Parquet file, with as little of it read as its statistics allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

__all__ = ["rows_by_word", "rows_of", "taken"]


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
    groups with a `start_s` that may be among these.
    """
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        places = {file.metadata.schema.column(i).path: i for i in range(file.metadata.num_columns)}
        groups, mixed = [], set()
        for index in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(index)
            held = {name: group.column(places[name]).statistics for name in wanted}
            known = {name: one for name, one in held.items() if one and one.has_min_max}
            if at_s is not None and not _may_hold(group.column(places["start_s"]).statistics, at_s):
                continue
            if all(one.min <= wanted[name] <= one.max for name, one in known.items()):
                groups.append(index)
                mixed |= {n for n in wanted if n not in known or known[n].min != known[n].max}
        same = {
            name: value
            for name in columns
            if name in places and pa.types.is_integer(file.schema_arrow.field(name).type)
            if (value := _same(file.metadata, groups, places[name])) is not None
        }
        asked = [name for name in names if (name in columns or name in mixed) and name not in same]
        # Without a column nobody knows how many rows there are.
        found = file.read_row_groups(groups, columns=asked or [names[0]])
        found = _with_same(found, same, file.schema_arrow)
    for name in mixed:
        found = found.filter(pc.equal(found.column(name), pa.scalar(wanted[name])))
    return found


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
