"""The tables of a target's data as data: columns, types, meanings. `results/README.md` lists them.

Numbers are whole and exact; nothing here is a mean of percentiles or a rounded rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from loadgen.contract.window import CAUSES
from soakbed.archive.data.sample_columns import HOSTS_COLUMNS, UNITS_COLUMNS

__all__ = ["HISTOGRAM_STEP_S", "SCHEMA", "TABLES", "TYPES", "TableOf", "schema_of"]

SCHEMA = 1
# Histograms of single workers are added over stretches of this length.
HISTOGRAM_STEP_S = 600

_WORD = pa.dictionary(pa.int32(), pa.string())
TYPES: Mapping[str, pa.DataType] = {
    "i8": pa.int8(),
    "i16": pa.int16(),
    "i32": pa.int32(),
    "i64": pa.int64(),
    "f64": pa.float64(),
    "bool": pa.bool_(),
    "word": _WORD,
    "text": pa.string(),
    "u16s": pa.list_(pa.field("element", pa.uint16(), nullable=False)),
    "u32s": pa.list_(pa.field("element", pa.uint32(), nullable=False)),
}

_Columns = dict[str, tuple[str, str]]  # name -> (type, meaning)

_WHOSE: _Columns = {
    "session": ("word", "session of load: fill, capacity, knee-1 and on, steady"),
    "phase": ("word", "phase of the session"),
    "mode": ("word", "fill, closed or open loop"),
    "start_s": ("i64", "unix time at which the window begins, whole seconds"),
    "length_s": ("i16", "its length in seconds"),
}
_WHAT: _Columns = {
    "operation": ("word", "read or write; empty where all are meant"),
    "kind": (
        "word",
        "response (reply - due), service (reply - sent), lag (sent - due), or late: the engine's "
        "own delay, all operations together",
    ),
}
_HISTOGRAM: _Columns = {
    "complete": ("bool", "false where a phase ended inside a window"),
    "count": ("i64", "values, ok operations alone"),
    "sum_us": ("i64", "their exact sum in us"),
    "max_us": ("i64", "the longest, exact, in us"),
    "clamped": ("i64", "values above 60 s, which the last bucket holds"),
    "buckets": ("u16s", "numbers of the buckets that are not empty (loadgen.contract.histogram)"),
    "counts": ("u32s", "values in each of these buckets"),
}
_WORKER: _Columns = {"worker": ("i16", "rank of the worker")}
_COUNTERS: _Columns = {
    "due": ("i32", "operations that were due in the window"),
    "sent": ("i32", "operations that were sent in it"),
    "ok": ("i32", "operations that ended in it, done"),
    "failed": ("i32", "ended, surely not applied"),
    "unknown": ("i32", "ended, perhaps applied"),
    "dropped": ("i32", "due and never sent"),
    **{cause: ("i32", f"failed or unknown because of {cause}") for cause in CAUSES},
}
_STATE: _Columns = {
    "complete": ("bool", "false where the phase ended inside the window"),
    "cpu_share": ("f64", "CPU time of the engine over wall time, 1 = its core"),
    "wait_share": ("f64", "part of the window that it waited for its core; null: not counted"),
    "nic_share": ("f64", "bytes over what the link carries; null: no honest speed"),
    "loop_lag_max_us": ("i64", "longest pass of the event loop, us"),
    "overdue_max": ("i64", "most requests due and not yet sent"),
    "in_flight_max": ("i64", "most requests sent and not yet answered"),
    "reconnects": ("i64", "connections opened again"),
    "moved": ("i64", "redirects followed"),
    "ask": ("i64", "ASK redirects followed"),
    "late_count": ("i64", "operations whose own delay is known"),
    "late_p95_us": ("i64", "P95 of the engine's own delay in this window, us"),
    "response_count": ("i64", "ok operations"),
    "response_p95_us": ("i64", "P95 of the response time in this window, all operations, us"),
}
_SAMPLED = {"host": "word", "duty": "word", "unit": "word", "restarted": "bool"}


@dataclass(frozen=True, slots=True)
class TableOf:
    """One table: what a row is, and its columns, name -> (type, meaning)."""

    row: str
    columns: _Columns


def _sampled(columns: Mapping[str, str]) -> _Columns:
    def kind(name: str) -> str:
        return "word" if name.endswith("_scope") else _SAMPLED.get(name, "f64")

    return {name: (kind(name), meaning) for name, meaning in columns.items()}


TABLES: Mapping[str, TableOf] = {
    "windows": TableOf(
        "one window, operation and kind of time; all workers added",
        _WHOSE | _WHAT | {"workers": ("i16", "windows of workers that were added"), **_HISTOGRAM},
    ),
    "workers": TableOf(
        f"one worker, phase, operation and kind over {HISTOGRAM_STEP_S // 60} minutes",
        {name: held for name, held in _WHOSE.items() if name != "length_s"}
        | _WORKER
        | _WHAT
        | {"windows": ("i16", "windows that were added"), **_HISTOGRAM},
    ),
    "counters": TableOf(
        "one window of one worker and operation",
        _WHOSE
        | _WORKER
        | {"seq": ("i64", "number of the window in its spool")}
        | {"operation": _WHAT["operation"]}
        | _COUNTERS,
    ),
    "generator": TableOf(
        "one window of one worker: how its engine fared",
        _WHOSE | _WORKER | {"seq": ("i64", "number of the window in its spool")} | _STATE,
    ),
    "events": TableOf(
        "one thing that happened",
        {
            "at_s": ("f64", "unix time at which it began"),
            "until_s": ("f64", "and ended; equal when it took no time"),
            "host": ("word", "where; empty: nowhere in particular"),
            "worker": ("i16", "rank of the worker; -1: none"),
            "source": (
                "word",
                "where it was read: archive, journal, kernel, facts, samples, watch",
            ),
            "kind": ("word", "a kind of the event policy"),
            "severity": ("word", "what it puts in doubt: note, window, phase or run"),
            "text": ("text", "a sentence for people"),
        },
    ),
    "hosts": TableOf("one sample of one host", _sampled(HOSTS_COLUMNS)),
    "units": TableOf("one sample of one systemd unit", _sampled(UNITS_COLUMNS)),
}


def schema_of(table: str) -> pa.Schema:
    """Arrow's schema of a table, with the version of ours in its metadata."""
    fields = [pa.field(name, TYPES[kind]) for name, (kind, _) in TABLES[table].columns.items()]
    return pa.schema(fields, metadata={"soakbed_schema": str(SCHEMA)})
