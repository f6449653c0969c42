"""The zone checker: what it accuses, with which witness, and that it agrees with every order."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.histories.register import FAILED, INITIAL, OK, UNKNOWN
from soakbed.histories.zones import check_zones
from tests.oracle.registers import Operation, explained, history_of


def write(value, start, finish, *, outcome=OK, key=0):
    return Operation(key, value, start, finish, True, outcome)


def read(value, start, finish, *, outcome=OK, key=0):
    return Operation(key, value, start, finish, False, outcome)


def judged(*operations):
    verdict = check_zones(history_of(operations))
    assert verdict.linearizable == explained(operations)
    return verdict


@st.composite
def small_histories(draw):
    """Up to nine operations on two keys, close together; reads return what was or was not there."""
    writes = draw(st.integers(0, 4))
    found = []
    for value in range(1, writes + 1):
        start = draw(st.integers(0, 12))
        outcome = draw(st.sampled_from([OK, OK, OK, UNKNOWN, FAILED]))
        finish = start + draw(st.integers(0, 6))
        key = draw(st.integers(0, 1))
        found.append(write(value, start, finish, outcome=outcome, key=key))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, 14))
        key = draw(st.integers(0, 1))
        own = [one.value for one in found if one.is_write and one.key == key]
        others = [one.value for one in found[:1]]
        value = draw(st.sampled_from([INITIAL, *own, *own, *own, *others]))
        outcome = draw(st.sampled_from([OK, OK, OK, OK, UNKNOWN, FAILED]))
        found.append(read(value, start, start + draw(st.integers(0, 6)), outcome=outcome, key=key))
    return found


@settings(max_examples=1500)
@given(small_histories())
def test_it_says_what_trying_every_order_says(operations):
    verdict = check_zones(history_of(operations))
    assert verdict.linearizable == explained(operations)


@settings(max_examples=300)
@given(small_histories())
def test_the_operations_of_a_witness_accuse_by_themselves(operations):
    for witness in check_zones(history_of(operations)).witnesses:
        assert 1 <= len(witness.operations) <= 4
        chosen = [operations[row] for row in witness.operations]
        if witness.fault == "failed_write":
            assert {one.outcome for one in chosen if one.is_write} == {FAILED}
        # Nobody but the witness, and the writes of what it read.
        told = {one.value for one in chosen}
        needed = [one for one in operations if one.is_write and one.value in told]
        assert not explained(list(dict.fromkeys([*chosen, *needed])))


def test_what_a_correct_register_says_is_accepted():
    verdict = judged(
        read(INITIAL, 0, 1), write(1, 2, 5), read(1, 4, 6), write(2, 7, 9), read(2, 10, 11)
    )
    assert (verdict.operations, verdict.keys, verdict.violations) == (5, 1, 0)


def test_a_stale_read_is_named_with_both_values_and_by_how_much():
    verdict = judged(write(1, 0, 10), write(2, 20, 30), read(1, 45, 50))
    (witness,) = verdict.witnesses
    assert witness.fault == "order"
    assert set(witness.operations) == {0, 1, 2}
    # The write of 2 was over at 30, 15 before the read of 1 began; 2 began 10 after 1 was written.
    assert (witness.from_, witness.until, witness.staleness) == (0, 50, 10)


def test_a_lost_write_shows_as_the_initial_value_that_came_back():
    (witness,) = judged(write(1, 0, 10), read(INITIAL, 20, 25)).witnesses
    assert (witness.fault, witness.operations) == ("order", (1, 0))
    assert witness.staleness == 10


@pytest.mark.parametrize(
    ("operations", "fault"),
    [
        ([read(7, 0, 1)], "unwritten"),
        ([write(7, 0, 1, outcome=FAILED), read(7, 5, 6)], "failed_write"),
        ([read(7, 0, 1), write(7, 2, 3)], "before_its_write"),
        ([read(7, 0, 1), write(7, 2, 3, outcome=UNKNOWN)], "before_its_write"),
        ([write(7, 0, 1, key=4), read(7, 2, 3, key=5)], "unwritten"),
    ],
)
def test_values_that_cannot_have_been_there(operations, fault):
    (witness,) = judged(*operations).witnesses
    assert witness.fault == fault


def test_an_unknown_write_may_have_happened_or_not_and_late():
    assert judged(write(1, 0, 1, outcome=UNKNOWN), read(INITIAL, 5, 6)).linearizable
    late = [write(1, 0, 1, outcome=UNKNOWN), read(INITIAL, 5, 6), read(1, 7, 8)]
    assert judged(*late).linearizable
    assert not judged(*late, read(INITIAL, 9, 10)).linearizable
    assert judged(write(1, 0, 1, outcome=FAILED), read(INITIAL, 5, 6)).linearizable


def test_keys_do_not_know_each_other():
    assert judged(write(1, 0, 1, key=0), read(INITIAL, 5, 6, key=1)).linearizable


def test_a_bound_of_the_clocks_hides_what_is_shorter_than_twice_itself():
    history = history_of([write(1, 0, 10), read(INITIAL, 20, 25)])
    assert not check_zones(history.widened(4)).linearizable
    assert check_zones(history.widened(5)).linearizable


def test_what_no_client_can_have_seen_is_refused():
    with pytest.raises(ValueError, match="value 3 is written twice"):
        check_zones(history_of([write(3, 0, 1), write(3, 5, 6)]))
    with pytest.raises(ValueError, match="a write of 0"):
        history_of([write(INITIAL, 0, 1)])
    with pytest.raises(ValueError, match="operation 0 finishes before it starts"):
        history_of([read(1, 5, 4)])
    with pytest.raises(ValueError, match="keys are numbers"):
        history_of([read(1, 5, 6, key=-1)])
    assert check_zones(history_of([])).linearizable


def test_times_too_far_apart_for_one_number_are_sorted_all_the_same():
    far = 2**55
    operations = [
        write(1, 0, 5, key=900),
        read(INITIAL, far, far + 1, key=900),
        write(2, far, far + 5, key=0),
        read(2, far + 7, far + 9, key=0),
    ]
    (witness,) = judged(*operations).witnesses
    assert witness.key == 900


def test_of_many_violations_the_first_are_shown_and_all_counted():
    operations = [
        part
        for at in range(300)
        for part in (
            write(at + 1, 10 * at, 10 * at + 1, key=at),
            read(0, 10 * at + 3, 10 * at + 4, key=at),
        )
    ]
    random.Random(5).shuffle(operations)
    verdict = check_zones(history_of(operations))
    assert (verdict.violations, len(verdict.witnesses)) == (300, 100)
    starts = [witness.from_ for witness in verdict.witnesses]
    assert starts == sorted(starts) and len(np.unique(starts)) == 100
