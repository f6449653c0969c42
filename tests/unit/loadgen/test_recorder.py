"""Counting into windows: nothing lost, nothing twice, each operation where it ended."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import Histogram
from loadgen.contract.window import Window
from loadgen.recorder import Clock, Recorder

SECOND = 1_000_000_000


def recorder(mode: str = "open") -> tuple[Recorder, list[Window], int]:
    """A recorder whose phase begins at a whole second of the past, and the windows it ends."""
    windows: list[Window] = []
    clock = Clock()
    made = Recorder(windows.append, worker=2, length_s=1, clock=clock)
    start_ns = clock.next_boundary_ns(clock.monotonic_ns(1_700_000_000 * SECOND), 1)
    made.begin("steady", mode, start_ns)
    return made, windows, start_ns


def test_an_operation_is_counted_in_the_window_in_which_it_ended():
    made, windows, start = recorder()
    made.sent[0] += 2
    made.done[0].append((start, start + 10_000, start + SECOND - 1))
    made.done[0].append((start, start + 10_000, start + SECOND))
    made.absorb()
    made.rotate()
    assert [window.operations["read"].ok for window in windows] == [1, 1]
    assert [window.start_s for window in windows] == [1_700_000_000, 1_700_000_001]


def test_response_counts_from_due_service_from_sent_and_lag_lies_between():
    made, windows, start = recorder()
    made.sent[1] += 1
    made.done[1].append((start, start + 3_000_000, start + 5_000_000))
    made.absorb()
    made.rotate()
    write = windows[0].operations["write"]
    assert (write.response.max_us, write.service.max_us, write.lag.max_us) == (5000, 2000, 3000)


def test_in_a_closed_loop_lag_is_nothing_and_response_is_service():
    made, windows, start = recorder("closed")
    made.sent[0] += 1
    made.done[0].append((start, start, start + 700_000))
    made.absorb()
    made.rotate()
    read = windows[0].operations["read"]
    assert read.due == read.sent == 1
    assert read.response.counts == read.service.counts
    assert (read.lag.total, read.lag.max_us) == (1, 0)


def test_lost_operations_are_counted_by_outcome_and_cause_and_stay_out_of_the_histograms():
    made, windows, _ = recorder()
    made.sent[1] += 2
    made.lost(1, "unknown", "timeout")
    made.lost(1, "failed", "busy")
    made.rotate()
    write = windows[0].operations["write"]
    assert (write.unknown, write.failed, write.ok) == (1, 1, 0)
    assert write.causes == {"timeout": 1, "busy": 1}
    assert write.response.total == 0


def test_a_window_that_reaches_beyond_the_phase_is_not_complete():
    made, windows, start = recorder()
    made.end(start + SECOND)
    made.rotate()
    made.rotate()
    assert [window.complete for window in windows] == [True, False]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 10**9),
            st.integers(0, 10**8),
            st.integers(0, 90 * 10**9),
        ),
        max_size=200,
    )
)
def test_windows_hold_what_went_in(operations):
    made, windows, start = recorder()
    ended = sorted(
        (code, start + due, start + due + lag, start + due + lag + service)
        for code, due, lag, service in operations
    )
    ended.sort(key=lambda one: one[3])
    for one in ended:
        made.sent[one[0]] += 1
        made.done[one[0]].append(one[1:])
        made.absorb()
    made.rotate()
    seen = {name: Histogram() for name in ("read", "write")}
    for window in windows:
        for name, operation in window.operations.items():
            seen[name].add(operation.response)
    for write, name in enumerate(seen):
        expected = Histogram()
        for code, due, _, end in ended:
            if code == write:
                expected.record((end - due) // 1000)
        assert seen[name].counts == expected.counts
        assert seen[name].sum_us == expected.sum_us
        assert seen[name].max_us == expected.max_us
        assert seen[name].clamped == expected.clamped
    assert made.totals.in_flight == 0
    assert made.totals.sent == made.totals.ok == len(ended)


def test_windows_survive_the_way_through_the_spool():
    made, windows, start = recorder()
    made.sent[0] += 1
    made.done[0].append((start, start + 1000, start + 123_456_789))
    made.absorb()
    made.rotate()
    assert Window.from_json(windows[0].to_json()).to_json() == windows[0].to_json()
