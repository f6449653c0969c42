"""The cases of `engine_bench`: which server, which load, which contenders; and running one."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from loadgen.contract.plan import Keyspace, Plan
from tests.benchmarks import measure
from tests.benchmarks.binaries import Binary, find_etcd, find_redis_server
from tests.benchmarks.compare import CaseResult, Figures
from tests.benchmarks.throwaway import Etcd, Pki, Redis, serving
from tests.benchmarks.tikv_server import STORES, TikvDouble
from tests.tikv_double.servers import GRPCIO, LOOP, LOOP_SINGLY

__all__ = ["CASES", "Case", "Effort", "plan_of", "run_case", "server_of"]

KEYS = 20_000
PREFIX = "/bench/"
VALUE_BYTES = 1024
CONNECTIONS = 50

# grpcio did about as well over one connection as over two, and less well over 5 to 50
# (loadgen/README.md, "How fast"). The engine gets as many.
ETCD_CONNECTIONS = 2

# tikv-python has one connection to each store; so has the engine, with as many calls in all.
TIKV_CALLS = 48
TIKV_BATCH = 16

Contender = Callable[[], Figures]
Server = Redis | Etcd | TikvDouble


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often: `seconds` of each contender, in each of `repeats`."""

    repeats: int = 5
    seconds: int = 2


@dataclass(frozen=True, slots=True)
class Case:
    """One load on one server. `connections` times `pipeline` operations are always in flight."""

    name: str
    says: str
    target: str = "redis_cluster"
    tls: bool = True
    connections: int = CONNECTIONS
    pipeline: int = 1
    read_share: float = 0.5
    with_locust: bool = False
    batched_stream: bool = False
    served_by: str = LOOP  # the double of TiKV
    with_batches: bool = False


