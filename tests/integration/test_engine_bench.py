"""engine-bench for real, with times so short that its figures mean nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.compare import from_json, judge

PROJECT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        shutil.which("redis-benchmark") is None or len(os.sched_getaffinity(0)) < 2,
        reason="needs redis-benchmark (apt-get install redis-tools) and a machine with two cores",
    ),
]


def command(out, *words):
    return [sys.executable, "-m", "tests.benchmarks.engine_bench", "--out", str(out), *words]


def of_this_run(folder):
    """Processes whose command line or working folder names the folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        if process.name.isdecimal() and str(folder) in words:
            found.append(words)
    return found


@pytest.mark.parametrize(
    ("case", "contenders"),
    [
        ("redis-tls", ["engine", "Locust, redis-py", "redis-benchmark"]),
        ("etcd", ["engine", "Locust, grpcio", "engine, 50 connections", "grpcio asyncio"]),
        ("tikv", ["engine", "engine, batched stream", "engine, batches of 16", "tikv-python"]),
    ],
)
def test_one_case_runs_every_contender_and_leaves_figures_and_page(tmp_path, case, contenders):
    out = tmp_path / "figures.json"
    done = subprocess.run(
        command(out, "--only", case, "--repeats", "1", "--seconds", "1"),
        cwd=PROJECT, capture_output=True, text=True, timeout=120,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert out.exists(), done.stderr + done.stdout
    results = from_json(json.loads(out.read_text()))
    assert list(results) == [case]
    assert results[case].contenders() == contenders
    for figures in results[case].repeats[0]:
        assert figures.ops_per_s > 0 and figures.per_cpu_s > 0
        assert 0 < figures.p50_us <= figures.p99_us
    # Whether it was fast enough is no question of this test; that the code says so is.
    reached = all(
        one.verdict == "reached" for one in judge(results.values()) if one.target.case == case
    )
    assert done.returncode == (0 if reached else 7), done.stderr
    assert case in out.with_suffix(".html").read_text()
    assert not list(tmp_path.glob("engine-bench-*")) and not of_this_run(tmp_path)


def test_ctrl_c_ends_servers_and_clients_and_removes_what_was_made(tmp_path):
    process = subprocess.Popen(
        command(tmp_path / "figures.json", "--only", "redis-plain", "--seconds", "60"),
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any("loadgen.engine" in words for words in of_this_run(tmp_path)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "stopped" in said
    assert not list(tmp_path.glob("engine-bench-*"))
    assert not of_this_run(tmp_path)
