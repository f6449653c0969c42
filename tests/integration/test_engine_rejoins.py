"""An engine that was killed goes on at the right second of its plan, and nothing else is lost."""

from __future__ import annotations

import json
import math
import time
from itertools import takewhile

import pytest

from loadgen.contract.plan import Plan
from loadgen.engine.schedule import schedule_of
from tests.benchmarks.throwaway import Redis
from tests.integration.engine_runs import (
    FILL,
    EngineRun,
    Spooled,
    closed,
    open_loop,
    plan_for,
)

pytestmark = pytest.mark.timeout(600)

SECOND = 1_000_000_000
COUNTS = ("sent", "ok", "failed", "unknown")


def plan(master: Redis, *phases, **changes) -> Plan:
    return plan_for("redis_cluster", [master.endpoint], master.pki.tls(), *phases, **changes)


def killed(run: EngineRun, *, after_s: float = 0.0) -> float:
    """kill -9, now or a little later; when that was."""
    time.sleep(after_s)
    run.popen.kill()
    run.popen.communicate()
    return time.time()


def operations_sent(master: Redis) -> int:
    """SET and GET that the server was sent."""
    told = master.cli("INFO", "commandstats")
    found = [line.split("calls=")[1] for line in told.splitlines() if line.startswith(
        ("cmdstat_get:", "cmdstat_set:"))]  # fmt: skip
    return sum(int(one.split(",")[0]) for one in found)


def due_in(made: Plan, number: int, second: int) -> int:
    schedule = schedule_of(made, number, rank=0, start_ns=0, from_s=second)
    return sum(1 for _ in takewhile(lambda one: one[0] < (second + 1) * SECOND, schedule))


def own_totals(spooled: Spooled) -> dict[str, int]:
    """Sums of the windows since the last begin."""
    last = spooled.begins[-1].seq
    return {
        name: sum(
            getattr(operation, name)
            for window in spooled.windows
            if window.seq >= last
            for operation in window.operations.values()
        )
        for name in COUNTS
    }


def test_a_killed_engine_goes_on_at_the_right_second_and_only_the_seconds_down_are_missing(
    redis_master, tmp_path
):
    made = plan(redis_master, FILL, open_loop(15, 400), seed=3)
    run = EngineRun(tmp_path, made)
    run.wait_for_window("steady")
    killed(run, after_s=2.4)
    on_disk = run.windows()[-1].start_s
    with run.spool.open("ab") as spool:
        spool.write(b"\x90\x01\x00\x00half a frame")
    time.sleep(1.5)  # nobody presses: whole seconds that must be missing later
    before, began_s = operations_sent(redis_master), time.time()
    spooled = EngineRun(tmp_path, made).finish()

    assert spooled.exit_code == 0, spooled.said
    assert [begin.attempt for begin in spooled.begins] == [0, 1]
    assert spooled.begins[1].reason == "engine_died"
    assert [window.seq for window in spooled.windows] == list(range(len(spooled.windows)))
    clock = json.loads((tmp_path / "clock-0.json").read_text())
    steady = {w.start_s - clock["steady"]: w for w in spooled.windows if w.phase == "steady"}
    pressed = {second for second in steady if second < 15}
    missing = sorted(set(range(15)) - pressed)
    # Seconds that were not on disk when it died, those down, and those it took to be there again.
    assert missing == list(range(missing[0], missing[-1] + 1))
    assert missing[0] == on_disk + 1 - clock["steady"]
    assert missing[-1] >= math.ceil(began_s) - 1 - clock["steady"], "nobody presses the past"
    for second in pressed:
        due = sum(operation.due for operation in steady[second].operations.values())
        assert due == due_in(made, 1, second), f"second {second}"
    own = own_totals(spooled)
    assert own == {name: getattr(spooled.end, name) for name in COUNTS}
    assert own["sent"] == own["ok"] == operations_sent(redis_master) - before


def test_phases_that_passed_meanwhile_are_over_and_the_next_begins_in_its_time(
    redis_master, tmp_path
):
    made = plan(redis_master, closed(2), open_loop(14, 200))
    run = EngineRun(tmp_path, made)
    run.wait_for_window("capacity")
    killed(run)
    clock = json.loads((tmp_path / "clock-0.json").read_text())
    while time.time() < clock["capacity"] + 3.5:  # nobody presses, and the capacity phase ends
        time.sleep(0.1)
    spooled = EngineRun(tmp_path, made).finish()
    clock = json.loads((tmp_path / "clock-0.json").read_text())
    assert clock["steady"] == clock["capacity"] + 2 + 1
    assert {window.phase for window in spooled.windows if window.seq >= spooled.begins[1].seq} == {
        "steady"
    }
    last = max(window.start_s for window in spooled.windows if window.complete)
    assert last == clock["steady"] + 13
    assert spooled.end.outcome == "finished"


def test_a_fill_is_begun_again_and_whole(redis_master, tmp_path):
    made = plan(redis_master, FILL, open_loop(1, 50), value_bytes=100_000, connections=1)
    run = EngineRun(tmp_path, made)
    while int(redis_master.cli("DBSIZE")) < 20:
        time.sleep(0.01)
    killed(run)
    spooled = EngineRun(tmp_path, made).finish()
    assert spooled.exit_code == 0, spooled.said
    assert redis_master.cli("DBSIZE").strip() == "500"
    assert spooled.end.ok == own_totals(spooled)["ok"] >= 500


def test_a_session_that_has_ended_starts_nothing(redis_master, tmp_path):
    made = plan(redis_master, closed(1))
    EngineRun(tmp_path, made).finish()
    before, sent = (tmp_path / "worker-0.spool").read_bytes(), operations_sent(redis_master)
    again = EngineRun(tmp_path, made).finish()
    assert again.exit_code == 0
    assert "has ended, finished" in again.said
    assert (tmp_path / "worker-0.spool").read_bytes() == before
    assert operations_sent(redis_master) == sent


def test_one_rank_has_one_engine(redis_master, tmp_path):
    made = plan(redis_master, open_loop(60, 50))
    run = EngineRun(tmp_path, made)
    run.wait_for_window("steady")
    second = EngineRun(tmp_path, made).finish()
    assert second.exit_code == 6
    assert "another engine presses" in second.said
    run.stop()
    assert run.finish().exit_code == 0


def test_a_stop_that_was_asked_for_stops_the_engine_and_stays_a_stop(redis_master, tmp_path):
    made = plan(redis_master, open_loop(60, 50))
    run = EngineRun(tmp_path, made)
    run.wait_for_window("steady")
    (tmp_path / "stop").touch()
    spooled = run.finish()
    assert spooled.end.outcome == "stopped"
    assert EngineRun(tmp_path, made).finish().end.outcome == "stopped"


def test_a_killed_engine_of_a_session_that_was_stopped_does_not_come_back(redis_master, tmp_path):
    made = plan(redis_master, open_loop(60, 50))
    run = EngineRun(tmp_path, made)
    run.wait_for_window("steady")
    killed(run)
    (tmp_path / "stop").touch()
    sent = operations_sent(redis_master)
    spooled = EngineRun(tmp_path, made).finish()
    assert spooled.end.outcome == "stopped"
    assert operations_sent(redis_master) == sent


def test_a_target_that_is_away_is_tried_again_later_and_is_no_end(redis_master, tmp_path):
    made = plan(redis_master, open_loop(60, 50))
    run = EngineRun(tmp_path, made)
    run.wait_for_window("steady")
    killed(run)
    redis_master.stop(kill=True)
    again = EngineRun(tmp_path, made).finish()
    assert again.exit_code == 75
    assert "goes on later" in again.said
    assert again.end is None
