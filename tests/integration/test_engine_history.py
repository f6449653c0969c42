"""Operations that the engine records one by one, against what it counts and what servers hold."""

from __future__ import annotations

import copy
import signal
from pathlib import Path
from typing import Any

import pytest

from loadgen.contract.history import FAILED, VALUES_PER_RANK
from loadgen.contract.plan import Plan
from loadgen.engine.history import history_seed
from tests.benchmarks.throwaway import Pki, make_cluster
from tests.integration.engine_runs import (
    FILL,
    EngineRun,
    Spooled,
    assert_the_sum_is_right,
    open_loop,
    plan_for,
    run_engine,
    until,
)
from tests.integration.recorded import (
    Row,
    assert_all_is_recorded,
    assert_clients_do_one_thing_at_a_time,
    assert_it_makes_sense,
    blocks_of,
    rows_of,
    twice,
    without,
)
from tests.tikv_double import Double

pytestmark = pytest.mark.timeout(180)

SEED = history_seed("test")  # of plan_for
LONG = open_loop(600, 150)  # until it is stopped


def moved(frame: dict[str, Any]) -> int:
    """Redirects that a window counts."""
    return frame["generator"]["moved"] if frame["kind"] == "window" else 0


def timeouts(frame: dict[str, Any]) -> int:
    """Timeouts that a window counts."""
    operations = frame["operations"].values() if frame["kind"] == "window" else ()
    return sum(operation["causes"].get("timeout", 0) for operation in operations)


def assert_whole(spooled: Spooled, rows: list[Row], plan: Plan) -> None:
    assert_the_sum_is_right(spooled)
    assert_all_is_recorded(rows, spooled.windows)
    assert_it_makes_sense(rows, plan.keyspace.keys, share=plan.history_share, seed=SEED)
    if plan.pipeline == plan.batch == 1:
        assert_clients_do_one_thing_at_a_time(rows)


def recorded(folder: Path, plan: Plan) -> list[Row]:
    """Press, and see that all is recorded as it was counted; one row more or less would show."""
    spooled = run_engine(folder, plan)
    assert spooled.exit_code == 0, spooled.said
    blocks = blocks_of(folder)
    assert [block.seq for block in blocks] == list(range(len(blocks)))
    assert not any(block.dropped for block in blocks)
    assert all(block.from_ns < block.until_ns for block in blocks)
    rows = rows_of(blocks)
    assert_whole(spooled, rows, plan)
    for spoil in (without, twice):
        spoilt = copy.deepcopy(blocks)
        spoil(spoilt[-1], 0)
        with pytest.raises(AssertionError):
            assert_all_is_recorded(rows_of(spoilt), spooled.windows)
    return rows


def test_every_operation_of_every_phase_is_recorded_once(redis_members, tmp_path):
    masters = redis_members(2)
    make_cluster(masters)
    plan = plan_for(
        "redis_cluster",
        [masters[0].endpoint],
        masters[0].pki.tls(),
        FILL,
        open_loop(2, 300),
        history_share=1.0,
    )
    rows = recorded(tmp_path, plan)
    assert {row.phase for row in rows} == {"fill", "steady"}
    assert {row.revision for row in rows} == {0}


def test_of_a_sample_the_same_keys_are_recorded_by_all_phases_and_no_others(redis_master, tmp_path):
    plan = plan_for(
        "redis_cluster",
        [redis_master.endpoint],
        redis_master.pki.tls(),
        FILL,
        open_loop(2, 300),
        history_share=0.1,
        pipeline=4,
    )
    assert run_engine(tmp_path, plan).exit_code == 0
    rows = rows_of(blocks_of(tmp_path))
    assert_it_makes_sense(rows, 500, share=0.1, seed=SEED)
    filled = {row.key for row in rows if row.phase == "fill"}
    assert 20 < len(filled) < 90
    assert {row.key for row in rows if row.phase == "steady"} <= filled


def test_etcd_revisions_of_reads_are_those_of_the_writes_they_read(etcd_members, tmp_path):
    member = etcd_members()
    plan = plan_for(
        "etcd",
        [member.endpoint],
        member.pki.tls(),
        FILL,
        open_loop(2, 200),
        history_share=1.0,
    )
    rows = recorded(tmp_path, plan)
    revisions = {row.value: row.revision for row in rows if row.kind == "write"}
    assert len(set(revisions.values())) == len(revisions) and min(revisions.values()) > 1
    reads = [row for row in rows if row.kind == "read"]
    assert len(reads) > 50
    assert [row.revision for row in reads] == [revisions[row.value] for row in reads]


