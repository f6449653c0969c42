"""One session of load, start to last frame: connect, wait for the common start, phase by phase."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from loadgen.contract.plan import Plan
from loadgen.contract.window import SessionBegin, SessionEnd
from loadgen.engine.connection import UP
from loadgen.engine.etcd_target import EtcdTarget
from loadgen.engine.history import History
from loadgen.engine.hub import SWEEP_NS, Hub, TargetDriver
from loadgen.engine.outcome import NotNow, SessionFailed
from loadgen.engine.past import Past, PhaseClock
from loadgen.engine.phases import ClosedSource, FillSource, Loop, OpenSource, Source, give_back
from loadgen.engine.redis_target import RedisTarget
from loadgen.engine.schedule import codes_of, schedule_of
from loadgen.engine.spooling import Spool
from loadgen.engine.tikv_target import TikvTarget
from loadgen.engine.timetable import Entry, Timetable
from loadgen.engine.tls import client_context
from loadgen.keyspace import engine_number
from loadgen.own_load import OwnLoad
from loadgen.pacing import share_of
from loadgen.recorder import Clock, Recorder

__all__ = ["Session"]

NS_PER_S = 1_000_000_000

# All connections must be up within this; a member that is down at the start is not a load to
# measure but a testbed to repair.
CONNECT_LIMIT_NS = 15 * NS_PER_S

# An engine that goes on in another's place waits less for a member that is down, and presses what
# there is, as the other did.
REJOIN_LIMIT_NS = 4 * NS_PER_S

# A refused certificate or password stays refused; this many refusals are enough to believe it.
REFUSALS_BELIEVED = 2

STOP_DRAIN_NS = 1 * NS_PER_S

_DRIVERS: dict[str, Callable[..., TargetDriver]] = {
    "etcd": EtcdTarget,
    "redis_cluster": RedisTarget,
    "tikv": TikvTarget,
}


class Session:
    """Runs `plan` as worker `rank`. `stop` may be called from a signal handler.

    `past`: what engines before this one left; `clock` notes when phases begin.
    """

    def __init__(
        self, plan: Plan, *, rank: int, spool: Spool, clock: PhaseClock, past: Past
    ) -> None:
        self.plan = plan
        self.rank = rank
        self._spool = spool
        self._past = past
        self._noted = clock
        self._timetable = Timetable(plan, past)
        self._clock = Clock()
        self._recorder = Recorder(
            spool.put, worker=rank, length_s=plan.window_s, clock=self._clock, seq=past.seq
        )
        self._history = History(plan, spool.put, rank=rank, attempt=past.attempt, clock=self._clock)
        self._hub = Hub(
            self._recorder, timeout_ns=plan.timeout_ms * 1_000_000, history=self._history
        )
        self._hub.engine = engine_number(plan.session, past.attempt)
        self._begun = False
        self._leaving = False
        self._loop = Loop(self._hub)

    def stop(self) -> None:
        """Stop sending, take the last replies, write the last window, end as "stopped"."""
        self._leaving = False
        self._loop.stopping = True

    def leave(self) -> None:
        """The same without an end of the session: the host goes down, another engine goes on."""
        self._leaving = True
        self._loop.stopping = True

    def run(self) -> SessionEnd | None:
        """The whole session, or what is left of it; None: it was left, and has no end yet.

        SessionFailed becomes the outcome.

        Raises NotNow when the target cannot be pressed at this moment of a session that has begun.
        """
        outcome, reason = "finished", ""
        try:
            self._run_phases()
            if self._loop.stopping:
                outcome, reason = "stopped", "asked to stop"
        except SessionFailed as failure:
            outcome, reason = "failed", str(failure)
        finally:
            self._hub.close()
            self._history.flush(time.monotonic_ns())
            self._recorder.own_load.close()
        self._begin()
        if self._leaving:
            return None
        totals = self._recorder.totals
        end = SessionEnd(
            worker=self.rank,
            outcome=outcome,
            reason=reason,
            sent=totals.sent,
            ok=totals.ok,
            failed=totals.failed,
            unknown=totals.unknown,
            notes=self._hub.notes | self._history.told() | self._spool.told(),
        )
        self._spool.put(end)
        return end

    def _begin(self) -> None:
        """The first record of this engine."""
        if not self._begun:
            self._begun = True
            past, now_s = self._past, round(time.time(), 3)
            self._spool.put(SessionBegin(self.rank, past.attempt, now_s, past.seq, past.reason))

    def _prepare(self) -> None:
        """Certificates, password, map of members; all connections dialled."""
        plan, hub = self.plan, self._hub
        connections = share_of(plan.connections, rank=self.rank, workers=plan.workers)
        driver = _DRIVERS[plan.target]
        protocols = () if plan.target == "redis_cluster" else ("h2",)
        try:
            if plan.tls is not None:
                hub.context = client_context(plan.tls, protocols=protocols)
        except OSError as error:  # ssl.SSLError is one
            raise SessionFailed(f"certificates of the plan: {error}") from error
        hub.target = driver(hub, plan, rank=self.rank, connections=connections)
        hub.target.connect()
        self._recorder.own_load.close()
        self._recorder.own_load = OwnLoad.towards(plan.endpoints)
        hub.notes["nic"] = self._recorder.own_load.told()

    def _ready(self) -> None:
        """Be connected, as far as can be asked for."""
        if not self._past.attempt:
            self._begin()
        try:
            self._prepare()
            self._bring_up()
        except SessionFailed as failure:
            if self._past.attempt:
                raise NotNow(str(failure)) from failure
            raise
        self._begin()

    def _run_phases(self) -> None:
        now_s = int(time.time())
        if self._loop.stopping or self._timetable.over(now_s):
            return
        self._ready()
        # Everything made so far lives to the end; the collector need not look at it again, and
        # from here on it runs only between windows (`_collected`), never inside a pass.
        gc.collect()
        gc.freeze()
        gc.disable()
        late_s = time.time() - self.plan.start_at_s
        if self.plan.start_at_s and late_s > 0 and not self._past.attempt:
            # What the others press meanwhile lacks this worker's share; the judge says so.
            self._hub.notes["late_start_s"] = f"{late_s:.3f}"
        for number in range(len(self.plan.phases)):
            entry = self._timetable.entry(number, self._next_boundary_s())
            if entry is None:
                continue
            self._note(entry)
            self._idle_until(self._clock.monotonic_ns(entry.entered_s * NS_PER_S))
            if self._loop.stopping:
                return
            self._run_phase(entry)
            gc.collect()

    def _next_boundary_s(self) -> int:
        boundary_ns = self._clock.next_boundary_ns(time.monotonic_ns(), self.plan.window_s)
        return round(self._clock.unix_ns(boundary_ns) / NS_PER_S)

    def _note(self, entry: Entry) -> None:
        """When the phase began, for an engine that may come in this one's place."""
        self._noted.began_s.setdefault(entry.phase.name, entry.start_s)
        self._spool.also_do(self._noted.write)

    def _run_phase(self, entry: Entry) -> None:
        recorder, phase = self._recorder, entry.phase
        start_ns = self._clock.monotonic_ns(entry.start_s * NS_PER_S)
        recorder.begin(phase.name, phase.mode, start_ns + entry.from_s * NS_PER_S)
        self._history.begin(phase.name, start_ns + entry.from_s * NS_PER_S)
        source = self._source(entry, start_ns)
        self._loop.run(source, start_ns + phase.duration_s * NS_PER_S)
        limit_ns = self._hub.timeout_ns
        if self._loop.stopping:
            limit_ns = min(limit_ns, STOP_DRAIN_NS)
            source.end()
        self._loop.drain(source, limit_ns)
        source.end()
        if recorder.touched():
            recorder.rotate()
        self._history.flush(time.monotonic_ns())
        if isinstance(source, FillSource) and source.unwritten() and not self._loop.stopping:
            raise SessionFailed(
                f"phase {phase.name}: {source.unwritten()} of {source.to_write} keys not written "
                f"within {phase.duration_s} s; raise duration_s or see the causes in the windows"
            )

    def _source(self, entry: Entry, start_ns: int) -> Source:
        plan, rank, number = self.plan, self.rank, entry.number
        if entry.phase.mode == "fill":
            return FillSource(self._hub, plan.keyspace.keys, rank=rank, workers=plan.workers)
        if entry.phase.mode == "closed":
            return ClosedSource(self._hub, codes_of(plan, number, rank=rank).chunks(entry.from_s))
        schedule = schedule_of(plan, number, rank=rank, start_ns=start_ns, from_s=entry.from_s)
        return OpenSource(self._hub, schedule, limit=plan.overdue_limit)

    def _bring_up(self) -> None:
        """Run the loop until every connection is up. Raises SessionFailed naming who refused.

        In the place of another engine some have to do.
        """
        hub = self._hub
        limit_ns = REJOIN_LIMIT_NS if self._past.attempt else CONNECT_LIMIT_NS
        deadline_ns = time.monotonic_ns() + limit_ns
        while not hub.all_up():
            now_ns = time.monotonic_ns()
            believed = any(
                count >= REFUSALS_BELIEVED and cause in ("tls", "auth")
                for (_, cause), count in hub.refusals.items()
            )
            if believed or now_ns >= deadline_ns:
                if self._past.attempt and hub.any_up():
                    break
                raise SessionFailed(f"not all connections came up: {self._refusals()}")
            if self._loop.stopping:
                return
            hub.sweep(now_ns)
            give_back(hub.freed, hub.serve(now_ns + SWEEP_NS))
        hub.refusals.clear()

    def _refusals(self) -> str:
        hub = self._hub
        said = [f"{endpoint} {cause} x{count}" for (endpoint, cause), count in hub.refusals.items()]
        down = sum(one.state != UP for lane in hub.target.lanes for one in lane.connections)
        return "; ".join([f"{down} still down", *sorted(said)])

    def _idle_until(self, moment_ns: int) -> None:
        """Keep the connections alive until the phase begins."""
        while not self._loop.stopping and (now_ns := time.monotonic_ns()) < moment_ns:
            self._hub.sweep(now_ns)
            woke_ns = self._hub.serve(min(moment_ns, now_ns + SWEEP_NS))
            give_back(self._hub.freed, woke_ns)
