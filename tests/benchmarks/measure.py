"""One measurement of one contender: every one gets the same plan, and says the same of itself.

CPU seconds are those of the measured stretch alone: no contender pays for its start, its TLS
handshakes or its warm-up.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadgen.contract.histogram import Histogram
from loadgen.contract.parts import parts_of, read_parts
from loadgen.contract.plan import Phase, Plan
from loadgen.contract.window import Window
from loadgen.keyspace import Values
from tests.benchmarks.compare import Figures
from tests.benchmarks.throwaway import Redis

__all__ = [
    "PLAN_VARIABLE",
    "MeasureFailed",
    "engine",
    "fill",
    "grpcio_asyncio",
    "locust",
    "other_keys",
    "redis_benchmark",
    "tikv_python",
]

PLAN_VARIABLE = "ENGINE_BENCH_PLAN"  # where locust_report finds the plan

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
WARMUP_S = 1
LIMIT_S = 300
STARTUP_SAMPLES = 2
PROBE = 10_000


class MeasureFailed(RuntimeError):
    """A measured process did not do its work; the text says what it said."""


def pressed(plan: Plan, seconds: int) -> Plan:
    """The plan with a warm-up and one measured phase, closed loop."""
    phases = (Phase("warmup", "closed", WARMUP_S), Phase("capacity", "closed", seconds))
    return replace(plan, phases=phases)


def fill(plan: Plan, folder: Path, core: int) -> None:
    """Write every key once."""
    _engine_windows(replace(plan, phases=(Phase("fill", "fill", 120),)), folder, core)


def engine(plan: Plan, folder: Path, core: int, *, seconds: int) -> Figures:
    """Closed loop for `seconds` after a second of warm-up."""
    windows = _engine_windows(pressed(plan, seconds), folder, core)
    return figures_of([w for w in windows if w.phase == "capacity" and w.complete])


def figures_of(windows: list[Window]) -> Figures:
    """All of a phase's complete windows as one. Raises MeasureFailed when an operation failed."""
    if not windows:
        raise MeasureFailed("the engine wrote no complete window")
    seconds = sum(window.length_s for window in windows)
    cpu_s = sum(window.generator.cpu_share * window.length_s for window in windows)
    kinds = {}
    for name in ("read", "write"):
        parts = [window.operations[name] for window in windows]
        if any(part.failed or part.unknown for part in parts):
            raise MeasureFailed(f"the engine lost operations: {[part.causes for part in parts]}")
        kinds[name] = Histogram.merged(part.service for part in parts)
    whole = Histogram.merged(kinds.values())
    return Figures(
        contender="engine",
        ops_per_s=whole.total / seconds,
        per_cpu_s=whole.total / cpu_s,
        p50_us=whole.percentile_us(50),
        p99_us=whole.percentile_us(99),
        mean_us=whole.sum_us / whole.total,
    )


def _engine_windows(plan: Plan, folder: Path, core: int) -> list[Window]:
    """Run one engine as its own process on one core; its windows."""
    plan_path, spool = folder / "plan.json", folder / "worker-0.spool"
    for old in parts_of(folder, 0):
        old.unlink()
    plan.write(plan_path)
    words = [sys.executable, "-m", "loadgen.engine", str(plan_path), "--spool", str(spool)]
    _said("the engine", words, core)
    frames = read_parts(folder, 0)
    return [Window.from_json(frame) for frame in frames if frame["kind"] == "window"]


