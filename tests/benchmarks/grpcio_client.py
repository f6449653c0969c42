"""`python -m tests.benchmarks.grpcio_client PLAN CHANNELS`: etcd pressed by grpcio and asyncio.

As many calls at once as the plan has connections, over a few channels of one connection each.
Prints what it measured as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc

from loadgen.contract.histogram import Histogram
from loadgen.contract.plan import Plan
from loadgen.keyspace import Codes
from tests.benchmarks.etcd_calls import Calls, credentials

# Without it all channels to one address share one connection.
OWN_CONNECTION: Sequence[tuple[str, int]] = (("grpc.use_local_subchannel_pool", 1),)


class Client:
    """Workers of one call at a time, all on one event loop."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.calls = Calls(plan, rank=1)
        chunks = Codes(plan.keyspace, plan.read_share, seed=1, rank=1, stream="grpcio").chunks()
        self.codes = (code for chunk in chunks for code in chunk)
        self.taken_ns: list[int] = []
        self.failures = 0
        self.stopped = False

    async def work(self, channel: grpc.aio.Channel) -> None:
        """One call after the other until told to stop."""
        read, write = channel.unary_unary(Calls.RANGE), channel.unary_unary(Calls.PUT)
        range_request, put_request = self.calls.range_request, self.calls.put_request
        least, now = self.plan.value_bytes, time.perf_counter_ns
        for code in self.codes:
            if self.stopped:
                return
            began = now()
            try:
                if code & 1:
                    await write(put_request(code >> 1))
                elif len(await read(range_request(code >> 1))) < least:
                    self.failures += 1
            except grpc.RpcError:
                self.failures += 1
            self.taken_ns.append(now() - began)

    async def run(self, channels: int) -> dict[str, float]:
        """Warm up, measure, stop; the report."""
        opened = [
            grpc.aio.secure_channel(
                self.plan.endpoints[0], credentials(self.plan), options=OWN_CONNECTION
            )
            for _ in range(channels)
        ]
        workers = [
            asyncio.create_task(self.work(opened[at % channels]))
            for at in range(self.plan.connections)
        ]
        warmup, phase = self.plan.phases
        await asyncio.sleep(warmup.duration_s)
        self.taken_ns.clear()
        began, cpu_s = time.monotonic(), time.process_time()
        await asyncio.sleep(phase.duration_s)
        taken_ns, self.taken_ns = self.taken_ns, []
        seconds, cpu_s = time.monotonic() - began, time.process_time() - cpu_s
        self.stopped = True
        await asyncio.gather(*workers)
        for channel in opened:
            await channel.close()
        return self._report(taken_ns, seconds, cpu_s)

    def _report(self, taken_ns: list[int], seconds: float, cpu_s: float) -> dict[str, float]:
        histogram = Histogram()
        for taken in taken_ns:
            histogram.record(taken // 1000)
        return {
            "operations": histogram.total,
            "failures": self.failures,
            "seconds": seconds,
            "cpu_s": cpu_s,
            "p50_us": histogram.percentile_us(50),
            "p99_us": histogram.percentile_us(99),
            "mean_us": histogram.sum_us / max(1, histogram.total),
        }


def main() -> None:
    """Run it."""
    plan, channels = Plan.read(Path(sys.argv[1])), int(sys.argv[2])
    print(json.dumps(asyncio.run(Client(plan).run(channels))))


if __name__ == "__main__":
    main()
