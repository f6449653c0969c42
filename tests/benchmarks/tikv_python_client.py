"""`python -m tests.benchmarks.tikv_python_client PLAN`: TiKV pressed by tikv-python and asyncio.

As many calls at once as the plan has connections, over its one connection to each store. Prints
what it measured as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import tikv

from loadgen.contract.histogram import Histogram
from loadgen.contract.plan import Plan
from loadgen.keyspace import Codes, Values, key_bytes


class Client:
    """Workers of one call at a time, all on one event loop and one client."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.values = Values(plan.keyspace.prefix, plan.value_bytes, rank=1)
        self.keys = [key_bytes(plan.keyspace.prefix, at) for at in range(plan.keyspace.keys)]
        chunks = Codes(
            plan.keyspace, plan.read_share, seed=1, rank=1, stream="tikv-python"
        ).chunks()
        self.codes = (code for chunk in chunks for code in chunk)
        self.taken_ns: list[int] = []
        self.failures = 0
        self.stopped = False

    async def work(self, client: tikv.AsyncRawClient) -> None:
        """One call after the other until told to stop."""
        keys, values, now = self.keys, self.values, time.perf_counter_ns
        for code in self.codes:
            if self.stopped:
                return
            began, number = now(), code >> 1
            try:
                if code & 1:
                    await client.put(keys[number], values.identity(number) + values.filler)
                elif len(await client.get(keys[number]) or b"") != self.plan.value_bytes:
                    self.failures += 1
            except tikv.TiKVError:
                self.failures += 1
            self.taken_ns.append(now() - began)

    async def run(self) -> dict[str, float]:
        """Warm up, measure, stop; the report."""
        tls = self.plan.tls
        files = tikv.TLSConfig(ca=tls.ca, cert=tls.cert, key=tls.key) if tls else None
        async with tikv.AsyncRawClient(list(self.plan.endpoints), tls=files) as client:
            workers = [asyncio.create_task(self.work(client)) for _ in range(self.plan.connections)]
            warmup, phase = self.plan.phases
            await asyncio.sleep(warmup.duration_s)
            self.taken_ns.clear()
            began, cpu_s = time.monotonic(), time.process_time()
            await asyncio.sleep(phase.duration_s)
            taken_ns, self.taken_ns = self.taken_ns, []
            seconds, cpu_s = time.monotonic() - began, time.process_time() - cpu_s
            self.stopped = True
            await asyncio.gather(*workers)
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
    print(json.dumps(asyncio.run(Client(Plan.read(Path(sys.argv[1]))).run())))


if __name__ == "__main__":
    main()