def _said(who: str, words: Sequence[str], core: int, **environment: str) -> str:
    """What a process printed, run to its end on one core. Raises MeasureFailed."""
    try:
        done = subprocess.run(
            ["taskset", "-c", str(core), *words], capture_output=True, text=True,
            timeout=LIMIT_S, cwd=PROJECT, env={**os.environ, **environment},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise MeasureFailed(f"{who} did not end within {LIMIT_S} s") from None
    if done.returncode:
        raise MeasureFailed(f"{who} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _figures(contender: str, said: dict[str, Any]) -> Figures:
    """What `grpcio_client` or `locust_report` wrote, as figures."""
    if said["failures"] or not said["operations"]:
        raise MeasureFailed(f"{contender}: {said}")
    return Figures(
        contender=contender,
        ops_per_s=said["operations"] / said["seconds"],
        per_cpu_s=said["operations"] / said["cpu_s"],
        p50_us=said["p50_us"],
        p99_us=said["p99_us"],
        mean_us=said["mean_us"],
    )


def grpcio_asyncio(plan: Plan, folder: Path, core: int, *, seconds: int, channels: int) -> Figures:
    """`plan.connections` calls at once over some channels, asyncio."""
    path = folder / "plan.json"
    pressed(plan, seconds).write(path)
    words = [sys.executable, "-m", "tests.benchmarks.grpcio_client", str(path), str(channels)]
    return _figures("grpcio asyncio", json.loads(_said("the grpcio client", words, core)))


def tikv_python(plan: Plan, folder: Path, core: int, *, seconds: int) -> Figures:
    """`plan.connections` calls at once, asyncio."""
    path = folder / "plan.json"
    pressed(plan, seconds).write(path)
    words = [sys.executable, "-m", "tests.benchmarks.tikv_python_client", str(path)]
    return _figures("tikv-python", json.loads(_said("tikv-python", words, core)))


def locust(plan: Plan, folder: Path, core: int, *, seconds: int) -> Figures:
    """As many plain Locust users as the plan has connections, in one headless process."""
    path, report = folder / "plan.json", folder / "locust.json"
    report.unlink(missing_ok=True)
    pressed(plan, seconds).write(path)
    library = "grpcio" if plan.target == "etcd" else "redis-py"
    file = "locust_etcd.py" if plan.target == "etcd" else "locust_redis.py"
    users = str(plan.connections)
    words = [sys.executable, "-m", "locust", "-f", str(HERE / file), "--headless", "-u", users,
             "-r", users, "-t", f"{seconds + 60}s", "--only-summary", "-L", "WARNING"]  # fmt: skip
    _said("Locust", words, core, **{PLAN_VARIABLE: str(path), "PYTHONPATH": str(PROJECT)})
    if not report.exists():
        raise MeasureFailed("Locust ended without a report")
    return _figures(f"Locust, {library}", json.loads(report.read_text()))


def redis_benchmark(server: Redis, plan: Plan, core: int, *, seconds: int) -> Figures:
    """SETs, then GETs, each for its share of `seconds`; which is the engine's mix.

    Its keys are as many and as long as the plan's, under another prefix: it cannot write the key's
    own number into the value, and the engine would call such values corrupt. P50 and P99 of a mix
    are the means of SET's and GET's, which is near enough to look at, not to judge by.
    """
    # __rand_int__ becomes 12 digits, as long as the plan's key numbers are.
    key = other_keys(plan).keyspace.prefix + "__rand_int__"
    commands = (
        (plan.read_share, ["GET", key]),
        (1 - plan.read_share, ["SET", key, _value(plan)]),
    )
    mixed = dict.fromkeys(("op_s", "cpu_s", "p50_us", "p99_us", "mean_us"), 0.0)
    for share, command in commands:
        if share:
            one = _one_command(server, plan, core, command, seconds=seconds * share)
            for name, value in one.items():
                mixed[name] += share * value
    op_s, cpu_s = mixed.pop("op_s"), mixed.pop("cpu_s")
    return Figures("redis-benchmark", ops_per_s=1 / op_s, per_cpu_s=1 / cpu_s, **mixed)


def other_keys(plan: Plan) -> Plan:
    """The same plan for redis-benchmark's own keys: as many, and as long."""
    prefix = plan.keyspace.prefix
    other = prefix[:-2] + ("x" if prefix[-2] != "x" else "y") + prefix[-1]
    return replace(plan, keyspace=replace(plan.keyspace, prefix=other))


def _value(plan: Plan) -> str:
    values = Values(plan.keyspace.prefix, plan.value_bytes, rank=0)
    return (values.identity(0) + values.filler).decode()


def _one_command(
    server: Redis, plan: Plan, core: int, command: list[str], *, seconds: float
) -> dict[str, float]:
    """Seconds and CPU seconds of one operation, and what redis-benchmark says of its latency."""
    probe, _ = _redis_benchmark(server, plan, core, command, requests=PROBE)
    requests = max(PROBE, int(float(probe["rps"]) * seconds))
    # Its TLS handshakes are done one after the other, before it begins to count.
    starting_s = min(
        _redis_benchmark(server, plan, core, command, requests=plan.connections)[1]
        for _ in range(STARTUP_SAMPLES)
    )
    row, cpu_s = _redis_benchmark(server, plan, core, command, requests=requests)
    return {
        "op_s": 1 / float(row["rps"]),
        "cpu_s": (cpu_s - starting_s) / requests,
        "p50_us": float(row["p50_latency_ms"]) * 1000,
        "p99_us": float(row["p99_latency_ms"]) * 1000,
        "mean_us": float(row["avg_latency_ms"]) * 1000,
    }


def _redis_benchmark(
    server: Redis, plan: Plan, core: int, command: list[str], *, requests: int
) -> tuple[dict[str, str], float]:
    """Its line of CSV, and the CPU seconds of the process."""
    tls = server.pki_words("--tls") if server.pki is not None else []
    words = ["redis-benchmark", "-p", str(server.port), *tls, "--threads", "1",
             "-c", str(plan.connections), "-P", str(plan.pipeline), "-n", str(requests),
             "-r", str(plan.keyspace.keys), "--csv", *command]  # fmt: skip
    before = os.times()
    said = _said("redis-benchmark", words, core)
    after = os.times()
    rows = list(csv.DictReader(io.StringIO(said)))
    if len(rows) != 1 or "rps" not in rows[0]:
        raise MeasureFailed(f"redis-benchmark said {said[:500]!r}")
    cpu_s = after.children_user - before.children_user
    cpu_s += after.children_system - before.children_system
    return rows[0], cpu_s
