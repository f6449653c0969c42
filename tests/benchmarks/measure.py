"""One measurement each of the engine and of redis-benchmark, under equal conditions."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from loadgen.contract.histogram import Histogram
from loadgen.contract.plan import Phase, Plan
from loadgen.contract.spool import read_spool
from loadgen.contract.window import Window
from tests.benchmarks.throwaway import Redis

__all__ = ["Figures", "MeasureFailed", "engine_figures", "fill", "redis_benchmark_figures"]


class MeasureFailed(RuntimeError):
    """A measured process did not do its work; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one contender said of one repeat. `per_cpu_s` is operations per client CPU second."""

    contender: str
    ops_per_s: float
    per_cpu_s: float
    p50_us: float
    p99_us: float
    read_p50_us: float
    write_p50_us: float


def fill(plan: Plan, folder: Path, core: int) -> None:
    """Write every key once."""
    _engine(replace(plan, phases=(Phase("fill", "fill", 120),)), folder, core)


def engine_figures(plan: Plan, folder: Path, core: int, *, seconds: int) -> Figures:
    """Closed loop for `seconds` after a second of warm-up."""
    phases = (Phase("warmup", "closed", 1), Phase("capacity", "closed", seconds))
    windows = _engine(replace(plan, phases=phases), folder, core)
    return figures_of([w for w in windows if w.phase == "capacity" and w.complete])


def figures_of(windows: list[Window]) -> Figures:
    """All of a phase's complete windows as one."""
    if not windows:
        raise MeasureFailed("the engine wrote no complete window")
    seconds = sum(window.length_s for window in windows)
    cpu_s = sum(window.generator.cpu_share * window.length_s for window in windows)
    kinds = {
        name: Histogram.merged(window.operations[name].service for window in windows)
        for name in ("read", "write")
    }
    whole = Histogram.merged(kinds.values())
    return Figures(
        contender="engine",
        ops_per_s=whole.total / seconds,
        per_cpu_s=whole.total / cpu_s,
        p50_us=whole.percentile_us(50),
        p99_us=whole.percentile_us(99),
        read_p50_us=kinds["read"].percentile_us(50),
        write_p50_us=kinds["write"].percentile_us(50),
    )


def _engine(plan: Plan, folder: Path, core: int) -> list[Window]:
    """Run one engine as its own process on one core; its windows."""
    plan_path, spool = folder / "plan.json", folder / "worker-0.spool"
    spool.unlink(missing_ok=True)
    plan.write(plan_path)
    words = [sys.executable, "-m", "loadgen.engine", str(plan_path), "--spool", str(spool)]
    done = subprocess.run(
        ["taskset", "-c", str(core), *words], capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise MeasureFailed(f"the engine ended with {done.returncode}: {done.stderr[-2000:]}")
    frames = read_spool(spool)
    return [Window.from_json(frame) for frame in frames if frame["kind"] == "window"]


def redis_benchmark_figures(server: Redis, plan: Plan, core: int, *, requests: int) -> Figures:
    """`requests` SETs, then as many GETs, which is the engine's half and half.

    Its percentiles are those of SET and of GET apart; the whole's P50 is taken as their mean.
    """
    tls = server.pki_words("--tls") if server.pki is not None else []
    words = ["redis-benchmark", "-p", str(server.port), *tls, "-t", "set,get", "--threads", "1",
             "-c", str(plan.connections), "-d", str(plan.value_bytes), "-P", str(plan.pipeline),
             "-n", str(requests), "-r", str(plan.keyspace.keys), "--csv"]  # fmt: skip
    before = os.times()
    done = subprocess.run(
        ["taskset", "-c", str(core), *words], capture_output=True, text=True, timeout=600
    )
    after = os.times()
    rows = {row["test"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    if done.returncode or set(rows) < {"SET", "GET"}:
        raise MeasureFailed(f"redis-benchmark ended with {done.returncode}: {done.stderr[-2000:]}")
    cpu_s = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    put, get = rows["SET"], rows["GET"]
    seconds = requests / float(put["rps"]) + requests / float(get["rps"])
    p50 = {name: float(row["p50_latency_ms"]) * 1000 for name, row in rows.items()}
    p99 = {name: float(row["p99_latency_ms"]) * 1000 for name, row in rows.items()}
    return Figures(
        contender="redis-benchmark",
        ops_per_s=2 * requests / seconds,
        per_cpu_s=2 * requests / cpu_s,
        p50_us=(p50["SET"] + p50["GET"]) / 2,
        p99_us=(p99["SET"] + p99["GET"]) / 2,
        read_p50_us=p50["GET"],
        write_p50_us=p50["SET"],
    )
