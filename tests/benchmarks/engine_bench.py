"""`python -m tests.benchmarks.engine_bench`: the engine beside redis-benchmark, in one run.

Is it as fast as the native client, and as truthful?

Server on one core, client on the other, contenders in turn, so that whatever else the machine
does hits both. The ratio of each repeat is taken first, then the median: a slow minute of the
machine moves both sides of a ratio, but not the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadgen.contract.plan import Keyspace, Plan, Target
from tests.benchmarks.binaries import Binary, find_etcd, find_redis_server
from tests.benchmarks.measure import (
    Figures,
    MeasureFailed,
    engine_figures,
    fill,
    redis_benchmark_figures,
)
from tests.benchmarks.throwaway import Etcd, Pki, Redis, make_cluster

__all__ = ["main"]

KEYS = 20_000
LEAST_THROUGHPUT_RATIO = 0.8
MOST_P50_DIFFERENCE = 0.2
BUSY_LOAD = 0.7

EXAMPLES = """\
examples:
  python -m tests.benchmarks.engine_bench                          about two minutes, the table
  python -m tests.benchmarks.engine_bench --out engine-bench.json  and the figures as JSON
  python -m tests.benchmarks.engine_bench --plain --pipeline 16    without TLS, 16 commands a batch
  python -m tests.benchmarks.engine_bench --etcd find     and the engine against one etcd member
