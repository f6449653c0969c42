"""Windows at the generator's limit, gathered over a phase and its workers."""

from __future__ import annotations

from loadgen.contract.window import GeneratorState, OperationWindow, Window
from soakbed.stats.marks import MOST_MARKED, Marks
from soakbed.stats.phase_data import of_windows


def window(at_s: int, *, worker: int = 0, dropped: int = 0, complete: bool = True, **state):
    read = OperationWindow(due=100, sent=100 - dropped, dropped=dropped)
    return Window(
        worker, at_s, "steady", "open", at_s, 1, {"read": read}, GeneratorState(**state), complete
    )


def gathered(windows, began_s: int = 1000):
    data = of_windows(windows)["steady"]
    marks = Marks()
    for part in data.generator():
        marks.take_windows(part)
    for _, part in data.counters():
        marks.take_counters(part)
    return marks.numbers(data, began_s)


def test_a_sound_phase_has_no_mark():
    made = gathered(window(1000 + at, cpu_share=0.5) for at in range(10))
    assert (made["judged_s"], made["bound_s"], made["dropping_s"]) == (10, 0, 0)
    assert made["broken"] == made["marked"] == ()


def test_a_second_is_bound_once_however_many_workers_were():
    made = gathered(
        window(1000 + at, worker=worker, wait_share=0.3 if at in (2, 3) else 0.0)
        for at in range(10)
        for worker in (0, 1)
    )
    assert (made["judged_s"], made["bound_s"]) == (10, 2)
    assert [(mark.at_s, mark.worker) for mark in made["marked"]] == [(2, 0), (2, 1), (3, 0), (3, 1)]


def test_the_worst_second_of_each_reason_is_named_with_its_worker():
    made = gathered(
        [
            window(1001, cpu_share=0.85),
            window(1002, worker=3, cpu_share=0.99, wait_share=0.2),
            window(1003, cpu_share=0.90),
        ]
    )
    cpu, taken = made["broken"]
    assert (cpu.reason, cpu.seconds, cpu.worst, cpu.worker, cpu.at_s) == ("cpu", 3, 0.99, 3, 2)
    assert (taken.reason, taken.seconds, taken.limit) == ("core_taken", 1, 0.1)


def test_a_second_with_drops_is_marked_and_is_not_the_generators_fault():
    made = gathered([window(1005, dropped=7, overdue_max=9), window(1006)])
    assert (made["bound_s"], made["dropping_s"]) == (0, 1)
    (mark,) = made["marked"]
    assert (mark.at_s, mark.dropped, mark.sent, mark.broken) == (5, 7, 93, {})


def test_drops_at_the_cut_end_of_a_phase_are_marked_though_it_is_not_judged():
    made = gathered([window(1009, dropped=3, complete=False, cpu_share=1.0)])
    assert (made["judged_s"], made["bound_s"], made["dropping_s"]) == (0, 0, 1)


def test_seventy_two_hours_of_bound_seconds_keep_the_first_and_count_the_rest():
    count = 3 * MOST_MARKED
    made = gathered(window(1000 + at, cpu_share=1.0) for at in reversed(range(count)))
    assert made["bound_s"] == count
    assert [mark.at_s for mark in made["marked"]] == list(range(MOST_MARKED))
    assert made["marked_left_out"] == count - MOST_MARKED
