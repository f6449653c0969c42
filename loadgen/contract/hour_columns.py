"""Records of a spool -> the columns of a sealed hour.

A window of the usual form is taken apart into columns; any other record is kept as it is, at its
place. Nothing is rounded, joined or left out.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from loadgen.contract.columns import is_number
from loadgen.contract.sealed import (
    COUNTS,
    PLAIN,
    RARE,
    SCALARS,
    assembled,
    histogram_names,
)
from loadgen.contract.window import HISTOGRAMS, SCHEMA, GeneratorState

__all__ = ["HourColumns", "coded"]

_DOUBLES = ("cpu_share", "wait_share", "nic_share")
_WINDOW = {"kind", "schema", "phase", "mode", *PLAIN, "late", "operations", "generator"}
_OPERATION = {*COUNTS, "causes", *HISTOGRAMS}
_HISTOGRAM = {"buckets", "counts", *SCALARS}
_MOST_BYTE = (1 << 8) - 1
_MOST_BUCKET, _MOST_COUNT = (1 << 16) - 1, (1 << 32) - 1


class HourColumns:
    """Takes records one by one; `assembled` is the file."""

    def __init__(self) -> None:
        self._records: list[tuple[int, Mapping[str, Any]]] = []
        self._windows = 0
        self._phases: dict[tuple[str, str], int] = {}
        self._shapes: dict[tuple[str, ...], int] = {}
        self._columns: defaultdict[str, list[Any]] = defaultdict(list)
        self._gaps: defaultdict[str, array[int]] = defaultdict(lambda: array("H"))
        self._counts: defaultdict[str, array[int]] = defaultdict(lambda: array("I"))

    def take(self, record: Mapping[str, Any]) -> None:
        """Add the next record of the spool."""
        if not _usual(record):
            self._records.append((self._windows + len(self._records), record))
            return
        self._windows += 1
        columns = self._columns
        for name in PLAIN:
            columns[name].append(record[name])
        phase = (record["phase"], record["mode"])
        columns["phase"].append(self._phases.setdefault(phase, len(self._phases)))
        shape = tuple(record["operations"])
        columns["shape"].append(self._shapes.setdefault(shape, len(self._shapes)))
        for name in GeneratorState.__slots__:
            columns[f"generator.{name}"].append(record["generator"][name])
        self._histogram("late", record["late"])
        for name, operation in record["operations"].items():
            self._operation(name, operation)

    def _operation(self, name: str, operation: Mapping[str, Any]) -> None:
        seen = len(self._columns[f"{name}.ok"])
        for count in COUNTS:
            self._columns[f"{name}.{count}"].append(operation[count])
        for cause, count in operation["causes"].items():
            column = self._columns[f"{name}.cause.{cause}"]
            column += [0] * (seen - len(column)) + [count]
        for kind in HISTOGRAMS:
            self._histogram(f"{name}.{kind}", operation[kind])

    def _histogram(self, name: str, held: Mapping[str, Any]) -> None:
        buckets = held["buckets"]
        self._columns[f"{name}.entries"].append(len(buckets))
        if buckets:
            self._columns[f"{name}.first"].append(buckets[0])
            self._gaps[name].append(0)
            self._gaps[name].extend([after - before for before, after in pairwise(buckets)])
            self._counts[name].extend(held["counts"])
        for scalar in SCALARS:
            self._columns[f"{name}.{scalar}"].append(held[scalar])

    def assembled(
        self, *, spool: Mapping[str, Any], pace: Callable[[], None] = lambda: None
    ) -> bytes:
        """The file of what was taken. `spool`: frames and fingerprint of what it stands for;
        `pace` is called between pieces of work.
        """
        codes: dict[str, bytes] = {}
        columns = dict(self._columns)
        for column, values in columns.items():
            operation, _, cause = column.partition(".cause.")
            if cause:  # none of it in the last windows
                values += [0] * (len(columns[f"{operation}.ok"]) - len(values))
        for name in histogram_names(list(self._shapes)):
            codes[name], told = coded(name, self._gaps[name], self._counts[name])
            columns |= told
            columns.setdefault(f"{name}.first", [])
            pace()
        if not self._windows:
            columns, codes = {}, {}
        head = {
            "windows": self._windows,
            "spool": dict(spool),
            "records": self._records,
            "phases": list(self._phases),
            "shapes": list(self._shapes),
        }
        return assembled(head, columns, codes)


def coded(
    name: str, gaps: Sequence[int], counts: Sequence[int]
) -> tuple[bytes, dict[str, list[int]]]:
    """A code for each entry of histogram `name`, and the columns that say what it stands for: the
    commonest pairs of distance and count, both of a byte, and both numbers of the rare ones.
    """
    seen = Counter(zip(gaps, counts, strict=True)).most_common()
    pairs = [pair for pair, _ in seen if max(pair) <= _MOST_BYTE][:RARE]
    number = {pair: code for code, pair in enumerate(pairs)}
    codes = bytes([number.get(pair, RARE) for pair in zip(gaps, counts, strict=True)])
    rare = [at for at, code in enumerate(codes) if code == RARE]
    return codes, {
        f"{name}.gap": [gap for gap, _ in pairs],
        f"{name}.count": [count for _, count in pairs],
        f"{name}.rare_gap": [gaps[at] for at in rare],
        f"{name}.rare_count": [counts[at] for at in rare],
    }


def _usual(record: Mapping[str, Any]) -> bool:
    """Whether a record is a window that columns give back as it was."""
    if record.get("kind") != "window" or record.get("schema") != SCHEMA:
        return False
    state = record.get("generator")
    return (
        record.keys() == _WINDOW
        and all(isinstance(record[name], str) for name in ("phase", "mode"))
        and isinstance(record["complete"], bool)
        and _whole(record[name] for name in PLAIN if name != "complete")
        and isinstance(state, Mapping)
        and state.keys() == set(GeneratorState.__slots__)
        and all(_double(state[name]) for name in _DOUBLES)
        and _whole(state[name] for name in state.keys() - set(_DOUBLES))
        and _usual_histogram(record["late"])
        and isinstance(record["operations"], Mapping)
        and all(_usual_operation(one) for one in record["operations"].values())
    )


def _usual_operation(held: object) -> bool:
    return (
        isinstance(held, Mapping)
        and held.keys() == _OPERATION
        and _whole(held[name] for name in COUNTS)
        and isinstance(held["causes"], Mapping)
        and _whole(held["causes"].values())
        and 0 not in held["causes"].values()
        and all(_usual_histogram(held[kind]) for kind in HISTOGRAMS)
    )


def _usual_histogram(held: object) -> bool:
    if not isinstance(held, Mapping) or held.keys() != _HISTOGRAM:
        return False
    buckets, counts = held["buckets"], held["counts"]
    return (
        _whole(held[name] for name in SCALARS)
        and len(buckets) == len(counts)
        and (
            not buckets
            or (
                buckets[0] >= 0
                and buckets[-1] <= _MOST_BUCKET
                and all(before < after for before, after in pairwise(buckets))
                and min(counts) > 0
                and max(counts) <= _MOST_COUNT
            )
        )
    )


def _whole(values: Any) -> bool:  # noqa: ANN401
    return all(type(one) is int and is_number(one) for one in values)


def _double(value: object) -> bool:
    return value is None or (isinstance(value, float) and is_number(value))
