"""TiKV as the loop sees it: one lane per store, and what each reply means for its operation."""

from __future__ import annotations

import time
from collections import deque

from loadgen.contract.plan import Plan
from loadgen.engine.connection import HOPS, MARK_SHIFT, Lane, Op
from loadgen.engine.hub import SWEEP_NS, Hub
from loadgen.engine.lanes import deal_again, move_idle, rebalance, shares
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, SessionFailed, TargetProtocolError
from loadgen.engine.protobuf import message_in
from loadgen.engine.tikv_connection import TikvBatchConnection, TikvConnection
from loadgen.engine.tikv_errors import Verdict, raw_reply, verdict_on
from loadgen.engine.tikv_requests import RawMessages
from loadgen.engine.tikv_stream import TikvStreamConnection
from loadgen.engine.tikv_topology import Topology
from loadgen.keyspace import Values

__all__ = ["REDIRECT_LIMIT", "TikvTarget"]

REDIRECT_LIMIT = 5
MAX_LATER = 4096  # operations that may wait for their region to be served again

# Until a redirected operation goes on that nobody said where to send, by redirects followed:
# 0.8 s in all. A region that moves is served again within that; an election takes ten seconds.
LATER_NS = tuple(25_000_000 << redirects for redirects in range(REDIRECT_LIMIT + 1))

BOOTSTRAP_NS = 8_000_000_000
REBALANCE_NS = 250_000_000

# A reply is one value, or a batch of pairs, and some 60 bytes around it; far more is not ours.
REPLY_SLACK_BYTES = 65536
PAIR_SLACK_BYTES = 256