CASES = (
    Case("redis-tls", "Redis, TLS, 50 connections, half reads", with_locust=True),
    Case("redis-plain", "Redis, plain, 50 connections, half reads", tls=False),
    Case("redis-tls-16", "Redis, TLS, 50 connections, pipeline 16, half reads", pipeline=16),
    Case("redis-plain-16", "Redis, plain, 50 connections, pipeline 16, half reads",
         tls=False, pipeline=16),
    Case("truth-reads", "Redis, TLS, 16 connections, reads alone", connections=16, read_share=1.0),
    Case("truth-writes", "Redis, TLS, 16 connections, writes alone", connections=16,
         read_share=0.0),
    Case("etcd", "etcd, mutual TLS, 50 calls at once, half reads", target="etcd",
         connections=ETCD_CONNECTIONS, pipeline=CONNECTIONS // ETCD_CONNECTIONS, with_locust=True),
    # Whether a server writes answers together decides what a client pays; so each way is measured.
    Case("tikv", "a double of TiKV, answers of one read written together, mutual TLS, 48 calls at "
         "once, half reads",
         target="tikv", connections=STORES, pipeline=TIKV_CALLS // STORES, with_batches=True),
    Case("tikv-singly", "the same, each answer written alone",
         target="tikv", connections=STORES, pipeline=TIKV_CALLS // STORES, served_by=LOOP_SINGLY),
    Case("tikv-grpcio", "the same, the double served by grpcio's asyncio, which is the limit",
         target="tikv", connections=STORES, pipeline=TIKV_CALLS // STORES, served_by=GRPCIO),
    Case("tikv-stream", "a double of TiKV, answers of one read written together, the engine's "
         "calls as one stream to each store",
         target="tikv", connections=STORES, pipeline=TIKV_CALLS // STORES, batched_stream=True),
)  # fmt: skip


def run_case(
    case: Case, effort: Effort, folder: Path, told: Callable[[Figures, int], None]
) -> CaseResult:
    """Start the server on the second core, press it from the first, end it whatever happens.

    `told` hears of every measurement with the number of its repeat. Raises MeasureFailed,
    TimeoutError.
    """
    cores = sorted(os.sched_getaffinity(0))
    client_core, server_core = cores[0], cores[1]
    load_before = os.getloadavg()[0]
    pki = Pki.make(folder / "pki")
    with serving(server_of(case, folder, server_core, pki)) as server:  # type: Server
        plan = plan_of(case, server)
        measure.fill(plan, folder, client_core)
        contenders = _contenders(case, server, plan, folder, client_core, effort.seconds)
        repeats = []
        for number in range(effort.repeats):
            order = contenders if number % 2 == 0 else contenders[::-1]
            repeat = []
            for contender in order:
                figures = contender()
                told(figures, number)
                repeat.append(figures)
            repeats.append(repeat)
    return CaseResult(case.name, _conditions(case, effort, load_before), repeats)


def server_of(case: Case, folder: Path, core: int, pki: Pki) -> Server:
    if case.target == "tikv":
        return TikvDouble(core, pki, PREFIX, KEYS, case.served_by)
    if case.target == "etcd":
        # The client is measured, not the disk.
        extra = ("--unsafe-no-fsync",)
        return Etcd(folder / "etcd", core=core, pki=pki, extra=extra)
    return Redis(folder / "redis", core=core, pki=pki if case.tls else None)


def plan_of(case: Case, server: Server) -> Plan:
    return Plan(
        run_id="engine-bench",
        session="capacity",
        target=case.target,
        endpoints=(server.endpoint,),
        keyspace=Keyspace(KEYS, PREFIX),
        phases=(),
        tls=server.pki.tls() if server.pki is not None else None,
        value_bytes=VALUE_BYTES,
        connections=case.connections,
        pipeline=case.pipeline,
        batched_stream=case.batched_stream,
        read_share=case.read_share,
    )


def _contenders(
    case: Case, server: Server, plan: Plan, folder: Path, core: int, seconds: int
) -> list[Contender]:
    engine = partial(measure.engine, folder=folder, core=core, seconds=seconds)
    made: list[Contender] = [partial(engine, plan)]
    if isinstance(server, Redis):
        measure.fill(measure.other_keys(plan), folder, core)
        made.append(partial(measure.redis_benchmark, server, plan, core, seconds=seconds))
    elif isinstance(server, TikvDouble):
        alone = replace(plan, connections=TIKV_CALLS, pipeline=1, batched_stream=False)
        made.append(partial(measure.tikv_python, alone, folder, core, seconds=seconds))
        if case.with_batches:
            # `batch` times as many operations in flight: another load, of the same calls.
            streamed, batched = (
                replace(plan, batched_stream=True),
                replace(plan, batch=TIKV_BATCH),
            )
            made += [
                lambda: replace(engine(streamed), contender="engine, batched stream"),
                lambda: replace(engine(batched), contender=f"engine, batches of {TIKV_BATCH}"),
            ]
    else:
        calls = plan.connections * plan.pipeline
        alone = replace(plan, connections=calls, pipeline=1)
        made += [
            partial(measure.grpcio_asyncio, alone, folder, core, seconds=seconds,
                    channels=plan.connections),
            lambda: replace(engine(alone), contender=f"engine, {calls} connections"),
        ]  # fmt: skip
        plan = alone
    if case.with_locust:
        made.append(partial(measure.locust, plan, folder, core, seconds=seconds))
    return made


def _conditions(case: Case, effort: Effort, load_before: float) -> Mapping[str, Any]:
    return {
        "says": case.says,
        "tls": case.tls,
        "connections": case.connections,
        "pipeline": case.pipeline,
        "in_flight": case.connections * case.pipeline,  # of every contender
        "read_share": case.read_share,
        "value_bytes": VALUE_BYTES,
        "keys": KEYS,
        "seconds": effort.seconds,
        "repeats": effort.repeats,
        "measured": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "load_average_before": load_before,
        "machine": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        "server": _server_version(case),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _server_version(case: Case) -> str:
    if case.target == "tikv":
        return f"tests/tikv_double ({case.served_by}): it keeps TiKV's contract, not its speed"
    return _version(find_etcd() if case.target == "etcd" else find_redis_server())


def _version(program: Binary) -> str:
    done = subprocess.run(
        [program.path, "--version"], capture_output=True, text=True, env=program.environment()
    )
    return next(iter(done.stdout.splitlines()), "")
