"""One pair of contenders, figure by figure: the ratio, the word, and what forbids a word.

Figures come from the archived windows of each side; repeats are compared run by run, everything
else by stretches of time. Words that the data would allow are still refused where the records
say that the figures are not of one kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from soakbed.records.comparison import Difference, Ratio
from soakbed.records.metrics import Better, metric
from soakbed.stages.blocks import PhaseBlocks, phase_blocks
from soakbed.stages.comparability import Found, found_between
from soakbed.stages.compare_groups import Group, Pair
from soakbed.stages.contenders import Pressed
from soakbed.stats.blocks import block_s_for
from soakbed.stats.ratios import percentile_ratio, rate_ratio
from soakbed.stats.repeats import repeats_ratio
from soakbed.stats.verdicts import compare, corrected, not_comparable

__all__ = ["FIGURES", "Blocks", "Figure", "differences_of", "value_of"]

# Open-loop throughput follows the offered rate; closer than this and it may be compared.
_SAME_RATE = 1.01


@dataclass(frozen=True, slots=True)
class Figure:
    """One compared figure. `percentile` (0-100) is None for a rate."""

    metric: str
    phase: Literal["capacity", "steady"]
    operation: str = ""
    kind: str = ""
    percentile: float | None = None

    @property
    def better(self) -> Better:
        """Which direction is."""
        return metric(self.metric).better

    @property
    def names(self) -> dict[str, str]:
        """Fields that name it in a record."""
        return {"metric": self.metric, "phase": self.phase, "operation": self.operation}


def _latencies(operation: str) -> tuple[Figure, ...]:
    asked = (("response", 50.0), ("response", 99.0), ("response", 99.9), ("service", 99.0))
    return tuple(
        Figure(
            f"{kind}_p{percentile:g}_us".replace(".", "_"), "steady", operation, kind, percentile
        )
        for kind, percentile in asked
    )


FIGURES: tuple[Figure, ...] = (
    Figure("capacity_per_s", "capacity"),
    Figure("throughput_per_s", "steady"),
    *_latencies("read"),
    *_latencies("write"),
)


@dataclass(slots=True)
class Blocks:
    """Phases as blocks, read once each."""

    _held: dict[tuple[str, str, str], PhaseBlocks] = field(default_factory=dict)

    def of(self, one: Pressed, phase: str) -> PhaseBlocks:
        """The blocks of one phase; session and phase have one name."""
        key = (one.run_id, one.target, phase)
        if key not in self._held:
            held = one.numbers.phase(phase, phase)
            window_s = one.evidence.spec.workload.window_s
            asked = block_s_for(held.seconds) if held else window_s
            block_s = -(-asked // window_s) * window_s
            self._held[key] = phase_blocks(one.folder, phase, phase, block_s=block_s)
        return self._held[key]


def value_of(one: Pressed, figure: Figure) -> float | None:
    """The figure as the run's own numbers have it; None where they do not carry it."""
    phase = one.numbers.phase(figure.phase, figure.phase)
    if phase is None:
        return None
    if figure.percentile is None:
        return phase.throughput_per_s or None
    operation = phase.operations.get(figure.operation)
    if operation is None:
        return None
    found = getattr(getattr(operation, figure.kind), figure.metric.removeprefix(figure.kind + "_"))
    return None if found is None else float(found)


def differences_of(pair: Pair, blocks: Blocks) -> tuple[Difference, ...]:
    """Every figure of a pair, corrected for how many there are."""
    labels = (pair.baseline.label, pair.contender.label)
    found = found_between(pair.baseline.readings, pair.contender.readings, pair.question, labels)
    ratios = [_ratio(figure, pair, blocks) for figure in FIGURES]
    judged = [
        _difference(figure, pair, found, ratio)
        for figure, ratio in zip(FIGURES, ratios, strict=True)
    ]
    stand = corrected([_with_guarantees(one, found) for one in judged])
    # Where no word is allowed the ratio is shown all the same, and counts as no comparison.
    shown = (
        one.model_copy(update={"ratio": ratio}) if one.word == "not_comparable" else one
        for one, ratio in zip(stand, ratios, strict=True)
    )
    return tuple(_kept_its_word(one, pair) for one in shown)


def _kept_its_word(one: Difference, pair: Pair) -> Difference:
    """A target that lost or mixed up what it acknowledged is not better for being fast."""
    praised = {"better": pair.contender, "worse": pair.baseline}.get(one.word)
    if praised is None or not praised.broken:
        return one
    reason = f"{praised.broken}. So it is not called better, whatever it measured: {one.reason}"
    return one.model_copy(update={"word": "not_comparable", "reason": reason})


def _difference(
    figure: Figure, pair: Pair, found: Sequence[Found], ratio: Ratio | None
) -> Difference:
    values = [_value(group, figure) for group in (pair.contender, pair.baseline)]
    refused = _refused(figure, pair, found)
    if refused:
        judged = not_comparable(refused)
    else:
        judged = compare(ratio, better=figure.better, without=_without(figure, pair))
        judged = _at_least(judged, pair) if figure.phase == "capacity" else judged
    return judged.model_copy(
        update={
            **figure.names,
            "baseline": pair.baseline.label,
            "contender": pair.contender.label,
            "baseline_value": values[1],
            "contender_value": values[0],
        }
    )


