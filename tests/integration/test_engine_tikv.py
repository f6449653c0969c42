"""The engine against the double of PD and TiKV, over mutual TLS: its counts against the double's.

The double counts what it received, applied and refused; the engine must say the same of itself,
to the operation, whatever moves or breaks meanwhile. When something happens is said in operations
that the double has answered, never in seconds: a slow machine must not move it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.window import CAUSES
from loadgen.keyspace import key_bytes
from tests.benchmarks.throwaway import Etcd, Pki
from tests.integration.engine_runs import (
    FILL,
    EngineRun,
    Spooled,
    assert_the_sum_is_right,
    closed,
    open_loop,
    plan_for,
    run_engine,
    until,
)
from tests.integration.tikv_accounts import (
    READS,
    WRITES,
    assert_it_is_what_the_double_saw,
    happened,
    more_calls,
    refused,
)
from tests.tikv_double import Double, DoubleError
from tests.tikv_double.counters import RECEIVED

pytestmark = pytest.mark.timeout(600)

PREFIX, KEYS = "bench:", 600
SPLITS = [key_bytes(PREFIX, number) for number in range(100, KEYS, 100)]
WAYS = {"unary": {}, "batch": {"batch": 8}, "stream": {"batched_stream": True}}


@pytest.fixture
def double(throwaway_pki: Pki):
    with Double(stores=3, pds=3, tls=throwaway_pki.tls("host"), split_at=SPLITS) as running:
        yield running


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


@pytest.fixture
def plan(double: Double, throwaway_pki: Pki) -> Callable[..., Plan]:
    def made(*phases: Phase, **changes) -> Plan:
        changes = {"keyspace": Keyspace(KEYS, PREFIX), "connections": 6, "pipeline": 4, **changes}
        return plan_for("tikv", double.pds, throwaway_pki.tls(), *phases, **changes)

    return made


def filled(double: Double) -> None:
    """Until every key is there, so that the next phase is about to begin."""
    until(lambda: double.command("keys") == KEYS, "all keys are there")


def pressed(double: Double) -> None:
    """Until the phase after the fill is well under way on every connection."""
    filled(double)
    more_calls(double, 50)


def test_it_is_filled_pressed_and_read_back_without_an_error(double, plan, tmp_path, way):
    spooled = run_engine(tmp_path, plan(FILL, closed(2), open_loop(2, 300), **way))
    assert spooled.exit_code == 0, spooled.said
    assert spooled.causes() == {}
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.whole("fill")["write"].ok == KEYS
    assert spooled.count("ok", "capacity") > 24, "each connection answers more than once"
    assert spooled.count("due", "steady") == pytest.approx(600, rel=0.2)
    assert spooled.end.notes["tls_version"] == "TLSv1.3"
    assert spooled.end.notes["regions"] == "6"
    assert len(spooled.end.notes["stores"].split()) == 3
    assert spooled.moved() == 0
    assert max(window.generator.in_flight_max for window in spooled.windows) <= 24 * way.get(
        "batch", 1
    )


# What moves: nothing is lost, nothing is doubled, and each redirect is counted.


def test_splits_and_leader_moves_under_load_lose_and_double_nothing(double, plan, tmp_path, way):
    run = EngineRun(tmp_path, plan(FILL, open_loop(6, 400), **way))
    pressed(double)
    for turn in range(12):
        number = 25 + 45 * turn
        double.split(key_bytes(PREFIX, number), tell_pd=turn % 3 > 0)
        double.move_leader(key_bytes(PREFIX, number), 1 + turn % 3, tell_pd=turn % 2 > 0)
        more_calls(double, 20)
    double.command("replace_peer", key=key_bytes(PREFIX, 300).hex(), store=2)
    spooled = run.finish()
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.causes() == {}
    # A connection that moves makes its first call, which may be refused and is nobody's.
    first_calls = sum(window.generator.reconnects for window in spooled.windows)
    assert spooled.moved() >= refused(double) - first_calls
    assert spooled.moved() > 10
    if "batch" not in way:
        assert spooled.moved() <= refused(double)


def test_after_a_merge_writes_to_what_is_gone_are_unknown_until_pd_is_asked(
    double, plan, tmp_path, way
):
    run = EngineRun(tmp_path, plan(FILL, open_loop(4, 400), **way))
    pressed(double)
    double.merge(SPLITS[0])
    spooled = run.finish()
    assert_it_is_what_the_double_saw(spooled, double)
    assert set(spooled.causes()) <= {"other"}
    assert spooled.end.failed == 0
    assert spooled.end.unknown < 40
    assert spooled.moved() + spooled.end.unknown > 0
    assert spooled.last_complete().operations["write"].unknown == 0


def test_a_fill_goes_on_through_moves(double, plan, tmp_path, way):
    run = EngineRun(tmp_path, plan(FILL, value_bytes=60_000, timeout_ms=10_000, **way))
    for turn in range(8):
        there = KEYS * turn // 8
        until(lambda: double.command("keys") >= there, f"{there} keys are there")  # noqa: B023
        double.move_leader(SPLITS[turn % 5], 1 + turn % 3)
        double.split(key_bytes(PREFIX, 37 + 50 * turn))
    spooled = run.finish()
    assert spooled.exit_code == 0, spooled.said
    assert_it_is_what_the_double_saw(spooled, double)
    assert len(double.values()) == KEYS


# What is refused.

FOLLOWED = ["RecoveryInProgress", "data_is_not_ready", "epoch_not_match", "key_not_in_region",
            "max_timestamp_not_synced", "not_leader", "proposal_in_merging_mode",
            "read_index_not_ready", "region_not_initialized", "store_not_match"]  # fmt: skip
FINAL = {"disk_full": "no_space", "raft_entry_too_large": "other", "server_is_busy": "busy"}
UNCERTAIN = ["key_error", "message_only", "region_not_found", "stale_command"]


def pressed_with(double: Double, plan, tmp_path, kind: str, **rule) -> tuple[Spooled, int]:
    """Two seconds of load of which a twentieth meets the fault; how many requests met it."""
    run = EngineRun(tmp_path, plan(FILL, Phase("rest", "open", 1, 10), open_loop(3, 300)))
    filled(double)
    double.fault(kind, share=0.05, count=None, **rule)
    spooled = run.finish()
    assert_the_sum_is_right(spooled)
    event = f"fault:{kind}" + ":after" * bool(rule.get("after"))
    return spooled, happened(double, READS + WRITES, event)


@pytest.mark.parametrize("kind", FOLLOWED)
def test_an_error_before_a_proposal_is_followed_and_counted(double, plan, tmp_path, kind):
    spooled, met = pressed_with(double, plan, tmp_path, kind)
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.causes() == {}
    assert spooled.moved() == met > 0


@pytest.mark.parametrize("kind", FINAL)
def test_an_error_that_is_final_fails_and_is_counted_by_its_cause(double, plan, tmp_path, kind):
    spooled, met = pressed_with(double, plan, tmp_path, kind, backoff_ms=20)
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.causes() == {FINAL[kind]: met}
    assert (spooled.end.failed, spooled.end.unknown, spooled.moved()) == (met, 0, 0)
    assert met > 0


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", UNCERTAIN)
def test_a_write_that_may_have_been_applied_is_unknown(double, plan, tmp_path, kind, after):
    spooled, _ = pressed_with(double, plan, tmp_path, kind, method="RawPut", after=after)
    met = happened(double, ("RawPut",), f"fault:{kind}" + ":after" * after)
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.causes() == {"other": met}
    assert (spooled.end.failed, spooled.end.unknown) == (0, met)
    applied = len(double.writes())
    assert applied == spooled.whole()["write"].ok + met * after


def test_a_read_goes_on_where_a_write_would_be_unknown(double, plan, tmp_path):
    spooled, met = pressed_with(double, plan, tmp_path, "stale_command", method="RawGet")
    assert spooled.causes() == {}
    assert spooled.moved() == met > 0


def test_a_region_that_nobody_leads_ends_each_operation_after_five(double, plan, tmp_path):
    run = EngineRun(tmp_path, plan(FILL, open_loop(5, 60, "constant")))
    pressed(double)
    double.move_leader(SPLITS[2], None, tell_pd=False)
    spooled = run.finish()
    assert_it_is_what_the_double_saw(spooled, double)
    assert set(spooled.causes()) == {"cluster_down"}
    assert spooled.end.failed > 0
    # Sent once, and five times more; each refusal is counted.
    assert spooled.moved() == refused(double) == 6 * spooled.end.failed


def test_while_pd_knows_no_leader_nothing_is_sent_and_nothing_lost(double, plan, tmp_path, way):
    run = EngineRun(tmp_path, plan(FILL, open_loop(5, 200), **way))
    pressed(double)
    double.move_leader(SPLITS[2], None)
    time.sleep(1.5)  # how long nobody leads is what the response times must show
    double.move_leader(SPLITS[2], 2)
    spooled = run.finish()
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.causes() == {}
    assert spooled.whole("steady")["read"].response.max_us > 1_000_000
    assert spooled.count("due", "steady") == spooled.count("sent", "steady")


def test_missing_values_are_told_from_wrong_ones(double, plan, tmp_path, way):
    pairs = {key_bytes(PREFIX, number).hex(): b"x".hex() for number in range(0, KEYS, 2)}
    double.command("load", pairs=pairs)
    spooled = run_engine(tmp_path, plan(closed(2), read_share=1.0, **way))
    assert_the_sum_is_right(spooled)
    assert set(spooled.causes()) == {"missing", "corrupt"}
    assert spooled.end.failed == spooled.end.sent > 24


# What breaks.


def test_a_store_that_dies_costs_what_was_in_flight_and_its_keys_go_on(double, plan, tmp_path, way):
    run = EngineRun(tmp_path, plan(FILL, open_loop(120, 300), **way))
    pressed(double)
    double.command("stop_store", store=2, elect=True)
    more_calls(double, 200)
    double.command("start_store", store=2)
    double.command("spread_leaders")
    run.wait_for_answers(time.time())
    run.stop()
    spooled = run.finish()
    assert_it_is_what_the_double_saw(spooled, double)
    # Time is over for nothing but what the stop does not wait for.
    assert set(spooled.causes()) <= {"connection", "cluster_down", "timeout"}
    lost = spooled.end.failed + spooled.end.unknown - spooled.causes().get("timeout", 0)
    assert lost <= 24 * way.get("batch", 1), "what was in flight"
    last = spooled.last_complete()
    assert sum(operation.ok for operation in last.operations.values()) > 0
    assert last.operations["read"].failed + last.operations["write"].failed == 0


def test_a_stall_is_in_the_response_time_and_nothing_is_lost(double, plan, tmp_path, way):
    run = EngineRun(tmp_path, plan(FILL, open_loop(5, 300), **way))
    pressed(double)
    double.command("stall_store", store=1, seconds=1.2)
    spooled = run.finish()
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.causes() == {}
    assert spooled.whole("steady")["read"].response.percentile_us(99) > 600_000


def test_silence_beyond_the_limit_is_unknown(double, plan, tmp_path, way):
    run = EngineRun(tmp_path, plan(FILL, open_loop(5, 200), timeout_ms=700, **way))
    pressed(double)
    double.fault("hang", count=3)
    spooled = run.finish()
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.causes()["timeout"] >= 1
    assert set(spooled.causes()) <= {"timeout", "connection"}
    assert spooled.end.failed == 0


def test_broken_connections_cost_unknown_operations_alone(double, plan, tmp_path, way):
    run = EngineRun(tmp_path, plan(FILL, open_loop(5, 300), **way))
    pressed(double)
    double.fault("drop_connection", share=0.02, count=None, after=True)
    spooled = run.finish()
    assert_it_is_what_the_double_saw(spooled, double)
    assert set(spooled.causes()) == {"connection"}
    assert sum(window.generator.reconnects for window in spooled.windows) >= 3


def test_another_pd_leads_and_is_asked_then(double, plan, tmp_path):
    run = EngineRun(tmp_path, plan(FILL, open_loop(5, 300)))
    pressed(double)
    double.command("stop_pd", member=1, leader=3)
    asked = double.counters().get("pd-3", {}).get("ScanRegions", {})
    double.move_leader(SPLITS[1], 1)
    double.fault("key_not_in_region", count=5)  # so that PD is asked
    until(lambda: "ScanRegions" in double.counters().get("pd-3", {}), "the third PD is asked")
    double.split(key_bytes(PREFIX, 333))
    spooled = run.finish()
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.causes() == {}
    assert not asked
    assert double.counters()["pd-3"]["ScanRegions"]["applied"] > 0


def test_without_a_leading_pd_the_session_says_so(double, plan, tmp_path):
    double.command("pd_leader", member=None)
    spooled = run_engine(tmp_path, plan(FILL))
    assert (spooled.exit_code, spooled.end.outcome) == (5, "failed")
    assert "no endpoint is a PD that leads" in spooled.end.reason
    assert "knows no leader" in spooled.end.reason


def test_a_stranger_is_refused(double, plan, throwaway_pki, tmp_path):
    stranger = Pki.make(tmp_path / "stranger").tls()
    trusting = replace(stranger, ca=throwaway_pki.path("ca.crt"))
    spooled = run_engine(tmp_path, replace(plan(FILL), tls=trusting))
    assert (spooled.exit_code, spooled.end.outcome) == (5, "failed")
    assert "no endpoint is a PD that leads" in spooled.end.reason
    assert spooled.end.sent == 0


def test_a_store_of_another_ca_is_refused(double, plan, tmp_path):
    stranger = Pki.make(tmp_path / "stranger").tls()
    spooled = run_engine(tmp_path, replace(plan(FILL), tls=stranger))
    assert (spooled.exit_code, spooled.end.outcome) == (5, "failed")
    assert "tls" in spooled.end.reason
    assert spooled.end.sent == 0


def test_an_etcd_is_not_a_pd(etcd_members, tmp_path):
    member: Etcd = etcd_members()
    spooled = run_engine(tmp_path, plan_for("tikv", [member.endpoint], member.pki.tls(), FILL))
    assert (spooled.exit_code, spooled.end.outcome) == (5, "failed")
    assert "no endpoint is a PD" in spooled.end.reason


def misfortune(double: Double, chance: Random) -> None:
    """Anything at all, once."""
    key, store = key_bytes(PREFIX, chance.randrange(KEYS)), chance.randrange(1, 4)
    kind = chance.choice([*FOLLOWED, *FINAL, *UNCERTAIN, "hang", "drop_connection", "stall"])
    after = kind in ("hang", "drop_connection", "stale_command", "region_not_found")
    chance.choice(
        [
            lambda: double.split(key, tell_pd=chance.random() < 0.5),
            lambda: double.merge(key, tell_pd=chance.random() < 0.5),
            lambda: double.move_leader(key, store, tell_pd=chance.random() < 0.5),
            lambda: double.move_leader(key, None, tell_pd=chance.random() < 0.5),
            lambda: double.command("replace_peer", key=key.hex(), store=store),
            lambda: double.command("spread_leaders"),
            lambda: double.command("stall_store", store=store, seconds=chance.random()),
            lambda: double.command("pd_leader", member=chance.choice([1, 2, 3, None])),
            lambda: double.fault(kind, count=chance.randrange(1, 6), stall_s=0.4,
                                 after=after and chance.random() < 0.5),
        ]
    )()  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_the_counts_are_the_doubles(double, plan, tmp_path, way, seed):
    chance = Random(f"{seed}/{way}")
    phases = (FILL, open_loop(5, 300), closed(3))
    run = EngineRun(tmp_path, plan(*phases, timeout_ms=800, **way))
    for least in (10, 40):
        while least > 0 or not run.shows("capacity"):
            with suppress(DoubleError):  # the last region has no neighbour to merge with
                misfortune(double, chance)
            with suppress(AssertionError):  # after some of them no call can come
                more_calls(double, chance.randrange(50), RECEIVED, within_s=0.2)
            least -= 1
    double.command("spread_leaders")
    double.command("pd_leader", member=1)
    double.command("clear_faults")
    spooled = run.finish()
    assert spooled.exit_code == 0, spooled.said
    assert_it_is_what_the_double_saw(spooled, double)
    assert spooled.end.ok > 500
    assert set(spooled.causes()) <= set(CAUSES) - {"missing", "corrupt", "protocol", "auth", "tls"}
