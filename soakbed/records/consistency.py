"""Whether a target kept its word while it was pressed: `<target>/consistency.json`.

Made in the judge step from the recorded histories; pages show it beside the latency. It holds
what a page needs of a violation, so that none has to read histories again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen
from soakbed.units import us_to_ms

__all__ = [
    "CHECK_WORDS",
    "Check",
    "CheckWord",
    "Consistency",
    "ConsistencyWord",
    "Gap",
    "Recorded",
    "Witness",
    "WitnessRow",
    "verdict_of",
]

ConsistencyWord = Literal["ok", "violation", "unknown", "not_promised"]
CheckWord = Literal["ok", "violation", "unknown", "not_promised", "skipped"]
CHECK_WORDS: tuple[CheckWord, ...] = ("violation", "not_promised", "unknown", "ok", "skipped")


class WitnessRow(Frozen):
    """One operation as its client saw it; times are unix microseconds by its load host's clock.

    `value`: the id that was written or read, 0: nothing was there, -1: no id of ours. `done_us`:
    when the reply came, or of an unknown one when the client gave up: it may have taken effect at
    any later time, or never. `revision`: what etcd said, 0 where the store says none. `marked`: it
    is part of the contradiction, and not only near it.
    """

    process: str
    action: Literal["read", "write"]
    key: int
    value: int
    sent_us: int
    done_us: int
    outcome: Literal["ok", "failed", "unknown"]
    revision: int = 0
    words: str = ""  # its part in the contradiction
    marked: bool = True


class Witness(Frozen):
    """Operations that no store which keeps its word can have answered so.

    `around`: what else happened to the key near that time, for the eye; bounded. `staleness_us`:
    by how much the times would have to move for all to be well; 0 where it has no meaning.
    """

    sentence: str
    rows: tuple[WitnessRow, ...]
    from_us: int
    until_us: int
    staleness_us: int = 0
    around: tuple[WitnessRow, ...] = ()

    @property
    def key(self) -> int:
        """The key that it is about; of several that of the first row."""
        return self.rows[0].key


class Check(Frozen):
    """One question and its answer. `sentence` carries the numbers.

    "skipped": it does not apply, or its record is not there, and `sentence` says why; it counts
    for nothing. "unknown": it was asked and nothing rules a violation out. "not_promised": it does
    not hold, and the target promises it to nobody. `witnesses`: the first of `violations`.
    """

    name: str
    asks: str
    verdict: CheckWord
    sentence: str
    operations: int = 0
    keys: int = 0
    violations: int = 0
    witnesses: tuple[Witness, ...] = ()


class Gap(Frozen):
    """Operations that were done and are in no history. `workers` empty: of all."""

    told: str
    workers: tuple[int, ...] = ()
    keys: tuple[int, ...] | None = None  # None: any may be concerned


class Recorded(Frozen):
    """What the checks rest on. `share`: of keys whose operations were recorded, 0-1.

    `bound_us`: by how much the clocks of the load hosts differ at most; None: nobody knows.
    """

    operations: int = 0
    keys: int = 0
    share: float = 0.0
    bound_us: int | None = None
    gaps: tuple[Gap, ...] = ()


class Consistency(Frozen):
    """The whole file. `level`: the strongest that holds for what was recorded, "" if unknown."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: str
    verdict: ConsistencyWord
    sentence: str
    level: str = ""
    recorded: Recorded = Recorded()
    checks: tuple[Check, ...] = ()

    @property
    def violations(self) -> tuple[Check, ...]:
        """Checks that found what must not be, promised or not, the broken promises first."""
        bad = [one for one in self.checks if one.verdict in ("violation", "not_promised")]
        return tuple(sorted(bad, key=lambda one: CHECK_WORDS.index(one.verdict)))

    def check(self, name: str) -> Check | None:
        """The check of that name; None where it was not made."""
        return next((one for one in self.checks if one.name == name), None)

    @classmethod
    def not_recorded(cls, target: str, why: str = "no history was recorded") -> Consistency:
        """Of a run that says nothing about it."""
        return cls(target=target, verdict="unknown", sentence=why)

    @classmethod
    def of(
        cls, target: str, checks: Iterable[Check], *, recorded: Recorded, level: str = ""
    ) -> Consistency:
        """Checks, joined into one verdict with the sentence that says what it rests on."""
        made = tuple(checks)
        word = verdict_of(made)
        return cls(
            target=target,
            verdict=word,
            sentence=_sentence(word, made, recorded),
            level=level,
            recorded=recorded,
            checks=made,
        )


def verdict_of(checks: Iterable[Check]) -> ConsistencyWord:
    """The worst that was found; ok only where something was asked and nothing is open.

    >>> verdict_of([Check(name="a", asks="", verdict="skipped", sentence="")])
    'unknown'
    """
    words = {one.verdict for one in checks}
    for word in ("violation", "not_promised", "unknown", "ok"):
        if word in words:
            return word
    return "unknown"


def _sentence(word: ConsistencyWord, checks: tuple[Check, ...], recorded: Recorded) -> str:
    told = [one.sentence for one in checks if one.verdict == word]
    if word != "ok":
        return "; ".join(told) or "nothing was asked"
    asked = sum(one.verdict == "ok" for one in checks)
    skipped = sum(one.verdict == "skipped" for one in checks)
    bound = f", clocks known to {us_to_ms(recorded.bound_us):.1f} ms" if recorded.bound_us else ""
    return (
        f"{asked} checks passed over {recorded.operations:,} operations on {recorded.keys:,} keys"
        f"{bound}{f'; {skipped} skipped' if skipped else ''}"
    )
