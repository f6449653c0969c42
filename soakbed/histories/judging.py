"""One history, one model -> a verdict: by zones where they can be used, else by search.

Where it is not linearizable, the weaker levels are tested too: all of `levels.py` for registers
with unique values, sequential consistency for other models.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from soakbed.histories.levels import LEVELS, Level, LevelName, Tested, strongest
from soakbed.histories.model_orders import sequential_by
from soakbed.histories.models import Model, Register
from soakbed.histories.operation import UNKNOWN, Operation
from soakbed.histories.register import INITIAL, RegisterHistory
from soakbed.histories.search import Answer, search
from soakbed.histories.zones import FAULTS, Witness, check_zones

__all__ = ["Judged", "LevelJudged", "as_registers", "judge"]

_WEAKER: dict[Answer, str] = {
    "ok": "",
    "violation": "no order of all keys together keeps the order of each process",
    "unknown": "no order was found and none ruled out in the time and memory there are",
}


@dataclass(frozen=True, slots=True)
class LevelJudged:
    """Whether one level of consistency holds; operations that contradict it, where they are few."""

    name: LevelName
    answer: Answer
    why: str = ""
    witness: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """`witness`: operations that no order explains, or after which none can come; `why` in words.

    `answer`: whether it is linearizable. `method`: zones or search. `violations`: as far as the
    method counts them. `held`: what the model held when the search could go no further.
    `strongest`: in words, the strongest level that holds; `levels`: every one that was tested.
    """

    answer: Answer
    method: str
    model: str
    operations: int
    keys: int
    seconds: float
    violations: int = 0
    why: str = ""
    key: Hashable = None
    witness: tuple[Operation, ...] = ()
    held: Hashable = None
    strongest: str = ""
    levels: tuple[LevelJudged, ...] = ()

    def answer_at(self, level: LevelName) -> Answer | None:
        """Whether `level` holds; None if it was not tested for this model."""
        if self.answer == "ok":
            return "ok"
        return next((one.answer for one in self.levels if one.name == level), None)


def judge(operations: Sequence[Operation], model: Model, *, time_limit_s: float = 60.0) -> Judged:
    """Whether `operations` are linearizable by `model`.

    Raises ValueError for an action that the model does not know.
    """
    registers = as_registers(operations) if type(model) is Register else None
    if registers is None:
        return _by_search(operations, model, time_limit_s)
    began = time.monotonic()
    verdict = check_zones(registers)
    took = time.monotonic() - began
    told = ("zones", model.name, verdict.operations, verdict.keys, took)
    if verdict.linearizable:
        return Judged("ok", *told, strongest=LEVELS[0])
    first: Witness = verdict.witnesses[0]
    rows = sorted(first.operations, key=lambda row: operations[row].start)
    witness = tuple(operations[row] for row in rows)
    why = FAULTS[first.fault]
    judged = Judged("violation", *told, verdict.violations, why, witness[0].key, witness)
    found = strongest(registers, time_limit_s=time_limit_s)
    levels = tuple(_in_operations(one, operations) for one in found.tested)
    return replace(judged, strongest=found.told, levels=levels)


def _in_operations(one: Tested, operations: Sequence[Operation]) -> LevelJudged:
    return LevelJudged(one.name, one.answer, one.why, tuple(operations[row] for row in one.witness))


def as_registers(operations: Sequence[Operation]) -> RegisterHistory | None:
    """The same as arrays; None where a value is written to a key twice, or is no register's."""
    if any(one.action not in Register.actions for one in operations):
        return None
    keys: dict[Hashable, int] = {}
    values: dict[tuple[Hashable, Hashable], int] = {}
    written: set[int] = set()
    processes: dict[Hashable, int] = {}
    rows = np.empty((len(operations), 4), dtype=np.int64)
    for at, one in enumerate(operations):
        key = keys.setdefault(one.key, len(keys))
        is_write = one.action == "write"
        held = one.argument if is_write else one.result
        value = INITIAL if held is None else values.setdefault((one.key, held), len(values) + 1)
        if is_write and (value in written or value == INITIAL):
            return None
        if is_write:
            written.add(value)
        rows[at] = (key, value, one.start, one.start if one.outcome == UNKNOWN else one.finish)
    return RegisterHistory(
        key=rows[:, 0],
        value=rows[:, 1],
        start=rows[:, 2],
        finish=rows[:, 3],
        is_write=np.array([one.action == "write" for one in operations], dtype=np.bool_),
        outcome=np.array([one.outcome for one in operations], dtype=np.uint8),
        process=np.array(
            [processes.setdefault(one.process, len(processes)) for one in operations],
            dtype=np.int64,
        ),
    )


def _by_search(operations: Sequence[Operation], model: Model, time_limit_s: float) -> Judged:
    found = search(operations, model, time_limit_s=time_limit_s)
    told = ("search", model.name, found.operations, found.keys, found.seconds)
    if found.answer == "unknown":
        why = f"no order was found and none ruled out within {time_limit_s:g} s"
        undecided = LevelJudged(LEVELS[0], "unknown", why)
        return Judged("unknown", *told, 0, why, found.key, levels=(undecided,))
    if found.answer == "ok":
        return Judged("ok", *told, strongest=LEVELS[0])
    after = f"after {len(found.order)} operations in order"
    why = f"{after}, one that has returned must come next and none of these can"
    judged = Judged("violation", *told, 1, why, found.key, found.stuck, found.held)
    weaker = sequential_by(operations, model, time.monotonic() + time_limit_s)
    tested = (Tested(LEVELS[0], "violation", why), Tested(LEVELS[1], weaker, _WEAKER[weaker]))
    levels = tuple(_in_operations(one, operations) for one in tested)
    return replace(judged, strongest=Level(tested, 0.0).told, levels=levels)
