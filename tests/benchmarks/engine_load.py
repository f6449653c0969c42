"""The load of the failover shows by the real engine, and what its recorded histories say.

The same questions as `scripted_load` answers, of engines that press as in a run: an open loop, all
keys sampled. What they recorded is read from their files, while they press and afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadgen.contract.history import OK, WRITE
from loadgen.contract.history_files import history_parts, read_histories
from loadgen.contract.plan import Keyspace, Plan, Target
from loadgen.engine.resp import slots_of_keys
from tests.benchmarks.scripted_load import KEYS, Row, waited
from tests.benchmarks.throwaway import Pki
from tests.integration.engine_runs import FILL, EngineRun, open_loop, plan_for

__all__ = ["PREFIX", "EngineLoad", "keys_of_slots", "rows_of"]

PREFIX = "/bench/"
RATE_PER_S = 1000.0
LASTS_S = 3600  # it is stopped long before
WORKERS = 2
# What waited while a machine stood still is not sent all at once: a second's block of a history
# takes 2,000 operations, and one with holes proves nothing.
OVERDUE = 200


class EngineLoad:
    """Two engines that read and write `KEYS` keys from `pressing` on."""

    def __init__(self, folder: Path, target: Target, endpoints: Sequence[str], pki: Pki) -> None:
        self._folder = folder
        self._plan: Plan = plan_for(
            target,
            list(endpoints),
            pki.tls(),
            FILL,
            open_loop(LASTS_S, RATE_PER_S),
            keyspace=Keyspace(KEYS, PREFIX),
            history_share=1.0,
            timeout_ms=1000,
            workers=WORKERS,
            overdue_limit=OVERDUE,
        )
        self._sizes: list[int] = []
        self._rows: list[Row] = []

    @contextmanager
    def pressing(self) -> Iterator[None]:
        """On during the block; asked to end after it, and killed if the block fails."""
        engines = [EngineRun(self._folder, self._plan, rank=rank) for rank in range(WORKERS)]
        try:
            yield
            for engine in engines:
                engine.stop()
            for engine in engines:
                engine.finish()
        finally:
            for engine in engines:
                engine.popen.kill()
                engine.popen.wait()

    def wait_for_writes(
        self, more: int, *, sent_after_ns: int = 0, keys: Iterable[int] = range(KEYS)
    ) -> None:
        """Until so many more to these keys are acknowledged that were sent after then, some of
        them each worker's.
        """
        wanted, among = more, set(keys)
        after_ns = sent_after_ns or time.time_ns()

        def they_are() -> bool:
            acknowledged = [
                row.worker
                for row in self.rows()
                if row.is_write and row.outcome == OK and row.key in among
                if row.sent_ns >= after_ns
            ]
            return len(acknowledged) >= wanted and len(set(acknowledged)) == WORKERS

        waited(they_are, f"{more} more acknowledged writes")

    def read_back(self) -> None:
        """Nothing: its reads went on until the end."""

    def close(self) -> None:
        """Nothing is left open."""

    def rows(self) -> list[Row]:
        """All operations on disk so far, by the time they were sent."""
        ranks = range(WORKERS)
        parts = [part for rank in ranks for part in history_parts(self._folder, rank)]
        sizes = [part.stat().st_size for part in parts]
        if sizes != self._sizes:
            self._sizes = sizes
            self._rows = sorted(
                (row for rank in ranks for row in rows_of(self._folder, rank)),
                key=lambda row: row.sent_ns,
            )
        return self._rows


def rows_of(folder: Path, rank: int) -> Iterator[Row]:
    """What one worker recorded of a session."""
    for block in read_histories(folder, rank):
        assert not block.dropped, "a history with holes proves nothing here"
        columns = (block.key, block.value, block.sent_ns, block.done_ns, block.kind, block.outcome)
        for key, value, sent_ns, done_ns, kind, outcome in zip(*columns, strict=True):
            yield Row(key, value, sent_ns, done_ns, kind == WRITE, outcome, rank)


def keys_of_slots(low: int, high: int) -> list[int]:
    """Keys of the load whose slot lies there."""
    slots = slots_of_keys(PREFIX, KEYS)
    return [key for key in range(KEYS) if low <= slots[key] <= high]
