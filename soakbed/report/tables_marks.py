"""The seconds in which the generator was the limit, or dropped requests: a row per stretch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from loadgen.contract.limits import LIMITS
from soakbed.records.events import Event
from soakbed.records.metrics import metric
from soakbed.records.numbers import MarkedSeconds, PhaseNumbers
from soakbed.records.policy import CONSEQUENCES, consequence_of, row_of
from soakbed.report import formats
from soakbed.report.contenders import Contender, Reported
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table

__all__ = ["Stretch", "events", "marked", "stretches"]

# Further stretches say nothing new; numbers.json has up to 500 windows of each phase.
MOST_ROWS = 40
_UNITS = {limit.reason: limit.unit for limit in LIMITS}


@dataclass(slots=True)
class Stretch:
    """Neighbouring windows of one worker that broke the same limits; the worst of each."""

    worker: int
    from_s: int
    to_s: int
    broken: dict[str, float] = field(default_factory=dict)
    dropped: int = 0
    due: int = 0
    sent: int = 0
    overdue_max: int = 0

    def takes(self, mark: MarkedSeconds) -> bool:
        """Whether `mark` goes on with this stretch; if so it is added."""
        same = mark.worker == self.worker and mark.broken.keys() == self.broken.keys()
        if not same or mark.at_s != self.to_s or bool(mark.dropped) != bool(self.dropped):
            return False
        self._add(mark)
        return True

    def _add(self, mark: MarkedSeconds) -> None:
        self.to_s = mark.at_s + mark.seconds
        self.broken = {
            reason: max(value, self.broken.get(reason, value))
            for reason, value in mark.broken.items()
        }
        self.dropped += mark.dropped
        self.due += mark.due
        self.sent += mark.sent
        self.overdue_max = max(self.overdue_max, mark.overdue_max)

    @classmethod
    def of(cls, mark: MarkedSeconds) -> Stretch:
        """A stretch of one window."""
        made = cls(mark.worker, mark.at_s, mark.at_s)
        made._add(mark)
        return made


def stretches(marks: Sequence[MarkedSeconds]) -> list[Stretch]:
    """Windows in order of time as stretches, each worker's own."""
    open_by_worker: dict[int, Stretch] = {}
    made: list[Stretch] = []
    for mark in marks:
        held = open_by_worker.get(mark.worker)
        if held is None or not held.takes(mark):
            open_by_worker[mark.worker] = Stretch.of(mark)
            made.append(open_by_worker[mark.worker])
    return made


def marked(reported: Reported) -> Table:
    """Every stretch, by target and phase; a sentence where there is none."""
    sections = []
    for entry in reported.contenders:
        for phase, words in (
            (entry.one.steady, "steady phase"),
            (entry.one.capacity, "capacity phase"),
        ):
            if phase is not None and phase.generator.marked:
                rows = tuple(_rows(entry, phase))
                title = f"{entry.label}, {words}"
                sections.append(Section(rows, title=title, note=_note(phase)))
    limits = "; ".join(
        f"{limit.reason.replace('_', ' ')} {_value(limit.reason, limit.most)} ({limit.meaning})"
        for limit in LIMITS
    )
    none = "" if sections else "There was none. "
    return Table(
        name="marked",
        caption=f"Seconds in which a load engine broke a limit of its own, or requests were "
        f"dropped. {none}Limits: {limits}. Sent over due is shown and is no limit: a target that "
        "stalls lowers it too. In the capacity phase an engine may be at its limit: the capacity "
        "then reads “at least”.",
        corner="Seconds of the phase",
        columns=tuple(
            Column(label)
            for label in ("worker", "limits broken, worst", "sent of due", "overdue", "dropped")
        ),
        sections=tuple(sections),
    )


def _note(phase: PhaseNumbers) -> str:
    state = phase.generator
    told = f"{state.bound_s} of {state.judged_s} s at a limit, {state.dropping_s} s with drops"
    left_out = state.marked_left_out + sum(1 for _ in stretches(state.marked)[MOST_ROWS:])
    return f"{told}; {left_out} further stretches are not shown" if left_out else told


def _rows(entry: Contender, phase: PhaseNumbers) -> Iterator[Row]:
    for one in stretches(phase.generator.marked)[:MOST_ROWS]:
        broken = "; ".join(
            f"{reason.replace('_', ' ')} {_value(reason, value)}"
            for reason, value in one.broken.items()
        )
        achieved = formats.share(one.sent / one.due) if phase.mode == "open" and one.due else "–"
        last_s = one.to_s - 1
        when = f"{one.from_s}" if last_s <= one.from_s else f"{one.from_s} to {last_s}"
        yield Row(
            Head(when, key=entry.key, meaning=metric("bound_s").meaning),
            (
                Cell(str(one.worker)),
                Cell(broken or "none", word="" if broken else "empty"),
                Cell(achieved),
                Cell(formats.count(one.overdue_max)),
                Cell(formats.count(one.dropped)),
            ),
        )


def _value(reason: str, value: float) -> str:
    return f"{formats.ms(value)} ms" if _UNITS.get(reason) == "us" else formats.share(value)


def events(reported: Reported) -> Table | None:
    """What happened while contenders were pressed: faults, alarms, damages; None if nothing did."""
    sections = []
    for entry in reported.contenders:
        rows = tuple(
            Row(
                Head(_since(event.at_s, entry.began_s), key=entry.key, meaning=_meaning(event)),
                (
                    Cell(formats.duration(event.until_s - event.at_s)),
                    Cell(event.host),
                    Cell(event.kind.replace("_", " ")),
                    Cell(consequence_of(event).replace("_", " ")),
                    Cell(event.text, word="prose"),
                ),
            )
            for event in entry.one.events[:MOST_ROWS]
        )
        if rows:
            left_out = len(entry.one.events) - len(rows)
            note = f"{left_out} further ones are not shown" if left_out else ""
            sections.append(Section(rows, title=entry.label, note=note))
    if not sections:
        return None
    return Table(
        name="events",
        caption="Flags in the plots. The time is that since the steady phase began. What followed: "
        + "; ".join(f"{name.replace('_', ' ')}: {told}" for name, (_, told) in CONSEQUENCES.items())
        + ". Why, and what to do, by kind: results/README.md, the event policy.",
        corner="When",
        columns=tuple(
            Column(label) for label in ("lasted", "host", "what", "what followed", "in words")
        ),
        sections=tuple(sections),
    )


def _meaning(event: Event) -> str:
    try:
        return row_of(event.kind).meaning
    except KeyError:  # of another soakbed
        return ""


def _since(at_s: float, began_s: float) -> str:
    seconds = at_s - began_s
    return f"{'−' if seconds < 0 else ''}{formats.duration(abs(seconds))}"
