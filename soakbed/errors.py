"""Every error soakbed raises on purpose.

SoakbedError
├── SpecError            the files or words you wrote are wrong   exit 2
├── ProvisionError       Terraform could not make the hosts       exit 3
├── ConfigureError       Ansible could not set the hosts up       exit 4
│   └── Unavailable      an artifact cannot be had                exit 4
├── LoadError            the load generators misbehaved           exit 5
├── ArchiveError         a run folder is missing or damaged       exit 6
├── InvalidRun           finished, but a run was judged invalid   exit 7
├── DetachedEnded        a soak ended before its first look       exit as it did
└── Interrupted          Ctrl-C; what is done is kept             exit 130
    └── BudgetSpent      no money for more; what is done is kept  exit 2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ArchiveError",
    "BudgetSpent",
    "ConfigureError",
    "DetachedEnded",
    "Interrupted",
    "InvalidRun",
    "LoadError",
    "Mistake",
    "ProvisionError",
    "SoakbedError",
    "SpecError",
    "Unavailable",
]


class SoakbedError(Exception):
    """Something the operator can act on: what happened, and what to do next."""

    exit_code = 1

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  try: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in what the user wrote: where it stands, what it says, what to write."""

    file: str
    key: str
    value: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key} = {self.value}: {self.problem}\n  try: {self.remedy}"


class SpecError(SoakbedError):
    """The spec is wrong. Carries every mistake at once, so that one edit mends them all."""

    exit_code = 2

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        count = len(mistakes)
        super().__init__(
            f"{count} mistake{'s' if count != 1 else ''} in what you wrote; nothing was made",
            remedy="mend each line above and run the same command again",
        )
        self.mistakes = tuple(mistakes)

    def __str__(self) -> str:
        return "\n".join(str(mistake) for mistake in self.mistakes) + f"\n{self.problem}"


class ProvisionError(SoakbedError):
    """The hosts could not be made, or could not be unmade."""

    exit_code = 3


class ConfigureError(SoakbedError):
    """A host could not be set up; names the host and the task."""

    exit_code = 4


class Unavailable(ConfigureError):
    """An artifact cannot be had from any source; its target becomes `not_measured`."""


class LoadError(SoakbedError):
    """The load generators failed to start, to finish, or to account for what they sent."""

    exit_code = 5


class ArchiveError(SoakbedError):
    """A run folder is missing, damaged or not finished."""

    exit_code = 6


class InvalidRun(SoakbedError):
    """Everything finished, but at least one run was judged invalid."""

    exit_code = 7


class Interrupted(SoakbedError):
    """The user stopped the command; every finished record is kept."""

    exit_code = 130


class BudgetSpent(Interrupted):
    """What the testbed may cost is spent; nothing new is begun on it."""

    exit_code = 2


class DetachedEnded(SoakbedError):
    """A soak in the background ended before it was seen to press; `exit_code` is its own."""

    def __init__(self, problem: str, *, remedy: str, exit_code: int) -> None:
        super().__init__(problem, remedy=remedy)
        self.exit_code = exit_code
