"""Archived, judged runs -> one Comparison: who, on what, how unlike, and what the data can tell.

Needs the run folders alone. Fixed limits of a service are not asked here: they are judged per
run (`stages.judge`), while every word of a comparison is against a baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soakbed.errors import ArchiveError
from soakbed.records.comparison import (
    Comparison,
    Difference,
    ManifestDifference,
    RepeatedValue,
    Steadiness,
)
from soakbed.records.guarantees import LABELS
from soakbed.records.metrics import metric
from soakbed.stages.comparability import NOT_RECORDED, differences
from soakbed.stages.comparability_rules import rule_of
from soakbed.stages.compare_figures import FIGURES, Blocks, differences_of, value_of
from soakbed.stages.compare_groups import Group, Pair, groups_of, kinds_of, pairs_of
from soakbed.stages.compare_settled import drifts_of, steadiness_of
from soakbed.stages.contenders import pressed_targets
from soakbed.stats.repeats import repeated
from soakbed.stats.verdicts import ALPHA

__all__ = ["compare_runs"]

_ASKED = ("version", "profile", "durability.")


def compare_runs(run_folders: Sequence[Path], *, targets: Sequence[str] = ()) -> Comparison:
    """Compare every pressed target of these runs (`targets`: some of them), in the order given.

    With one target in one run there is no pair: the comparison then holds its identity and
    whether it was steady. Raises ArchiveError when a run has no record or was not judged, or when
    nothing was measured at all.
    """
    folders = list(dict.fromkeys(folder.resolve() for folder in run_folders))
    pressed = [one for folder in folders for one in pressed_targets(folder, only=targets)]
    if not pressed:
        named = ", ".join(folder.name for folder in folders) or "no run"
        raise ArchiveError(
            f"{named}: no target was measured, so there is nothing to compare",
            remedy="name runs with a measured target; `soakbed status` lists the finished ones",
        )
    groups, blocks = groups_of(pressed), Blocks()
    pairs = pairs_of(groups)
    asked = [(pair.baseline.label, pair.contender.label, pair.question) for pair in pairs]
    settled = tuple(one for group in groups for one in steadiness_of(group, blocks))
    manifest = differences({group.label: group.readings for group in groups}, asked)
    return Comparison(
        baseline=groups[0].label,
        question=_question(groups, manifest),
        contenders=tuple(group.contender() for group in groups),
        manifest=manifest,
        differences=_all_differences(pairs, blocks),
        steadiness=settled,
        drifts=tuple(one for group in groups for one in drifts_of(group, blocks)),
        repeats=tuple(_repeats(groups)),
        alpha=ALPHA,
        caveats=(*_caveats(groups, pairs, manifest), *_unsteady(settled)),
    )


def _all_differences(pairs: Sequence[Pair], blocks: Blocks) -> tuple[Difference, ...]:
    return tuple(one for pair in pairs for one in differences_of(pair, blocks))


def _question(groups: Sequence[Group], manifest: Sequence[ManifestDifference]) -> str:
    """What is being compared, in a sentence."""
    targets = list(dict.fromkeys(group.target for group in groups))
    names = [LABELS[target] for target in targets]
    runs = len({run_id for group in groups for run_id in group.run_ids})
    if len(groups) == 1:
        return f"{groups[0].label} alone: there is nothing to compare it with."
    if runs == 1:
        together = f"{', '.join(names[:-1])} and {names[-1]}"
        return f"{together} in one run: the same hosts and workload, one after another."
    unlike = [
        rule_of(one.key).label
        for one in manifest
        if one.consequence != "same" and one.key.startswith(_ASKED)
    ]
    if len(targets) > 1:
        unlike = [label for label in unlike if label != rule_of("durability.read").label]
    told = f"{' and '.join(names)} in {runs} runs"
    if not unlike:
        return f"{told}: nothing that is asked of differs, so a difference is noise or unrecorded."
    return f"{told}: what differs is {' and '.join(dict.fromkeys(unlike))}."


def _repeats(groups: Sequence[Group]) -> list[RepeatedValue]:
    """Each figure over runs that repeat each other, under the label of the first of them."""
    label = {id(one): group.label for group in groups for one in group.members}
    sound = [
        (one, group.readings)
        for group in groups
        for one in group.members
        if one.verdict.verdict == "valid"
    ]
    made = []
    for kind in kinds_of(sound):
        if len(kind) < 2:
            continue
        for figure in FIGURES:
            values = [value for one, _ in kind if (value := value_of(one, figure))]
            if len(values) == len(kind):
                update = {**figure.names, "contender": label[id(kind[0][0])]}
                made.append(repeated(values).model_copy(update=update))
    return made


def _caveats(
    groups: Sequence[Group], pairs: Sequence[Pair], manifest: Sequence[ManifestDifference]
) -> list[str]:
    """What limits the words, the gravest first."""
    told = [f"{group.broken}." if group.broken else "" for group in groups]
    told += [_left_out(group) for group in groups]
    told += [one.sentence for one in manifest if one.consequence == "not_comparable"]
    told.append(_several_causes(manifest, pairs))
    known = [
        one
        for one in manifest
        if one.consequence == "caveat" and NOT_RECORDED not in one.values.values()
    ]
    told += [one.sentence for one in known]
    silent = [
        rule_of(one.key).label
        for one in manifest
        if one.consequence == "caveat" and NOT_RECORDED in one.values.values()
    ]
    if silent:
        told.append(
            f"Not recorded of every contender, so nobody can say that it was alike: "
            f"{', '.join(dict.fromkeys(silent))}."
        )
    if pairs and all(len(group.members) == 1 for group in groups):
        told.append(
            "Each contender was measured in one run. Its intervals say how far this run's own "
            "stretches of time differ, and nothing about how the next run would; for that, repeat "
            "it at least three times."
        )
    return [one for one in told if one]


def _unsteady(settled: Sequence[Steadiness]) -> list[str]:
    """Phases that moved: one number does not describe them. Short ones say so in their table."""
    return [
        f"{one.contender}, {one.operation} {metric(one.metric).label}: {one.sentence}.".replace(
            "  ", " "
        )
        for one in settled
        if not one.steady and one.variation is not None
    ]


def _left_out(group: Group) -> str:
    bad = [one for one in group.members if one.verdict.verdict != "valid"]
    if not bad:
        return ""
    runs = ", ".join(f"{one.run_id} ({one.verdict.verdict})" for one in bad)
    kept = "left out of what is combined" if group.sound else "its figures are called nothing"
    return f"{group.label}: not a valid measurement: {runs}; {kept}."


def _several_causes(manifest: Sequence[ManifestDifference], pairs: Sequence[Pair]) -> str:
    """Where more than one thing varied between runs of a target, none can be called the cause."""
    if not any(pair.question == "runs" for pair in pairs):
        return ""
    varied = [
        rule_of(one.key).label
        for one in manifest
        if NOT_RECORDED not in one.values.values()
        and (one.consequence == "caveat" or (one.key == "version" and one.consequence == "noted"))
        and rule_of(one.key).within == 1.0
        and (rule_of(one.key).targets is None or len({p.baseline.target for p in pairs}) == 1)
    ]
    several = list(dict.fromkeys(varied))
    if len(several) < 2:
        return ""
    return (
        f"Several things differ at once ({', '.join(several)}): a difference cannot be put down "
        "to any one of them."
    )
