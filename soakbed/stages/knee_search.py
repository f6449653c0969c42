"""From what steps of the ladder showed to the next rates, and in the end to the knee; pure.

A ladder of rising rates is one session; what follows are sessions of one step each. A step that
holds is believed. One that breaks is tried again, because one hiccup of a machine breaks a P99, and
where the two disagree a third decides. Then what lies between the highest rate that held and the
lowest that broke is halved (in logarithms, as the ladder rises) until it is as narrow as asked.

Outcomes are the only memory: the same sessions give the same next rates, so a controller that was
killed goes on at the step where it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from soakbed.records.knee import JudgedStep, Knee, KneeWord, Step, StepWord
from soakbed.records.ladder import MOST_RUNGS, TOP_OF_CAPACITY, KneeSpec, Objective
from soakbed.units import us_to_ms

__all__ = ["find_knee", "judge_step", "most_sessions", "next_rates", "rests_before"]

# Steps above the ladder's top where all of it held: the closed loop was not the target's limit.
_MORE_RUNGS = 3
_MOST_OF_CAPACITY = 4.0
# Halvings below the ladder's first rate before the answer is that there is no knee.
_MOST_BELOW = 4
_BELIEVED = 2  # tries that did not hold, and more than those that did
_TRIES = 3
# For steps above and below the ladder, doubts about its own, and sessions that failed; whatever
# the answers are, they end somewhere.
_SPARE_SESSIONS = 16
_SAME = 1 + 1e-6  # ends of an interval as narrow as asked, in floating point


def judge_step(step: Step, slo: Objective) -> JudgedStep:
    """What the objective says of a step: each part that it missed, with both numbers.

    >>> step = Step(session="knee-1", phase="step-1", rate_per_s=100, started_s=0, seconds=10,
    ...             due=1000, ok=1000, failed=0, unknown=0, dropped=0, due_per_s=100,
    ...             achieved_per_s=90, response_p50_us={"read": 900},
    ...             response_p99_us={"read": 61_000}, service_p99_us={}, cpu_share=0.2)
    >>> for reason in judge_step(step, Objective(p99_ms=50)).reasons: print(reason)
    read P99 61.00 ms, objective 50 ms
    achieved 90.00% of what was due, objective 98.00%
    """
    missed = [
        f"{name} P99 {us_to_ms(us):.2f} ms, objective {slo.p99_ms:g} ms"
        for name, us in step.response_p99_us.items()
        if us is not None and us > 1000 * slo.p99_ms
    ]
    if step.worst_p99_us is None:
        missed.append(f"{step.ok:,} ok operations carry no P99")
    if step.error_share > slo.error_share:
        missed.append(f"{step.error_share:.3%} not ok, objective {slo.error_share:.3%}")
    if step.achieved_per_s < slo.achieved_share * step.due_per_s or not step.due:
        missed.append(
            f"achieved {step.achieved_share:.2%} of what was due, "
            f"objective {slo.achieved_share:.2%}"
        )
    word: StepWord = "held" if not missed else "generator" if step.limits else "broke"
    return JudgedStep(step=step, word=word, reasons=tuple(missed))


@dataclass(frozen=True, slots=True)
class _Rung:
    """One rate and all its tries. `word` "doubted": it must be tried again."""

    rate_per_s: float
    words: tuple[StepWord, ...]

    @property
    def word(self) -> str:
        held = sum(word == "held" for word in self.words)
        not_held = len(self.words) - held
        if held > not_held:
            return "held"
        if not_held < _BELIEVED:
            return "doubted"
        # One sound generator is enough to blame the target; the tries agree that it did not hold.
        return "broke" if "broke" in self.words else "generator"


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where the search stands: rungs by rate, and the two that the knee lies between."""

    rungs: tuple[_Rung, ...]
    low: _Rung | None  # the highest that held below `high`
    high: _Rung | None  # the lowest that did not hold, or is doubted

    @classmethod
    def of(cls, steps: Sequence[JudgedStep]) -> _Standing:
        tries: dict[float, list[StepWord]] = {}
        for one in steps:
            tries.setdefault(one.step.rate_per_s, []).append(one.word)
        rungs = tuple(_Rung(rate, tuple(tries[rate])) for rate in sorted(tries))
        low = high = None
        for rung in rungs:
            if rung.word != "held":
                high = rung
                break
            low = rung
        return cls(rungs, low, high)


def next_rates(
    asked: KneeSpec, capacity_per_s: float, sessions: Sequence[Sequence[JudgedStep]]
) -> tuple[float, ...]:
    """The rates of the next session, rising; empty when nothing is left to ask.

    `sessions`: the judged steps of each session so far, none where it failed.
    """
    steps = [step for session in sessions for step in session]
    if len(sessions) >= most_sessions(asked):
        return ()
    first = asked.ladder.first_of(capacity_per_s)
    if not steps:
        return _rising(first, asked.ladder.factor, TOP_OF_CAPACITY * capacity_per_s, MOST_RUNGS)
    now = _Standing.of(steps)
    if now.high is None:
        return _above(asked, capacity_per_s, now)
    if now.high.word == "doubted":
        return (now.high.rate_per_s,)
    if now.low is None:
        below = sum(rung.rate_per_s < first / _SAME for rung in now.rungs)
        return (_rounded(now.high.rate_per_s / 2),) if below < _MOST_BELOW else ()
    if now.high.rate_per_s / now.low.rate_per_s <= asked.resolution * _SAME:
        return ()
    middle = _rounded(math.sqrt(now.low.rate_per_s * now.high.rate_per_s))
    return (middle,) if now.low.rate_per_s < middle < now.high.rate_per_s else ()


