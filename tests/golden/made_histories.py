"""Histories of a store that keeps its word, made up, and the same with one thing planted in them.

Each operation takes effect somewhere between being sent and answered, in one order for all, so
that a register explains every one of them; revisions count the writes, as etcd's do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loadgen.contract.history import HISTORY, READ, WRITE, HistoryBlock, payload_of_block
from loadgen.contract.spool import SpoolWriter
from soakbed.histories.register import OK, UNKNOWN
from soakbed.stages.consistency_rows import RANK, Rows

BEGAN_US = 1_700_000_100_000_000


@dataclass(frozen=True)
class Op:
    """One operation; times are microseconds since BEGAN_US."""

    worker: int
    connection: int
    key: int
    value: int
    sent: int
    done: int
    is_write: bool
    outcome: int = OK
    revision: int = 0


def rows_of(ops: Sequence[Op]) -> Rows:
    def column(values: Sequence[int], kind: type = np.int64) -> np.ndarray:
        return np.array(values, dtype=kind)

    return Rows(
        key=column([one.key for one in ops]),
        value=column([one.value for one in ops]),
        sent=column([BEGAN_US + one.sent for one in ops]),
        done=column([BEGAN_US + one.done for one in ops]),
        process=column([(one.worker << 32) + one.connection for one in ops]),
        is_write=column([one.is_write for one in ops], np.bool_),
        outcome=column([one.outcome for one in ops], np.uint8),
        revision=column([one.revision for one in ops]),
    )


def sound(
    *,
    seed: int = 1,
    keys: int = 4,
    workers: int = 2,
    connections: int = 3,
    each: int = 60,
    unknown_share: float = 0.05,
) -> list[Op]:
    """What `workers` x `connections` clients saw of a register per key, `each` operations long."""
    drawn = np.random.default_rng(seed)
    asked = []
    for worker in range(workers):
        for connection in range(connections):
            at = int(drawn.integers(0, 500))
            for _ in range(each):
                took = drawn.integers(100, 2000, 2)
                effect, done = at + int(took[0]), at + int(took.sum())
                asked.append((effect, worker, connection, at, done))
                at = done + int(drawn.integers(1, 800))
    asked.sort()
    held = [0] * keys
    revisions = [0] * keys
    sequence, revision, made = [0] * workers, 1, []
    for _, worker, connection, at, done in asked:
        key, write = int(drawn.integers(0, keys)), bool(drawn.random() < 0.5)
        op = Op(worker, connection, key, held[key], at, done, is_write=False)
        if not write:
            made.append(replace(op, revision=revisions[key]))
            continue
        sequence[worker] += 1
        value = worker * RANK + sequence[worker]
        unanswered = bool(drawn.random() < unknown_share)
        if not (unanswered and drawn.random() < 0.5):
            revision += 1
            held[key], revisions[key] = value, revision
        outcome, told = (UNKNOWN, 0) if unanswered else (OK, revision)
        made.append(replace(op, value=value, is_write=True, outcome=outcome, revision=told))
    return made


def a_read(key: int, value: int, sent: int, *, revision: int = 0) -> Op:
    """By a client that does nothing else."""
    return Op(1, 900, key, value, sent, sent + 50, is_write=False, revision=revision)


def end_of(ops: Sequence[Op]) -> int:
    return max(one.done for one in ops)


def with_stale_read(ops: Sequence[Op]) -> tuple[list[Op], Op]:
    """A read of the older value after the newer one was acknowledged, and then of the newer one
    as it should be."""
    older, newer, alone = _two_alone(ops)
    stale = a_read(older.key, older.value, newer.done + 10)
    right = a_read(older.key, newer.value, newer.done + 100)
    return [*alone, stale, right], stale


def with_lost_write(ops: Sequence[Op]) -> tuple[list[Op], Op]:
    """The newer write is acknowledged, and nobody ever reads it."""
    older, newer, alone = _two_alone(ops)
    return [*alone, a_read(older.key, older.value, newer.done + 10)], newer


def with_resurrected_value(ops: Sequence[Op]) -> tuple[list[Op], Op]:
    """The newer value is read, and after that the older one."""
    older, newer, alone = _two_alone(ops)
    seen = a_read(older.key, newer.value, newer.sent + 1)
    back = a_read(older.key, older.value, newer.done + 100)
    return [*alone, seen, back], back


def _two_alone(ops: Sequence[Op]) -> tuple[Op, Op, list[Op]]:
    """Two writes on a key of their own, after everything else."""
    key, at = max(one.key for one in ops) + 1, end_of(ops) + 1000
    older = Op(0, 800, key, 99_001, at, at + 100, is_write=True)
    newer = Op(0, 801, key, 99_002, at + 200, at + 300, is_write=True)
    return older, newer, [*ops, older, newer]


def blocks_of(ops: Sequence[Op], session: str, *, each: int = 100) -> dict[int, list[HistoryBlock]]:
    """What workers record of them, by rank; in the order in which operations ended."""
    made: dict[int, list[HistoryBlock]] = {}
    for rank in sorted({one.worker for one in ops}):
        held = sorted((one for one in ops if one.worker == rank), key=lambda one: one.done)
        for at in range(0, len(held), each):
            blocks = made.setdefault(rank, [])
            blocks.append(_block(held[at : at + each], session, rank, len(blocks)))
    return made


def _block(ops: Sequence[Op], session: str, rank: int, seq: int) -> HistoryBlock:
    block = HistoryBlock(
        worker=rank, attempt=0, session=session, phase=session, seq=seq, share=0.01, seed=1
    )
    for one in ops:
        sent_ns, done_ns = ((BEGAN_US + at) * 1000 for at in (one.sent, one.done))
        block.key.append(one.key)
        block.value.append(one.value)
        block.due_ns.append(sent_ns - 5000)
        block.sent_ns.append(sent_ns)
        block.done_ns.append(done_ns)
        block.process.append(one.connection)
        block.kind.append(WRITE if one.is_write else READ)
        block.outcome.append(one.outcome)
        block.cause.append(0)
        block.revision.append(one.revision)
    return block


def write_history(session_folder: Path, blocks: dict[int, list[HistoryBlock]]) -> None:
    """The files that the workers of a session leave."""
    for rank, held in blocks.items():
        (session_folder / f"worker-{rank}{HISTORY}").unlink(missing_ok=True)
        writer = SpoolWriter(session_folder / f"worker-{rank}{HISTORY}", hourly=False)
        for block in held:
            writer.write(payload_of_block(block))
        writer.close()


def record(target_folder: Path, ops: Sequence[Op]) -> None:
    """Histories of both sessions of a made-up run: the first half of the time, and the second."""
    middle = sorted(one.done for one in ops)[len(ops) // 2]
    parts = {
        "capacity": [one for one in ops if one.done <= middle],
        "steady": [one for one in ops if one.done > middle],
    }
    for session, held in parts.items():
        write_history(target_folder / "load" / session, blocks_of(held, session))
