"""What each stage leaves behind: the records of a run, between the spec and the verdict."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from soakbed.records.frozen import Frozen
from soakbed.records.knee import Step

__all__ = [
    "ArtifactUse",
    "LoadOutcome",
    "NotMeasured",
    "ReadyTarget",
    "SessionWord",
    "StageTime",
    "StopAsked",
    "TargetReady",
]

_SESSION = re.compile(r"fill|capacity|steady|knee-[1-9][0-9]{0,3}")


def _is_a_session(word: str) -> str:
    if not _SESSION.fullmatch(word):
        raise ValueError(f"{word!r} is no session; known are fill, capacity, knee-1 ..., steady")
    return word


# fill: where there are several workers; knee-1 and on: as many as finding the knee takes.
SessionWord = Annotated[str, AfterValidator(_is_a_session)]


class ArtifactUse(Frozen):
    """One artifact as it was used: `origin` says which source gave it."""

    name: str
    version: str  # what was deployed
    pinned_version: str  # what artifacts.yml asks for
    sha256: str  # of the file fetched
    origin: str  # "named" (the user's folder or mirror), "upstream", "debian", "cache:<origin>"
    substituted: bool
    reason: str = ""  # why another version stands in


class ReadyTarget(Frozen):
    """A target that is up, and what it really runs with; `ready.json`.

    `binaries`: path -> sha256 per host, read on the hosts. `effective`: the configuration read
    back from the running members, member name -> key -> value (no secrets).
    `not_applied`: tuning that a host could not take, "host: setting: reason".
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    status: Literal["ready"] = "ready"
    target: str
    profile: str
    version: str
    substituted: bool
    reasons: tuple[str, ...] = ()
    artifacts: tuple[ArtifactUse, ...]
    endpoints: tuple[str, ...]  # "address:port" for clients
    binaries: dict[str, dict[str, str]]
    effective: dict[str, dict[str, str]]
    not_applied: tuple[str, ...] = ()
    changed_tasks: int = 0


class NotMeasured(Frozen):
    """A target that could not be had, with the reason and the remedy; also a `ready.json`."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    status: Literal["not_measured"] = "not_measured"
    target: str
    reason: str
    remedy: str


TargetReady = ReadyTarget | NotMeasured


class LoadOutcome(Frozen):
    """One finished session of load; `load/<session>.json`. Sums are over all workers and phases.

    `workers_missing`: ranks whose spool has no end frame (their share is missing, never hidden).
    `steps`: what each step of a ladder did, where the session was one and finished.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    session: SessionWord
    outcome: Literal["finished", "stopped", "failed"]
    reason: str = ""
    started_s: float
    ended_s: float
    workers: int
    workers_missing: tuple[int, ...] = ()
    sent: int
    ok: int
    failed: int
    unknown: int
    capacity_per_s: float = 0.0  # session "capacity": ok operations per second, see stages.load
    locust_requests: int = 0  # what Locust's own statistics counted, for the cross-check
    locust_failures: int = 0
    notes: dict[str, str] = {}
    steps: tuple[Step, ...] = ()


class StageTime(Frozen):
    """How long one stage took; kept in the manifest and printed at the end of a command."""

    stage: str
    started_s: float
    seconds: float
    changed: int | None = None
    resumed: bool = False


class StopAsked(Frozen):
    """Somebody asked for the end of the load; `stop.json` of a run.

    `keeps_hosts`: the target stays on its hosts as it is, for whoever wants to look at it.
    `cause`: "budget" where nobody asked but the money was spent.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    asked_s: float
    why: str
    keeps_hosts: bool = False
    cause: Literal["asked", "budget"] = "asked"
