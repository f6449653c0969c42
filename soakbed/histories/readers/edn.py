"""EDN as histories use it (edn-format.org): maps, vectors, lists, sets, strings, numbers, words.

Written here since a mistake must be told with its line, what stood there and what was expected,
which no EDN package for Python does. Keywords become strings without their colon, vectors and lists
tuples, sets frozensets. A tag is dropped and what it marks is kept: `#jepsen.history.Op{...}` is
its map, `#jepsen.independent.Tuple[k v]` its pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["EdnMistake", "Form", "forms"]

_TOKEN = re.compile(
    r"""(?P<blank>[\s,]+|;[^\n]*)
    |(?P<open>\#\{|[\[({])
    |(?P<close>[\])}])
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<tag>\#[A-Za-z_][^\s\[\](){}",;]*)
    |(?P<word>[^\s\[\](){}",;\#]+)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_WORDS = {"nil": None, "true": True, "false": False}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_INTEGER = re.compile(r"[+-]?\d+N?")
_FLOAT = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?M?")


class EdnMistake(ValueError):
    """What stood in a line, and what was expected."""

    def __init__(self, line: int, stood: str, expected: str) -> None:
        super().__init__(f"line {line}: {stood}; expected {expected}")
        self.line, self.stood, self.expected = line, stood, expected


@dataclass(frozen=True, slots=True)
class Form:
    """One form, and the line on which it begins. `inner`: of a sequence, its own forms."""

    line: int
    value: Any
    inner: tuple[Form, ...] = ()


@dataclass(slots=True)
class _Open:
    """A bracket that is not closed yet."""

    bracket: str
    line: int
    held: list[Form]


def forms(text: str) -> Iterator[Form]:
    """The top-level forms of `text`, one after the other. Raises EdnMistake."""
    stack: list[_Open] = []
    line, at = 1, 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise EdnMistake(line, f"{text[at : at + 20]!r}", "a form, such as {:type :invoke}")
        token, kind = found.group(), found.lastgroup
        form: Form | None = None
        if kind == "open":
            stack.append(_Open(token, line, []))
        elif kind == "close":
            form = _closed(stack, token, line)
        elif kind in ("string", "word"):
            form = Form(line, _atom(token, line))
        if form is not None and stack:
            stack[-1].held.append(form)
        elif form is not None:
            yield form
        line += token.count("\n")
        at = found.end()
    if stack:
        last = stack[-1]
        closes = _CLOSES[last.bracket]
        raise EdnMistake(line, "the end of the file", f"{closes!r} for line {last.line}")


def _closed(stack: list[_Open], token: str, line: int) -> Form:
    if not stack:
        raise EdnMistake(line, repr(token), "nothing to be closed")
    last = stack.pop()
    if _CLOSES[last.bracket] != token:
        expected = f"{_CLOSES[last.bracket]!r}, which closes line {last.line}"
        raise EdnMistake(line, repr(token), expected)
    values = [form.value for form in last.held]
    try:
        if last.bracket == "#{":
            return Form(last.line, frozenset(values))
        if last.bracket != "{":
            return Form(last.line, tuple(values), tuple(last.held))
        if len(values) % 2:
            raise EdnMistake(last.line, "a key without a value", "pairs in a map")
        return Form(last.line, dict(zip(values[::2], values[1::2], strict=True)))
    except TypeError:
        raise EdnMistake(last.line, "a map as a key", "keys that are words or numbers") from None


def _atom(token: str, line: int) -> str | int | float | bool | None:
    if token[0] == '"':
        return re.sub(
            r"\\(.)", lambda one: _ESCAPES.get(one[1], one[1]), token[1:-1], flags=re.DOTALL
        )
    if token in _WORDS:
        return _WORDS[token]
    if _INTEGER.fullmatch(token):
        return int(token.rstrip("N"))
    if _FLOAT.fullmatch(token):
        return float(token.rstrip("M"))
    if token == ":":
        raise EdnMistake(line, "':'", "a word after the colon, such as :invoke")
    return token.removeprefix(":")
