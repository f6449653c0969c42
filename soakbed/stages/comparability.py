"""Whether figures may be set side by side: records of runs, diffed by the rules.

Checked, not hoped for: what is unlike refuses the comparison or puts a named caveat to it, and
what a run did not record is never taken for the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from soakbed.records.comparison import Consequence, ManifestDifference
from soakbed.stages.comparability_readings import Readings, Value
from soakbed.stages.comparability_rules import RULES, Question, Rule, Touches, gravest, rule_of

__all__ = ["NOT_RECORDED", "Found", "alike", "differences", "found_between"]

NOT_RECORDED = "not recorded"
# What says "other runs of the same", whatever their figures: measured values do not.
_APART: tuple[Consequence, ...] = ("not_comparable", "caveat")


@dataclass(frozen=True, slots=True)
class Found:
    """One key of one pair: what follows, and which figures it concerns."""

    key: str
    consequence: Consequence
    touches: Touches
    sentence: str


def found_between(
    baseline: Readings, contender: Readings, question: Question, labels: tuple[str, str]
) -> list[Found]:
    """Every key that either side holds, judged for this question; labels are (baseline, contender).

    In the order of the rules. Raises KeyError for a key that no rule speaks of.
    """
    made = []
    for key in _ordered((baseline, contender)):
        rule = rule_of(key)
        values = (baseline.get(key), contender.get(key))
        consequence = _consequence(rule, values, question, (baseline, contender))
        if consequence is None:
            continue
        said = _sentence(rule, key, dict(zip(labels, values, strict=True)), consequence, question)
        made.append(Found(key, consequence, rule.touches, said))
    return made


def differences(
    readings: Mapping[str, Readings], pairs: Sequence[tuple[str, str, Question]]
) -> tuple[ManifestDifference, ...]:
    """One row per key over all contenders: values by label, the gravest consequence of any pair.

    `pairs` are (baseline, contender, question).
    """
    worst: dict[str, tuple[Consequence, Question]] = {}
    for baseline, contender, question in pairs:
        labels = (baseline, contender)
        for one in found_between(readings[baseline], readings[contender], question, labels):
            before = worst.get(one.key)
            if before is None or gravest((before[0], one.consequence)) != before[0]:
                worst[one.key] = (one.consequence, question)
    rows = []
    for key in _ordered(readings.values()):
        if key not in worst:
            continue
        consequence, question = worst[key]
        rule = rule_of(key)
        values = {label: held.get(key) for label, held in readings.items()}
        rows.append(
            ManifestDifference(
                key=key,
                values={label: _text(value, rule) for label, value in values.items()},
                consequence=consequence,
                sentence=_sentence(rule, key, values, consequence, question),
            )
        )
    return tuple(rows)


def alike(one: Readings, other: Readings) -> bool:
    """Whether two runs of a target are repeats: nothing that was set is known to be unlike.

    What was measured (offered rate, speed of disks) and what is merely noted may differ; the
    version may not.
    """
    for key in one.keys() & other.keys():
        rule = rule_of(key)
        asked = rule.runs in _APART or key == "version"
        first, second = one[key], other[key]
        if asked and rule.within == 1.0 and None not in (first, second) and first != second:
            return False
    return True


def _ordered(readings: Iterable[Readings]) -> list[str]:
    """Keys of any side, in the order of the rules and by name within a family."""
    place = {id(rule): index for index, rule in enumerate(RULES)}
    keys = {key for held in readings for key in held}
    return sorted(keys, key=lambda key: (place[id(rule_of(key))], key))


def _consequence(
    rule: Rule, values: tuple[Value, Value], question: Question, sides: tuple[Readings, Readings]
) -> Consequence | None:
    asked = rule.consequence(question)
    if asked is None:
        return None
    if None in values:
        # Inside one run all targets had the same hosts and engine, whatever they are.
        silent = question == "targets" and rule.of_run and values == (None, None)
        return "noted" if silent or asked == "noted" else rule.unknown
    if _equal(rule, *values):
        return "same"
    if asked == "caveat" and _explained(rule, sides):
        return "noted"
    return asked


def _equal(rule: Rule, first: Value, second: Value) -> bool:
    if first == second:
        return True
    if not isinstance(first, int | float) or not isinstance(second, int | float):
        return False
    if rule.within == 1.0 or min(first, second) <= 0:
        return False
    return max(first, second) / min(first, second) <= rule.within


def _explained(rule: Rule, sides: tuple[Readings, Readings]) -> bool:
    """Whether something else that differs is the likely cause."""
    return any(sides[0].get(key) != sides[1].get(key) for key in rule.follows)


def _sentence(
    rule: Rule,
    key: str,
    values: Mapping[str, Value],
    consequence: Consequence,
    question: Question,
) -> str:
    """The values with who has them, then what follows."""
    name = _name(rule, key)
    who: dict[str, list[str]] = {}
    for label, value in values.items():
        who.setdefault(_text(value, rule), []).append(label)
    if consequence == "same" and len(who) == 1:
        return f"{name}: {next(iter(who))}."
    told = "; ".join(f"{value} ({', '.join(labels)})" for value, labels in who.items())
    if NOT_RECORDED in who:
        silent = who[NOT_RECORDED]
        every = "any contender" if len(silent) == len(values) else ", ".join(silent)
        return f"{name}: not recorded of {every}, so nobody can say that it was alike. {rule.why}"
    if consequence == "same":
        return f"{name}: {told}; taken as alike within {rule.within - 1:.0%}."
    if consequence == "noted" and rule.consequence(question) == "caveat":
        causes = " or ".join(rule_of(cause).label for cause in rule.follows)
        return f"{name}: {told}. Taken to follow from the other {causes}."
    return f"{name}: {told}. {rule.why}"


def _name(rule: Rule, key: str) -> str:
    """The label; of a family with the member's own name."""
    return f"{rule.label} {key[len(rule.key) - 1 :]}" if rule.key.endswith(".*") else rule.label


def _text(value: Value, rule: Rule) -> str:
    """A value as people read it."""
    if value is None:
        return NOT_RECORDED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        number = f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
        gap = "" if rule.unit.startswith("/") or not rule.unit else " "
        return f"{number}{gap}{rule.unit}"
    return value
