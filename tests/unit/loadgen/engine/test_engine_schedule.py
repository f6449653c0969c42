"""The open loop's schedule: the same at every second, whoever presses it and since when."""

from __future__ import annotations

import time
from bisect import bisect_left
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadgen.contract.plan import Keyspace, Phase, Plan, Popularity
from loadgen.engine.schedule import schedule_of

SECOND = 1_000_000_000
START_NS = 7_777 * SECOND + 123
HOURS_72 = 259_200


def plan(rate_per_s: float, arrivals: str, *, workers: int = 1, kind: str = "uniform") -> Plan:
    phases = (Phase("warmup", "open", 5, 10.0), Phase("steady", "open", 9, rate_per_s, arrivals))
    keyspace = Keyspace(1000, "/bench/", Popularity(kind=kind))
    return Plan("r", "steady", "etcd", (), keyspace, phases, None, workers=workers, seed=5)


def operations(made: Plan, from_s: int, until_s: int, *, rank: int = 0) -> list[tuple[int, int]]:
    """What is due in seconds `from_s` to `until_s` for an engine that enters at the first."""
    schedule = schedule_of(made, 1, rank=rank, start_ns=START_NS, from_s=from_s)
    return list(takewhile(lambda one: one[0] < START_NS + until_s * SECOND, schedule))


@given(
    rate_per_s=st.floats(0.3, 3000),
    arrivals=st.sampled_from(["constant", "poisson"]),
    kind=st.sampled_from(["uniform", "zipf", "hot_set"]),
    workers=st.integers(1, 4),
    died_s=st.integers(1, 6),
    data=st.data(),
)
@example(256.0, "constant", "uniform", 1, 1, None)
@settings(max_examples=60, deadline=None)
def test_who_enters_late_sends_what_who_was_there_from_the_begin_sends(
    rate_per_s, arrivals, kind, workers, died_s, data
):
    made = plan(rate_per_s, arrivals, workers=workers, kind=kind)
    rank = data.draw(st.integers(0, workers - 1)) if data else 0
    whole = operations(made, 0, died_s + 2, rank=rank)
    first = bisect_left(whole, (START_NS + died_s * SECOND, 0))
    assert whole[first:] == operations(made, died_s, died_s + 2, rank=rank)
    assert whole == sorted(whole, key=lambda one: one[0])


@given(at_s=st.integers(0, HOURS_72 - 2), rate_per_s=st.integers(1, 40_000))
@settings(max_examples=30, deadline=None)
def test_constant_arrivals_of_any_second_are_those_of_the_whole_plan(at_s, rate_per_s):
    gap_ns = SECOND / rate_per_s
    begin = at_s * SECOND
    first = next(i for i in range(max(0, int(begin / gap_ns) - 2), 1 << 62)
                 if int(i * gap_ns) >= begin)  # fmt: skip
    wanted = [int(i * gap_ns) for i in range(first, first + 5)]
    found = schedule_of(plan(rate_per_s, "constant"), 1, rank=0, start_ns=0, from_s=at_s)
    assert [due for due, _ in islice(found, 5)] == wanted


@pytest.mark.parametrize("rate_per_s", [0.5, 3.0, 700.0])
def test_poisson_stays_poisson_over_the_edges_of_seconds_and_hours(rate_per_s):
    lasts_s = int(30_000 / rate_per_s)
    dues = [due for due, _ in operations(plan(rate_per_s, "poisson"), 0, lasts_s)]
    gaps = [later - earlier for earlier, later in pairwise([START_NS, *dues])]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    # 30,000 gaps: mean and deviation have a standard error of 0.6 % each.
    assert mean == pytest.approx(SECOND / rate_per_s, rel=0.025)
    assert deviation == pytest.approx(SECOND / rate_per_s, rel=0.035)
    # As many are longer than the mean as e says: gaps that were cut at edges would be shorter.
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(0.3679, abs=0.01)


def test_no_second_is_like_another_and_no_rank_like_another():
    seconds = []
    for at in (0, 1, 3600, 3601):
        due = operations(plan(50.0, "poisson"), at, at + 1)
        seconds.append(tuple((due_ns - at * SECOND, code) for due_ns, code in due))
    ranks = [tuple(operations(plan(50.0, "poisson", workers=2), 0, 1, rank=r)) for r in (0, 1)]
    assert len({*seconds, *ranks}) == 6


def test_the_last_second_of_three_days_is_as_near_as_the_first():
    made = plan(30_000.0, "poisson", kind="zipf")
    began_s = time.process_time()
    schedule = schedule_of(made, 1, rank=0, start_ns=START_NS, from_s=HOURS_72 - 1)
    due_ns, _ = next(schedule)
    assert time.process_time() - began_s < 0.5  # 8,000,000,000 operations lie before
    assert 0 <= due_ns - START_NS - (HOURS_72 - 1) * SECOND < SECOND / 1000
