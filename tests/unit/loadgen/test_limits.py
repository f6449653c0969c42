"""One window, judged by its own numbers: what is the engine's fault and what is not."""

from __future__ import annotations

import pytest

from loadgen.contract.histogram import Histogram
from loadgen.contract.limits import LIMITS, Broken, achieved_share, limits_broken
from loadgen.contract.window import GeneratorState, OperationWindow, Window


def of(values_us: list[int]) -> Histogram:
    made = Histogram()
    for value in values_us:
        made.record(value)
    return made


def window(
    *, late_us: list[int] = (), response_us: list[int] = (), complete: bool = True, **state
) -> Window:
    read = OperationWindow(due=100, sent=99, ok=len(response_us), response=of(response_us))
    return Window(
        worker=0,
        seq=0,
        phase="steady",
        mode="open",
        start_s=1,
        length_s=1,
        operations={"read": read, "write": OperationWindow()},
        generator=GeneratorState(**state),
        complete=complete,
        late=of(late_us),
    )


@pytest.mark.parametrize(
    ("reason", "kept", "broken"),
    [
        pytest.param("cpu", {"cpu_share": 0.80}, {"cpu_share": 0.8001}, id="four fifths of a core"),
        pytest.param(
            "core_taken", {"wait_share": 0.10}, {"wait_share": 0.1001}, id="a tenth spent waiting"
        ),
        pytest.param(
            "loop_lag",
            {"loop_lag_max_us": 50_000},
            {"loop_lag_max_us": 50_001},
            id="a pass of 50 ms",
        ),
        pytest.param("nic", {"nic_share": 0.70}, {"nic_share": 0.7001}, id="most of the link"),
    ],
)
def test_each_limit_is_kept_at_its_value_and_broken_above(reason, kept, broken):
    assert limits_broken(window(**kept)) == ()
    (found,) = limits_broken(window(**broken))
    assert found.reason == reason
    assert found.value > found.limit


def test_every_reason_has_a_limit_a_unit_and_a_meaning():
    assert len({limit.reason for limit in LIMITS}) == len(LIMITS) == 5
    assert all(limit.unit in ("share", "us") and limit.meaning for limit in LIMITS)


def test_what_the_machine_cannot_tell_breaks_no_limit():
    assert limits_broken(window(wait_share=None, nic_share=None)) == ()


@pytest.mark.parametrize(
    ("late_us", "response_us", "flagged"),
    [
        pytest.param([2_500] * 20 + [20] * 80, [3_000] * 100, True, id="the delay is the response"),
        pytest.param([2_000] * 100, [2_100] * 100, False, id="two milliseconds"),
        pytest.param([50_000] * 4 + [20] * 96, [900] * 100, False, id="one pause of the machine"),
        pytest.param(
            [2_500] * 100, [1_300_000] * 100, False, id="a burst after the target's own stall"
        ),
        pytest.param([2_500] * 99, [3_000] * 99, False, id="too few values for a P95"),
        pytest.param([2_500] * 100, [], True, id="late and nothing answered yet"),
    ],
)
def test_own_delay_counts_where_it_is_a_real_part_of_what_was_measured(
    late_us, response_us, flagged
):
    found = limits_broken(window(late_us=late_us, response_us=response_us))
    assert [one.reason for one in found] == (["own_delay"] if flagged else [])


def test_a_stalled_target_with_an_idle_engine_breaks_no_limit():
    # Nothing was sent, everything waits, the queue is long: as recorded with Redis under SIGSTOP.
    stalled = window(cpu_share=0.09, wait_share=0.01, overdue_max=2503, loop_lag_max_us=405)
    stalled.operations["read"].lag.record(1_400_000, 500)
    assert limits_broken(stalled) == ()


def test_a_window_cut_short_is_not_judged():
    assert limits_broken(window(cpu_share=1.0, wait_share=0.9, complete=False)) == ()


def test_all_limits_that_broke_are_named_in_order():
    found = limits_broken(window(cpu_share=0.9, wait_share=0.3, nic_share=0.9))
    assert found == (
        Broken("cpu", 0.9, 0.8),
        Broken("core_taken", 0.3, 0.1),
        Broken("nic", 0.9, 0.7),
    )


def test_achieved_is_sent_over_due_and_nothing_in_a_closed_loop():
    one = window()
    assert achieved_share(one) == 0.99
    one.mode = "closed"
    assert achieved_share(one) is None
