"""The event policy, asked: what an event puts in doubt, which seconds it spoils, whether to stop.

The rules themselves are data (`policy_rows`). An event that happened while nothing was pressed is a
note, whatever its kind (`archive.data.host_events`), so severity goes first everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from soakbed.records.events import Event
from soakbed.records.policy_rows import CONSEQUENCES, Consequence, Row
from soakbed.records.policy_rows import POLICY as _POLICY
from soakbed.records.policy_rows_throttle import THROTTLE_POLICY

__all__ = [
    "CONSEQUENCES",
    "POLICY",
    "Consequence",
    "Row",
    "Span",
    "consequence_of",
    "event",
    "left_out",
    "row_of",
    "stops",
]

POLICY: tuple[Row, ...] = (*_POLICY, *THROTTLE_POLICY)
Span = tuple[int, int]  # unix time, whole seconds: from, up to and without

_ROWS = {row.kind: row for row in POLICY}


def row_of(kind: str) -> Row:
    """The row of a kind. Raises KeyError for a kind that nobody thought of."""
    return _ROWS[kind]


def event(
    kind: str,
    at_s: float,
    *,
    host: str,
    source: str,
    text: str,
    until_s: float | None = None,
    worker: int = -1,
) -> Event:
    """An event with the severity of its kind.

    Raises KeyError for an unknown kind, ValueError for a source that the kind cannot come from.
    """
    row = row_of(kind)
    if source not in row.sources:
        raise ValueError(f"{kind} cannot come from {source}, only from {', '.join(row.sources)}")
    ends_s = at_s if until_s is None else until_s
    return Event(at_s, ends_s, host, source, kind, row.severity, text, worker)


def consequence_of(event: Event) -> Consequence:
    """What follows from an event. A kind of another soakbed follows its severity.

    >>> consequence_of(event("alarm", 1.0, host="d1", source="watch", text="NOSPACE"))
    'stop'
    """
    row = _ROWS.get(event.kind)
    if row is not None and row.severity == event.severity:
        return row.consequence
    return next(name for name, (severity, _) in CONSEQUENCES.items() if severity == event.severity)


def stops(event: Event) -> bool:
    """Whether a soak stops its load and keeps the hosts as they are."""
    return consequence_of(event) == "stop"


def left_out(events: Iterable[Event]) -> tuple[Span, ...]:
    """Stretches that no steady figure holds, in order of time, joined where they meet.

    >>> step = event("clock_step", 100.5, host="d1", source="samples", text="set 1 s back")
    >>> left_out([step])
    ((94, 102),)
    """
    found = sorted(_span(one) for one in events if consequence_of(one) == "leave_out")
    return tuple(_joined(found))


def _span(event: Event) -> Span:
    row = _ROWS.get(event.kind)
    before_s, after_s = row.around_s if row else (0.0, 0.0)
    # A window is spoiled as a whole, so seconds are rounded outwards.
    return math.floor(event.at_s - before_s), math.floor(event.until_s + after_s) + 1


def _joined(spans: Sequence[Span]) -> list[Span]:
    made: list[Span] = []
    for from_s, to_s in spans:
        if made and from_s <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], to_s))
        else:
            made.append((from_s, to_s))
    return made
