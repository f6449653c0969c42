"""One operation of a client, as any history tells of it: what models and the search read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from soakbed.histories.register import FAILED, OK, UNKNOWN

__all__ = ["FAILED", "OK", "UNKNOWN", "Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """`action` on `key` with `argument`, and the `result` that the client got.

    `start`, `finish`: when it was called and when it returned, in any one unit; of an unknown one
    `finish` means nothing, for it may take effect at any later time or never. `outcome`: OK, FAILED
    (surely not applied) or UNKNOWN. What the actions are, and what stands in `argument` and
    `result`, is the model's to say. `line`: where it stood in a file, 0 for nowhere.
    """

    process: Hashable
    action: str
    key: Hashable
    argument: Any
    result: Any
    start: int
    finish: int
    outcome: int = OK
    line: int = 0

    @property
    def told(self) -> str:
        """It in words, as a witness shows it.

        >>> Operation(3, "write", "x", 7, None, 0, 5).told
        '3: write x 7'
        """
        words = [self.action, *(str(one) for one in (self.key, self.argument) if one is not None)]
        if self.result is not None:
            words.append(f"-> {self.result}")
        if self.outcome == UNKNOWN:
            words.append("(unknown)")
        return f"{self.process}: {' '.join(words)}"