def _value(group: Group, figure: Figure) -> float | None:
    """One run's figure; of repeats the geometric mean over those that count."""
    held = [value_of(one, figure) for one in group.sound or group.members]
    carried = [value for value in held if value]
    if not carried:
        return None
    product = 1.0
    for value in carried:
        product *= value ** (1 / len(carried))
    return product


def _ratio(figure: Figure, pair: Pair, blocks: Blocks) -> Ratio | None:
    sides = (pair.contender, pair.baseline)
    if any(len(group.members) > 1 for group in sides):
        return _over_runs(figure, pair)
    contender, baseline = (blocks.of(group.members[0], figure.phase) for group in sides)
    block_s = (float(contender.block_s), float(baseline.block_s))
    if figure.percentile is None:
        return rate_ratio(contender.ok_per_s, baseline.ok_per_s, block_s=block_s)
    key = (figure.operation, figure.kind)
    if key not in contender.counts or key not in baseline.counts:
        return None
    dense = (contender.counts[key].dense(), baseline.counts[key].dense())
    return percentile_ratio(*dense, figure.percentile, block_s=block_s)


def _over_runs(figure: Figure, pair: Pair) -> Ratio | None:
    """The run as the unit; side by side where both were measured in the same runs."""
    sides: list[Mapping[str, float]] = []
    for group in (pair.contender, pair.baseline):
        held = ((one.run_id, value_of(one, figure)) for one in group.sound)
        sides.append({run_id: value for run_id, value in held if value})
    together = [run_id for run_id in sides[0] if run_id in sides[1]]
    if together:
        values = [[side[run_id] for run_id in together] for side in sides]
        return repeats_ratio(values[0], values[1], paired=True)
    return repeats_ratio(list(sides[0].values()), list(sides[1].values()))


def _without(figure: Figure, pair: Pair) -> str:
    """Why there may be no ratio, where it is not the length of the phase."""
    for group in (pair.contender, pair.baseline):
        if _value(group, figure) is None:
            return f"{group.label} does not carry this figure"
    sides = (pair.contender, pair.baseline)
    if any(len(group.members) > 1 for group in sides):
        few = ", ".join(f"{len(group.sound)} of {group.label}" for group in sides)
        return f"an interval over runs needs at least three valid runs of each; there are {few}"
    return ""


def _refused(figure: Figure, pair: Pair, found: Sequence[Found]) -> str:
    """Why these two figures may not be set against each other; "" when they may."""
    for group in (pair.contender, pair.baseline):
        if not group.sound:
            first = group.members[0].verdict
            why = "; ".join(first.reasons)
            return f"the measurement of {group.label} was judged {first.verdict}: {why}"
    told = [
        one.sentence
        for one in found
        if one.consequence == "not_comparable" and figure.phase in (one.touches, *_ALL[one.touches])
    ]
    if told:
        return " ".join(told)
    if figure.metric == "throughput_per_s":
        return _unlike_rates(pair)
    return ""


_ALL: dict[str, tuple[str, ...]] = {"all": ("capacity", "steady"), "steady": ("steady",)}


def _unlike_rates(pair: Pair) -> str:
    rates = []
    for group in (pair.baseline, pair.contender):
        steady = group.sound[0].steady
        rates.append(steady.offered_per_s if steady else 0.0)
    if min(rates) > 0 and max(rates) / min(rates) <= _SAME_RATE:
        return ""
    return (
        f"in open loop throughput follows what is offered, {rates[0]:,.0f}/s to "
        f"{pair.baseline.label} and {rates[1]:,.0f}/s to {pair.contender.label}; the capacity "
        "says what each can do"
    )


def _at_least(one: Difference, pair: Pair) -> Difference:
    """A capacity that the generator limited is a lower bound, so only some words stand."""
    limited = {
        side: any(held.verdict.generator_limited for held in group.sound)
        for side, group in (("contender", pair.contender), ("baseline", pair.baseline))
    }
    if not any(limited.values()) or one.word == "cannot_tell":
        return one
    who = " and ".join(
        group.label
        for side, group in (("baseline", pair.baseline), ("contender", pair.contender))
        if limited[side]
    )
    told = f"the capacity of {who} is the generator's, so at least what is shown"
    stands = (one.word == "better" and not limited["baseline"]) or (
        one.word == "worse" and not limited["contender"]
    )
    if stands:
        return one.model_copy(update={"reason": f"{one.reason}; {told}"})
    return one.model_copy(update={"word": "cannot_tell", "reason": f"{told}. {one.reason}"})


def _with_guarantees(one: Difference, found: Sequence[Found]) -> Difference:
    """Say beside a word that the promises are unlike: it is then no ranking."""
    asked = (one.operation,) if one.operation else ("read", "write")
    unlike = [
        operation
        for operation in asked
        if any(it.key == f"durability.{operation}" and it.consequence == "caveat" for it in found)
    ]
    if not unlike or one.word in ("not_comparable", "cannot_tell"):
        return one
    told = f"no ranking: the guarantees of an acknowledged {' and '.join(unlike)} are unlike"
    return one.model_copy(update={"reason": f"{one.reason}; {told}"})
