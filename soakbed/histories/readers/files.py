"""A history file -> operations: which of the known formats it is, is seen by how it begins."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from pathlib import Path

from soakbed.histories.operation import Operation
from soakbed.histories.readers.edn import EdnMistake, Form, forms
from soakbed.histories.readers.events import (
    MOST_MISTAKES,
    HistoryEvent,
    HistoryMistake,
    Mistaken,
    operations_of,
)

__all__ = ["read_history"]

# `INFO  jepsen.util - 0 :invoke :write 3`; newer ones have a time and a thread before it.
_LOG = re.compile(
    r"jepsen\.util\s*[-:]\s+(?P<process>\S+)\s+:(?P<type>\S+)\s+:(?P<action>\S+)\s+(?P<value>.+?)\s*$"
)
_LOOKS_LIKE_A_LOG = re.compile(r"\bjepsen\.\w+\s*[-:]")
_ERRORS = ("timed-out", "timeout", "indeterminate")


def read_history(path: Path) -> list[Operation]:
    """Operations of a file, in the order of their calls.

    Known are EDN (a vector of maps or one map a line, with :process :type :f :value and perhaps
    :key; Jepsen, Knossos, Maelstrom, Porcupine) and Jepsen's log lines. Raises Mistaken with lines,
    OSError.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    return operations_of(_of_log(text) if _LOOKS_LIKE_A_LOG.search(text) else _of_edn(text))


def _of_log(text: str) -> Iterator[HistoryEvent]:
    """Lines of other loggers are passed over; one of jepsen.util that says something else, not."""
    for number, line in enumerate(text.splitlines(), 1):
        if not _LOOKS_LIKE_A_LOG.search(line):
            continue
        found = _LOG.search(line)
        if found is None:
            if "jepsen.util" in line:
                expected = "a process, a type, an action and a value: 0 :invoke :write 3"
                raise Mistaken([HistoryMistake(number, _short(line), expected)])
            continue
        if found["process"] == ":nemesis":
            continue
        try:
            values = [form.value for form in forms(found["value"])]
        except EdnMistake as mistake:
            raise Mistaken([HistoryMistake(number, mistake.stood, mistake.expected)]) from None
        value = values[0] if values else None
        yield _event(number, found["process"], found["type"], found["action"], None, _plain(value))


def _of_edn(text: str) -> Iterator[HistoryEvent]:
    mistakes: list[HistoryMistake] = []
    try:
        for form in _maps(text):
            missing = _missing(form)
            if missing:
                mistakes.append(HistoryMistake(form.line, missing[0], missing[1]))
                if len(mistakes) >= MOST_MISTAKES:
                    break
                continue
            told = form.value
            if told["process"] == "nemesis":
                continue
            key, value = told.get("key"), told.get("value")
            if not mistakes:
                yield _event(
                    form.line, told["process"], told["type"], told["f"], key, _plain(value)
                )
    except EdnMistake as mistake:
        mistakes.append(HistoryMistake(mistake.line, mistake.stood, mistake.expected))
    if mistakes:
        raise Mistaken(mistakes)


def _event(
    line: int, process: Hashable, type_: str, action: str, key: Hashable, value: object
) -> HistoryEvent:
    """Values of independent keys are pairs [key value], of a swap [key [old new]]."""
    paired = key is None and isinstance(value, tuple) and len(value) == 2
    if paired and isinstance(value, tuple):
        inner = isinstance(value[1], tuple)
        if inner or action in ("read", "write"):
            key, value = value
    return HistoryEvent(line, process, type_, action, key, value)


def _plain(value: object) -> object:
    """An error in the place of a value is no value."""
    return None if value in _ERRORS else value


def _maps(text: str) -> Iterator[Form]:
    for form in forms(text):
        if isinstance(form.value, dict):
            yield form
            continue
        if not isinstance(form.value, tuple):
            raise EdnMistake(form.line, _short(repr(form.value)), "a map {:process 0, :type ...}")
        yield from form.inner


def _missing(form: Form) -> tuple[str, str] | None:
    if not isinstance(form.value, dict):
        return _short(repr(form.value)), "a map {:process 0, :type :invoke, :f :read}"
    absent = [f":{name}" for name in ("process", "type", "f") if form.value.get(name) is None]
    if absent:
        return f"a map without {', '.join(absent)}", ":process, :type and :f in every map"
    return None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