class TikvTarget:
    """Redirects and outcomes; see `hub.TargetDriver` and `grpc_connection.GrpcTarget`."""

    def __init__(self, hub: Hub, plan: Plan, *, rank: int, connections: int) -> None:
        self.hub = hub
        self.depth, self.batch = plan.pipeline, plan.batch
        self.values = Values(plan.keyspace.prefix, plan.value_bytes, rank=rank, engine=hub.engine)
        self.reply_limit = plan.batch * (plan.value_bytes + PAIR_SLACK_BYTES) + REPLY_SLACK_BYTES
        self.topology = Topology(
            hub, plan.endpoints, self.values, plan.keyspace.prefix, plan.keyspace.keys, rank
        )
        self.lanes, self.map = self.topology.lanes, self.topology.map
        self.requests = RawMessages(self.values, self.map, self.topology.heads)
        self.message, self.answers = self.requests.message, self.requests.answers
        self.sequence_in, self.told = self.requests.sequence_in, self.requests.told
        self._find = self.map.find
        self._kind: type[TikvConnection] = TikvConnection
        if plan.batched_stream:
            self._kind = TikvStreamConnection
        elif plan.batch > 1:
            self._kind = TikvBatchConnection
        self._connections = connections
        # When each operation in `nowhere.redirected` may go on, in the same order.
        self._later: deque[int] = deque()
        self._rebalance = False
        self._next_rebalance_ns = 0

    def lane_of(self, code: int) -> Lane:
        """Hot: the lane of the store that leads the key's region, as far as we know."""
        return self._find(code >> 1).lane

    def connect(self) -> None:
        """Learn all regions and their stores from PD, and dial the stores."""
        topology, hub = self.topology, self.hub
        topology.begin()
        deadline_ns = time.monotonic_ns() + BOOTSTRAP_NS
        while not topology.complete():
            now_ns = time.monotonic_ns()
            if now_ns > deadline_ns:
                refused = (f"{end} {why} x{count}" for (end, why), count in hub.refusals.items())
                raise SessionFailed("; ".join([topology.missing(), *sorted(refused)]))
            hub.sweep(now_ns)
            hub.serve(now_ns + SWEEP_NS)
        held = self.map.keys_of()
        if len(held) > self._connections:
            raise SessionFailed(
                f"{len(held)} stores but {self._connections} connections for this worker; "
                "raise `connections` or lower `workers`"
            )
        for lane, count in shares(held, self._connections).items():
            for _ in range(count):
                self._kind(hub, lane, self)
        hub.notes["stores"] = " ".join(sorted(lane.endpoint for lane in held))
        hub.notes["regions"] = str(len(self.map.regions))

    # What a reply means.

    def replied(
        self, ops: list[Op], body: bytes, came_ns: int, *, process: int, batched: bool = False
    ) -> None:
        """A call that ended well, with something else than exactly what was asked for.

        `ops` are those of the call, of one kind and one region; `process` that of its connection.
        """
        write = ops[0][0] & 1
        try:
            message = message_in(body)
            reply = raw_reply(message, batch_of_reads=batched and not write)
            if reply.region_error is not None:
                self._refused(ops, verdict_on(reply.region_error, write=bool(write)), process)
                return
        except TargetProtocolError:
            self._lost(ops, Lost(UNKNOWN if write else FAILED, "protocol"), process)
            return
        if reply.error:  # also of a write that was proposed and timed out
            self._lost(ops, Lost(UNKNOWN if write else FAILED, "other"), process)
            return
        done, keys = self.hub.recorder.done[write], self.values.digits
        for op in ops:
            value = reply.pairs.get(keys[op[0] >> 1]) if batched else reply.value
            if write or (value and self.values.belongs(op[0] >> 1, value)):
                done.append((op[1], op[2], came_ns))
                if op[3] >> MARK_SHIFT:
                    self._note(op, value or b"", process)
            else:
                self._lost([op], Lost(FAILED, "missing" if value is None else "corrupt"), process)

    def _note(self, op: Op, value: bytes, process: int) -> None:
        """An operation that is recorded one by one ended well."""
        history, now_ns = self.hub.history, time.monotonic_ns()
        if op[0] & 1:
            history.wrote(op, now_ns, process, 0)
        else:
            history.read(op, now_ns, process, self.values.id_of(op[0] >> 1, value), 0)

    def batch_replied(self, ops: list[Op], body: bytes, came_ns: int, process: int) -> None:
        """Hot: a batch that ended well."""
        if self.requests.batch_answers([op[0] for op in ops], body):
            done = self.hub.recorder.done[ops[0][0] & 1]
            done.extend([(due, sent, came_ns) for _, due, sent, _ in ops])
            for at, op in enumerate(ops):
                if op[3] >> MARK_SHIFT:
                    self._note(op, self.requests.value_in_batch(body, at), process)
        else:
            self.replied(ops, body, came_ns, process=process, batched=True)

    def _lost(self, ops: list[Op], lost: Lost, process: int = 0) -> None:
        for op in ops:
            self.hub.lost(op, lost.outcome, lost.cause, process)

    # Redirects.

    def _refused(self, ops: list[Op], verdict: Verdict, process: int) -> None:
        """A region error: the operations end, or go on where the region is now."""
        here = self._learn(ops[0][0], verdict)
        if verdict.lost is not None:
            self._lost(ops, verdict.lost, process)
            return
        self.hub.recorder.generator.moved += len(ops)
        for code, due, sent, trail in ops:
            op, redirects = (code, due, sent, trail + 1), trail & HOPS
            lane = self.lane_of(code)
            if redirects >= REDIRECT_LIMIT:
                self._lost([op], Lost(FAILED, "redirect_limit" if here else "cluster_down"))
            elif here and lane is not self.topology.nowhere:
                lane.redirected.append((op, False))
            elif len(self._later) < MAX_LATER:
                self.topology.nowhere.redirected.append((op, False))
                self._later.append(time.monotonic_ns() + LATER_NS[redirects])
            else:
                self._lost([op], Lost(FAILED, "cluster_down"))

    def _learn(self, code: int, told: Verdict) -> bool:
        """Take in what a store said; whether it said where to send the operation now."""
        topology, region = self.topology, self._find(code >> 1)
        if told.store_moved:
            topology.store_moved(region)
        if told.leader is not None:
            topology.lead(region, told.leader)
            return not region.stale
        for found in told.regions:
            # None of them says who leads; most likely it is the store that answered.
            on_same = (peer for peer in found.peers if peer.store_id == region.leader.store_id)
            topology.put(found, guess=next(on_same, None))
        if told.regions and self._find(code >> 1) is not region:
            return True
        region.stale = region.stale or told.stale
        return False

    # Kept in step.

    def doubt(self) -> None:
        """A connection broke: `Topology.sweep` sees for itself which stores are silent."""

    def sweep(self, now_ns: int) -> None:
        """Questions to PD; connections to where the keys are; what waited goes on, or is late."""
        topology = self.topology
        topology.sweep(now_ns)
        move_idle(topology.lanes)
        if topology.changed:
            topology.changed = False
            self._rebalance = True
            deal_again(topology.lanes, self.lane_of)
        if self._rebalance and now_ns >= self._next_rebalance_ns:
            self._rebalance = False
            self._next_rebalance_ns = now_ns + REBALANCE_NS
            self._share_out()
        self._go_on(now_ns)
        late = self.hub.timeout_ns
        for lane in topology.lanes[1:]:
            while lane.redirected and now_ns - lane.redirected[0][0][2] > late:
                self._lost([lane.redirected.popleft()[0]], Lost(FAILED, "timeout"))

    def _go_on(self, now_ns: int) -> None:
        """Operations that have waited: to the lane that has their region now, known or not."""
        nowhere, late = self.topology.nowhere, self.hub.timeout_ns
        if not nowhere.redirected:
            self._later.clear()  # the loop gives up all of them when the time is over
        for _ in range(len(self._later)):
            (op, asking), ready_ns = nowhere.redirected.popleft(), self._later.popleft()
            lane = self.lane_of(op[0])
            if now_ns - op[2] > late:
                self._lost([op], Lost(FAILED, "timeout"))
            elif now_ns < ready_ns or lane is nowhere:
                nowhere.redirected.append((op, asking))
                self._later.append(ready_ns)
            else:
                lane.redirected.append((op, asking))

    def _share_out(self) -> None:
        """Connections by keys served; a store without keys keeps none."""
        lanes = self.topology.lanes[1:]
        held = self.map.keys_of()
        held.pop(self.topology.nowhere, None)
        if held:
            wanted = dict.fromkeys(lanes, 0) | shares(held, self._connections)
            rebalance(lanes, wanted)
