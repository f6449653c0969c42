"""Each rule over the load, at its boundary: the last value kept and the first that is not."""

from __future__ import annotations

import pytest

from soakbed.records.numbers import LimitBroken, MarkedSeconds
from soakbed.stages import judge_load
from tests.golden.made_up import latency, operation, phase


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(10_000, "valid", id="all of it"),
        pytest.param(9_900, "valid", id="one percent short is allowed"),
        pytest.param(9_899, "invalid", id="more than one percent short is not"),
    ],
)
def test_a_generator_that_fell_behind_invalidates_the_run(sent, expected):
    one = operation(ok=sent, due=10_000)
    finding = judge_load.offered_load(phase(read=one, write=one))
    assert finding.verdict == expected
    assert f"{2 * sent:,} of 20,000" in finding.sentence


def test_a_run_in_which_nothing_was_due_is_invalid():
    one = operation(ok=0)
    assert judge_load.offered_load(phase(read=one, write=one)).verdict == "invalid"


@pytest.mark.parametrize(
    ("arrivals", "due", "expected"),
    [
        pytest.param("constant", 9_900, "valid", id="constant, one percent short"),
        pytest.param("constant", 9_899, "invalid", id="constant, more than that"),
        pytest.param("poisson", 9_500, "valid", id="poisson scatters by four deviations"),
        pytest.param("poisson", 9_499, "invalid", id="poisson, more than that"),
    ],
)
def test_the_schedule_of_the_plan_must_have_been_kept(arrivals, due, expected):
    # 10,000 planned: one percent is 100, four deviations of a Poisson count are 400.
    one, none = operation(ok=due), operation(ok=0)
    held = phase(read=one, write=none, offered_per_s=1000.0, seconds=10.0, arrivals=arrivals)
    assert judge_load.schedule_kept(held).verdict == expected


@pytest.mark.parametrize(("lost", "expected"), [(0, "valid"), (20, "valid"), (21, "invalid")])
def test_one_in_a_thousand_may_be_dropped(lost, expected):
    held = phase(read=operation(dropped=lost))
    assert judge_load.dropped(held).verdict == expected


@pytest.mark.parametrize(
    ("cpu_share", "expected"), [(0.44, "valid"), (0.80, "valid"), (0.8001, "invalid")]
)
def test_an_engine_over_eighty_percent_of_its_core_measures_itself(cpu_share, expected):
    assert judge_load.engine_cpu(phase(cpu_share=cpu_share)).verdict == expected


@pytest.mark.parametrize(
    ("lag_us", "expected"),
    [(0, "valid"), (40, "valid"), (41, "invalid"), (4000, "invalid")],
)
def test_lag_above_a_tenth_of_the_response_is_not_hidden_even_below_a_millisecond(lag_us, expected):
    quick = operation(response=latency(400, 700), lag=latency(1, lag_us))
    finding = judge_load.lag(phase(read=quick))
    assert finding.verdict == expected
    if expected == "invalid":
        assert f"read lag P99 {lag_us / 1000:.3f} ms" in finding.sentence
        assert finding.remedy


def test_the_worst_operation_counts_for_lag():
    slow = operation(response=latency(100_000, 200_000), lag=latency(1, 60))
    quick = operation(response=latency(400, 700), lag=latency(1, 60))
    assert judge_load.lag(phase(read=slow, write=slow)).verdict == "valid"
    assert judge_load.lag(phase(read=slow, write=quick)).verdict == "invalid"


@pytest.mark.parametrize(
    ("p50_us", "p99_us", "expected"),
    [
        pytest.param(40, 70, "valid", id="a tenth of either"),
        pytest.param(41, 70, "invalid", id="more than a tenth of the median"),
        pytest.param(40, 71, "invalid", id="more than a tenth of the tail"),
    ],
)
def test_the_generators_own_delay_is_judged_beside_the_same_percentile(p50_us, p99_us, expected):
    quick = operation(response=latency(400, 700), lag=latency(1, 690))
    held = phase(read=quick)
    own = held.generator.model_copy(update={"late": latency(p50_us, p99_us)})
    finding = judge_load.lag(held.model_copy(update={"generator": own}))
    assert finding.verdict == expected


