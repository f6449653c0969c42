"""What happened while a target was measured, from whatever source; rows of the table `events`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SEVERITIES", "Event", "Severity"]

# What an event puts in doubt, the least first: nothing, the windows it lies in, its phase, the run.
Severity = Literal["note", "window", "phase", "run"]
SEVERITIES: tuple[Severity, ...] = ("note", "window", "phase", "run")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, from `at_s` to `until_s` (unix time; equal when it took no time).

    `source` says where it was read: journal, kernel, facts, samples. `kind` is one word of a fixed
    set per source, `text` a sentence for people. `worker` -1: of no worker of the load.
    """

    at_s: float
    until_s: float
    host: str
    source: str
    kind: str
    severity: Severity
    text: str
    worker: int = -1
