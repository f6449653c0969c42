"""The search checker agrees with every order tried, for each model, and says where it stuck."""

from __future__ import annotations

import doctest
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import soakbed.histories.models
import soakbed.histories.operation
from soakbed.histories.model_orders import sequential_by
from soakbed.histories.models import MODELS, Counter, KeyValue, Register
from soakbed.histories.operation import OK, UNKNOWN, Operation
from soakbed.histories.search import by_key, search
from tests.oracle.orders import has_order, has_order_of_processes
from tests.unit.soakbed.histories.drawn import a_model, atomic, small


@pytest.mark.parametrize("name", sorted(MODELS))
def test_it_says_what_trying_every_order_says(name):
    model = a_model(name)

    @settings(max_examples=250, deadline=None)
    @given(small(name))
    def agrees(operations):
        expected = "ok" if has_order(operations, model) else "violation"
        assert search(operations, model).answer == expected

    agrees()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_orders_of_processes_are_those_that_trying_every_one_finds(name):
    model = a_model(name)

    @settings(max_examples=80, deadline=None)
    @given(small(name))
    def agrees(operations):
        # Whoever does two things in one moment does them in no order: not for this search.
        told = sorted(operations, key=lambda one: (one.process, one.start))
        if any(a.process == b.process and a.finish >= b.start for a, b in pairwise(told)):
            return
        expected = "ok" if has_order_of_processes(operations, model) else "violation"
        assert sequential_by(operations, model, float("inf")) == expected

    agrees()


def test_orders_of_processes_are_no_verdict_when_the_time_runs_out():
    told = [Operation(at, "add", "x", 1 << at, None, 0, 100) for at in range(40)]
    told.append(Operation(99, "read", "x", None, -1, 0, 100))
    assert sequential_by(told, Counter(), 0.0) == "unknown"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_an_atomic_object_said_is_never_accused(name):
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**32))
    def is_ok(seed):
        model, random_ = a_model(name), random.Random(seed)
        keys = 2 if model.by_key else 1
        found = atomic(model, random_, operations=60, clients=4, keys=keys, unknown=0.05)
        assert search(found, model).answer == "ok"

    is_ok()


def test_a_violation_names_its_key_the_longest_order_and_what_cannot_follow():
    told = [
        Operation(0, "write", "y", 1, None, 0, 1),
        Operation(0, "write", "x", 1, None, 0, 10),
        Operation(1, "write", "x", 2, None, 20, 30),
        Operation(2, "read", "x", None, 1, 40, 50),
    ]
    found = search(told, Register())
    assert (found.answer, found.key, found.keys) == ("violation", "x", 2)
    assert [one.argument for one in found.order] == [1, 2]
    assert found.stuck == (told[3],)
    assert found.stuck[0].told == "2: read x -> 1"
    # What the register held when no operation could come next.
    assert found.held == 2


def test_the_smallest_part_is_searched_first():
    told = [Operation(0, "read", key, None, 9, at, at) for key in "aab" for at in (0,)]
    assert [len(part) for part in by_key(told, Register())] == [1, 2]
    assert search(told, Register()).key == "b"


def test_an_unknown_operation_takes_effect_late_or_never():
    lost = Operation(0, "put", "x", "v", None, 0, 1, UNKNOWN)
    empty = Operation(1, "get", "x", None, "", 10, 11)
    there = Operation(1, "get", "x", None, "v", 20, 21)
    assert search([lost, empty], KeyValue()).answer == "ok"
    assert search([lost, empty, there], KeyValue()).answer == "ok"
    again = replace(empty, start=30, finish=31)
    assert search([lost, empty, there, again], KeyValue()).answer == "violation"


def test_time_that_runs_out_is_no_verdict():
    # Forty numbers are added at once, and no sum of them is read: all orders would be tried.
    told = [Operation(at, "add", "x", 1 << at, None, 0, 100) for at in range(40)]
    told.append(Operation(99, "read", "x", None, -1, 0, 100))
    found = search(told, Counter(), time_limit_s=0.2)
    assert found.answer == "unknown"
    assert found.seconds < 5


def test_an_action_of_another_model_is_refused_by_name():
    with pytest.raises(ValueError, match=r"register does not know cas; only read, write"):
        search([Operation(0, "cas", "x", (1, 2), True, 0, 1)], Register())


def test_the_examples_in_the_models_are_true():
    for module in (soakbed.histories.models, soakbed.histories.operation):
        told = doctest.testmod(module)
        assert told.failed == 0
        assert told.attempted > 0


def test_a_history_of_fifty_clients_is_put_in_order_without_wandering():
    found = atomic(KeyValue(), random.Random(7), operations=4000, clients=50, keys=10)
    told = search(found, KeyValue())
    assert told.answer == "ok"
    # A count, no time: the search goes nearly straight where gets tell the order of appends.
    assert told.steps < 60 * len(found)
    assert all(one.outcome == OK for one in found)
