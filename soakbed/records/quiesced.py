"""Whether a target's copies were equal when its load was over: `<target>/quiesced.json`.

What `python -m loadgen.quiesced` found on a load host after the steady session had drained, before
anything was wiped. What could not be asked stands beside what was found.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = [
    "Copies",
    "CopiesWord",
    "CopyFound",
    "KeyDifference",
    "Quiesced",
    "RangeFound",
    "Unasked",
]

CopiesWord = Literal["equal", "differ", "unknown"]


class Unasked(Frozen):
    """What could not be asked, and why."""

    what: str
    why: str


class CopyFound(Frozen):
    """One member's copy. `digest`: hex, "" where it was not read. `behind`: "" or why it cannot
    have all that its master has, as when its link is down.
    """

    member: str
    role: Literal["master", "replica", "member", "leader", "follower"]
    digest: str = ""
    keys: int = 0
    behind: str = ""


class RangeFound(Frozen):
    """A part of the data: its digest at each copy that was read, in the order of the copies."""

    name: str
    digests: tuple[str, ...]
    equal: bool


class KeyDifference(Frozen):
    """A key that copies hold differently. `holds`: member -> what is there, "" for nothing."""

    where: str
    key: str
    holds: dict[str, str]


class Copies(Frozen):
    """Copies that must be equal.

    `differences`: the first few keys; `differing`: in words how much differs ("3 slots").
    """

    name: str
    verdict: CopiesWord
    copies: tuple[CopyFound, ...]
    why: str = ""
    ranges: tuple[RangeFound, ...] = ()
    differing: str = ""
    differences: tuple[KeyDifference, ...] = ()

    @property
    def behind(self) -> str:
        """Why a copy could not be equal, "" where all had what they should have."""
        late = [f"{copy.member}: {copy.behind}" for copy in self.copies if copy.behind]
        return "; ".join(late)


class Quiesced(Frozen):
    """The whole file. `asked`: how, in words; `took_s`: on the load host."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: str
    asked: str = ""
    groups: tuple[Copies, ...] = ()
    unasked: tuple[Unasked, ...] = ()
    at_s: float = 0.0
    took_s: float = 0.0

    def of_verdict(self, word: CopiesWord) -> list[Copies]:
        """Groups that were found so."""
        return [group for group in self.groups if group.verdict == word]

    @classmethod
    def not_asked(cls, target: str, why: str) -> Quiesced:
        """Of a target that nobody could ask."""
        return cls(target=target, unasked=(Unasked(what="copies", why=why),))
