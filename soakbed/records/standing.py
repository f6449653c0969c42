"""How an unfinished run stands, for `status` and `attach`: put together anew, never kept."""

from __future__ import annotations

from typing import Literal

from soakbed.records.frozen import Frozen
from soakbed.records.watch import Watch

__all__ = ["Cost", "Standing", "TargetStanding"]

TargetState = Literal["waiting", "configured", "pressing", "measured", "not_measured", "wiped"]


class TargetStanding(Frozen):
    """One target: how far it is, and which of its sessions are accounted for."""

    target: str
    state: TargetState
    sessions_done: tuple[str, ...] = ()


class Cost(Frozen):
    """What hosts cost so far: `amount` since the run began (without a run: since they were made).

    `hosts_amount` since they were made, which a budget counts from; `at_most`: it may be less.
    """

    amount: float
    currency: str
    per_hour: float = 0.0
    hosts_amount: float | None = None  # None: nobody noted when they were made
    budget: float | None = None
    at_most: bool = False


class Standing(Frozen):
    """One run. `controller_pid` None: nobody works on it now, though its load may go on.

    `watch` is of the session that is under way, or of the last one; `looked_s` when the hosts
    themselves were asked for it, 0 when it is what the controller last saw.
    """

    run_id: str
    is_soak: bool
    controller_pid: int | None
    began_s: float
    at_s: float
    stage: str = ""  # the last that was finished
    stopping: str = ""  # why, when a stop was asked for
    targets: tuple[TargetStanding, ...] = ()
    watch: Watch | None = None
    looked_s: float = 0.0
    unreachable: str = ""  # why the hosts could not be asked, when they were
    archive_free_bytes: int = 0
    cost: Cost | None = None
    log: str = ""  # of a controller in the background
