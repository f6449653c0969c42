"""Which acknowledged writes a history proves lost, and how long a failover took."""

import pytest

from soakbed.histories.register import FAILED, OK, UNKNOWN
from tests.benchmarks.failover_shows import failover_s, lost_writes
from tests.benchmarks.scripted_load import Row

KEY = 5


def write(value, sent, done, outcome=OK, worker=0):
    return Row(KEY, value, sent, done, True, outcome, worker)


def read(value, sent, done, outcome=OK, worker=1):
    return Row(KEY, value, sent, done, False, outcome, worker)


@pytest.mark.parametrize(
    ("later", "lost"),
    [
        pytest.param(read(1, 50, 60), [2], id="the value before it is there again"),
        pytest.param(read(0, 50, 60), [1, 2], id="nothing is there"),
        pytest.param(read(2, 50, 60), [], id="it is there"),
        pytest.param(read(3, 50, 60), [], id="a newer one is there"),
        pytest.param(read(1, 35, 60), [], id="the read began before it was acknowledged"),
        pytest.param(read(0, 50, 60, FAILED), [], id="the read failed"),
        pytest.param(read(0, 50, 60, UNKNOWN), [], id="the read has no answer"),
    ],
)
def test_a_write_is_lost_when_a_later_read_finds_what_was_before_it(later, lost):
    rows = [write(1, 10, 20), write(2, 30, 40), write(3, 32, 45, UNKNOWN), later]
    assert [one.value for one in lost_writes(rows)] == lost


def test_of_two_writes_at_once_either_may_be_the_last():
    assert lost_writes([write(1, 10, 40), write(2, 30, 45), read(1, 50, 60)]) == []


def test_an_unacknowledged_write_can_be_lost_by_nobody():
    rows = [write(1, 10, 20), write(2, 30, 40, UNKNOWN), write(3, 30, 40, FAILED), read(1, 50, 60)]
    assert lost_writes(rows) == []


def test_a_lost_write_says_who_had_its_acknowledgement_and_who_read_what():
    (lost,) = lost_writes([write(7, 10, 20, worker=3), read(0, 10**9, 2 * 10**9, worker=4)])
    assert lost.told() == (
        "key 5: value 7, acknowledged to worker 3 at 00:00:00.000000Z, is lost: "
        "worker 4 read nothing at 00:00:01.000000Z"
    )


def test_a_failover_ends_with_a_write_that_no_dead_leader_can_have_taken():
    second = 10**9
    rows = [
        write(1, 1 * second, 2 * second),
        write(2, 2 * second, 6 * second),  # sent to the old leader, and maybe committed by it
        write(3, 3 * second, 9 * second, UNKNOWN),
        write(4, 5 * second, 8 * second),
    ]
    assert failover_s(rows, killed_ns=3 * second, dead_ns=4 * second) == 6.0
