"""Rows of one Parquet file: which are read, and that nothing of an earlier file is."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from soakbed.archive.data.parquet_rows import rows_of


def _write(path: Path, phases: list[str], values: list[int]) -> None:
    table = pa.table({"phase": phases, "value": values})
    temporary = path.with_suffix(".new")
    pq.write_table(table, temporary, row_group_size=2)
    temporary.rename(path)


def _values(path: Path, phase: str) -> list[int]:
    found: list[int] = rows_of(path, ["value"], {"phase": phase}).column("value").to_pylist()
    return found


def test_rows_of_a_phase_are_found_in_whole_and_in_mixed_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "one.parquet"
    _write(
        path, ["warm-up", "warm-up", "steady", "warm-up", "steady", "steady"], [1, 2, 3, 4, 5, 6]
    )

    assert _values(path, "steady") == [3, 5, 6]
    assert _values(path, "warm-up") == [1, 2, 4]


def test_a_phase_that_a_file_lacks_has_its_columns_and_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "one.parquet"
    _write(path, ["steady", "steady"], [1, 2])

    found = rows_of(path, ["value"], {"phase": "zzz"})

    assert found.num_rows == 0
    assert found.column_names == ["value"]


def test_a_file_that_was_made_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "one.parquet"
    _write(path, ["steady", "steady"], [1, 2])
    assert _values(path, "steady") == [1, 2]

    _write(path, ["steady", "warm-up", "steady", "steady"], [7, 8, 9, 9])

    assert _values(path, "steady") == [7, 9, 9]
