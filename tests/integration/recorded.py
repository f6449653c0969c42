"""What an engine recorded operation by operation, and whether it is all that its spool counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from loadgen.contract.history import OK, UNKNOWN, WRITE, HistoryBlock, sampled
from loadgen.contract.history_files import read_histories
from loadgen.contract.window import Window

KINDS = ("read", "write")


class Row(NamedTuple):
    """One operation."""

    phase: str
    key: int
    value: int
    due_ns: int
    sent_ns: int
    done_ns: int
    process: tuple[int, int]  # attempt, number
    kind: str
    outcome: int
    cause: str
    revision: int


def blocks_of(folder: Path, rank: int = 0) -> list[HistoryBlock]:
    return list(read_histories(folder, rank))


def rows_of(blocks: Iterable[HistoryBlock]) -> list[Row]:
    return [
        Row(
            block.phase,
            block.key[at],
            block.value[at],
            block.due_ns[at],
            block.sent_ns[at],
            block.done_ns[at],
            (block.attempt, block.process[at]),
            KINDS[block.kind[at]],
            block.outcome[at],
            block.causes[block.cause[at]],
            block.revision[at],
        )
        for block in blocks
        for at in range(len(block))
    ]


def assert_all_is_recorded(rows: list[Row], windows: Iterable[Window]) -> None:
    """With all keys sampled: each operation once, ended as the spool counts it, by its cause."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for window in windows:
        for kind, operation in window.operations.items():
            counted[window.phase, kind, "ok"] += operation.ok
            for cause, count in operation.causes.items():
                counted[window.phase, kind, cause] += count
    recorded = Counter((row.phase, row.kind, row.cause or "ok") for row in rows)
    assert recorded == +counted
    assert all(row.outcome == OK for row in rows if not row.cause)
    written = [row.value for row in rows if row.kind == "write"]
    assert len(written) == len(set(written))


def assert_it_makes_sense(rows: list[Row], keys: int, *, share: float, seed: int) -> None:
    """Sampled keys alone; times in order; no value read that was not written to the key before."""
    writes = {(row.key, row.value): row for row in rows if row.kind == "write"}
    for row in rows:
        assert 0 <= row.key < keys and sampled(row.key, share, seed=seed)
        assert row.due_ns <= row.sent_ns <= row.done_ns
        if row.kind == "read" and row.outcome == OK and not row.cause:
            written = writes[row.key, row.value]
            assert written.outcome in (OK, UNKNOWN) and written.sent_ns < row.done_ns


def assert_clients_do_one_thing_at_a_time(rows: list[Row]) -> None:
    last: dict[tuple[int, int], int] = {}
    for row in sorted(rows, key=lambda row: row.sent_ns):
        assert row.sent_ns >= last.get(row.process, 0), row
        last[row.process] = row.done_ns


def without(block: HistoryBlock, at: int) -> None:
    """What a recorder that loses an operation would have left."""
    for column in _columns(block):
        del column[at]


def twice(block: HistoryBlock, at: int) -> None:
    """What one that records an operation again would have left."""
    for column in _columns(block):
        column.append(column[at])


def is_write(block: HistoryBlock, at: int) -> bool:
    return block.kind[at] == WRITE


def _columns(block: HistoryBlock) -> list:
    names = ("key", "value", "due_ns", "sent_ns", "done_ns", "process", "kind", "outcome", "cause")
    return [getattr(block, name) for name in (*names, "revision")]
