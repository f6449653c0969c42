"""From a ratio to a word: better, worse, same, cannot tell.

The rule, and why it is this one: `soakbed/stats/README.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, isfinite, log, log1p

from scipy.special import stdtr, stdtrit

from soakbed.records.comparison import Difference, DifferenceWord, Ratio
from soakbed.records.metrics import Better
from soakbed.stats.intervals import spread

__all__ = ["ALPHA", "MARGIN", "compare", "corrected", "least_difference", "not_comparable"]

MARGIN = 0.05  # what is smaller is of no use to anybody who chooses a database
ALPHA = 0.01
# "In at least 95 of 100": a little more is asked for, since the error is itself an estimate.
_POWER = 0.97
_MOST_DIFFERENCE = 99.0  # a hundredfold; beyond that a number says nothing


def compare(
    ratio: Ratio | None, *, better: Better, margin: float = MARGIN, without: str = ""
) -> Difference:
    """Judge one ratio (contender over baseline). `without`: why there is none, where it is None.

    Better or worse: the whole interval lies beyond the margin, [1/(1 + margin), 1 + margin].
    Same: the whole interval lies within it. Otherwise nobody can tell. Raises ValueError for a
    metric of which neither direction is better.
    """
    if better == "neither":
        raise ValueError("a metric of which neither direction is better has no verdict")
    if ratio is None:
        why = without or "the sample is too small to carry this figure, or its blocks are too few"
        return Difference(word="cannot_tell", reason=why, margin=margin)
    probability = _probability(ratio, margin)
    word = _word(ratio, better, margin, differs=probability < 1 - ratio.confidence)
    return Difference(
        word=word,
        reason=_reason(ratio, word, margin),
        ratio=ratio,
        margin=margin,
        least_difference=least_difference(ratio, margin=margin, alpha=1 - ratio.confidence),
        probability=probability,
    )


def not_comparable(reason: str) -> Difference:
    """What is said where the contenders are too unlike; `reason` is a sentence."""
    return Difference(word="not_comparable", reason=reason)


def least_difference(ratio: Ratio, *, margin: float = MARGIN, alpha: float = ALPHA) -> float | None:
    """The smallest true change, as a share, that data like this finds in at least 95 of 100 cases.

    None above a hundredfold. Half of such cases lie on the lucky side of their true ratio, so
    the way from the margin is the interval's half width and the way to the 3 % quantile beyond.
    """
    steps = stdtrit(ratio.freedom, 1 - alpha / 2) + stdtrit(ratio.freedom, _POWER)
    found = log1p(margin) + float(steps) * ratio.log_error
    if not isfinite(found) or found > log1p(_MOST_DIFFERENCE):
        return None
    return expm1(found)


def corrected(
    differences: Sequence[Difference], *, method: str = "holm", alpha: float = ALPHA
) -> tuple[Difference, ...]:
    """The same differences, in the same order, after correction for how many they are.

    Holm (1979): with chance `alpha` or less any of them is called better or worse although all
    true ratios lie within the margin. A word that does not stand becomes "cannot_tell", and the
    reason says so; least differences grow to what the strictest step would find. "Same" is a
    claim of its own kind and is left alone. Raises ValueError for another method.
    """
    if method != "holm":
        raise ValueError(f"no correction named {method!r}; there is: holm")
    asked = [
        (one.probability, place)
        for place, one in enumerate(differences)
        if one.probability is not None and one.ratio is not None
    ]
    stands: set[int] = set()
    for step, (probability, place) in enumerate(sorted(asked)):
        if probability >= alpha / (len(asked) - step):
            break
        stands.add(place)
    return tuple(
        _held(one, len(asked), alpha, stands=place in stands)
        for place, one in enumerate(differences)
    )


def _held(one: Difference, asked: int, alpha: float, *, stands: bool) -> Difference:
    if one.ratio is None:
        return one
    least = least_difference(one.ratio, margin=one.margin, alpha=alpha / max(1, asked))
    changed: dict[str, object] = {"least_difference": least}
    if one.word in ("better", "worse") and not stands:
        changed |= {
            "word": "cannot_tell",
            "word_was": one.word,
            "reason": f"alone it would be {one.word}; among {asked} figures it may be chance. "
            f"{one.reason}",
        }
    return one.model_copy(update=changed)


def _probability(ratio: Ratio, margin: float) -> float:
    """Chance of a ratio so far beyond the margin, on either side, if the truth lies on its edge."""
    beyond = abs(log(ratio.ratio)) - log1p(margin)
    if ratio.log_error == 0:
        return 0.0 if beyond > 0 else 1.0
    return min(1.0, 2 * float(stdtr(ratio.freedom, -beyond / ratio.log_error)))


def _word(ratio: Ratio, better: Better, margin: float, *, differs: bool) -> DifferenceWord:
    if differs:
        above = ratio.ratio > 1
        return "better" if above == (better == "higher") else "worse"
    half = spread(ratio.log_error, ratio.freedom, ratio.confidence)
    if abs(log(ratio.ratio)) + half < log1p(margin):
        return "same"
    return "cannot_tell"


def _reason(ratio: Ratio, word: DifferenceWord, margin: float) -> str:
    interval = (
        f"the {ratio.confidence:.0%} interval of the ratio, {ratio.low:.3g} to {ratio.high:.3g},"
    )
    if word in ("better", "worse"):
        return f"{interval} lies wholly beyond ±{margin:.0%}"
    if word == "same":
        return f"{interval} lies wholly within ±{margin:.0%}"
    if ratio.low <= 1 <= ratio.high:
        return f"{interval} holds 1, and more than ±{margin:.0%}"
    return f"{interval} does not hold 1, but reaches into ±{margin:.0%}"
