"""Who is compared with whom: targets of runs as contenders, repeats combined, and their pairs.

Runs of one target that nothing known tells apart are repeats. They become one contender where
every kind of that target was measured in at least three runs and there is something else to
compare it with; otherwise each run stands for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soakbed.records.comparison import Contender
from soakbed.records.guarantees import LABELS, guarantees
from soakbed.records.spec import TargetName
from soakbed.records.verdict import VerdictWord
from soakbed.stages.comparability import alike
from soakbed.stages.comparability_readings import Readings, appendfsync_of, readings
from soakbed.stages.comparability_rules import Question
from soakbed.stages.contenders import Pressed
from soakbed.stats.repeats import LEAST_RUNS

__all__ = ["Group", "Pair", "groups_of", "kinds_of", "pairs_of"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_GRAVITY: tuple[VerdictWord, ...] = ("valid", "incomplete", "invalid")


@dataclass(frozen=True, slots=True)
class Group:
    """One contender: a target of one run, or of several that repeat it. `sound`: valid ones."""

    label: str
    members: tuple[Pressed, ...]
    readings: Readings  # of the first

    @property
    def target(self) -> TargetName:
        """Which database."""
        return self.members[0].target

    @property
    def run_ids(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(one.run_id for one in self.members)

    @property
    def sound(self) -> tuple[Pressed, ...]:
        """The members whose measurement was judged valid; no other is ever called better."""
        return tuple(one for one in self.members if one.verdict.verdict == "valid")

    @property
    def verdict(self) -> VerdictWord:
        """Valid where any member is: the others are left out, by name."""
        return min((one.verdict.verdict for one in self.members), key=_GRAVITY.index)

    @property
    def broken(self) -> str:
        """Where a member did not keep its word: how; "" where none is known to."""
        told = [
            one.kept.sentence
            for one in self.members
            if one.kept is not None and one.kept.verdict == "violation"
        ]
        return f"{self.label} did not keep its word: {told[0]}" if told else ""

    def contender(self) -> Contender:
        """The contender as the page reads it."""
        first = self.members[0]
        spec, testbed = first.evidence.spec, first.evidence.testbed
        return Contender(
            label=self.label,
            run_ids=self.run_ids,
            target=self.target,
            version=first.ready.version,
            profile=spec.profile,
            workload=spec.workload.name,
            testbed=testbed.name,
            hosts=len(testbed.hosts),
            provider=testbed.provider,
            started_s=first.started_s,
            verdict=self.verdict,
            reasons=_once(
                reason
                for one in self.members
                if one.verdict.verdict != "valid"
                for reason in one.verdict.reasons
            ),
            caveats=_once(held.sentence for one in self.members for held in one.verdict.caveats),
            substituted=first.ready.substituted,
            shares_machine=testbed.shares_machine,
            tls=first.tls,
            guarantees=guarantees(self.target, appendfsync_of(first)),
        )


def _once(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two contenders and what is asked of them."""

    baseline: Group
    contender: Group
    question: Question


def kinds_of(pressed: Sequence[tuple[Pressed, Readings]]) -> list[list[tuple[Pressed, Readings]]]:
    """Repeats together: runs of one target that nothing known tells apart, in order."""
    kinds: list[list[tuple[Pressed, Readings]]] = []
    for one in pressed:
        for kind in kinds:
            if kind[0][0].target == one[0].target and alike(kind[0][1], one[1]):
                kind.append(one)
                break
        else:
            kinds.append([one])
    return kinds


def groups_of(pressed: Sequence[Pressed]) -> list[Group]:
    """Contenders in the order of runs and their targets, each with a label of its own."""
    read = [(one, readings(one)) for one in pressed]
    kinds = kinds_of(read)
    combined = [kind for kind in kinds if _combined(kind, kinds)]
    runs = list(dict.fromkeys(one.run_id for one in pressed))
    tags = {run: _letter(index) if len(runs) > 1 else "" for index, run in enumerate(runs)}
    made: list[Group] = []
    for one, held in read:
        kind = next((kind for kind in combined if any(it is one for it, _ in kind)), None)
        if kind is None:
            members: tuple[Pressed, ...] = (one,)
        elif kind[0][0] is one:
            members = tuple(it for it, _ in kind)
        else:
            continue
        made.append(Group(_label(members, tags, combined, made), members, held))
    return made


def _combined(
    kind: list[tuple[Pressed, Readings]], kinds: list[list[tuple[Pressed, Readings]]]
) -> bool:
    target = kind[0][0].target
    own = [held for held in kinds if held[0][0].target == target]
    return all(len(held) >= LEAST_RUNS for held in own) and len(kinds) > 1


def _letter(index: int) -> str:
    """As the page counts runs: A to Z, then AA."""
    first = ["", *_LETTERS]
    return f"{first[index // 26]}{_LETTERS[index % 26]}"


def _label(
    members: tuple[Pressed, ...],
    tags: dict[str, str],
    combined: list[list[tuple[Pressed, Readings]]],
    made: Sequence[Group],
) -> str:
    """Target and version; the run's letter before it, or, of repeats, what tells them apart."""
    first = members[0]
    plain = f"{LABELS[first.target]} {first.ready.version}"
    if len(members) == 1:
        tag = tags[first.run_id]
        return f"{tag} · {plain}" if tag else plain
    twins = [kind for kind in combined if kind[0][0].target == first.target]
    if len({kind[0][0].evidence.spec.profile for kind in twins}) > 1:
        plain = f"{plain} {first.evidence.spec.profile}"
    if any(one.label == plain for one in made):
        plain = f"{plain} ({tags[first.run_id]} and its repeats)"
    return plain


def pairs_of(groups: Sequence[Group]) -> list[Pair]:
    """A target against its first contender across runs, and targets against each other in a run.

    A contender that shares neither target nor run with any other is set against the first.
    """
    pairs: list[Pair] = []
    for place, one in enumerate(groups):
        own = next(held for held in groups if held.target == one.target)
        if own is not one:
            pairs.append(Pair(own, one, "runs"))
        beside = [
            held
            for held in groups[:place]
            if held.target != one.target and set(held.run_ids) & set(one.run_ids)
        ]
        pairs += [Pair(held, one, "targets") for held in beside]
        if place and own is one and not beside:
            pairs.append(Pair(groups[0], one, "both"))
    return pairs
