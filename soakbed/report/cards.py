"""What is said of each contender in words: its verdict, its promise, its settings, its caveats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from soakbed.records.consistency import Consistency
from soakbed.records.verdict import Finding, Verdict
from soakbed.report.consistency import consistency_of, page_of
from soakbed.report.contenders import Absent, Contender, Reported
from soakbed.report.coverage import coverage_in_words
from soakbed.report.identity import Fact
from soakbed.report.words import promise

__all__ = ["Card", "Note", "Promise", "Reason", "caveats", "cards", "promises"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is what it is, and what to do about it."""

    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One contender among the verdicts: judged, or why it was not measured."""

    key: str
    label: str
    word: str
    reasons: tuple[Reason, ...]
    findings: tuple[Finding, ...]
    coverage: str = ""
    kept: Consistency | None = None  # None: there is nothing of it to judge
    href: str = ""  # of the page about its violation


@dataclass(frozen=True, slots=True)
class Settings:
    """What the members of one contender said they run with."""

    label: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """What one target promised as it was configured, and of whom that is said."""

    target: str
    label: str
    keys: tuple[str, ...]
    promise: str
    settings: tuple[Settings, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A caveat: whom it concerns, in a word what, and the sentence."""

    about: str
    subject: str
    sentence: str


def cards(reported: Reported) -> list[Card]:
    """A card per contender and per target that was not measured, in order."""
    made = []
    for entry in reported.entries:
        if isinstance(entry, Absent):
            remedy = f"Remedy: {entry.held.remedy}" if entry.held.remedy else ""
            reason = Reason(entry.held.reason, remedy)
            made.append(Card(entry.key, entry.label, "not_measured", (reason,), ()))
        else:
            verdict = entry.one.verdict
            reasons = tuple(_reasons(verdict))
            held = entry.one.coverage
            told = coverage_in_words(held.of("steady", "steady") if held else None)
            judged = (verdict.verdict, reasons, verdict.findings)
            kept = consistency_of(entry)
            made.append(Card(entry.key, entry.label, *judged, told, kept, page_of(entry)))
    return made


def _reasons(verdict: Verdict) -> list[Reason]:
    """Findings against the run, each with its remedy; or that all is well."""
    against = [one for one in verdict.findings if one.verdict in ("invalid", "incomplete")]
    if against:
        return [Reason(one.sentence, one.remedy) for one in against]
    return [Reason(sentence) for sentence in verdict.reasons]


def promises(reported: Reported) -> list[Promise]:
    """Each promise once, with all that made it."""
    by_text: dict[tuple[str, str], list[Contender | Absent]] = {}
    for entry in reported.entries:
        target = entry.target if isinstance(entry, Absent) else entry.one.name
        told = promise(target, entry.run.spec)
        by_text.setdefault((target, told), []).append(entry)
    made = []
    for (target, told), entries in by_text.items():
        measured = [entry for entry in entries if isinstance(entry, Contender)]
        made.append(
            Promise(
                target=target,
                label=entries[0].words.label,
                keys=tuple(entry.key for entry in measured),
                promise=told,
                settings=tuple(
                    Settings(
                        entry.label if len(reported.runs) > 1 else "",
                        tuple(_settings(entry.one.ready.effective)),
                    )
                    for entry in measured
                ),
            )
        )
    return made


def _settings(effective: Mapping[str, Mapping[str, str]]) -> list[Fact]:
    """Settings read back from the members; where members differ, each value with its members.

    Members of another kind (of PD, beside TiKV) that none has the setting are not asked for it.
    """
    keys = sorted({key for held in effective.values() for key in held})
    made = []
    for key in keys:
        by_value: dict[str, list[str]] = {}
        kinds = {_kind_of(member) for member, held in effective.items() if key in held}
        for member in sorted(one for one in effective if _kind_of(one) in kinds):
            by_value.setdefault(effective[member].get(key, "not set"), []).append(member)
        if len(by_value) == 1:
            made.append(Fact(key, next(iter(by_value))))
        else:
            told = "; ".join(f"{value} ({', '.join(held)})" for value, held in by_value.items())
            made.append(Fact(key, told))
    return made


def _kind_of(member: str) -> str:
    """Which program a member runs, where a target has several: "d1-pd" and "d1-tikv"."""
    return next((kind for kind in ("pd", "tikv") if member.endswith(f"-{kind}")), "")


def caveats(reported: Reported) -> list[Note]:
    """Caveats of all contenders and of the comparison; one that they share is told once."""
    about: dict[tuple[str, str], list[str]] = {}
    for entry in reported.contenders:
        label = entry.label if len(reported.runs) > 1 else entry.words.label
        for caveat in entry.one.verdict.caveats:
            about.setdefault((caveat.subject, caveat.sentence), []).append(label)
    everyone = len(reported.contenders)
    whole = "every target" if len(reported.runs) == 1 else "every contender"
    notes = [
        Note(whole if len(who) == everyone > 1 else ", ".join(who), *told)
        for told, who in about.items()
    ]
    held = reported.comparison
    notes += [Note("the comparison", "comparison", told) for told in (held.caveats if held else ())]
    if held is None:  # a comparison says itself how often each was measured
        notes.append(
            Note(
                whole,
                "one run",
                "Each was measured once. Intervals speak of that run alone; how much another run "
                "would differ is not known from it.",
            )
        )
    return notes
