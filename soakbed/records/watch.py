"""What the controller saw of a session the last time that it looked; `load/<session>/watch.json`.

Written whole every few seconds while somebody watches, so that `status` and `attach` need neither
the controller nor the hosts. Nothing rests on it: the load hosts' own files are the evidence.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen
from soakbed.records.gaps import Coverage

__all__ = ["MOST_NOTES", "PhaseClock", "SoFar", "Unwatched", "Watch", "WatchState", "WorkerNow"]

MOST_NOTES = 200  # of one kind, the newest: a file of some 40 kB at most

WatchState = Literal["starting", "pressing", "away", "stopping", "fetching", "over"]


class WorkerNow(Frozen):
    """The newest window of one worker, in a few numbers."""

    rank: int
    phase: str
    start_s: int
    per_s: float
    not_ok_per_s: float
    response_p99_us: int
    requests: int = 0


class Unwatched(Frozen):
    """A stretch (unix time) in which nobody looked on, or a load host was down; never a gap by
    itself.
    """

    kind: Literal["controller_gone", "host_away", "host_restarted"]
    from_s: float
    until_s: float
    told: str


class PhaseClock(Frozen):
    """One phase of the plan: when it began (0: not yet) and how long it lasts (0: until done)."""

    name: str
    began_s: int
    lasts_s: int
    offered_per_s: float


class SoFar(Frozen):
    """Sums over everything that was fetched and collated, of the session's last phase."""

    at_s: float
    phase: str
    seconds: int
    due: int
    sent: int
    ok: int
    failed: int
    unknown: int
    dropped: int
    response_p99_us: dict[str, int | None] = {}
    coverage: Coverage | None = None
    verdict: Literal["valid", "invalid", "incomplete"] = "valid"
    reasons: tuple[str, ...] = ()


class Watch(Frozen):
    """The whole file."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    run_id: str
    target: str
    session: str
    state: WatchState = "starting"
    pid: int = 0  # of the controller that wrote it
    at_s: float = 0.0  # when it was written
    seen_s: float = 0.0  # when the hosts last answered
    told: str = ""  # why it is "away", or what is being done
    phases: tuple[PhaseClock, ...] = ()
    workers: tuple[WorkerNow, ...] = ()
    planned_workers: int = 1
    not_active: tuple[str, ...] = ()  # units of the session that do not run
    disk_free_bytes: dict[str, int] = {}
    boots: dict[str, str] = {}
    fetched_s: float = 0.0  # when everything was last fetched
    fetched_bytes: int = 0
    so_far: SoFar | None = None
    unwatched: tuple[Unwatched, ...] = ()

    @property
    def planned_s(self) -> int:
        """How long all phases of known length last."""
        return sum(phase.lasts_s for phase in self.phases)

    @property
    def done_s(self) -> int:
        """How much of it is over, by the newest window of any worker."""
        now = max(self.workers, key=lambda one: one.start_s, default=None)
        if now is None:
            return 0
        done = 0
        for phase in self.phases:
            if phase.name == now.phase:
                return done + max(0, min(now.start_s + 1 - phase.began_s, phase.lasts_s))
            done += phase.lasts_s
        return done
