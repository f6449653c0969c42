"""Calls and returns of a history, joined to operations, whoever wrote them.

Times are places in the history: what stands earlier happened earlier, which is what Jepsen,
Knossos and Porcupine mean by the order of their files.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from soakbed.histories.operation import FAILED, OK, UNKNOWN, Operation

__all__ = ["MOST_MISTAKES", "HistoryEvent", "HistoryMistake", "Mistaken", "operations_of"]

MOST_MISTAKES = 20
_TYPES = ("invoke", "ok", "fail", "info")
# What is called with several values: how many, and how that is written.
_SHAPES = {"cas": (2, ":value [old new]"), "transfer": (3, ":value [from to amount]")}


@dataclass(frozen=True, slots=True)
class HistoryMistake:
    """Where a history is none: its line, what stood there and what was expected."""

    line: int
    stood: str
    expected: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.stood}; expected {self.expected}"


class Mistaken(ValueError):
    """A file is no history. Carries the first twenty mistakes at once."""

    def __init__(self, mistakes: list[HistoryMistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One line of a history: a call (`invoke`) or how it ended (`ok`, `fail`, `info`)."""

    line: int
    process: Hashable
    type: str
    action: str
    key: Hashable
    value: Any


def operations_of(events: Iterable[HistoryEvent]) -> list[Operation]:
    """Operations in the order of their calls. A call that never ended is UNKNOWN.

    A `cas` that failed with its own argument is a completed one that found another value. A read
    that failed or timed out says nothing and is FAILED. Raises Mistaken.
    """
    open_: dict[Hashable, tuple[int, int, HistoryEvent]] = {}
    found: dict[int, Operation] = {}
    mistakes: list[HistoryMistake] = []
    place = -1
    for place, event in enumerate(events):
        if len(mistakes) >= MOST_MISTAKES:
            break
        if event.type not in _TYPES:
            stood = f":type {event.type}"
            mistakes.append(HistoryMistake(event.line, stood, "one of " + ", ".join(_TYPES)))
        elif event.type == "invoke":
            if event.process in open_:
                earlier = open_[event.process][2].line
                stood = f"a call of process {event.process}"
                expected = f"the end of its call in line {earlier} first"
                mistakes.append(HistoryMistake(event.line, stood, expected))
            if event.action in _SHAPES and not _is_of(event.value, _SHAPES[event.action][0]):
                stood = f"{event.action} with :value {event.value}"
                mistakes.append(HistoryMistake(event.line, stood, _SHAPES[event.action][1]))
            open_[event.process] = (place, len(found), event)
            found[len(found)] = _called(event, place)
        elif event.process not in open_:
            stood = f"the end of an operation of process {event.process}"
            mistakes.append(HistoryMistake(event.line, stood, "its call before it"))
        else:
            _, number, call = open_.pop(event.process)
            if (call.action, call.key) != (event.action, event.key):
                stood = f"the end of {event.action}{_word(event.key)}"
                expected = f"the end of {call.action}{_word(call.key)}, called in line {call.line}"
                mistakes.append(HistoryMistake(event.line, stood, expected))
            found[number] = _ended(found[number], event, place)
    if mistakes:
        raise Mistaken(mistakes)
    return list(found.values())


def _is_of(value: object, length: int) -> bool:
    return isinstance(value, tuple) and len(value) == length


def _word(key: Hashable) -> str:
    return "" if key is None else f" of key {key}"


def _called(call: HistoryEvent, place: int) -> Operation:
    argument = None if call.action in ("read", "get") else call.value
    return Operation(
        *(call.process, call.action, call.key, argument, None, place, place),
        UNKNOWN,
        call.line,
    )


def _ended(one: Operation, end: HistoryEvent, place: int) -> Operation:
    result, outcome = None, OK
    reads = one.action in ("read", "get")
    if end.type == "ok":
        result = end.value if reads else True if one.action in ("cas", "transfer") else None
    elif end.type == "fail":
        compared = one.action in ("cas", "transfer") and end.value in (None, one.argument)
        result, outcome = (False, OK) if compared else (None, FAILED)
    else:
        # A read that nobody knows the end of changed nothing.
        outcome = FAILED if reads else UNKNOWN
    return Operation(
        *(one.process, one.action, one.key, one.argument, result, one.start, place),
        outcome,
        one.line,
    )
