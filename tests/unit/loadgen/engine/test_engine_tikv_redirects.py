"""Redirects of TiKV, step by step: bounded, counted, and the first sending is what is timed."""

from __future__ import annotations

import time
from collections import deque

import pytest

from loadgen.engine.connection import Op
from loadgen.engine.phases import Loop
from loadgen.engine.tikv_target import LATER_NS, MAX_LATER, REDIRECT_LIMIT, TikvTarget
from tests.fuzz.bench import READ, WRITE, Bench, bench
from tests.fuzz.members import value_of
from tests.fuzz.replies import reply
from tests.fuzz.tikv_member import region_error
from tests.tikv_double.messages import kvrpcpb

FIRST = 3  # the stream of the first operation; one after the other, 2 apart
SECOND_NS = 1_000_000_000


@pytest.fixture
def made():
    with bench("tikv") as one:
        yield one


def target(made: Bench) -> TikvTarget:
    assert isinstance(made.hub.target, TikvTarget)
    return made.hub.target


def refuse(made: Bench, number: int, kind: str, *, hint: int = 0) -> None:
    error = kvrpcpb.RawGetResponse(region_error=region_error(kind, hint=hint))
    made.says(reply(FIRST + 2 * number, error.SerializeToString()))


def waiting(made: Bench) -> list[Op]:
    return [op for lane in made.hub.target.lanes for op, _ in lane.redirected]


def go_on(made: Bench) -> None:
    lane = made.connection.lane
    made.hub.send_redirected(lane, made.connection)


@pytest.mark.parametrize("code", [READ, WRITE])
def test_a_redirected_operation_keeps_its_first_times_and_is_sent_six_times_at_most(made, code):
    made.connection.send_due(deque([(code, 12_345)]))
    (first,) = made.in_flight()
    for number in range(REDIRECT_LIMIT):
        refuse(made, number, "not_leader", hint=1)
        (op,) = waiting(made)
        assert op == (*first[:3], number + 1)
        assert made.recorder.sent[code & 1] == 1
        go_on(made)
        made.must_be_counted()
    refuse(made, REDIRECT_LIMIT, "not_leader", hint=1)
    assert made.in_flight() == []
    assert made.recorder.generator.moved == REDIRECT_LIMIT + 1
    assert made.ends() == {"redirect_limit": 1}


def test_what_nobody_knows_where_to_send_waits_longer_each_time(made):
    made.connection.send_from(deque([READ]))
    now_ns = time.monotonic_ns()
    for number in range(REDIRECT_LIMIT):
        refuse(made, number, "proposal_in_merging_mode")
        assert not made.connection.lane.redirected
        target(made)._go_on(now_ns + LATER_NS[number] // 2)
        assert not made.connection.lane.redirected
        target(made)._go_on(time.monotonic_ns() + LATER_NS[number])
        assert len(made.connection.lane.redirected) == 1
        go_on(made)
    assert sum(LATER_NS[:REDIRECT_LIMIT]) == 775_000_000
    refuse(made, REDIRECT_LIMIT, "proposal_in_merging_mode")
    assert made.ends() == {"cluster_down": 1}


def test_an_answer_after_redirects_is_ok_and_timed_from_the_first_sending(made):
    made.connection.send_from(deque([READ]))
    (first,) = made.in_flight()
    refuse(made, 0, "not_leader", hint=1)
    time.sleep(0.02)
    go_on(made)
    said = kvrpcpb.RawGetResponse(value=value_of(made.values, READ >> 1)).SerializeToString()
    made.says(reply(FIRST + 2, said))
    (_, sent, ended) = made.recorder.done[0][0]
    assert sent == first[2]
    assert ended - sent >= 20_000_000
    assert made.ends() == {"ok": 1}


def test_what_still_waits_at_the_end_is_given_up_and_the_next_phase_goes_on(made):
    made.connection.send_from(deque([WRITE]))
    refuse(made, 0, "read_index_not_ready")
    Loop(made.hub)._give_up()
    assert made.in_flight() == []
    target(made)._go_on(time.monotonic_ns() + SECOND_NS)
    made.connection.send_from(deque([WRITE]))
    refuse(made, 1, "read_index_not_ready")
    target(made)._go_on(time.monotonic_ns() + SECOND_NS // 10)
    assert len(made.connection.lane.redirected) == 1
    assert made.ends() == {"timeout": 2}


def test_what_waits_beyond_its_time_is_failed_for_it_was_not_applied(made):
    made.connection.send_from(deque([WRITE]))
    refuse(made, 0, "read_index_not_ready")
    target(made)._go_on(time.monotonic_ns() + made.hub.timeout_ns + SECOND_NS)
    assert made.ends() == {"timeout": 1}
    assert made.windows[0].operations["write"].failed == 1


def test_no_more_wait_than_may(made):
    some = target(made)
    some._later.extend([0] * MAX_LATER)
    made.connection.send_from(deque([READ]))
    refuse(made, 0, "read_index_not_ready")
    some._later.clear()
    assert made.ends() == {"cluster_down": 1}
