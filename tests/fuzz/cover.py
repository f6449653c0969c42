"""Which inputs are worth keeping: each runs a line of the engine that no smaller one runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FrameType

__all__ = ["engine_lines", "smallest_cover"]

Line = tuple[str, int]


def engine_lines(action: Callable[[], object]) -> dict[Line, int]:
    """How often each line of the engine runs while `action` does: work that no clock can blur."""
    ran: dict[Line, int] = {}

    def in_engine(frame: FrameType, event: str, _what: object) -> object:
        if event == "line":
            line = (frame.f_code.co_filename, frame.f_lineno)
            ran[line] = ran.get(line, 0) + 1
        return in_engine

    def enter(called: FrameType, _event: str, _what: object) -> object:
        return in_engine if "/loadgen/engine/" in called.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        action()
    finally:
        sys.settrace(before)
    return ran


def smallest_cover(target: Callable[[bytes], None], inputs: Iterable[bytes]) -> list[bytes]:
    """From the smallest on, those inputs that run a line not run before."""
    covered: set[Line] = set()
    kept = []
    for data in sorted(set(inputs), key=lambda one: (len(one), one)):
        lines = engine_lines(lambda data=data: target(data)).keys()  # type: ignore[misc]
        if not lines <= covered:
            covered |= lines
            kept.append(data)
    return kept