@pytest.mark.parametrize("way", [{}, {"batch": 8}, {"batched_stream": True}])
def test_tikv_is_recorded_whichever_way_it_is_asked(throwaway_pki: Pki, tmp_path, way):
    with Double(stores=3, pds=1, tls=throwaway_pki.tls("host"), split_at=[]) as double:
        plan = plan_for(
            "tikv",
            double.pds,
            throwaway_pki.tls(),
            FILL,
            open_loop(2, 300),
            history_share=1.0,
            pipeline=4,
            **way,
        )
        recorded(tmp_path, plan)


def test_redirected_writes_are_recorded_with_the_id_that_was_applied(redis_members, tmp_path):
    first, replica = redis_members(2)
    make_cluster([first], [replica])
    plan = plan_for(
        "redis_cluster",
        [first.endpoint],
        first.pki.tls(),
        FILL,
        LONG,
        history_share=1.0,
    )
    run = EngineRun(tmp_path, plan)
    run.wait_for_window("steady")
    replica.cli("CLUSTER", "FAILOVER")
    until(lambda: any(moved(frame) for frame in run.frames()), "a redirect was followed")
    run.stop()
    spooled = run.finish()
    rows = rows_of(blocks_of(tmp_path))
    assert spooled.moved() > 0
    assert_whole(spooled, rows, plan)
    # Whatever the last write of a key was, the master that took over holds it.
    for key in range(0, 500, 50):
        held = replica.cli("GET", f"/bench/{key:012}")
        ids = {
            row.value
            for row in rows
            if row.key == key and row.kind == "write" and row.outcome != FAILED
        }
        assert int(held[14:18] + held[19:33]) in ids


def test_timeouts_are_recorded_as_unknown(redis_master, tmp_path):
    plan = plan_for(
        "redis_cluster",
        [redis_master.endpoint],
        redis_master.pki.tls(),
        FILL,
        LONG,
        history_share=1.0,
        timeout_ms=500,
    )
    run = EngineRun(tmp_path, plan)
    run.wait_for_window("steady")
    redis_master.signal(signal.SIGSTOP)
    until(lambda: any(timeouts(frame) for frame in run.frames()), "an operation timed out")
    redis_master.signal(signal.SIGCONT)
    run.stop()
    spooled = run.finish()
    rows = rows_of(blocks_of(tmp_path))
    assert spooled.causes()["timeout"] > 0
    assert_whole(spooled, rows, plan)


def test_a_killed_engine_loses_its_last_block_at_most_and_the_next_one_goes_on(
    redis_master, tmp_path
):
    plan = plan_for(
        "redis_cluster",
        [redis_master.endpoint],
        redis_master.pki.tls(),
        FILL,
        LONG,
        session="steady",
        history_share=1.0,
    )
    run = EngineRun(tmp_path, plan)
    run.wait_for_window("steady")
    run.popen.kill()
    run.popen.communicate()
    blocks = blocks_of(tmp_path)
    written = {row.value for row in rows_of(blocks) if row.kind == "write"}
    assert len(written) >= 500
    # Those in between that are missing were in flight when the last block was closed.
    assert len(set(range(1, max(written) + 1)) - written) <= plan.connections
    path = tmp_path / "worker-0.history"
    path.write_bytes(path.read_bytes() + b"\x40\x00\x00\x00half a frame")
    run = EngineRun(tmp_path, plan)
    until(lambda: blocks_of(tmp_path)[-1].attempt == 1, "the next engine has recorded something")
    run.stop()
    spooled = run.finish()
    assert [begin.attempt for begin in spooled.begins] == [0, 1]
    after = blocks_of(tmp_path)
    assert after[: len(blocks)] == blocks
    assert {block.attempt for block in after[len(blocks) :]} == {1}
    rows = rows_of(after)
    values = [row.value for row in rows if row.kind == "write"]
    assert len(values) == len(set(values)) and max(values) < VALUES_PER_RANK
    lost = {row.value for row in rows if row.kind == "read"} - set(values)
    assert all(max(written) < value < 10**11 for value in lost)  # of the block that is missing


def test_nothing_is_recorded_where_no_key_is_sampled(redis_master, tmp_path):
    plan = plan_for(
        "redis_cluster",
        [redis_master.endpoint],
        redis_master.pki.tls(),
        FILL,
        history_share=0.0,
    )
    assert run_engine(tmp_path, plan).exit_code == 0
    assert not list(tmp_path.glob("*.history"))
