"""Controls whose truth is known: a hog on the engine's core is found, a stalled target is not.

The truth is what the kernel counted, so that neither a fast nor a busy machine changes the answer.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadgen.contract.limits import limits_broken
from loadgen.contract.window import Window
from tests.benchmarks.core_watch import CoreWatch, waited_s_of
from tests.integration.engine_runs import FILL, EngineRun, open_loop, plan_for

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.cpu_count() < 2, reason="one core only: run it on a machine with two"),
    pytest.mark.skipif(
        not Path("/proc/self/schedstat").exists(),
        reason="the kernel counts no waiting for a core: boot Debian's, or CONFIG_SCHED_INFO",
    ),
]

SERVER_CORE, ENGINE_CORE = 0, 1
RATE = 3000
# It ends by itself, too, should the test be killed.
HOG = "import time\nends = time.monotonic() + 20\nwhile time.monotonic() < ends: pass"


@pytest.fixture
def engine(redis_master, tmp_path):
    """An engine on its own core, no special priority, the server and this test on the other."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(redis_master.popen.pid, {SERVER_CORE})
    os.sched_setaffinity(0, {ENGINE_CORE})  # inherited
    plan = plan_for(
        "redis_cluster",
        [redis_master.endpoint],
        redis_master.pki.tls(),
        FILL,
        open_loop(120, RATE),
        connections=48,
    )
    run = EngineRun(tmp_path, plan)
    os.sched_setaffinity(0, {SERVER_CORE})
    yield run
    if run.popen.poll() is None:
        run.popen.kill()
        run.popen.communicate()
    os.sched_setaffinity(0, mine)


def steady(run: EngineRun) -> list[Window]:
    run.stop()
    spooled = run.finish()
    assert spooled.exit_code == 0, spooled.said
    return [one for one in spooled.windows if one.phase == "steady" and one.complete]


def reasons(window: Window) -> set[str]:
    return {one.reason for one in limits_broken(window)}


def test_a_busy_process_on_the_engines_core_is_flagged_within_five_seconds(engine):
    engine.wait_for_window("steady")
    hog = subprocess.Popen(["taskset", "-c", str(ENGINE_CORE), sys.executable, "-c", HOG])
    try:
        time.sleep(0.5)
        from_s, before_s = time.time(), waited_s_of(engine.popen.pid)
        time.sleep(5)
        waited = (waited_s_of(engine.popen.pid) - before_s) / (time.time() - from_s)
        assert hog.poll() is None
    finally:
        hog.kill()
        hog.wait()
    assert waited > 0.1, f"the engine waited {waited:.0%} of the time: the hog is no control"
    during = [one for one in steady(engine) if from_s <= one.start_s <= from_s + 4]
    assert len(during) >= 3
    flagged = [one for one in during if reasons(one) & {"core_taken", "own_delay"}]
    assert flagged, [one.generator for one in during]


def test_a_target_that_stalls_is_not_the_generators_fault(engine, redis_master):
    engine.wait_for_window("steady")
    with CoreWatch(ENGINE_CORE, engine.popen.pid) as watch:
        redis_master.signal(signal.SIGSTOP)
        time.sleep(1.4)
        redis_master.signal(signal.SIGCONT)
        engine.wait_for_answers(time.time())
        windows = steady(engine)
    stalled = [one for one in windows if one.generator.overdue_max > RATE / 10]
    assert stalled, "the stall is in the record: requests were due and waited"
    worst = max(one.operations["read"].response.max_us for one in windows)
    assert worst > 1_000_000, "and in the response times"
    # Where others had the engine's core just then, a flag would be right: it is the kernel's word.
    undisturbed = [one for one in stalled if watch.others.get(one.start_s, 1.0) < 0.05]
    assert [reasons(one) for one in undisturbed] == [set()] * len(undisturbed)
    assert all("cpu" not in reasons(one) for one in stalled)
