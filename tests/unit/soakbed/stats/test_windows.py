"""Windows of workers merged into phases: exact sums, honest seconds, the generator's worst."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import Histogram
from loadgen.contract.window import GeneratorState, OperationWindow, Window
from soakbed.stats.windows import merge_windows


@st.composite
def windows(draw) -> Window:
    def operation() -> OperationWindow:
        seen = [draw(st.integers(0, 100_000)) for _ in range(draw(st.integers(0, 5)))]
        histogram = Histogram()
        for value in seen:
            histogram.record(value)
        failed, unknown = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        sent = len(seen) + failed + unknown
        return OperationWindow(
            due=sent,
            sent=sent,
            ok=len(seen),
            failed=failed,
            unknown=unknown,
            causes={"busy": failed, "timeout": unknown},
            response=histogram,
            service=histogram,
            lag=Histogram(),
        )

    return Window(
        worker=draw(st.integers(0, 2)),
        seq=0,
        phase=draw(st.sampled_from(["warmup", "steady"])),
        mode="open",
        start_s=draw(st.integers(100, 130)),
        length_s=1,
        operations={"read": operation(), "write": operation()},
        generator=GeneratorState(cpu_share=draw(st.floats(0, 1))),
    )


@settings(deadline=None)  # other work on the machine is no failure
@given(st.lists(windows(), min_size=1, max_size=12))
def test_merged_is_the_sum_of_its_parts(parts):
    merged = merge_windows(parts)
    for phase, held in merged.items():
        mine = [part for part in parts if part.phase == phase]
        for name, operation in held.operations.items():
            whole = OperationWindow()
            for part in mine:
                whole.add(part.operations[name])
            for count in ("due", "sent", "ok", "failed", "unknown", "dropped", "causes"):
                assert getattr(operation, count) == getattr(whole, count)
            assert operation.response.buckets.tolist() == whole.response.counts
            assert operation.response.max_us == whole.response.max_us
        steps = held.timeline.steps()
        assert sum(step.ok["read"] for step in steps) == held.operations["read"].ok


@settings(deadline=None)  # other work on the machine is no failure
@given(st.lists(windows(), min_size=1, max_size=8), st.randoms())
def test_the_order_of_windows_does_not_matter(parts, random):
    mixed = list(parts)
    random.shuffle(mixed)

    def numbers(of):
        return {
            name: held.numbers(planned_s=30, offered_per_s=10.0, arrivals="poisson")
            for name, held in merge_windows(of).items()
        }

    first, second = numbers(parts), numbers(mixed)
    assert first.keys() == second.keys()
    for name, phase in first.items():
        assert phase.operations == second[name].operations
        assert phase.series == second[name].series
        assert phase.latency_series == second[name].latency_series


def window(start_s: int, ok: int, *, cpu: float = 0.5, complete: bool = True, worker: int = 0):
    histogram = Histogram()
    histogram.record(300, ok)
    seen = OperationWindow(due=ok, sent=ok, ok=ok, response=histogram)
    state = GeneratorState(cpu_share=cpu, loop_lag_max_us=start_s, moved=1, ask=2, reconnects=3)
    return Window(
        worker, start_s, "steady", "open", start_s, 1, {"read": seen}, state, complete=complete
    )


def numbers_of(parts, *, planned_s: float = 0.0, workers: int = 1):
    held = merge_windows(parts)["steady"]
    return held.numbers(
        planned_s=planned_s, offered_per_s=100.0, arrivals="constant", workers=workers
    )


@pytest.mark.parametrize(
    ("planned_s", "seconds"),
    [
        pytest.param(0.0, 12.0, id="as long as it took"),
        pytest.param(10.0, 10.0, id="the plan, where windows reach beyond the phase"),
        pytest.param(30.0, 12.0, id="what there is, where the phase was cut short"),
    ],
)
def test_rates_are_over_the_time_that_the_phase_had(planned_s, seconds):
    made = numbers_of([window(at, 100) for at in range(12)], planned_s=planned_s)
    assert made.seconds == seconds
    assert made.throughput_per_s == pytest.approx(1200 / seconds, abs=0.001)


def test_capacity_is_that_of_whole_windows():
    parts = [window(at, 100, worker=worker) for at in range(10) for worker in (0, 1)]
    parts += [window(10, 30, worker=worker, complete=False) for worker in (0, 1)]
    for part in parts:
        part.mode = "closed"
    assert numbers_of(parts, planned_s=10.0, workers=2).throughput_per_s == 200.0


def test_percentiles_over_time_get_longer_steps_than_rates():
    made = numbers_of([window(at, 400) for at in range(12)])
    assert len(made.series) == 12
    assert [point.seconds for point in made.latency_series] == [3, 3, 3, 3]
    assert all(point.p99_us == {"read": 300} for point in made.latency_series)


def test_the_busiest_worker_speaks_for_the_generator():
    parts = [window(at, 10, cpu=0.2) for at in range(10)]
    parts += [window(at, 10, cpu=0.6, worker=1) for at in range(10)]
    parts += [window(10, 5, cpu=0.01, worker=1, complete=False)]
    state = numbers_of(parts).generator
    assert state.cpu_share == 0.6
    assert state.loop_lag_max_us == 10
    assert (state.redirects, state.reconnects) == (3 * 21, 3 * 21)


def test_a_second_that_a_worker_missed_is_marked():
    parts = [window(at, 2000) for at in range(10)]
    parts += [window(at, 2000, worker=1) for at in range(10) if at != 4]
    series = numbers_of(parts, workers=2).series
    assert [point.complete for point in series] == [at != 4 for at in range(10)]
    assert series[0].ok_per_s == {"read": 4000.0}


def test_capacity_is_that_of_windows_in_which_every_worker_pressed():
    parts = [window(at, 100, worker=0) for at in range(10)]
    parts += [window(at, 100, worker=1) for at in range(4, 14)]
    for part in parts:
        part.mode = "closed"
        part.operations["read"].ok = 100 if 4 <= part.start_s < 10 else 160  # alone it is faster
    assert numbers_of(parts, planned_s=10.0, workers=2).throughput_per_s == 200.0


def test_the_share_of_a_worker_that_died_is_missing_and_nobody_elses():
    parts = [window(at, 100, worker=0) for at in range(10)]
    parts += [window(at, 100, worker=1) for at in range(6)]
    (lost,) = numbers_of(parts, planned_s=10.0, workers=2).missing
    assert (lost.worker, lost.seconds, lost.share) == (1, 4, 0.2)


def test_a_worker_that_never_was_there_is_missing_whole():
    made = numbers_of([window(at, 100) for at in range(10)], planned_s=10.0, workers=4)
    assert [(one.worker, one.share) for one in made.missing] == [(1, 0.25), (2, 0.25), (3, 0.25)]
    assert [point.complete for point in made.series] == [False] * 10


def test_nothing_is_missing_of_workers_that_were_there():
    parts = [window(at, 100, worker=worker) for at in range(10) for worker in (0, 1)]
    parts += [window(10, 3, worker=1, complete=False)]
    assert numbers_of(parts, planned_s=10.0, workers=2).missing == ()
