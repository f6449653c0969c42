"""One session of load, start to last frame: connect, wait for the common start, phase by phase."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from loadgen.contract.plan import Phase, Plan
from loadgen.contract.window import SessionEnd
from loadgen.engine.connection import UP
from loadgen.engine.etcd_target import EtcdTarget
from loadgen.engine.hub import SWEEP_NS, Hub, TargetDriver
from loadgen.engine.outcome import SessionFailed
from loadgen.engine.phases import ClosedSource, FillSource, Loop, OpenSource, Source, give_back
from loadgen.engine.redis_target import RedisTarget
from loadgen.engine.spooling import Spool
from loadgen.engine.tikv_target import TikvTarget
from loadgen.engine.tls import client_context
from loadgen.keyspace import code_chunks
from loadgen.own_load import OwnLoad
from loadgen.pacing import due_offsets_ns, share_of
from loadgen.recorder import Clock, Recorder

__all__ = ["Session"]

NS_PER_S = 1_000_000_000

# All connections must be up within this; a member that is down at the start is not a load to
# measure but a testbed to repair.
CONNECT_LIMIT_NS = 15 * NS_PER_S

# A refused certificate or password stays refused; this many refusals are enough to believe it.
REFUSALS_BELIEVED = 2

STOP_DRAIN_NS = 1 * NS_PER_S

_DRIVERS: dict[str, Callable[..., TargetDriver]] = {
    "etcd": EtcdTarget,
    "redis_cluster": RedisTarget,
    "tikv": TikvTarget,
}


class Session:
    """Runs `plan` as worker `rank`. `stop` may be called from a signal handler."""

    def __init__(self, plan: Plan, *, rank: int, spool: Spool) -> None:
        self.plan = plan
        self.rank = rank
        self._spool = spool
        self._clock = Clock()
        self._recorder = Recorder(spool.put, worker=rank, length_s=plan.window_s, clock=self._clock)
        self._hub = Hub(self._recorder, timeout_ns=plan.timeout_ms * 1_000_000)
        self._loop = Loop(self._hub)

    def stop(self) -> None:
        """Stop sending, take the last replies, write the last window, end as "stopped"."""
        self._loop.stopping = True

    def run(self) -> SessionEnd:
        """The whole session. Never raises SessionFailed: it becomes the outcome."""
        outcome, reason = "finished", ""
        try:
            self._run_phases()
            if self._loop.stopping:
                outcome, reason = "stopped", "asked to stop"
        except SessionFailed as failure:
            outcome, reason = "failed", str(failure)
        finally:
            self._hub.close()
            self._recorder.own_load.close()
        totals = self._recorder.totals
        end = SessionEnd(
            worker=self.rank,
            outcome=outcome,
            reason=reason,
            sent=totals.sent,
            ok=totals.ok,
            failed=totals.failed,
            unknown=totals.unknown,
            notes=self._hub.notes,
        )
        self._spool.put(end)
        return end

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

    def _run_phases(self) -> None:
        self._prepare()
        self._bring_up()
        # Everything made so far lives to the end; the collector need not look at it again, and
        # from here on it runs only between windows (`_collected`), never inside a pass.
        gc.collect()
        gc.freeze()
        gc.disable()
        common_ns = self._clock.monotonic_ns(self._start_unix_ns())
        start_ns = max(time.monotonic_ns(), common_ns)
        if self.plan.start_at_s and start_ns > common_ns:
            # What the others press meanwhile lacks this worker's share; the judge says so.
            self._hub.notes["late_start_s"] = f"{(start_ns - common_ns) / NS_PER_S:.3f}"
        for number, phase in enumerate(self.plan.phases):
            start_ns = self._clock.next_boundary_ns(start_ns, self.plan.window_s)
            self._idle_until(start_ns)
            if self._loop.stopping:
                return
            self._run_phase(number, phase, start_ns)
            gc.collect()
            start_ns = time.monotonic_ns()

    def _start_unix_ns(self) -> int:
        return int(self.plan.start_at_s * NS_PER_S)

    def _run_phase(self, number: int, phase: Phase, start_ns: int) -> None:
        recorder = self._recorder
        recorder.begin(phase.name, phase.mode, start_ns)
        source = self._source(number, phase, start_ns)
        self._loop.run(source, start_ns + phase.duration_s * NS_PER_S)
        limit_ns = self._hub.timeout_ns
        if self._loop.stopping:
            limit_ns = min(limit_ns, STOP_DRAIN_NS)
            source.end()
        self._loop.drain(source, limit_ns)
        source.end()
        if recorder.touched():
            recorder.rotate()
        if self._spool.error is not None:
            raise SessionFailed(f"the spool cannot be written: {self._spool.error}")
        if isinstance(source, FillSource) and source.unwritten() and not self._loop.stopping:
            raise SessionFailed(
                f"phase {phase.name}: {source.unwritten()} of {source.to_write} keys not written "
                f"within {phase.duration_s} s; raise duration_s or see the causes in the windows"
            )

    def _source(self, number: int, phase: Phase, start_ns: int) -> Source:
        plan, rank = self.plan, self.rank
        if phase.mode == "fill":
            return FillSource(self._hub, plan.keyspace.keys, rank=rank, workers=plan.workers)
        stream = f"{plan.session}/{number}"
        chunks = code_chunks(
            plan.keyspace, plan.read_share, seed=plan.seed, rank=rank, stream=stream
        )
        if phase.mode == "closed":
            return ClosedSource(self._hub, chunks)
        offsets = due_offsets_ns(
            phase.rate_per_s, phase.arrivals, seed=plan.seed, rank=rank, workers=plan.workers
        )
        return OpenSource(
            self._hub, (start_ns + at for at in offsets), chunks, limit=plan.overdue_limit
        )

    def _bring_up(self) -> None:
        """Run the loop until every connection is up. Raises SessionFailed naming who refused."""
        hub = self._hub
        deadline_ns = time.monotonic_ns() + CONNECT_LIMIT_NS
        while not hub.all_up():
            now_ns = time.monotonic_ns()
            believed = any(
                count >= REFUSALS_BELIEVED and cause in ("tls", "auth")
                for (_, cause), count in hub.refusals.items()
            )
            if believed or now_ns >= deadline_ns:
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
