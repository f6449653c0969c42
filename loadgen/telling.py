"""What a worker says to the journal of its unit: what befell its part of the load.

The archive reads these lines as events (`soakbed.archive.data.journal_signs`); Locust's own log is
for people alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["ANSWER_TIMEOUT_S", "Troubles", "tell"]

ANSWER_TIMEOUT_S = 5.0


def tell(line: str) -> None:
    """One line of the journal."""
    print(f"soakbed: {line}", file=sys.stderr, flush=True)


class Troubles:
    """Tells of a master that is silent and of a disk that takes nothing: when it begins and ends.

    Both cost the load nothing, and both would be found out by nobody.
    """

    def __init__(self, rank: int, *, tell: Callable[[str], None] = tell) -> None:
        self._rank = rank
        self._tell = tell
        self._known = False  # a master has answered: one that is not up yet is no trouble
        self._silent = False
        self._full = False

    def master(self, silent_s: float) -> None:
        """It has not answered for so long."""
        if self._known and not self._silent and silent_s > ANSWER_TIMEOUT_S:
            self._silent = True
            self._tell(
                f"the master has not answered for {silent_s:.0f} s; "
                f"engine {self._rank} goes on by its plan"
            )

    def answered(self, silent_s: float) -> None:
        """It has, after so long."""
        if self._silent:
            self._tell(f"the master answers again after {silent_s:.0f} s")
        self._known, self._silent = True, False

    def disk(self, why: str) -> None:
        """Why a small file could not be written, "" where it was."""
        if why and not self._full:
            self._tell(f"the disk takes nothing: {why}; engine {self._rank} keeps what it can")
        elif self._full and not why:
            self._tell("the disk takes what it is given again")
        self._full = bool(why)
