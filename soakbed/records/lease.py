"""How long hosts live without news of anybody: the arithmetic, and the record in the state folder.

The lease of a testbed ends a margin after what is planned to go on without anybody (the load of
one session, by its plan), or after now. A living controller extends it again and again, never
beyond what its budget pays for. Each host ends itself when it hears of no later end. Pure.
"""

from __future__ import annotations

import math
import secrets
from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = ["LONGEST_S", "Lease", "end_of_anothers", "extended", "first_lease"]

# Ends further away are cut: hosts take an end over 60 days away for damage (role lease). The
# longest run, three targets of 72 h each with the search for its knee, plans three days at a time.
LONGEST_S = 55 * 86400
_WORD_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_WORD_LENGTH = 12
_DIGITS = 10  # of a lease in a host's file, as role lease reads it


class Lease(Frozen):
    """The lease of one testbed, from its first provision to its teardown; `<state>/lease.json`.

    `id`: a random word, in the tags of all that was made for it. `begun_s`: when hosts were first
    made on it, which a budget counts from. Times are unix time, whole seconds.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    id: str
    testbed: str
    provider: str
    region: str = ""
    begun_s: int
    ends_s: int

    def has_lapsed(self, now_s: float) -> bool:
        """Whether hosts that hear of no other end have ended by now."""
        return self.ends_s <= now_s


def first_lease(
    testbed: str, *, provider: str, region: str, now_s: float, lasts_h: float, least_id: str = ""
) -> Lease:
    """A lease that begins now. `least_id`: the word of the one before, whose things are there."""
    word = "".join(secrets.choice(_WORD_LETTERS) for _ in range(_WORD_LENGTH))
    return Lease(
        id=least_id or word,
        testbed=testbed,
        provider=provider,
        region=region,
        begun_s=int(now_s),
        ends_s=math.ceil(now_s + min(lasts_h * 3600, LONGEST_S)),
    )


def extended(
    lease: Lease,
    *,
    now_s: float,
    planned_end_s: float,
    margin_h: float,
    budget_h: float | None,
) -> Lease:
    """`lease` with the end that is due now. `planned_end_s`: until then it goes on by itself.

    An end once given is taken back for one reason only: the budget (`budget_h`, hours since
    `begun_s`; None: no limit) does not pay for it.

    >>> held = Lease(id="k3v9q2", testbed="t", provider="aws", begun_s=0, ends_s=7200)
    >>> extended(held, now_s=3600, planned_end_s=36000, margin_h=2, budget_h=None).ends_s
    43200
    >>> extended(held, now_s=3600, planned_end_s=36000, margin_h=2, budget_h=11).ends_s
    39600
    """
    wanted_s = max(now_s, planned_end_s) + margin_h * 3600
    ends_s = max(lease.ends_s, math.ceil(min(wanted_s, now_s + LONGEST_S)))
    if budget_h is not None:
        ends_s = min(ends_s, lease.begun_s + math.floor(budget_h * 3600))
    return lease.model_copy(update={"ends_s": ends_s})


def end_of_anothers(found: str, *, told_s: int, ends_s: int, now_s: float) -> int | None:
    """The end in a host's file where another controller gave it a later one; None where not.

    `told_s`: the end that we gave it last, which we may take back; `ends_s`: what is due now. An
    end so far away that the host itself takes it for damage is nobody's.

    >>> end_of_anothers("1800009000", told_s=1800000600, ends_s=1800001200, now_s=1.8e9)
    1800009000
    >>> end_of_anothers("1800009000", told_s=1800009000, ends_s=1800001200, now_s=1.8e9) is None
    True
    """
    word = found.strip()
    if not (word.isascii() and word.isdigit() and len(word) == _DIGITS):
        return None
    theirs_s = int(word)
    theirs = ends_s < theirs_s <= now_s + LONGEST_S and theirs_s != told_s
    return theirs_s if theirs else None