"""


def main(arguments: list[str] | None = None) -> int:
    """Run, print, save. Exit 0 when the ratios are reached, 7 when not, 2 when it cannot run."""
    asked = _parser().parse_args(arguments)
    missing = _missing()
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="engine-bench-") as folder:
            result = _run(asked, Path(folder))
    except KeyboardInterrupt:
        print("stopped; servers ended, temporary files removed", file=sys.stderr)
        return 130
    except (MeasureFailed, TimeoutError) as failure:
        print(f"engine-bench: {failure}", file=sys.stderr)
        return 2
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")
        print(f"saved: {asked.out}")
    return 7 if result["reached"] is False else 0


def _run(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    busy = os.getloadavg()[0]
    if busy > BUSY_LOAD:
        print(f"load average {busy:.1f}: others are at work here, and the ratios will scatter")
    cores = sorted(os.sched_getaffinity(0))
    server_core, client_core = cores[1], cores[0]
    pki = Pki.make(folder / "pki")
    server = Redis(folder / "redis", core=server_core, pki=None if asked.plain else pki)
    with _running(server):
        make_cluster([server])
        pairs = _redis_repeats(asked, server, folder, client_core)
    result = _judge(asked, pairs)
    _print_table(result, pairs)
    if asked.etcd:
        binary = find_etcd() if asked.etcd == "find" else Binary(asked.etcd)
        member = Etcd(folder / "etcd", core=server_core, binary=binary, pki=pki)
        with _running(member):
            result["etcd"] = _etcd_repeats(asked, member, folder, client_core)
    return result


@contextmanager
def _running(server: Redis | Etcd) -> Iterator[None]:
    """The server for the time of the block, ended whatever happens, a failed start included."""
    try:
        server.start()
        yield
    finally:
        server.stop(kill=True)


def _plan(asked: argparse.Namespace, target: Target, server: Redis | Etcd) -> Plan:
    return Plan(
        run_id="engine-bench",
        session="capacity",
        target=target,
        endpoints=(server.endpoint,),
        keyspace=Keyspace(KEYS, "/bench/"),
        phases=(),
        tls=server.pki.tls() if server.pki is not None else None,
        value_bytes=asked.value_bytes,
        connections=asked.connections,
        pipeline=asked.pipeline,
    )


def _redis_repeats(
    asked: argparse.Namespace, server: Redis, folder: Path, core: int
) -> list[tuple[Figures, Figures]]:
    """(engine, redis-benchmark) of each repeat; which goes first alternates."""
    plan = _plan(asked, "redis_cluster", server)
    fill(plan, folder, core)
    probe = redis_benchmark_figures(server, plan, core, requests=20_000)
    requests = max(20_000, int(probe.ops_per_s * asked.seconds / 2))
    pairs = []
    for number in range(asked.repeats):
        if number % 2:
            theirs = redis_benchmark_figures(server, plan, core, requests=requests)
            ours = engine_figures(plan, folder, core, seconds=asked.seconds)
        else:
            ours = engine_figures(plan, folder, core, seconds=asked.seconds)
            theirs = redis_benchmark_figures(server, plan, core, requests=requests)
        print(
            f"repeat {number + 1} of {asked.repeats}: engine {ours.ops_per_s:,.0f}/s "
            f"P50 {ours.p50_us:.0f} us, redis-benchmark {theirs.ops_per_s:,.0f}/s "
            f"P50 {theirs.p50_us:.0f} us",
            flush=True,
        )
        pairs.append((ours, theirs))
    return pairs


def _judge(asked: argparse.Namespace, pairs: list[tuple[Figures, Figures]]) -> dict[str, Any]:
    fields = ("ops_per_s", "per_cpu_s", "p50_us", "p99_us", "read_p50_us", "write_p50_us")
    ratios = {
        name: [getattr(ours, name) / getattr(theirs, name) for ours, theirs in pairs]
        for name in fields
    }
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    # The limits hold for the declared case; other cases are for looking at.
    reached: bool | None = None
    if not asked.plain and asked.pipeline == 1:
        reached = (
            medians["ops_per_s"] >= LEAST_THROUGHPUT_RATIO
            and abs(medians["p50_us"] - 1) <= MOST_P50_DIFFERENCE
        )
    return {
        "schema": 1,
        "conditions": {
            "tls": not asked.plain,
            "connections": asked.connections,
            "pipeline": asked.pipeline,
            "value_bytes": asked.value_bytes,
            "seconds": asked.seconds,
            "machine": platform.platform(),
            "load_average_after": os.getloadavg()[0],
            "python": platform.python_version(),
            "redis": _version(find_redis_server()),
        },
        "repeats": [[asdict(ours), asdict(theirs)] for ours, theirs in pairs],
        "ratios": ratios,
        "median_ratios": medians,
        "reached": reached,
    }


def _print_table(result: dict[str, Any], pairs: list[tuple[Figures, Figures]]) -> None:
    labels = {
        "ops_per_s": "operations /s",
        "per_cpu_s": "operations per client CPU second",
        "p50_us": "P50, us",
        "p99_us": "P99, us",
        "read_p50_us": "P50 of reads, us",
        "write_p50_us": "P50 of writes, us",
    }
    print()
    print(f"{'median of ' + str(len(pairs)):<34}{'engine':>12}{'redis-bench':>13}"
          f"{'ratio':>8}   spread")  # fmt: skip
    for name, label in labels.items():
        ours = statistics.median(getattr(pair[0], name) for pair in pairs)
        theirs = statistics.median(getattr(pair[1], name) for pair in pairs)
        spread = result["ratios"][name]
        print(f"{label:<34}{ours:>12,.0f}{theirs:>13,.0f}{result['median_ratios'][name]:>8.2f}"
              f"   {min(spread):.2f} to {max(spread):.2f}")  # fmt: skip
    if result["reached"] is None:
        return
    verdict = "reached" if result["reached"] else "NOT reached"
    print(
        f"{verdict}: at least {LEAST_THROUGHPUT_RATIO} of its operations per second, "
        f"and P50 within {MOST_P50_DIFFERENCE:.0%}"
    )


def _etcd_repeats(
    asked: argparse.Namespace, member: Etcd, folder: Path, core: int
) -> list[dict[str, Any]]:
    plan = _plan(asked, "etcd", member)
    fill(plan, folder, core)
    made = []
    for _ in range(asked.repeats):
        ours = engine_figures(plan, folder, core, seconds=asked.seconds)
        print(
            f"etcd, engine: {ours.ops_per_s:,.0f}/s, {ours.per_cpu_s:,.0f} per client CPU second, "
            f"P50 {ours.p50_us:.0f} us, P99 {ours.p99_us:.0f} us",
            flush=True,
        )
        made.append(asdict(ours))
    return made


def _missing() -> list[str]:
    """What this machine lacks, each with the way out."""
    lacks = [
        f"{name} is not installed; install it with: apt-get install {package}"
        for name, package in (
            ("redis-benchmark", "redis-tools"),
            ("redis-cli", "redis-tools"),
            ("openssl", "openssl"),
            ("taskset", "util-linux"),
        )
        if shutil.which(name) is None
    ]
    if len(os.sched_getaffinity(0)) < 2:
        lacks.append("one core only: client and server need one each; use a machine with two")
    return lacks


def _version(program: Binary) -> str:
    return subprocess.run(
        [program.path, "--version"], capture_output=True, text=True, env=program.environment()
    ).stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.engine_bench",
        description="The engine against redis-benchmark on one throwaway Redis master.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=5, help="alternating repeats (5)")
    parser.add_argument("--seconds", type=int, default=5, help="per contender and repeat (5)")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--pipeline", type=int, default=1)
    parser.add_argument("--value-bytes", type=int, default=1024)
    parser.add_argument("--plain", action="store_true", help="without TLS")
    parser.add_argument("--etcd", help="an etcd binary, to measure it too; `find` finds one")
    parser.add_argument("--out", type=Path, help="save the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
