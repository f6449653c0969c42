"""Rows of a chunk -> Parquet files by table and hour.

Encodings were chosen by size, on the 2 million buckets of half an hour at 1,000 operations/s of
each kind. Bytes of one place together: 0.33 MB for the numbers of buckets, 1.01 for counts; from a
dictionary 0.49 and 1.27; differences, which every new list breaks, 0.68 and 1.33. zstd over all:
level 9 gains 5 % for twice the time; level 1 is as small as 3 for four fifths of it.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soakbed.archive.data.adding import Stretch
from soakbed.archive.data.adding_columns import Columns, Words
from soakbed.archive.data.histogram_rows import Rows
from soakbed.archive.data.schema import TABLES, schema_of

__all__ = ["TableWriter", "began_s", "hour_of", "write_table"]

_COMPRESSION = "zstd"
_LEVEL = 1
_DELTAS = ("start_s", "seq")
_LISTS = ("buckets", "counts")
_AT_ONCE = 8192  # values that the writer encodes together; of 1,024 lists take a tenth more time


def hour_of(at_s: float) -> str:
    """The UTC hour as partitions are named.

    >>> hour_of(0)
    '1970-01-01T00'
    """
    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%dT%H")


def began_s(hour: str) -> int:
    """Unix time at which a partition's hour begins.

    >>> began_s("1970-01-01T01")
    3600
    """
    return int(dt.datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=dt.UTC).timestamp())


def write_table(path: Path, table: str, groups: Iterable[pa.Table]) -> int:
    """Write `groups` as row groups of one file, whole or not at all; the number of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    schema = schema_of(table)
    names = TABLES[table].columns
    encodings = {name: "DELTA_BINARY_PACKED" for name in _DELTAS if name in names}
    encodings |= {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in _LISTS if name in names}
    words = [name for name in names if name not in (*_DELTAS, *_LISTS)]
    rows = 0
    try:
        with pq.ParquetWriter(
            temporary,
            schema,
            compression=_COMPRESSION,
            compression_level=_LEVEL,
            use_dictionary=words,
            column_encoding=encodings,
            write_statistics=[name for name in names if name not in _LISTS],
            write_batch_size=_AT_ONCE,
        ) as writer:
            for group in groups:
                writer.write_table(group)
                rows += group.num_rows
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return rows


class TableWriter:
    """Gathers the stretches of one chunk and writes each hour's tables at the end."""

    def __init__(self, data: Path, name: str, session: str) -> None:
        self._data = data
        self._name = name
        self._session = session
        self._histograms: dict[tuple[str, str], dict[Any, list[Rows]]] = defaultdict(dict)
        self._rows: dict[tuple[str, str], list[Columns]] = defaultdict(list)

    def take(self, stretch: Stretch) -> None:
        """Keep what a stretch holds, in sparse form."""
        hour = hour_of(stretch.start_s)
        for key, rows in stretch.seconds():
            rows["workers"] = rows.pop("windows")
            self._histograms["windows", hour].setdefault(key, []).append(rows)
        for rank, key, rows in stretch.workers():
            rows["worker"] = np.full(len(rows["count"]), rank)
            self._histograms["workers", hour].setdefault(key, []).append(rows)
        self._rows["counters", hour] += stretch.counters
        self._rows["generator", hour] += stretch.generator

    def close(self) -> list[str]:
        """Write the files; their names below the data folder."""
        made = []
        for (table, hour), by_key in sorted(self._histograms.items()):
            groups = (self._histogram(table, key, by_key.pop(key)) for key in sorted(by_key))
            made.append(self._write(table, hour, groups))
        for (table, hour), rows in sorted(self._rows.items()):
            made.append(self._write(table, hour, [self._plain(table, rows)] if rows else []))
        return made

    def _write(self, table: str, hour: str, groups: Iterable[pa.Table]) -> str:
        path = self._data / table / f"hour={hour}" / f"{self._name}.parquet"
        write_table(path, table, groups)
        return str(path.relative_to(self._data))

    def _histogram(self, table: str, key: tuple[str, str, str, str], parts: list[Rows]) -> pa.Table:
        """All rows of one key, a row group of the file."""
        schema = schema_of(table)
        # Stretches of sealed hours may come behind later ones that were read window by window.
        parts = sorted(parts, key=lambda part: int(part["start_s"][0]))
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        count = len(rows["count"])
        offsets = pa.array(np.append(0, np.cumsum(rows["entries"])), pa.int32())
        words = dict(zip(("phase", "mode", "operation", "kind"), key, strict=True))
        words["session"] = self._session
        columns = []
        for one in schema:
            if one.name in words:
                columns.append(_same(words[one.name], count))
            elif one.name in _LISTS:
                values = pa.array(rows[one.name], one.type.value_type)
                columns.append(pa.ListArray.from_arrays(offsets, values, type=one.type))
            else:
                columns.append(pa.array(rows[one.name], one.type))
        return pa.Table.from_arrays(columns, schema=schema)

    def _plain(self, table: str, parts: list[Columns]) -> pa.Table:
        """Rows of `counters` or `generator`."""
        schema = schema_of(table)
        count = sum(len(part["seq"]) for part in parts)
        columns = [
            _same(self._session, count)
            if one.name == "session"
            else _column([part[one.name] for part in parts], one.type)
            for one in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)


def _column(parts: list[Any], kind: pa.DataType) -> pa.Array:
    if all(isinstance(part, np.ndarray) for part in parts):
        # None among doubles is NaN, which no engine can have written.
        return pa.array(np.concatenate(parts), kind, from_pandas=True)
    if all(isinstance(part, Words) for part in parts):
        return _words(parts)
    lists = [part if isinstance(part, list) else _listed(part) for part in parts]
    values = list(itertools.chain.from_iterable(lists))
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, kind)


def _listed(part: Any) -> list[Any]:  # noqa: ANN401
    """A column of a sealed hour beside one of windows that were read one by one."""
    values = part.to_list() if isinstance(part, Words) else part.tolist()
    return [None if one != one else one for one in values]


def _words(parts: list[Words]) -> pa.DictionaryArray:
    """What `dictionary_encode` makes of the words, numbered as they come."""
    numbers: dict[str, int] = {}
    indices = [
        np.tile([numbers.setdefault(word, len(numbers)) for word in part.words], part.times)
        for part in parts
    ]
    return pa.DictionaryArray.from_arrays(
        pa.array(np.concatenate(indices), pa.int32()), pa.array(list(numbers), pa.string())
    )


def _same(word: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(count, dtype=np.int32)), pa.array([word], pa.string())
    )
