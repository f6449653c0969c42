"""Watching a session of load until it is over, however long, and whatever happens to the line.

The load needs nobody (design.md D9). A watch looks in, fetches what there is, keeps `watch.json`,
and does three things to the session at most: stop it when that was asked for, stop Locust masters
that no worker is left of, and start units again that neither run nor have ended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from soakbed.adapters.ssh import CommandFailed, HostUnreachable
from soakbed.errors import LoadError
from soakbed.records.watch import Unwatched
from soakbed.stages.backfill import Backfill
from soakbed.stages.heartbeat import BEAT_S
from soakbed.stages.load_plan import goes_on, session_limit_s
from soakbed.stages.load_session import Glance, LoadSession
from soakbed.stages.so_far import Collating
from soakbed.stages.watch_notes import WatchNotes
from soakbed.units import us_to_ms

__all__ = ["Care", "Watch"]

LOOK_IN_S = 2.0
TELL_S = 5.0
# A look costs the load host some 20 ms of CPU.
MOST_LOOK_IN_S = 10.0
# Every so often at most, and in shorter sessions a fortieth and a twentieth of their time, at least
# the second figure.
BACKFILL_S = (180.0, 30.0)
COLLATE_S = (600.0, 60.0)
MIND_S = 30.0
# How long a Locust master may outlive the workers that it would show.
_MASTER_GRACE_S = 15.0
# systemd waits a moment before it starts a unit again, and a host needs some 10 s to come up.
REST_GRACE_S = 45.0
_MOST_STARTS = 20
# A host that has just come up answers SSH before its systemd answers anybody.
_MUTE_GRACE_S = 300.0
# Draining what is in flight, merging totals: as long as a session may take beyond its phases.
_ENDING_GRACE_S = 180.0


def _never() -> bool:
    return False


def _nothing(_since_s: float) -> str:
    return ""


def _unleased(_planned_end_s: float) -> None:
    return


def _ignored(_silence: Unwatched) -> None:
    return


@dataclass(frozen=True, slots=True)
class Care:
    """How a session is looked after beyond being waited for.

    `stop_asked`: whether somebody wants it to end now. `mind`: called every MIND_S with the time
    since which it has not looked; what it returns is why the load must stop, "" to go on. `note`:
    called with each stretch in which nobody looked on, once it is over. `beat`: called at the
    beginning and every BEAT_S with the time at which the session will have ended by its plan.
    `duties`: host -> duty, for the tables of hours that are over; None: none are made meanwhile.
    `patient`: wait for hosts that are away at the beginning and the end, too.
    """

    stop_asked: Callable[[], bool] = _never
    mind: Callable[[float], str] = _nothing
    note: Callable[[Unwatched], None] = _ignored
    beat: Callable[[float], None] = _unleased
    duties: Mapping[str, str] | None = None
    patient: bool = False
    web_port: int = 0


@dataclass(slots=True)
class _Since:
    """Moments (monotonic) that the next look is held against; 0: it is not so."""

    workers_gone_s: float = 0.0
    resting_s: float = 0.0
    mute_s: float = 0.0
    ends_s: float = 0.0
    fetched_s: float = field(default_factory=time.monotonic)
    collated_s: float = field(default_factory=time.monotonic)
    minded_s: float = field(default_factory=time.monotonic)
    minded_unix_s: float = 0.0
    beaten_s: float = -math.inf


class Watch:
    """One session, from its start or adoption to its end."""

    def __init__(
        self,
        session: LoadSession,
        backfill: Backfill,
        notes: WatchNotes,
        *,
        collating: Collating | None,
        progress: Callable[[str], None],
        care: Care,
    ) -> None:
        self._session = session
        self._backfill = backfill
        self._notes = notes
        self._collating = collating
        self._progress = progress
        self._care = care
        self._since = _Since(minded_unix_s=notes.since_s or time.time())
        self._teller = _Teller(session, progress)
        self._stopped = False
        self._starts = 0
        limit_s = session_limit_s(session.plan)
        self._backfill_s = min(max(limit_s / 40, BACKFILL_S[1]), BACKFILL_S[0])
        self._collate_s = min(max(limit_s / 20, COLLATE_S[1]), COLLATE_S[0])

    def until_over(self) -> None:
        """Look in until the session is over. A host that is away is waited for, without limit.

        Raises LoadError when it never began, or does not end in its time though its hosts answer.
        """
        limit_s = session_limit_s(self._session.plan)
        self._since.ends_s = time.monotonic() + limit_s
        every_s = min(LOOK_IN_S + limit_s / 600, MOST_LOOK_IN_S) if LOOK_IN_S else 0.0
        try:
            while not self._over():
                if time.monotonic() > self._since.ends_s and not self._since.mute_s:
                    raise LoadError(
                        f"session {self._session.id} did not end within {limit_s} s",
                        remedy="read locust/ of the session and the journals of soakbed-load-* on "
                        "the load host for what hangs",
                    )
                self._pause(every_s)
        finally:
            if self._collating:
                self._collating.give_up()

    def _over(self) -> bool:
        """One look, and what is due beside it."""
        try:
            if not self._stopped and self._care.stop_asked():
                self._stop("it was asked for")
            glance = self._session.glance()
            self._is_back()
            for silence in self._notes.seen(glance):
                self._progress(f"warning: {silence.told}")
                if silence.kind != "host_restarted":  # of which the host itself tells more
                    self._care.note(silence)
            if self._has_ended(glance):
                return True
            self._teller.tell(glance)
            self._do_what_is_due()
        except HostUnreachable as error:
            self._away(error)
        except CommandFailed as error:
            if time.monotonic() - (self._since.mute_s or time.monotonic()) > _MUTE_GRACE_S:
                raise
            self._away(error)
        return False

    def _is_back(self) -> None:
        """The hosts answer; those that were away have some time left to end what they are at."""
        if self._since.mute_s:
            self._since.mute_s = 0.0
            self._since.ends_s = max(self._since.ends_s, time.monotonic() + _ENDING_GRACE_S)

    def _away(self, error: LoadError) -> None:
        self._since.mute_s = self._since.mute_s or time.monotonic()
        self._notes.say("away", error.problem)
        self._progress(f"{error.problem}; load goes on there, looking again")

    def _stop(self, why: str) -> None:
        self._progress(f"warning: the load is stopped: {why}")
        self._notes.say("stopping", why)
        self._session.stop()
        self._stopped = True

    def _has_ended(self, glance: Glance) -> bool:
        """Whether the session is over; units that neither run nor have ended are started again."""
        now_s = time.monotonic()
        since = self._since
        if glance.active("worker"):
            since.workers_gone_s = since.resting_s = 0.0
            if not (glance.progress or glance.active("master")):
                raise LoadError(
                    f"session {self._session.id} did not start: {self._session.journal()}",
                    remedy="mend what the units' journals above say; a port in use means that "
                    "another session runs on this load host",
                )
            return False
        since.workers_gone_s = since.workers_gone_s or now_s
        if glance.active():
            if now_s - since.workers_gone_s > _MASTER_GRACE_S:
                self._session.stop_master()
            return False
        if self._stopped or not goes_on(self._session.plan.session) or not self._notes.now.workers:
            return True
        if self._session.outcome_on_hosts() not in ("broken", "running"):
            return True
        since.resting_s = since.resting_s or now_s
        if now_s - since.resting_s > REST_GRACE_S:
            if self._starts >= _MOST_STARTS:
                return True
            self._starts += 1
            since.resting_s = 0.0
            self._progress("warning: the load broke off and has time left: started again")
            self._session.go_on()
        return False

    def _do_what_is_due(self) -> None:
        now_s = time.monotonic()
        since = self._since
        if now_s - since.minded_s >= MIND_S:
            asked_s = time.time()
            if not self._stopped and (why := self._care.mind(since.minded_unix_s)):
                self._stop(why)
            since.minded_s, since.minded_unix_s = now_s, asked_s
        if now_s - since.beaten_s >= BEAT_S:
            self._care.beat(self._planned_end_s())
            since.beaten_s = now_s
        busy = self._collating is not None and self._collating.is_busy()
        if now_s - since.fetched_s >= self._backfill_s and not busy:
            self._backfill.catch_up()
            self._notes.fetched(self._backfill.fetched_bytes)
            since.fetched_s = time.monotonic()
            if self._collating and now_s - since.collated_s >= self._collate_s:
                self._collating.begin()
                since.collated_s = now_s
        if self._collating and (made := self._collating.result()):
            self._notes.so_far(made)

    def _planned_end_s(self) -> float:
        """Until when the session may go on by itself, unix time."""
        began = [phase.began_s for phase in self._notes.now.phases if phase.began_s]
        return min(began, default=time.time()) + session_limit_s(self._session.plan)

    def _pause(self, seconds: float) -> None:
        """Wait for the next look, or until a stop is asked for."""
        ends_s = time.monotonic() + seconds
        while (left_s := ends_s - time.monotonic()) > 0:
            if not self._stopped and self._care.stop_asked():
                return
            time.sleep(min(left_s, 1.0))


class _Teller:
    """Says how a session goes: at each new phase, and every few seconds in between."""

    def __init__(self, session: LoadSession, progress: Callable[[str], None]) -> None:
        self._what = f"{session.plan.target} {session.plan.session}"
        self._progress = progress
        self._phase = ""
        self._told_s = 0.0

    def tell(self, glance: Glance) -> None:
        """One line from the newest window of each worker, if it is time for one."""
        if not glance.progress:
            return
        newest = max(glance.progress, key=lambda shown: shown["start_s"])
        now_s = time.monotonic()
        if newest["phase"] == self._phase and now_s - self._told_s < TELL_S:
            return
        self._phase, self._told_s = newest["phase"], now_s
        shown = [one for one in glance.progress if one["phase"] == self._phase]
        per_s = sum(one["per_s"] for one in shown)
        not_ok_per_s = sum(one["not_ok_per_s"] for one in shown)
        worst_us = max(one["response_p99_us"] for one in shown)
        trouble = f", {not_ok_per_s:,.0f}/s not ok" if not_ok_per_s else ""
        self._progress(
            f"{self._what}: {self._phase} {per_s:,.0f}/s, P99 {us_to_ms(worst_us):.2f} ms{trouble}"
        )
