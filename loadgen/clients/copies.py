"""Copies of data that must be equal when nothing is written any more, and how they were found.

The answer of `python -m loadgen.quiesced`; `soakbed.records.quiesced` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from loadgen.keyspace import ID_BYTES

__all__ = [
    "MOST_DIFFERENCES",
    "Copy",
    "Difference",
    "Found",
    "Group",
    "Range",
    "Role",
    "Unasked",
    "differences_in",
    "kept_value",
    "shown_key",
    "shown_value",
    "verdict_of",
]

SCHEMA = 1
# Keys that are named of one group; all that differ are counted.
MOST_DIFFERENCES = 20
_SHOWN_BYTES = 64

Word = Literal["equal", "differ", "unknown"]
Role = Literal["master", "replica", "member", "leader", "follower"]


@dataclass(frozen=True, slots=True)
class Unasked:
    """What could not be asked, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Copy:
    """One member's copy. `digest`: hex, of all that was asked; "" where nothing was.

    `behind`: "" or why it cannot have all that the first copy has, such as a link that is down.
    """

    member: str
    role: Role
    digest: str = ""
    keys: int = 0
    behind: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a group: its digest at each copy, in the order of the copies."""

    name: str
    digests: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether all copies of it are."""
        return len(set(self.digests)) <= 1


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that copies hold differently. `holds`: member -> what is there, "" for nothing."""

    where: str
    key: str
    holds: dict[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Copies that must be equal. `why`: of "unknown", and of "differ" what it rests on.

    `differences`: the first few; `differing`: what all of them are, in words ("3 slots").
    """

    name: str
    verdict: Word
    copies: tuple[Copy, ...]
    why: str = ""
    ranges: tuple[Range, ...] = ()
    differing: str = ""
    differences: tuple[Difference, ...] = ()


@dataclass(slots=True)
class Found:
    """Everything that one look at a target found. `asked`: how, in words."""

    target: str
    asked: str = ""
    groups: list[Group] = field(default_factory=list)
    unasked: list[Unasked] = field(default_factory=list)
    at_s: float = 0.0
    took_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data; of the ranges of a group that is equal only how many there were."""
        made = asdict(self) | {"schema": SCHEMA}
        for group in made["groups"]:
            for one in group["ranges"]:
                one["equal"] = len(set(one["digests"])) <= 1
        return made


def verdict_of(copies: Sequence[Copy]) -> Word:
    """Of digests of the same data: unknown where fewer than two were had."""
    had = [copy.digest for copy in copies if copy.digest]
    if len(set(had)) > 1:
        return "differ"
    return "equal" if len(had) == len(copies) > 1 else "unknown"


def differences_in(
    held: Sequence[tuple[str, dict[bytes, bytes]]], where: Callable[[bytes], str]
) -> Iterable[Difference]:
    """Keys that members hold differently, in order. `held`: member, what it has."""
    keys = sorted({key for _, has in held for key in has})
    for key in keys:
        values = [has.get(key) for _, has in held]
        if any(value != values[0] for value in values):
            told = {member: shown_value(has.get(key)) for member, has in held}
            yield Difference(where(key), shown_key(key), told)


def kept_value(value: bytes) -> bytes:
    """What is kept of a value to compare it later: its front, and a hash of a long one."""
    if len(value) <= _SHOWN_BYTES:
        return value
    return value[:ID_BYTES] + blake2b(value, digest_size=16).digest()


def shown_key(key: bytes) -> str:
    """A key for people: text where it is text."""
    return key[:_SHOWN_BYTES].decode("ascii", "backslashreplace")


def shown_value(value: bytes | None) -> str:
    """A value for people: of ours its id, of any other how it begins."""
    if value is None:
        return ""
    return value[:ID_BYTES].decode("ascii", "backslashreplace") or "(empty)"
