"""Windows of workers merged into phases: exact sums, honest seconds, the generator's worst."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import Histogram
from loadgen.contract.window import GeneratorState, OperationWindow, Window
from soakbed.stats.phase_data import of_windows
from soakbed.stats.windows import phase_numbers
from tests.oracle import windows as oracle


def histogram_of(values_us) -> Histogram:
    made = Histogram()
    for value_us, count in values_us:
        made.record(value_us, count)
    return made


@st.composite
def states(draw) -> GeneratorState:
    share = st.none() | st.floats(0, 1)
    small = st.integers(0, 100_000)
    return GeneratorState(
        cpu_share=draw(st.floats(0, 1)),
        loop_lag_max_us=draw(small),
        overdue_max=draw(small),
        in_flight_max=draw(small),
        reconnects=draw(small),
        moved=draw(small),
        ask=draw(small),
        wait_share=draw(share),
        nic_share=draw(share),
    )


@st.composite
def windows(draw, seq: int) -> Window:
    """One window of a session of three workers: any phase, second, mode and operations."""
    values_us = st.lists(st.tuples(st.integers(0, 70_000_000), st.integers(1, 900)), max_size=4)
    phase = draw(st.sampled_from(["fill", "warmup", "capacity", "steady"]))
    operations = {}
    for name in draw(st.sampled_from([("read", "write"), ("write",), ("read",)])):
        failed, unknown = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        response = histogram_of(draw(values_us))
        ok = response.total
        causes = {cause: n for cause, n in (("busy", failed), ("timeout", unknown)) if n}
        operations[name] = OperationWindow(
            due=draw(st.integers(0, 50)),
            sent=ok + failed + unknown,
            ok=ok,
            failed=failed,
            unknown=unknown,
            dropped=draw(st.sampled_from([0, 0, 0, 7])),
            causes=causes,
            response=response,
            service=histogram_of(draw(values_us)),
            lag=histogram_of(draw(values_us)),
        )
    late = histogram_of(draw(st.lists(st.tuples(st.integers(0, 9000), st.just(60)), max_size=3)))
    return Window(
        worker=draw(st.integers(0, 2)),
        seq=seq,
        phase=phase,
        mode={"fill": "fill", "capacity": "closed"}.get(phase, "open"),
        start_s=draw(st.integers(100, 130) | st.sampled_from([2000, 5000])),
        length_s=1,
        operations=operations,
        generator=draw(states()),
        complete=draw(st.booleans()),
        late=late if phase in ("warmup", "steady") else Histogram(),
    )


@st.composite
def sessions(draw, max_size: int = 12) -> list[Window]:
    """Windows of one session, in the order in which a reader meets them: by worker and number."""
    held = [draw(windows(seq)) for seq in range(draw(st.integers(1, max_size)))]
    return sorted(held, key=lambda one: (one.worker, one.seq))


PLANNED = {"planned_s": 30.0, "offered_per_s": 10.0, "arrivals": "poisson", "workers": 3}


@settings(deadline=None, max_examples=40)  # other work on the machine is no failure
@given(sessions())
def test_columns_say_what_windows_one_by_one_say(session):
    asked = oracle.merge_windows(session)
    made = of_windows(session)
    assert list(made) == list(asked)
    for name, data in made.items():
        assert phase_numbers(data, **PLANNED) == asked[name].numbers(**PLANNED)


@settings(deadline=None, max_examples=15)
@given(sessions(max_size=8), st.randoms())
def test_the_order_of_windows_does_not_matter(session, random):
    mixed = list(session)
    random.shuffle(mixed)
    first, second = of_windows(session), of_windows(mixed)
    assert first.keys() == second.keys()
    for name, data in first.items():
        one, other = (phase_numbers(held, **PLANNED) for held in (data, second[name]))
        assert one.operations == other.operations
        assert one.series == other.series
        assert one.latency_series == other.latency_series
        assert one.generator.marked == other.generator.marked


def window(start_s: int, ok: int, *, cpu: float = 0.5, complete: bool = True, worker: int = 0):
    histogram = Histogram()
    histogram.record(300, ok)
    seen = OperationWindow(due=ok, sent=ok, ok=ok, response=histogram)
    state = GeneratorState(cpu_share=cpu, loop_lag_max_us=start_s, moved=1, ask=2, reconnects=3)
    return Window(
        worker, start_s, "steady", "open", start_s, 1, {"read": seen}, state, complete=complete
    )


def numbers_of(parts, *, planned_s: float = 0.0, workers: int = 1):
    return phase_numbers(
        of_windows(parts)["steady"],
        planned_s=planned_s,
        offered_per_s=100.0,
        arrivals="constant",
        workers=workers,
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


@settings(max_examples=60)
@given(
    st.lists(windows(seq=0), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), min_size=1, max_size=2),
)
def test_figures_without_some_seconds_are_those_of_the_other_windows(held, spans):
    for name, data in of_windows(held).items():
        first_s = min(one.start_s for one in held if one.phase == name)
        without = sorted((first_s + at_s, first_s + at_s + long_s) for at_s, long_s in spans)
        if len(without) == 2 and without[0][1] >= without[1][0]:
            without = [(without[0][0], max(without[0][1], without[1][1]))]
        made = phase_numbers(
            data, planned_s=0, offered_per_s=0, arrivals="", workers=3, without=without
        )
        whole = phase_numbers(data, planned_s=0, offered_per_s=0, arrivals="", workers=3)
        kept = [
            one
            for one in held
            if one.phase == name
            and not any(
                one.start_s < to_s and one.start_s + one.length_s > from_s
                for from_s, to_s in without
            )
        ]
        for operation, told in made.operations.items():
            mine = [one.operations[operation] for one in kept if operation in one.operations]
            assert told.ok == sum(one.ok for one in mine)
            assert told.response.count == sum(one.response.total for one in mine)
            assert told.response.max_us == max((one.response.max_us for one in mine), default=0)
        for count in ("due", "sent", "ok", "failed", "unknown", "dropped"):
            assert made.total(count) + made.left_out.total(count) == whole.total(count)
        assert (made.series, made.latency_series) == (whole.series, whole.latency_series)
        assert made.missing == whole.missing
