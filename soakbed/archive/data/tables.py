"""The tables of a target as data: names, units, meanings; Parquet and the docs come from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from loadgen.contract.window import CAUSES
from soakbed.archive.data.samples import HOSTS_COLUMNS, UNITS_COLUMNS
from soakbed.records.collated import DATA_SCHEMA

__all__ = ["OF_ONE_WINDOW", "TABLES", "Column", "Table", "arrow_schema", "table_named"]

# Of `generator`, and not of the engine's own words: made from this worker's histograms, which the
# tables hold only merged, so that every window can be judged by loadgen/contract/limits.py.
OF_ONE_WINDOW = ("late_count", "late_p95_us", "response_count", "response_p95_us")

_NAME = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Arrow type, unit ("" where there is none) and meaning."""

    name: str
    kind: pa.DataType
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table; `hourly` ones lie in a folder for each UTC hour."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    hourly: bool = True


_WHEN = (
    Column("session", _NAME, "", "fill, capacity or steady"),
    Column("phase", _NAME, "", "the phase within the session"),
    Column("mode", _NAME, "", "fill, closed or open"),
    Column("start_s", pa.int64(), "unix s", "when the window began"),
    Column("length_s", pa.int32(), "s", "how long the window was to last"),
)
_HISTOGRAM = (
    Column("operation", _NAME, "", "read or write; empty for the engines' own delay"),
    Column("kind", _NAME, "", "response, service, lag or late (the engines' own delay)"),
    Column("count", pa.int64(), "operations", "how many values the histogram holds"),
    Column("sum_us", pa.int64(), "us", "their exact sum"),
    Column("max_us", pa.int64(), "us", "the exact largest"),
    Column("clamped", pa.int64(), "operations", "values above 60 s, which the last bucket holds"),
    Column(
        "buckets",
        pa.list_(pa.uint16()),
        "",
        "numbers of the buckets that are not empty (loadgen/contract/histogram.py)",
    ),
    Column("counts", pa.list_(pa.uint32()), "operations", "how many values each of them holds"),
)
_COMPLETE = Column("complete", pa.bool_(), "", "false where the phase ended inside a window")
_WORKER = Column("worker", pa.int32(), "", "rank of the load engine")
_COUNTS = {
    "due": "the schedule wanted sent in this window (closed loop: as sent)",
    "sent": "were sent in it",
    "ok": "ended ok in it",
    "failed": "ended in it, surely not applied",
    "unknown": "ended in it, perhaps applied",
    "dropped": "were due and never sent",
}

TABLES: tuple[Table, ...] = (
    Table(
        "windows",
        "Latencies of all workers, added: a row for each window, operation and kind of time.",
        (
            *_WHEN,
            Column("workers", pa.int32(), "", "how many windows were added"),
            Column(
                "complete",
                pa.bool_(),
                "",
                "false where the phase ended inside a window of any worker, or two of one worker "
                "claim the same time",
            ),
            *_HISTOGRAM,
        ),
    ),
    Table(
        "workers",
        "The same of each worker alone, over the windows that began in ten whole minutes: "
        "`start_s` is the first of them, `length_s` their sum.",
        (*_WHEN, _WORKER, Column("windows", pa.int32(), "", "how many were added"), *_HISTOGRAM),
    ),
    Table(
        "counters",
        "What happened to operations: a row for each worker, window and operation.",
        (
            *_WHEN,
            _WORKER,
            _COMPLETE,
            Column("seq", pa.int64(), "", "number of the window in its spool"),
            Column("operation", _NAME, "", "read or write"),
            *(
                Column(name, pa.int32(), "operations", f"operations that {meaning}")
                for name, meaning in _COUNTS.items()
            ),
            *(
                Column(f"cause_{name}", pa.int32(), "operations", f"failed or unknown: {name}")
                for name in CAUSES
            ),
        ),
    ),
    Table(
        "generator",
        "How each load engine fared: a row for each worker and window.",
        (
            *_WHEN,
            _WORKER,
            _COMPLETE,
            Column("seq", pa.int64(), "", "number of the window in its spool"),
            Column("cpu_share", pa.float64(), "share", "of its core"),
            Column("loop_lag_max_us", pa.int64(), "us", "longest pass of the event loop"),
            Column("overdue_max", pa.int64(), "requests", "most that were due and not yet sent"),
            Column("in_flight_max", pa.int64(), "requests", "most that were under way"),
            Column("reconnects", pa.int64(), "connections", "made again"),
            Column("moved", pa.int64(), "replies", "MOVED and TiKV's region errors, followed"),
            Column("ask", pa.int64(), "replies", "ASK, followed"),
            Column("wait_share", pa.float64(), "share", "ready while others had the core; or null"),
            Column("nic_share", pa.float64(), "share", "of the link to the target; or null"),
            Column("late_count", pa.int64(), "operations", "that have an own delay of the engine"),
            Column("late_p95_us", pa.int64(), "us", "P95 of it in this window; 0: none"),
            Column("response_count", pa.int64(), "operations", "that ended ok, of any kind"),
            Column("response_p95_us", pa.int64(), "us", "P95 of their response time; 0: none"),
        ),
    ),
    Table(
        "events",
        "What happened to the evidence and to the hosts.",
        (
            Column("at_s", pa.float64(), "unix s", "when it began; null: not known"),
            Column("until_s", pa.float64(), "unix s", "when it ended; null: not known"),
            Column("host", pa.string(), "", "where; empty: not of one host"),
            Column("worker", pa.int32(), "", "of which load engine; -1: of none"),
            Column("source", pa.string(), "", "which file or program said so"),
            Column("kind", pa.string(), "", "a fixed word for each kind of event"),
            Column("severity", pa.string(), "", "what it touches: note, window, phase or run"),
            Column("text", pa.string(), "", "the event in a sentence"),
        ),
        hourly=False,
    ),
)


def _of_samples(name: str, meaning: str, columns: Mapping[str, str]) -> Table:
    """A table whose columns `samples` makes; the units are in their names and meanings."""
    words = {"host", "duty", "unit"}
    made = []
    for column, said in columns.items():
        kind = pa.string() if column in words or column.endswith("_scope") else pa.float64()
        made.append(Column(column, pa.bool_() if column == "restarted" else kind, "", said))
    return Table(name, meaning, tuple(made), hourly=False)


TABLES += (
    _of_samples("hosts", "What each host used: a row for each sample, every 5 s.", HOSTS_COLUMNS),
    _of_samples("units", "The same of each systemd unit on it.", UNITS_COLUMNS),
)


def table_named(name: str) -> Table:
    """The table called `name`; a KeyError is a mistake in this code."""
    return {table.name: table for table in TABLES}[name]


def arrow_schema(table: Table) -> pa.Schema:
    """As Parquet holds it, with the number of this schema."""
    fields = [pa.field(column.name, column.kind) for column in table.columns]
    return pa.schema(fields, metadata={"soakbed_schema": str(DATA_SCHEMA), "table": table.name})
