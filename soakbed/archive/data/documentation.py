"""What `results/README.md` says of the tables, from their own description."""

from __future__ import annotations

from soakbed.archive.data.schema import TABLES, TYPES

__all__ = ["tables_section"]

_WORDS = {"word": "string", "u16s": "list of uint16", "u32s": "list of uint32"}
# Written once a target, in no folder of an hour.
_WHOLE = ("events",)


def tables_section() -> str:
    """Every table with its columns, as Markdown."""
    return "\n\n".join(_of(name) for name in TABLES)


def _of(name: str) -> str:
    place = f"data/{name}/*.parquet" if name in _WHOLE else f"data/{name}/hour=<UTC>/*.parquet"
    rows = ["| column | type | meaning |", "|---|---|---|"]
    rows += [
        f"| `{column}` | {_WORDS.get(kind, str(TYPES[kind]))} | {meaning} |"
        for column, (kind, meaning) in TABLES[name].columns.items()
    ]
    said = f"`{place}`. A row is {TABLES[name].row}."
    return f"### `{name}`\n\n{said}\n\n" + "\n".join(rows)
