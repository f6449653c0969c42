"""What Locust is told must be what the engines saw, however reports are lost or repeated."""

from __future__ import annotations

import importlib
import json
from collections import Counter

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.contract.histogram import Histogram
from loadgen.contract.window import OperationWindow
from loadgen.relay import KEPT_SECONDS, MasterTotals, Tally, WorkerTotals

START_S = 1_700_000_000


@pytest.fixture
def locust_entry(monkeypatch: pytest.MonkeyPatch):
    """What Locust makes of a worker's totals."""
    # Importing Locust otherwise patches threads, sockets and TLS of this whole process.
    monkeypatch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    stats = importlib.import_module("locust.stats")

    def made(worker: WorkerTotals):
        of_all = stats.RequestStats()
        entry = stats.StatsEntry(of_all, "read", "steady")
        for tally in MasterTotals().merge(over_the_wire(worker.to_json())):
            data = tally.to_locust(name="read", method="steady")
            entry.extend(stats.StatsEntry.unserialize(data, of_all))
        return entry

    return made


def operation(*latencies_us: int, failed: int = 0, unknown: int = 0) -> dict:
    made = OperationWindow(ok=len(latencies_us), failed=failed, unknown=unknown)
    made.sent = made.ok + failed + unknown
    made.causes = {"busy": failed, "timeout": unknown} if failed + unknown else {}
    for latency_us in latencies_us:
        made.response.record(latency_us)
    return made.to_json()


def window(seq: int, phase: str = "steady", **operations: dict) -> dict:
    return {
        "kind": "window",
        "seq": seq,
        "phase": phase,
        "start_s": START_S + seq,
        "length_s": 1,
        "operations": operations,
    }


def over_the_wire(report: dict) -> dict:
    return msgpack.loads(msgpack.dumps(report), strict_map_key=False)


def summed(tallies: list[Tally]) -> Counter:
    total: Counter = Counter()
    for tally in tallies:
        total[tally.phase, tally.operation, "requests"] += tally.requests
        total[tally.phase, tally.operation, "failures"] += tally.failures
        total[tally.phase, tally.operation, "sum_us"] += tally.sum_us
        for bucket, count in tally.buckets.items():
            total[tally.phase, tally.operation, bucket] += count
        for cause, count in tally.causes.items():
            total[tally.phase, tally.operation, cause] += count
    return total


latencies = st.lists(st.integers(0, 61_000_000), max_size=5)
operations = st.builds(
    lambda ok, failed, unknown: operation(*ok, failed=failed, unknown=unknown),
    latencies,
    st.integers(0, 3),
    st.integers(0, 3),
)


@given(
    windows=st.lists(
        st.tuples(st.sampled_from(["warmup", "steady"]), operations, operations), max_size=12
    ),
    fates=st.lists(st.sampled_from(["arrives", "is lost", "arrives twice"]), max_size=12),
)
def test_the_master_has_every_operation_once_whatever_happens_to_reports(windows, fates):
    worker, master, got = WorkerTotals(rank=0), MasterTotals(), []
    late = worker.to_json()
    for seq, (phase, read, write) in enumerate(windows):
        worker.take(window(seq, phase, read=read, write=write))
        fate = fates[seq] if seq < len(fates) else "arrives"
        for _ in range({"arrives": 1, "is lost": 0, "arrives twice": 2}[fate]):
            got += master.merge(over_the_wire(worker.to_json()))
        got += master.merge(over_the_wire(late))
        late = json.loads(json.dumps(worker.to_json()), object_hook=whole_number_keys)
    got += master.merge(over_the_wire(worker.to_json()))
    assert summed(got) == summed(list(worker.tallies.values()))


def whole_number_keys(value: dict) -> dict:
    return {int(key) if key.isdigit() else key: inner for key, inner in value.items()}


