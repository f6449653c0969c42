"""The null server as its own process, from what is shipped alone, with a real engine on it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadgen.contract.plan import Phase
from soakbed.stages.calibrate import SHIPPED
from tests.integration.engine_runs import assert_the_sum_is_right, closed, plan_for, run_engine
from tests.ports import free_port

pytestmark = pytest.mark.timeout(600)

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def shipped(tmp_path):
    """A folder as `calibrate` lays it on a data host."""
    for part, names in SHIPPED.items():
        (tmp_path / "shipped/loadgen" / part).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(PROJECT / "loadgen" / part / name, tmp_path / "shipped/loadgen" / part)
    return tmp_path / "shipped"


def started(shipped: Path, target: str, port: int, pki, *, seconds: float) -> subprocess.Popen:
    told = shipped / "told"
    # -S: without site-packages, as Debian's Python on a data host.
    words = [sys.executable, "-S", "-m", "loadgen.null_server", "--target", target]
    words += [
        "--listen",
        f"127.0.0.1:{port}",
        "--prefix",
        "/bench/",
        "--value-bytes",
        "256",
        "--keys",
        "500",
    ]
    words += ["--tls", pki.path("ca.crt"), pki.path("host.crt"), pki.path("host.key")]
    words += ["--seconds", str(seconds), "--told", str(told)]
    process = subprocess.Popen(words, cwd=shipped, stderr=subprocess.PIPE)
    ends_s = time.monotonic() + 120
    while not (told.exists() and told.stat().st_size):
        assert process.poll() is None and time.monotonic() < ends_s, process.stderr.read()
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("target", "calls"),
    [
        ("redis_cluster", {}),
        ("etcd", {}),
        ("etcd", {"pipeline": 8}),
        ("tikv", {}),
        ("tikv", {"pipeline": 8}),
        ("tikv", {"batch": 8, "pipeline": 2}),
        ("tikv", {"batched_stream": True, "pipeline": 8}),
    ],
)
def test_an_engine_takes_it_for_its_target_and_not_one_operation_fails(
    shipped, tmp_path, throwaway_pki, target, calls
):
    port = free_port()
    server = started(shipped, target, port, throwaway_pki, seconds=120)
    try:
        phases = (Phase("warmup", "closed", 1), closed(1))
        plan = plan_for(target, [f"127.0.0.1:{port}"], throwaway_pki.tls(), *phases, **calls)
        spooled = run_engine(tmp_path / "engine", plan)
    finally:
        server.terminate()
        server.wait(120)
        server.stderr.close()
    assert spooled.exit_code == 0, spooled.said
    assert_the_sum_is_right(spooled)
    assert spooled.causes() == {}
    assert spooled.whole()["read"].ok > 0 and spooled.whole()["write"].ok > 0
    seconds = [json.loads(line) for line in (shipped / "told").read_text().splitlines()]
    assert any(0 < one["cpu_share"] <= 1.1 for one in seconds)
    assert server.returncode == 0


def test_it_ends_by_itself_and_a_client_without_a_certificate_is_refused(shipped, throwaway_pki):
    port = free_port()
    server = started(shipped, "redis_cluster", port, throwaway_pki, seconds=2)
    asked = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", "-no_ign_eof"]
    refused = subprocess.run(asked, input=b"*1\r\n$4\r\nPING\r\n", capture_output=True, timeout=120)
    assert b"PONG" not in refused.stdout
    assert server.wait(120) == 0
    server.stderr.close()
