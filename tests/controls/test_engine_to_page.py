"""Known latencies through everything: recorder, window, spool, measure, numbers.json, page."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st

from loadgen.contract.histogram import MAX_US
from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import SessionEnd
from loadgen.recorder import Clock, Recorder
from soakbed.records.numbers import Numbers
from soakbed.report.numbers_csv import numbers_csv
from soakbed.stages.measure import measure
from tests.golden.make_run import BEGAN_S, SHORT, make_run
from tests.golden.recorded import judged, page_of, shown_of

ALLOWED = 0.008
SECOND = 1_000_000_000
STEPS = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99_9": 99.9, "max": 100}

# One operation as the loop hands it to the recorder: (lag, service), in whole us.
Known = tuple[int, int]


def record(spool: Path, reads: list[Known], writes: list[Known], *, seconds: int) -> None:
    """As the engine would: operations end evenly over the phase's seconds."""
    windows: list = []
    clock = Clock()
    start_ns = clock.monotonic_ns(BEGAN_S * SECOND)
    recorder = Recorder(windows.append, worker=0, length_s=1, clock=clock)
    recorder.begin("steady", "open", start_ns)
    by_end = []
    for index, known in enumerate((reads, writes)):
        gap_ns = seconds * SECOND // (len(known) + 1)
        for at, (lag_us, service_us) in enumerate(known):
            ended_ns = start_ns + (at + 1) * gap_ns
            sent_ns = ended_ns - service_us * 1000
            by_end.append((ended_ns, index, (sent_ns - lag_us * 1000, sent_ns, ended_ns)))
    for ended_ns, index, done in sorted(by_end):
        while ended_ns >= recorder.window_end_ns:
            recorder.close_window()
        recorder.sent[index] += 1
        recorder.due[index] += 1
        recorder.done[index].append(done)
        recorder.absorb_some()
    while len(windows) < seconds:
        recorder.close_window()
    writer = SpoolWriter(spool)
    for window in windows:
        writer.append(window.to_json())
    total = len(by_end)
    end = SessionEnd(0, "finished", "", sent=total, ok=total, failed=0, unknown=0)
    writer.append(end.to_json())
    writer.close()


def nearest_rank(values: list[int], percent: float) -> int:
    """By definition, from all values, without any histogram."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def kinds_of(known: list[Known]) -> dict[str, list[int]]:
    return {
        "response": [lag + service for lag, service in known],
        "service": [service for _, service in known],
        "lag": [lag for lag, _ in known],
    }


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Path:
    """A target's folder with a plan, and nothing else."""
    folder = tmp_path_factory.mktemp("run") / "etcd"
    (folder / "load" / "steady").mkdir(parents=True)
    phase = Phase("steady", "open", 3, 100.0)
    plan = Plan("known", "steady", "etcd", ("h:1",), Keyspace(10, "/k/"), (phase,), None)
    plan.write(folder / "load" / "steady" / "plan.json")
    return folder


latencies = st.builds(
    lambda exponent, fraction: min(MAX_US, int(2**exponent * (1 + fraction))),
    st.integers(0, 25),
    st.floats(0, 1, exclude_max=True),
)


@given(st.lists(st.tuples(latencies, st.integers(1, 120)), min_size=20, max_size=60))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    # Each example writes a spool to disk; a failure names its figure, so nothing is shrunk.
    phases=[Stage.explicit, Stage.reuse, Stage.generate],
)
def test_no_percentile_is_off_by_more_than_0_8_percent_after_numbers_json(target, drawn):
    services = [us for us, count in drawn for _ in range(count)]
    known = [(0, us) for us in services]
    spool = target / "load" / "steady" / "worker-0.spool"
    spool.unlink(missing_ok=True)
    record(spool, known, known[:30], seconds=3)
    numbers = Numbers.model_validate_json(measure(target).model_dump_json(by_alias=True))
    phase = numbers.phase("steady", "steady")
    assert phase is not None
    for name, truth in (("read", services), ("write", services[:30])):
        latency = phase.operations[name].response
        assert latency.count == len(truth)
        for step, percent in STEPS.items():
            said = getattr(latency, f"{step}_us")
            if said is not None:  # a sample too small for it says nothing
                true = nearest_rank(truth, percent)
                assert true <= said <= true * (1 + ALLOWED), (step, said, true)
        assert latency.p50_us is not None
        assert latency.max_us == max(truth)


