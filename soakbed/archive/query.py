"""`soakbed query`: SQL over the tables of all runs, by DuckDB, in memory and read-only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from soakbed.archive.data.collate import known
from soakbed.archive.data.schema import TABLES, schema_of
from soakbed.errors import ArchiveError, Mistake, SpecError
from soakbed.records.collated import Damage

__all__ = ["VIEWS", "Answer", "ask"]

# What the views hold beside the tables' own columns.
_WHERE = (("run", "run id"), ("target", "etcd, redis_cluster or tikv"))
_RUNS = pa.schema(
    [
        ("run", pa.string()),
        ("workload", pa.string()),
        ("profile", pa.string()),
        ("testbed", pa.string()),
        ("provider", pa.string()),
        ("hosts", pa.int64()),
        ("commit", pa.string()),
        ("dirty", pa.bool_()),
        ("kernel", pa.string()),
    ]
)
_TARGETS = pa.schema(
    [
        ("run", pa.string()),
        ("target", pa.string()),
        ("status", pa.string()),
        ("version", pa.string()),
        ("verdict", pa.string()),
        ("capacity_per_s", pa.float64()),
        ("offered_per_s", pa.float64()),
        ("throughput_per_s", pa.float64()),
        *(
            (f"{operation}_{name}", pa.int64())
            for operation in ("read", "write")
            for name in ("count", "failed", "unknown", "response_p50_us", "response_p99_us")
        ),
        ("collated", pa.bool_()),
    ]
)
_DAMAGES = pa.schema(
    [
        ("run", pa.string()),
        ("target", pa.string()),
        ("session", pa.string()),
        ("worker", pa.int64()),
        ("kind", pa.string()),
        ("count", pa.int64()),
        ("sentence", pa.string()),
        ("from_s", pa.float64()),
        ("until_s", pa.float64()),
    ]
)
VIEWS = ("runs", "targets", "damages", *TABLES)
# Tables that got columns since they were first written; the others have had theirs from the start.
_GROWN = ("hosts",)
_MEMORY = "700MB"


@dataclass(frozen=True, slots=True)
class Answer:
    """Names of the columns, and rows of plain values."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def ask(results: Path, sql: str) -> Answer:
    """What one SELECT over the views says.

    Raises SpecError for what is no such statement, ArchiveError when a table cannot be read.
    """
    with duckdb.connect(":memory:") as database:
        _check(database, sql)
        try:
            _prepare(database, results)
            answered = database.execute(sql)
            columns = tuple(str(one[0]) for one in answered.description or ())
            return Answer(columns, answered.fetchall())
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            raise ArchiveError(
                f"the archive cannot be read: {error}",
                remedy="delete the data/ folder that holds the file, then: soakbed collate RUN",
            ) from error
        except duckdb.Error as error:
            raise _wrong(sql, str(error)) from error


def _prepare(database: duckdb.DuckDBPyConnection, results: Path) -> None:
    """The views; from here on the archive can be read, and nothing else."""
    database.execute(f"SET memory_limit = '{_MEMORY}'")
    found = list(_runs(results))
    _register(database, "runs", _RUNS, [run for run, _ in found])
    targets = [target for _, held in found for target in held]
    _register(database, "targets", _TARGETS, targets)
    _register(database, "damages", _DAMAGES, [row for one in targets for row in one["damages"]])
    for table in TABLES:
        _view(database, table, results, targets)
    database.execute("SET allowed_directories = [?]", [f"{results}/"])
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def _check(database: duckdb.DuckDBPyConnection, sql: str) -> None:
    """One SELECT and nothing else: a query never changes an archive."""
    try:
        statements = database.extract_statements(sql)
    except duckdb.Error as error:
        raise _wrong(sql, str(error)) from error
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        raise _wrong(sql, "only one SELECT can be asked")


def _wrong(sql: str, problem: str) -> SpecError:
    remedy = f"write one SELECT over {', '.join(VIEWS)}; columns: results/README.md"
    return SpecError([Mistake("query", "SQL", sql, problem, remedy)])


def _runs(results: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each run that has a summary, and its targets."""
    for path in sorted(results.glob("*/summary.json")):
        if path.parent.is_symlink():
            continue
        summary, manifest = _json(path), _json(path.with_name("manifest.json"))
        testbed = summary.get("testbed", {})
        run = {
            "run": path.parent.name,
            "workload": summary.get("workload"),
            "profile": summary.get("profile"),
            "testbed": testbed.get("name"),
            "provider": testbed.get("provider"),
            "hosts": testbed.get("hosts"),
            "commit": manifest.get("commit"),
            "dirty": manifest.get("dirty"),
            "kernel": manifest.get("controller", {}).get("kernel"),
        }
        held = summary.get("targets", {}).items()
        yield run, [_target(path.parent, name, told) for name, told in held]


def _target(run: Path, name: str, told: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"run": run.name, "target": name}
    collated = known(run / name)
    row["collated"] = collated is not None
    row["damages"] = [_damage(row, one) for one in (collated.damages if collated else ())]
    for column in _TARGETS.names:
        operation, _, key = column.partition("_")
        if column not in row:
            inner = told.get(operation) if operation in ("read", "write") else None
            row[column] = inner.get(key) if isinstance(inner, dict) else told.get(column)
    return row


def _damage(target: dict[str, Any], damage: Damage) -> dict[str, Any]:
    return {"run": target["run"], "target": target["target"], **damage.model_dump()}


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text())
    except ValueError as error:
        raise ArchiveError(f"{path} is not JSON: {error}", remedy="soakbed report RUN") from error
    return read if isinstance(read, dict) else {}


def _register(
    database: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, rows: list[dict[str, Any]]
) -> None:
    held = [{key: row.get(key) for key in schema.names} for row in rows]
    database.register(f"_{name}", pa.Table.from_pylist(held, schema=schema))
    database.execute(f"CREATE TABLE {name} AS SELECT * FROM _{name}")
    database.unregister(f"_{name}")


def _view(
    database: duckdb.DuckDBPyConnection,
    name: str,
    results: Path,
    targets: Sequence[dict[str, Any]],
) -> None:
    """The table of every collated target as one view, with run and target in front."""
    files = [
        str(path)
        for target in targets
        if target["collated"]
        for path in sorted(
            results.glob(f"{target['run']}/{target['target']}/data/{name}/**/*.parquet")
        )
    ]
    fields = [pa.field(column, pa.string()) for column, _ in _WHERE]
    empty = pa.schema([*fields, *schema_of(name)])
    if not files:
        _register(database, name, empty, [])
        return
    grown = ""
    if name in _GROWN:  # a column that older files lack is null there
        grown = ", union_by_name = true"
        _register(database, f"_all_{name}", empty, [])
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    part = "string_split(filename, '/data/')[1]"
    database.execute(
        f"CREATE VIEW {name} AS SELECT string_split({part}, '/')[-2] AS run, "
        f"string_split({part}, '/')[-1] AS target, * EXCLUDE (filename) "
        f"FROM read_parquet([{listed}], filename = true, hive_partitioning = false{grown})"
        + (f" UNION ALL BY NAME SELECT * FROM _all_{name}" if grown else "")
    )
