"""What `results/README.md` says of the tables, from the tables' own description."""

from __future__ import annotations

import pyarrow as pa

from soakbed.archive.data.tables import TABLES, Column, Table

__all__ = ["tables_section"]


def tables_section() -> str:
    """Every table with its columns, as Markdown."""
    return "\n\n".join(_of(table) for table in TABLES)


def _of(table: Table) -> str:
    place = f"{table.name}/hour=<UTC hour>/*.parquet" if table.hourly else f"{table.name}/*.parquet"
    rows = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{column.name}` | {_kind(column)} | {column.unit} | {column.meaning} |"
        for column in table.columns
    ]
    return f"### `{table.name}`\n\n{table.meaning} `data/{place}`\n\n" + "\n".join(rows)


def _kind(column: Column) -> str:
    """The type as a reader of SQL or pandas knows it; a dictionary is how Parquet keeps words."""
    if pa.types.is_dictionary(column.kind):
        return "string"
    if pa.types.is_list(column.kind):
        return f"list of {column.kind.value_type}"
    return str(column.kind)
