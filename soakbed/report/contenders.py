"""Who stands on the page: every target of every run, each with its name, colour and mark.

One run may have several targets, a comparison has several runs; tables and plots know neither,
only contenders. Labels are those of the comparison, so that page, CSV and JSON say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soakbed.records.claims import Claims
from soakbed.records.comparison import Comparison
from soakbed.records.comparison import Contender as Compared
from soakbed.records.summary import UnmeasuredTarget
from soakbed.report.reading import MeasuredRun, ReportedRun
from soakbed.report.words import INKS, SYMBOLS, TARGET_WORDS, Ink, TargetWords

__all__ = ["Absent", "Contender", "Reported", "reported"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Contender:
    """One target of one run that was measured.

    `key` names it in HTML ids and classes, `tag` its run ("A"; "" where there is one run only).
    """

    key: str
    tag: str
    label: str
    run: ReportedRun
    one: MeasuredRun
    ink: Ink
    symbol: str

    @property
    def words(self) -> TargetWords:
        """How its target is written."""
        return TARGET_WORDS[self.one.name]

    @property
    def stem(self) -> str:
        """What its cells' keys begin with: the target, after the run's tag where there are many."""
        return f"{self.tag}.{self.one.name}" if self.tag else self.one.name

    @property
    def began_s(self) -> float:
        """When its steady phase began, unix time; 0 where it had none."""
        return float(self.one.steady.started_s) if self.one.steady else 0.0


@dataclass(frozen=True, slots=True)
class Absent:
    """One target of one run that was asked for and not measured."""

    key: str
    tag: str
    target: str
    run: ReportedRun
    held: UnmeasuredTarget

    @property
    def label(self) -> str:
        """Its target, and its run where there are many."""
        return f"{self.tag} · {self.words.label}" if self.tag else self.words.label

    @property
    def words(self) -> TargetWords:
        """How its target is written."""
        return TARGET_WORDS[self.target]

    @property
    def stem(self) -> str:
        """What its cells' keys begin with."""
        return f"{self.tag}.{self.target}" if self.tag else self.target


@dataclass(frozen=True, slots=True)
class Reported:
    """Everything that one page is about. `entries` keep the order of runs and of their targets."""

    runs: tuple[ReportedRun, ...]
    entries: tuple[Contender | Absent, ...]
    comparison: Comparison | None
    claims: Claims | None

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """Those that were measured."""
        return tuple(one for one in self.entries if isinstance(one, Contender))

    @property
    def tags(self) -> tuple[str, ...]:
        """The letter of each run, in order; one run has none."""
        return _tags(len(self.runs))

    def compared(self, label: str) -> Contender | None:
        """The first contender that the comparison's contender `label` stands for."""
        if self.comparison is None:
            return None
        held = self.comparison.contender(label)
        return next((one for one in self.contenders if _stands_for(held, one)), None)


def reported(
    runs: Sequence[ReportedRun],
    *,
    comparison: Comparison | None = None,
    claims: Claims | None = None,
) -> Reported:
    """Runs in the order given, with a name, colour and mark for each of their targets."""
    entries: list[Contender | Absent] = []
    tags = _tags(len(runs))
    inks = _inks(runs, comparison)
    for tag, run in zip(tags, runs, strict=True):
        measured = {one.name: one for one in run.measured}
        for name, held in run.summary.targets.items():
            key = f"{tag.lower()}-{name}" if tag else name
            if isinstance(held, UnmeasuredTarget):
                entries.append(Absent(key, tag, name, run, held))
                continue
            one = measured[name]
            ink, symbol = inks[len([e for e in entries if isinstance(e, Contender)])]
            label = _label(tag, run, one, comparison)
            entries.append(Contender(key, tag, label, run, one, ink, symbol))
    return Reported(tuple(runs), tuple(entries), comparison, claims)


def _tags(runs: int) -> tuple[str, ...]:
    """A letter per run; after Z come AA, AB and so on."""
    if runs == 1:
        return ("",)
    first = ["", *_LETTERS]
    return tuple(f"{first[i // 26]}{_LETTERS[i % 26]}" for i in range(runs))


def _label(tag: str, run: ReportedRun, one: MeasuredRun, comparison: Comparison | None) -> str:
    """The comparison's own word for it, or target and version."""
    plain = f"{TARGET_WORDS[one.name].label} {one.summary.version}"
    plain = f"{tag} · {plain}" if tag else plain
    alone = [
        held.label
        for held in (comparison.contenders if comparison else ())
        if held.target == one.name and held.run_ids == (run.run_id,)
    ]
    return alone[0] if alone else plain


def _stands_for(held: Compared, one: Contender) -> bool:
    return held.target == one.one.name and one.run.run_id in held.run_ids


def _inks(runs: Sequence[ReportedRun], comparison: Comparison | None) -> list[tuple[Ink, str]]:
    """Colour and mark of each measured target in order.

    In one run colours are the targets' own. Repeats that a comparison combined share a colour
    and differ by their marks; everything else differs in both.
    """
    if len(runs) == 1:
        inks = [TARGET_WORDS[one.name].ink for one in runs[0].measured]
        return [(INKS[ink], SYMBOLS[ink]) for ink in inks]
    found = [(run.run_id, one.name) for run in runs for one in run.measured]
    groups = [_group(run_id, name, comparison) for run_id, name in found]
    order = list(dict.fromkeys(groups))
    if len(order) == 1:
        order, groups = list(range(len(found))), list(range(len(found)))
    made, seen = [], dict.fromkeys(order, 0)
    for group in groups:
        place = order.index(group)
        made.append((INKS[place % len(INKS)], SYMBOLS[(place + seen[group]) % len(SYMBOLS)]))
        seen[group] += 1
    return made


def _group(run_id: str, name: str, comparison: Comparison | None) -> object:
    held: Iterable[Compared] = comparison.contenders if comparison else ()
    for index, one in enumerate(held):
        if one.target == name and run_id in one.run_ids:
            return index
    return (run_id, name)
