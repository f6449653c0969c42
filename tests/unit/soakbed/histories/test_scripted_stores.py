"""Stores that err at known points are accused, each and on the right key; correct ones never."""

from __future__ import annotations

import pytest

from soakbed.histories.levels import strongest
from soakbed.histories.models import MODELS
from soakbed.histories.online import OnlineZones
from soakbed.histories.operation import Operation as Told
from soakbed.histories.search import search
from soakbed.histories.zones import check_zones
from tests.oracle.registers import explained, history_of
from tests.unit.soakbed.histories.scripted_store import FAULTS, pressed

SEEDS = range(100)


def online(operations, batches=6):
    """What the online check says, fed in the order in which operations ended."""
    longest = max(one.finish - one.start for one in operations)
    last = max(one.finish for one in operations) + 1
    zones, found = OnlineZones(longest), []
    for at in range(batches):
        low, until = last * at // batches, last * (at + 1) // batches
        part = [one for one in operations if low < one.finish <= until]
        found += zones.feed(history_of(part), until=until)
    return found + zones.feed(history_of([]), until=last + longest + 1)


def searched(operations):
    told = [
        Told(one.process, "write" if one.is_write else "read", one.key,
             one.value if one.is_write else None, None if one.is_write else one.value or None,
             one.start, one.finish, one.outcome)
        for one in operations
    ]  # fmt: skip
    return search(told, MODELS["register"]()).answer


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_errs_once_is_accused_on_that_key(fault):
    for seed in SEEDS:
        operations, key = pressed(seed, fault)
        verdict = check_zones(history_of(operations))
        assert {one.key for one in verdict.witnesses} == {key}, seed
        witness = [operations[row] for row in verdict.witnesses[0].operations]
        assert not explained(witness + [one for one in operations if one.is_write and one.value in
                                        {each.value for each in witness}]), seed  # fmt: skip
        assert {one.key for one in online(operations)} == {key}, seed


@pytest.mark.parametrize("fault", FAULTS)
def test_other_checkers_accuse_it_as_well(fault):
    for seed in SEEDS[:20]:
        operations, _ = pressed(seed, fault, operations=40)
        assert not explained(operations), seed
        assert searched(operations) == "violation", seed
        assert strongest(history_of(operations)).of("linearizable").answer == "violation"


def test_a_correct_store_of_the_same_shape_is_never_accused():
    for seed in range(len(SEEDS) * len(FAULTS)):
        operations, _ = pressed(seed, None)
        assert check_zones(history_of(operations)).linearizable, seed
        assert online(operations) == [], seed
    for seed in SEEDS[:20]:
        operations, _ = pressed(seed, None)
        assert searched(operations) == "ok", seed
        assert strongest(history_of(operations)).strongest == "linearizable"