# From 1 us to 60 s, in four stretches, and lag in some of them.
STRETCHES = {
    ("etcd", "read"): ((1, 30), (0, 0)),
    ("etcd", "write"): ((20, 3_000), (1, 400)),
    ("redis_cluster", "read"): ((1_000, 1_000_000), (1, 100_000)),
    ("redis_cluster", "write"): ((500_000, MAX_US // 2), (500_000, MAX_US // 2)),
}
COUNT = 12_000


def spread(random: Random, low: int, high: int) -> int:
    """Evenly over the decades."""
    return round(low * (high / low) ** random.random()) if low else 0


@pytest.fixture(scope="module")
def known_run(tmp_path_factory) -> tuple[Path, dict[tuple[str, str], list[Known]]]:
    """A whole run folder whose steady phases hold known latencies only."""
    run = make_run(tmp_path_factory.mktemp("known") / "run", with_tikv=False)
    random = Random("engine to page")
    known = {
        where: [(spread(random, *lag), spread(random, *service)) for _ in range(COUNT)]
        for where, (service, lag) in STRETCHES.items()
    }
    for name in ("etcd", "redis_cluster"):
        spool = run / name / "load" / "steady" / "worker-0.spool"
        spool.unlink()
        record(spool, known[name, "read"], known[name, "write"], seconds=SHORT.steady_s)
    judged(run)
    return run, known


def test_the_pages_own_table_is_off_by_0_8_percent_at_most(known_run):
    run, known = known_run
    page = page_of(run)
    worst, cells = 0.0, 0
    for (name, operation), values in known.items():
        for kind, truth in kinds_of(values).items():
            for step, percent in STEPS.items():
                key = f"detail.{name}.{operation}.{kind}_{step}_us"
                found = re.search(rf'data-key="{key}" data-value="(\d+)"[^>]*>([\d.,]+)', page)
                if found is None:  # the page shows lag in its own table only
                    assert kind == "lag" or step == "max", key
                    continue
                said, true = int(found[1]), nearest_rank(truth, percent)
                assert said >= true, key
                assert said <= true * (1 + ALLOWED), key
                if true:
                    worst = max(worst, said / true - 1)
                cells += 1
                # What is printed is that figure, to three digits (formats.ms).
                printed_us = float(found[2].replace(",", "")) * 1000
                assert printed_us == pytest.approx(said, rel=0.005, abs=0.5)
    assert cells >= 4 * 2 * 5
    assert worst > 0.003  # not even near would mean that nothing was tried


def test_the_csv_beside_the_page_is_off_by_0_8_percent_at_most(known_run):
    run, known = known_run
    rows = {
        (row["target"], row["operation"], row["metric"]): float(row["value"])
        for row in csv.DictReader(io.StringIO(numbers_csv(shown_of(run))))
        if (row["session"], row["phase"]) == ("steady", "steady")
    }
    figures = 0
    for (name, operation), values in known.items():
        for kind, truth in kinds_of(values).items():
            for step, percent in STEPS.items():
                said = rows[name, operation, f"{kind}_{step}_us"]
                true = nearest_rank(truth, percent)
                assert true <= said <= true * (1 + ALLOWED), (name, operation, kind, step)
                figures += 1
            mean = sum(truth) / len(truth)
            assert rows[name, operation, f"{kind}_mean_us"] == pytest.approx(
                mean, rel=1e-3, abs=0.1
            )
    assert figures == 4 * 3 * len(STEPS)