def _rising(first: float, factor: float, top: float, most: int) -> tuple[float, ...]:
    """`first` and up to `top`, which is the last; `first` alone where that is above."""
    rates = [_rounded(first)]
    while rates[-1] < _rounded(top) and len(rates) < most:
        rates.append(_rounded(min(top, first * factor ** len(rates))))
    return tuple(rates)


def _above(asked: KneeSpec, capacity_per_s: float, now: _Standing) -> tuple[float, ...]:
    """Everything held: a few steps more, as far as it makes sense."""
    highest, factor = now.rungs[-1].rate_per_s, asked.ladder.factor
    top, most = TOP_OF_CAPACITY * capacity_per_s, MOST_RUNGS
    if highest >= _rounded(top):  # else the ladder was too long for one session
        top, most = _MOST_OF_CAPACITY * capacity_per_s, _MORE_RUNGS
    if highest >= _rounded(top):
        return ()
    return _rising(min(top, highest * factor), factor, top, most)


def _rounded(rate_per_s: float) -> float:
    return round(rate_per_s, 3)


def most_sessions(asked: KneeSpec) -> int:
    """An upper bound of the sessions of one target, whatever the answers are."""
    return _TRIES * (asked.bisect + 1) + _SPARE_SESSIONS


def rests_before(sessions: Sequence[Sequence[JudgedStep]]) -> bool:
    """Whether the next session must give the target a pause: the last step that was pressed broke.

    What the engine still had to send is sent or given up at the end of each phase; what is left is
    the target's own arrears: logs to rewrite, pages to flush, levels to compact.
    """
    steps = [step for session in sessions for step in session]
    return bool(steps) and steps[-1].word != "held"


def find_knee(
    target: str,
    asked: KneeSpec,
    capacity_per_s: float,
    sessions: Sequence[Sequence[JudgedStep]],
) -> Knee:
    """The knee as far as the sessions tell it."""
    steps = [step for session in sessions for step in session]
    now = _Standing.of(steps)
    more = bool(next_rates(asked, capacity_per_s, sessions))
    word = "searching" if more else _word(asked, now)
    return Knee(
        target=target,
        asked=asked,
        capacity_per_s=capacity_per_s,
        word=word,
        held_per_s=now.low.rate_per_s if now.low else None,
        broke_per_s=now.high.rate_per_s if now.high else None,
        sentence=_sentence(word, now, steps),
        steps=tuple(steps),
    )


def _word(asked: KneeSpec, now: _Standing) -> KneeWord:
    if now.low is None:
        return "none" if now.rungs and now.high and now.high.word != "doubted" else "unsettled"
    if now.high is None or now.high.word == "generator":
        return "at_least"
    width = now.high.rate_per_s / now.low.rate_per_s
    narrow = now.high.word == "broke" and width <= asked.resolution * _SAME
    return "found" if narrow else "unsettled"


def _sentence(word: KneeWord, now: _Standing, steps: Sequence[JudgedStep]) -> str:
    """The answer with its numbers and why, and what contradicts it."""
    low = f"{now.low.rate_per_s:,.0f}/s" if now.low else ""
    high = f"{now.high.rate_per_s:,.0f}/s" if now.high else ""
    why = _why(now, steps)
    held = f"{low} held" if low else "nothing held"
    match word:
        case "searching":
            told = f"So far {held}{f' and {high} did not' if high else ''}."
        case "found":
            told = f"{low} held, {high} did not: {why}."
        case "at_least" if high:
            told = f"At least {low}: at {high} the load generator was at a limit of its own: {why}."
        case "at_least":
            told = f"At least {low}: no rate that was tried broke the objective."
        case "none":
            told = f"No rate held: even at {high}: {why}."
        case "unsettled":
            told = f"Not settled when the sessions were used up: {held}, and {high} is in doubt"
            told += f": {why}." if why else "."
    above = [
        rung.rate_per_s
        for rung in now.rungs
        if now.high and rung.rate_per_s > now.high.rate_per_s and rung.word == "held"
    ]
    if above and word != "searching":
        rates = ", ".join(f"{rate:,.0f}/s" for rate in above)
        told += f" Higher rates that held once, and are not believed: {rates}."
    return told


def _why(now: _Standing, steps: Sequence[JudgedStep]) -> str:
    """What the lowest rate that did not hold missed, or what limited the generator there."""
    if now.high is None:
        return ""
    rate_per_s = now.high.rate_per_s
    tries = [one for one in steps if one.step.rate_per_s == rate_per_s and one.word != "held"]
    if now.high.word == "generator":
        return "; ".join(tries[-1].step.limits)
    blamed = [one for one in tries if one.word == "broke"] or tries
    return "; ".join(blamed[-1].reasons)
