"""A whole engine against members that talk nonsense: it ends in time, with a sum that is right."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from loadgen.contract.plan import Phase, Plan
from loadgen.contract.window import CAUSES
from tests.benchmarks.throwaway import Pki
from tests.fuzz.garbage_server import GREETINGS, GarbageServer
from tests.integration.engine_runs import (
    EngineRun,
    Spooled,
    assert_the_sum_is_right,
    closed,
    open_loop,
    plan_for,
)

pytestmark = pytest.mark.timeout(600)

PATIENCE_S = 300  # far more than any engine here may take, on a machine however busy
PEAK_BYTES = 256 << 20


def server_context(pki: Pki, target: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki.path("ca.crt"))
    context.load_cert_chain(pki.path("host.crt"), pki.path("host.key"))
    context.verify_mode = ssl.CERT_REQUIRED
    if target != "redis_cluster":
        context.set_alpn_protocols(["h2"])
    return context


def plan_against(server: GarbageServer, pki: Pki | None, *phases: Phase, **changes) -> Plan:
    tls = pki.tls() if pki else None
    plan = plan_for(server.target, [server.start()], tls, *phases, value_bytes=100, **changes)
    server.speaks_for(plan)
    return plan


def watched(run: EngineRun) -> Spooled:
    """Wait for it, and see that it does not take the machine's memory meanwhile."""
    peak, give_up = 0, time.monotonic() + PATIENCE_S
    status = Path(f"/proc/{run.popen.pid}/status")
    while run.popen.poll() is None and time.monotonic() < give_up:
        words = status.read_text().split()
        if "VmHWM:" in words:  # gone once the process is a zombie
            peak = max(peak, int(words[words.index("VmHWM:") + 1]) * 1024)
        time.sleep(0.05)
    spooled = run.finish(timeout=60)
    assert "Traceback" not in spooled.said, spooled.said
    assert 0 < peak < PEAK_BYTES
    return spooled


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
@pytest.mark.parametrize(("target", "pipeline"), [("redis_cluster", 1), ("redis_cluster", 4),
                                                  ("etcd", 3), ("tikv", 3)])  # fmt: skip
def test_a_session_against_garbage_ends_in_time_and_adds_up(
    target, pipeline, secure, throwaway_pki, tmp_path
):
    context = server_context(throwaway_pki, target) if secure else None
    server = GarbageServer(target, seed=pipeline * 2 + secure, context=context)
    plan = plan_against(server, throwaway_pki if secure else None, closed(1), open_loop(2, 400),
                        connections=6, timeout_ms=1000, pipeline=pipeline)  # fmt: skip
    try:
        spooled = watched(EngineRun(tmp_path, plan))
    finally:
        server.stop()
    assert spooled.exit_code == 0, spooled.said
    assert spooled.end.outcome == "finished"
    assert_the_sum_is_right(spooled)
    assert set(spooled.causes()) <= set(CAUSES)
    assert {"protocol", "connection"} <= set(spooled.causes())
    assert 0 < spooled.end.ok <= server.perhaps
    assert spooled.end.failed + spooled.end.unknown <= spooled.end.sent
    assert [window.seq for window in spooled.windows] == list(range(len(spooled.windows)))
    steady = spooled.whole("steady").values()
    for operation in steady:
        assert operation.due == operation.sent + operation.dropped


def test_members_that_do_not_even_greet_are_reported_and_not_waited_on_for_ever(
    throwaway_pki, tmp_path
):
    """Each engine waits for most of its time, so all of them run together."""
    servers, runs = [], []
    for target in ("redis_cluster", "etcd", "tikv"):
        for secure in (True, False):
            for greeting in GREETINGS:
                server = GarbageServer(target, seed=1, greeting=greeting)
                plan = plan_against(server, throwaway_pki if secure else None, closed(1))
                servers.append(server)
                runs.append(EngineRun(tmp_path / str(len(runs)), plan))
    try:
        for run in runs:
            spooled = run.finish(timeout=PATIENCE_S)
            assert spooled.exit_code == 5, spooled.said
            assert "Traceback" not in spooled.said
            assert spooled.end.outcome == "failed"
            assert spooled.end.reason
            assert spooled.end.sent == 0
    finally:
        for server in servers:
            server.stop()
