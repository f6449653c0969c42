"""What is planted in a made-up history is found and named; the same without it accuses nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.stages.consistency_rows import FOREIGN, RANK, Rows
from soakbed.stages.consistency_zones import Missing, contradictions, segments
from tests.golden.made_histories import (
    BEGAN_US,
    Op,
    a_read,
    end_of,
    rows_of,
    sound,
    with_lost_write,
    with_resurrected_value,
    with_stale_read,
)

PLANTS = [
    pytest.param(with_stale_read, "stale", "a stale read", id="a stale read"),
    pytest.param(with_lost_write, "lost", "is lost", id="a lost write"),
    pytest.param(with_resurrected_value, "resurrected", "came back", id="a resurrected value"),
]


@given(seed=st.integers(0, 10_000))
def test_a_store_that_keeps_its_word_is_not_accused(seed):
    assert contradictions(rows_of(sound(seed=seed, each=25)), apart_us=0).violations == 0


@pytest.mark.parametrize(("plant", "kind", "words"), PLANTS)
@given(seed=st.integers(0, 10_000))
def test_what_was_planted_is_found_once_and_named(plant, kind, words, seed):
    ops, planted = plant(sound(seed=seed, each=12))
    found = contradictions(rows_of(ops), apart_us=0)
    assert (found.violations, found.kinds) == (1, (kind,))
    (witness,) = found.witnesses
    assert witness.key == planted.key
    assert words in witness.sentence
    assert planted.value in {row.value for row in witness.rows}
    assert BEGAN_US + planted.sent in {row.sent_us for row in witness.rows}
    assert len(witness.rows) <= 4


def test_a_witness_tells_its_window_and_what_else_happened_to_the_key():
    ops, stale = with_stale_read(sound())
    (witness,) = contradictions(rows_of(ops), apart_us=0).witnesses
    assert witness.until_us == BEGAN_US + stale.done
    assert witness.staleness_us == 10
    assert [row.value for row in witness.around] == [99_002], "the read after it"
    assert all(row.marked for row in witness.rows)
    assert not any(row.marked for row in witness.around)


def test_what_the_clocks_of_two_hosts_may_explain_is_no_contradiction():
    ops, _ = with_stale_read(sound())
    assert contradictions(rows_of(ops), apart_us=8).violations == 1
    assert contradictions(rows_of(ops), apart_us=11).violations == 0


def test_a_witness_says_whether_one_clock_took_all_its_times():
    ops, stale = with_stale_read(sound())
    assert contradictions(rows_of(ops), apart_us=0, hosts=[0, 0]).one_host == (True,)
    assert contradictions(rows_of(ops), apart_us=0, hosts=[0, 1]).one_host == (False,)
    at_home = [replace(one, worker=0) if one == stale else one for one in ops]
    assert contradictions(rows_of(at_home), apart_us=0, hosts=[0, 1]).one_host == (True,)


def test_a_value_that_nobody_wrote_is_told():
    ops = sound()
    ops.append(a_read(0, 5 * RANK + 7, end_of(ops)))
    found = contradictions(rows_of(ops), apart_us=0)
    assert found.kinds == ("unwritten",)
    assert "5:7 was read, which nobody wrote" in found.witnesses[0].sentence
    ops[-1] = a_read(0, FOREIGN, end_of(ops))
    found = contradictions(rows_of(ops), apart_us=0)
    assert (found.violations, found.kinds) == (1, ("unwritten",))
    assert "none of ours" in found.witnesses[0].sentence


@given(seed=st.integers(0, 10_000), gone=st.floats(0.1, 0.9))
def test_writes_that_are_missing_accuse_nobody_where_their_worker_has_a_gap(seed, gone):
    ops = sound(seed=seed, each=25)
    cut = end_of(ops) * gone
    left = [one for one in ops if not (one.worker == 1 and one.done > cut)]
    known = Missing(ranks=frozenset({1}))
    assert contradictions(rows_of(left), apart_us=0, missing=[known]).violations == 0
    anybody = Missing(ranks=None)
    assert contradictions(rows_of(left), apart_us=0, missing=[anybody]).violations == 0


def test_a_gap_of_another_worker_or_of_other_keys_excuses_nothing():
    ops = [*sound(), a_read(0, 2 * RANK - 1, 10**9)]  # rank 1's, and never written
    for excuse, violations in (
        (Missing(ranks=frozenset({0})), 1),
        (Missing(ranks=frozenset({1}), keys=frozenset({3})), 1),
        (Missing(ranks=frozenset({1}), keys=frozenset({0})), 0),
        (Missing(), 1),
    ):
        found = contradictions(rows_of(ops), apart_us=0, missing=[excuse])
        assert found.violations == violations, excuse


@pytest.mark.parametrize(("plant", "kind", "words"), PLANTS)
def test_a_gap_hides_no_contradiction_among_what_is_there(plant, kind, words):
    ops, _ = plant(sound())
    found = contradictions(rows_of(ops), apart_us=0, missing=[Missing(ranks=None)])
    assert found.kinds == (kind,)


def test_an_order_that_writes_leave_open_is_told_as_an_order():
    ops = [
        Op(0, 1, 0, 1, 0, 1000, is_write=True),
        Op(0, 2, 0, 2, 0, 1000, is_write=True),
        *(a_read(0, value, at) for value, at in ((1, 1100), (2, 1200), (1, 1300))),
    ]
    found = contradictions(rows_of(ops), apart_us=0)
    assert found.kinds == ("order",)
    assert "must each have come before the other" in found.witnesses[0].sentence


def test_between_failovers_a_lost_write_is_no_contradiction():
    ops, lost = with_lost_write(sound(each=12))
    ops.append(a_read(lost.key, 99_001, lost.done + 60_000_000))
    ops = [one for one in ops if one.sent != lost.done + 10]  # the read that came at once
    rows = rows_of(ops)
    assert contradictions(rows, apart_us=0).kinds == ("lost",)
    failed_over_s = (BEGAN_US + lost.done) / 1e6 + 30
    parts = segments(rows, [failed_over_s])
    assert sum(map(len, parts)) == len(rows)
    anybody = [Missing(ranks=None)]
    assert [contradictions(one, apart_us=0, missing=anybody).violations for one in parts] == [0, 0]


def test_a_stale_read_far_from_any_failover_stays_one():
    ops, stale = with_stale_read(sound(each=12))
    far_s = (BEGAN_US + stale.done) / 1e6 + 60
    parts = segments(rows_of(ops), [far_s])
    (found,) = [contradictions(one, apart_us=0, missing=[Missing(ranks=None)]) for one in parts]
    assert found.kinds == ("stale",)


def test_nothing_recorded_contradicts_nothing():
    assert contradictions(Rows.none(), apart_us=0).violations == 0
    assert segments(Rows.none(), [1.0]) == []
