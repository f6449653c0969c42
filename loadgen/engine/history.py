"""Operations on sampled keys, recorded one by one as they end; blocks go out once a second.

Which operations are sampled is known when they are sent: only theirs have a mark in the last part
of their `Op`, so that all others cost one look-up when they go and one test when they come.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable

from loadgen.contract.history import (
    ABSENT,
    FOREIGN,
    OK,
    READ,
    UNKNOWN,
    VALUES_PER_RANK,
    HistoryBlock,
    sampled_keys,
)
from loadgen.contract.history import FAILED as ROW_FAILED
from loadgen.contract.plan import Plan
from loadgen.contract.window import CAUSES
from loadgen.engine.connection import HOPS, MARK_SHIFT, Op
from loadgen.engine.outcome import FAILED
from loadgen.recorder import Clock

__all__ = [
    "BLOCK_NS",
    "History",
    "KEY_ROWS_PER_BLOCK",
    "ROWS_PER_BLOCK",
    "Recording",
    "history_seed",
]

BLOCK_NS = 1_000_000_000

# Rows of a block at most, and of one key in it: a hot key that happens to be sampled would leave
# the others no room. 72 h of full blocks take 8 GB, see loadgen/README.md.
ROWS_PER_BLOCK = 2000
KEY_ROWS_PER_BLOCK = 500
KEYS_NAMED = 1000  # of those with rows kept out; more are not named, and the block says so

_CAUSES = ("", *CAUSES)
_CAUSE_NUMBERS = {cause: number for number, cause in enumerate(_CAUSES)}
# A read that found nothing, or no value of ours, says something about the register.
_ANSWERS = {"missing": ABSENT, "corrupt": FOREIGN}


def history_seed(run_id: str) -> int:
    """The seed of the sample: that of the run, so that all sessions record the same keys."""
    return zlib.crc32(run_id.encode())


class Recording:
    """Records nothing: what the loop asks of a history. `sampled` holds codes of sampled keys."""

    __slots__ = ("next_process", "sampled")

    def __init__(self) -> None:
        self.sampled: frozenset[int] = frozenset()
        self.next_process = itertools.count(1).__next__

    def read(self, op: Op, done_ns: int, process: int, value: int, revision: int) -> None:
        """A sampled read ended well with the value of this id."""

    def wrote(self, op: Op, done_ns: int, process: int, revision: int) -> None:
        """A sampled write was acknowledged."""

    def lost(self, op: Op, done_ns: int, process: int, outcome: str, cause: str) -> None:
        """A sampled operation did not end ok."""

    def close(self, now_ns: int) -> None:
        """Called every few ms."""


class History(Recording):
    """The block that is being filled."""

    __slots__ = (
        "_attempt",
        "_base",
        "_began_ns",
        "_block",
        "_dropped_keys",
        "_key_rows",
        "_offset_ns",
        "_phase",
        "_plan",
        "_rank",
        "_seed",
        "_seq",
        "_sink",
        "close_ns",
        "dropped",
        "rows",
    )

    def __init__(
        self,
        plan: Plan,
        sink: Callable[[HistoryBlock], None],
        *,
        rank: int,
        attempt: int,
        clock: Clock,
    ) -> None:
        """`sink` takes finished blocks and returns at once."""
        super().__init__()
        share, seed = plan.history_share, history_seed(plan.run_id)
        keys = sampled_keys(plan.keyspace.keys, share, seed=seed)
        pairs = ((key << 1, key << 1 | 1) for key in keys)
        self.sampled = frozenset(itertools.chain.from_iterable(pairs))
        self.rows = self.dropped = 0
        self.close_ns = 0
        self._plan, self._rank, self._attempt, self._seed = plan, rank, attempt, seed
        self._sink = sink
        self._base = rank * VALUES_PER_RANK
        self._offset_ns = clock.unix_ns(0)
        self._began_ns = 0
        self._seq = 0
        self._phase = ""
        self._key_rows: dict[int, int] = {}
        self._dropped_keys: set[int] = set()
        self._block = self._fresh()

    def begin(self, phase: str, now_ns: int) -> None:
        """What ends from this moment on (monotonic ns) belongs to this phase."""
        self.flush(now_ns)
        self._phase, self._began_ns = phase, now_ns
        self._block = self._fresh()

    # Of sampled operations alone.

    def read(self, op: Op, done_ns: int, process: int, value: int, revision: int) -> None:
        """See Recording."""
        self._add(op, done_ns, process, OK, 0, value, revision)

    def wrote(self, op: Op, done_ns: int, process: int, revision: int) -> None:
        """See Recording."""
        self._add(op, done_ns, process, OK, 0, self._base + (op[3] >> MARK_SHIFT), revision)

    def lost(self, op: Op, done_ns: int, process: int, outcome: str, cause: str) -> None:
        """See Recording. To a read that was answered, nothing and something else are values."""
        number = _CAUSE_NUMBERS.get(cause, len(_CAUSES) - 1)
        if op[0] & 1 == READ and cause in _ANSWERS:
            self._add(op, done_ns, process, OK, number, _ANSWERS[cause], 0)
            return
        row = ROW_FAILED if outcome == FAILED else UNKNOWN
        value = self._base + (op[3] >> MARK_SHIFT) if op[0] & 1 else 0
        self._add(op, done_ns, process, row, number, value, 0)

    def _add(
        self, op: Op, done_ns: int, process: int, outcome: int, cause: int, value: int, told: int
    ) -> None:
        code, due_ns, sent_ns, trail = op
        key, block, offset_ns = code >> 1, self._block, self._offset_ns
        of_key = self._key_rows[key] = self._key_rows.get(key, 0) + 1
        if of_key > KEY_ROWS_PER_BLOCK or len(block.key) >= ROWS_PER_BLOCK:
            self.dropped += 1
            block.dropped += 1
            if len(self._dropped_keys) <= KEYS_NAMED:
                self._dropped_keys.add(key)
            return
        if trail & HOPS or not process:
            # It was sent on more than one connection: a client of its own, or it would overlap
            # with what those did meanwhile.
            process = self.next_process()
        block.key.append(key)
        block.value.append(value)
        block.due_ns.append(due_ns + offset_ns)
        block.sent_ns.append(sent_ns + offset_ns)
        block.done_ns.append(done_ns + offset_ns)
        block.process.append(process)
        block.kind.append(code & 1)
        block.outcome.append(outcome)
        block.cause.append(cause)
        block.revision.append(told)

    # Once a second.

    def close(self, now_ns: int) -> None:
        """See Recording: a block lasts a second."""
        if now_ns >= self.close_ns:
            self.close_ns = now_ns + BLOCK_NS
            self.flush(now_ns)

    def flush(self, now_ns: int) -> None:
        """Hand on what there is, and begin the next block."""
        block, began_ns = self._block, self._began_ns
        self._began_ns = now_ns
        if not block.key and not block.dropped:
            return
        block.from_ns, block.until_ns = began_ns + self._offset_ns, now_ns + self._offset_ns
        named = self._dropped_keys
        block.dropped_keys = tuple(sorted(named)) if len(named) <= KEYS_NAMED else None
        self.rows += len(block.key)
        self._seq += 1
        self._key_rows.clear()
        self._dropped_keys = set()
        self._block = self._fresh()
        self._sink(block)

    def _fresh(self) -> HistoryBlock:
        plan = self._plan
        return HistoryBlock(
            worker=self._rank,
            attempt=self._attempt,
            session=plan.session,
            phase=self._phase,
            seq=self._seq,
            share=plan.history_share,
            seed=self._seed,
            causes=_CAUSES,
        )

    def told(self) -> dict[str, str]:
        """For the session's end: how much was recorded."""
        if not self.sampled:
            return {}
        keys = len(self.sampled) // 2
        kept_out = f", {self.dropped} kept out" if self.dropped else ""
        return {"history": f"{self.rows} operations on {keys} keys{kept_out}"}
