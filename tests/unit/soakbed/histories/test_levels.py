"""Each level of consistency as its definition has it, with a witness that accuses by itself."""

from __future__ import annotations

import random

import numpy as np
import pytest

from soakbed.histories.levels import LEVELS, strongest
from soakbed.histories.register import FAILED, INITIAL, OK, UNKNOWN, RegisterHistory
from soakbed.histories.sequential import order_of
from tests.benchmarks.zone_checker import correct
from tests.oracle.levels import levels_of
from tests.oracle.registers import Operation, history_of
from tests.unit.soakbed.histories.drawn_registers import history_by, lagging


def write(process, value, start, finish, *, key=0, outcome=OK):
    return Operation(key, value, start, finish, True, outcome, process)


def read(process, value, start, finish, *, key=0):
    return Operation(key, value, start, finish, False, OK, process)


def level(*operations, **limits):
    found = strongest(history_of(operations), **limits)
    expected = levels_of(operations)
    assert {one.name: one.answer == "ok" for one in found.tested} == expected
    assert all(one.answer != "unknown" for one in found.tested)
    return found


@pytest.mark.parametrize("draw", [history_by, lagging])
def test_it_says_what_the_definitions_say_and_its_witnesses_accuse_by_themselves(draw):
    seen = set()
    for seed in range(300):
        operations = draw(random.Random(seed))
        found = level(*operations)
        seen.add(found.strongest)
        for one in found.tested:
            if one.answer == "violation":
                assert one.why and one.witness
                assert not levels_of([operations[row] for row in one.witness])[one.name]
    # The drawing is of use: it makes histories of every kind.
    assert {"linearizable", "sequential"} < seen


def test_a_stale_read_by_somebody_else_is_sequential():
    found = level(write(0, 1, 0, 10), write(1, 2, 20, 30), read(2, 1, 45, 50))
    assert (found.strongest, found.told) == ("sequential", "sequential")
    assert found.of("linearizable").why == "of two values, each must have come before the other"


def test_two_keys_may_be_in_order_one_by_one_and_not_together():
    # Each wrote its key and then found the other's empty.
    buffers = [
        write(0, 1, 0, 1, key=0),
        read(0, INITIAL, 2, 3, key=1),
        write(1, 2, 0, 1, key=1),
        read(1, INITIAL, 2, 3, key=0),
    ]
    found = level(*buffers, write(2, 3, 0, 9, key=2))
    assert found.strongest == "sequential-by-key"
    assert found.of("sequential").witness == (0, 2, 1, 3)


def test_a_write_that_its_process_does_not_find_breaks_read_your_writes_alone():
    found = level(
        write(0, 1, 0, 1), read(1, 1, 2, 3), write(1, 2, 4, 5), read(1, 1, 6, 7), read(2, 2, 8, 9)
    )
    assert found.told == "monotonic-reads and monotonic-writes"
    found = level(write(0, 1, 0, 1), write(1, 2, 4, 5), read(1, INITIAL, 6, 7))
    assert found.told == "monotonic-reads and monotonic-writes"
    assert found.of("read-your-writes").witness == (1, 2)


def test_an_older_version_after_a_newer_one_breaks_monotonic_reads():
    back = [write(0, 1, 0, 1), write(1, 2, 2, 3)]
    back += [read(2, value, at, at + 1) for value, at in ((1, 4), (2, 6), (1, 8))]
    assert level(*back).told == "monotonic-writes and read-your-writes"
    empty = [write(0, 1, 0, 1), read(1, 1, 2, 3), read(1, INITIAL, 4, 5)]
    assert level(*empty).told == "monotonic-writes and read-your-writes"


def test_writes_of_one_process_seen_the_other_way_round_break_monotonic_writes():
    found = level(write(0, 1, 0, 1), write(0, 2, 2, 3), read(1, 2, 4, 5), read(1, 1, 6, 7))
    assert found.of("monotonic-writes").witness == (0, 1, 2, 3)
    assert found.told == "read-your-writes"