def test_a_master_that_was_started_again_gets_everything_with_the_next_report():
    worker, first, second = WorkerTotals(rank=3), MasterTotals(), MasterTotals()
    worker.take(window(0, read=operation(100, 200)))
    first.merge(worker.to_json())
    worker.take(window(1, read=operation(300)))
    assert summed(second.merge(worker.to_json())) == summed(list(worker.tallies.values()))


def test_workers_add_up():
    master, got = MasterTotals(), []
    for rank in (0, 1):
        worker = WorkerTotals(rank)
        worker.take(window(0, read=operation(100)))
        got += master.merge(worker.to_json())
    assert summed(got)["steady", "read", "requests"] == 2


def test_a_session_is_complete_when_every_rank_has_told_its_end():
    master = MasterTotals()
    for rank in (0, 1):
        assert not master.complete(frozenset({0, 1}))
        worker = WorkerTotals(rank)
        worker.take({"kind": "end", "outcome": "finished"})
        master.merge(worker.to_json())
    assert master.complete(frozenset({0, 1}))


def test_locust_counts_failed_and_unknown_as_failures_without_a_response_time(locust_entry):
    worker = WorkerTotals(0)
    worker.take(window(0, read=operation(1000, 3000, failed=2, unknown=1)))
    entry = locust_entry(worker)
    assert (entry.num_requests, entry.num_failures, entry.num_none_requests) == (5, 3, 3)
    assert entry.avg_response_time == pytest.approx(2.0)


@pytest.mark.parametrize("percentile", [50, 90, 99, 99.9, 100])
def test_locusts_percentiles_are_the_histograms(percentile, locust_entry):
    latencies_us = [80 + 7 * i for i in range(2000)] + [25_000]
    worker, ours = WorkerTotals(0), Histogram()
    worker.take(window(0, read=operation(*latencies_us)))
    for latency_us in latencies_us:
        ours.record(latency_us)
    theirs_ms = locust_entry(worker).get_response_time_percentile(percentile / 100)
    assert theirs_ms == pytest.approx(ours.percentile_us(percentile) / 1000, rel=0.008)


def test_a_median_below_a_millisecond_is_not_shown_as_zero(locust_entry):
    worker = WorkerTotals(0)
    worker.take(window(0, read=operation(*[180] * 100)))
    assert locust_entry(worker).median_response_time == pytest.approx(0.18)


def test_seconds_are_forgotten_after_a_minute_so_that_three_days_fit():
    worker = WorkerTotals(0)
    for seq in range(500):
        worker.take(window(seq, read=operation(100)))
    tally = worker.tallies["steady", "read"]
    assert len(tally.requests_per_s) == KEPT_SECONDS
    assert max(tally.requests_per_s) == START_S + 499
    assert tally.requests == 500


def test_a_long_window_is_spread_over_its_seconds():
    worker = WorkerTotals(0)
    worker.take(window(0, read=operation(*[100] * 7)) | {"length_s": 3})
    assert worker.tallies["steady", "read"].requests_per_s == {
        START_S: 3,
        START_S + 1: 2,
        START_S + 2: 2,
    }


def test_a_worker_in_the_place_of_another_knows_its_totals_without_reading_its_hours(tmp_path):
    path, before = tmp_path / "totals-0.json", WorkerTotals(0)
    for seq in range(100):
        before.take(window(seq, read=operation(100, 90_000, failed=seq % 2)))
    before.save(path, 472_222)
    after, hour = WorkerTotals.restored(path, 0)
    assert hour == 472_222
    for seq in range(100, 103):
        for worker in (before, after):
            worker.take(window(seq, read=operation(70, unknown=1)))
    assert after.to_json() == before.to_json()


@pytest.mark.parametrize("left", [None, "", "{}", "[]", '{"schema": 2, "tallies": []}'])
def test_totals_that_cannot_be_read_are_none_and_the_spools_are_read_anew(tmp_path, left):
    path = tmp_path / "totals-0.json"
    if left is not None:
        path.write_text(left)
    totals, hour = WorkerTotals.restored(path, 0)
    assert (hour, totals.windows, totals.tallies) == (-1, 0, {})