def test_waiting_for_a_stopped_target_is_not_the_generators_delay():
    stopped = operation(response=latency(400, 1_100_000), lag=latency(10, 1_099_000))
    held = phase(read=stopped, write=stopped)
    own = held.generator.model_copy(update={"late": latency(12, 90)})
    assert judge_load.lag(held.model_copy(update={"generator": own})).verdict == "valid"


def test_lag_is_not_judged_from_too_few_values():
    few = operation(lag=latency(1, None))
    assert judge_load.lag(phase(read=few, write=few)).verdict == "skipped"


@pytest.mark.parametrize(
    ("failed", "unknown", "expected"),
    [
        pytest.param(0, 0, "valid", id="none"),
        pytest.param(100, 100, "valid", id="one percent of twenty thousand"),
        pytest.param(101, 100, "invalid", id="more than that"),
        pytest.param(0, 300, "invalid", id="unknown counts as well"),
    ],
)
def test_a_run_with_many_errors_has_the_latencies_of_survivors(failed, unknown, expected):
    one = operation(ok=10_000 - failed - unknown, failed=failed, unknown=unknown)
    assert judge_load.errors(phase(read=one)).verdict == expected


def test_a_phase_in_which_nothing_ended_is_invalid():
    none = operation(ok=0)
    assert judge_load.errors(phase(read=none, write=none)).verdict == "invalid"


def bound(seconds: int, *, judged_s: int = 30, window_s: int = 1):
    held = phase()
    marks = tuple(
        MarkedSeconds(
            at_s=at * window_s,
            seconds=window_s,
            worker=0,
            broken={"core_taken": 0.25},
            dropped=0,
            due=9,
            sent=9,
            overdue_max=0,
        )
        for at in range(seconds // window_s)
    )
    broken = LimitBroken(
        reason="core_taken", seconds=seconds, worst=0.25, limit=0.1, worker=0, at_s=4
    )
    state = held.generator.model_copy(
        update={
            "judged_s": judged_s,
            "bound_s": seconds,
            "broken": (broken,) if seconds else (),
            "marked": marks,
        }
    )
    return judge_load.generator_bound(held.model_copy(update={"generator": state}))


@pytest.mark.parametrize(
    ("seconds", "judged_s", "window_s", "expected"),
    [
        pytest.param(0, 30, 1, "valid", id="none"),
        pytest.param(2, 30, 1, "valid", id="one disturbance across the edge of two seconds"),
        pytest.param(3, 30, 1, "invalid", id="three are a state of the machine"),
        pytest.param(3, 3_000, 1, "valid", id="one in a thousand of a longer run"),
        pytest.param(4, 3_000, 1, "invalid", id="more than one in a thousand"),
        pytest.param(259, 259_200, 1, "valid", id="72 hours, one in a thousand"),
        pytest.param(260, 259_200, 1, "invalid", id="72 hours, more"),
        pytest.param(10, 60, 5, "valid", id="two windows of five seconds"),
        pytest.param(15, 60, 5, "invalid", id="three windows of five seconds"),
    ],
)
def test_a_run_with_more_than_a_few_bound_seconds_is_invalid(seconds, judged_s, window_s, expected):
    finding = bound(seconds, judged_s=judged_s, window_s=window_s)
    assert finding.verdict == expected
    assert f"in {seconds} of {judged_s} s" in finding.sentence


def test_the_finding_names_reason_worst_value_worker_second_and_limit():
    assert "core_taken in 5 s (worst 25%, worker 0 at second 4, limit 10%)" in bound(5).sentence


def test_a_phase_without_a_whole_second_is_not_asked():
    assert bound(0, judged_s=0).verdict == "skipped"