def test_a_value_out_of_nowhere_leaves_no_level():
    for operations, why in (
        ([read(0, 7, 0, 1)], "a value was read that nobody wrote"),
        (
            [write(0, 7, 0, 1, outcome=FAILED), read(1, 7, 2, 3)],
            "a value was read whose write surely was not applied",
        ),
    ):
        found = level(*operations)
        assert (found.strongest, found.told) == ("none", "none")
        assert {one.why for one in found.tested} == {why}


def test_an_unknown_write_may_come_at_any_time_after_what_its_process_did_before():
    late = [write(0, 1, 0, 1, outcome=UNKNOWN), read(0, INITIAL, 5, 6), read(0, 1, 7, 8)]
    assert level(*late).strongest == "linearizable"
    assert level(*late, read(0, INITIAL, 9, 10)).told == "monotonic-writes and read-your-writes"


def test_without_processes_nothing_is_said_below_linearizability():
    stale = [write(0, 1, 0, 10), write(1, 2, 20, 30), read(2, 1, 45, 50)]
    told = [Operation(one.key, one.value, one.start, one.finish, one.is_write) for one in stale]
    found = strongest(history_of(told))
    assert [one.answer for one in found.tested] == ["violation", *["unknown"] * 5]
    assert found.strongest == "none" and "not decided" in found.told
    with pytest.raises(ValueError, match="names none"):
        order_of(history_of(told), 0.0)


def test_time_that_runs_out_leaves_the_sequential_level_open_and_the_rest_told():
    buffers = [write(0, 1, 0, 1, key=0), read(0, INITIAL, 2, 3, key=1)]
    buffers += [write(1, 2, 0, 1, key=1), read(1, INITIAL, 2, 3, key=0)]
    buffers += [write(2, at, 2 * at, 2 * at + 1, key=2) for at in range(3, 1000)]
    found = strongest(history_of(buffers), time_limit_s=0.0)
    assert found.of("sequential").answer == "unknown"
    assert found.told == "sequential-by-key; sequential is not decided"


def test_a_stale_read_in_a_long_history_is_put_in_an_order_that_explains_it():
    history = correct(20_000, 20)
    columns = (history.key, history.value, history.start, history.finish)
    assert strongest(history).strongest == LEVELS[0]
    # A process that did nothing else reads the first value ever written, at the very end.
    first = int(np.flatnonzero(history.is_write)[0])
    last = int(history.finish.max()) + 1
    stale = RegisterHistory(
        *(np.append(column, new) for column, new in zip(
            columns, (history.key[first], history.value[first], last, last + 1), strict=True)),
        np.append(history.is_write, False),
        np.append(history.outcome, OK).astype(np.uint8),
        np.append(np.arange(len(history)) % 64, 64),
    )  # fmt: skip
    assert strongest(stale).strongest == "sequential"
    found = order_of(stale, float("inf"))
    assert sorted(found.order) == list(range(len(stale)))
    held: dict[int, int] = {}
    place: dict[int, int] = {}
    for row in found.order:
        key, process = int(stale.key[row]), int(stale.process[row])
        if stale.is_write[row]:
            held[key] = int(stale.value[row])
        assert held.get(key, INITIAL) == stale.value[row]
        assert place.get(process, -(10**9)) < stale.start[row]
        place[process] = int(stale.finish[row])


def test_of_a_long_history_a_handful_of_operations_shows_that_it_is_not_sequential():
    history = correct(4000, 20)
    process = np.arange(len(history)) % 64
    value = history.value.copy()
    # A read returns what its key held thirty writes before.
    late = np.flatnonzero(~history.is_write)[-200]
    older = history.is_write & (history.key == history.key[late])
    older &= history.finish < history.start[late] - 3000
    value[late] = value[np.flatnonzero(older)[-30]]
    columns = (history.start, history.finish, history.is_write, history.outcome)
    found = strongest(RegisterHistory(history.key, value, *columns, process)).of("sequential")
    assert found.answer == "violation"
    assert 2 < len(found.witness) < 30
    told = [
        Operation(
            int(history.key[row]), int(value[row]), int(history.start[row]),
            int(history.finish[row]), bool(history.is_write[row]), OK, int(process[row]),
        )
        for row in found.witness
    ]  # fmt: skip
    assert not levels_of(told)["sequential"]
