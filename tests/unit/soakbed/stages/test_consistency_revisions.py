"""etcd's revisions: a client never sees them go back, writes get them in order, one revision is
one value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.histories.register import OK
from soakbed.stages.consistency_revisions import Against, WriteOrder, of_clients, of_values
from soakbed.stages.consistency_rows import Rows
from tests.golden.made_histories import BEGAN_US, Op, a_read, end_of, rows_of, sound


def order_of(rows: Rows, *, apart_us: int | None = 0, hosts=(), cuts=()) -> Against:
    """Fed as a run is read: what ended first comes first."""
    asked = WriteOrder(apart_us, hosts, at_once=1)
    rows = rows.taken(np.argsort(rows.done))
    ends = [int(np.quantile(rows.done, cut)) for cut in cuts]
    fed = np.searchsorted(rows.done, ends, side="right")
    for part, until in zip(np.split(np.arange(len(rows)), fed)[:-1], ends, strict=True):
        asked.feed(rows.taken(part), until)
    asked.feed(rows.taken(np.arange(fed[-1] if len(fed) else 0, len(rows))), int(rows.done.max()))
    return asked.end()


@given(seed=st.integers(0, 10_000), cuts=st.lists(st.floats(0.1, 0.9), max_size=3))
def test_a_store_that_keeps_its_word_is_not_accused(seed, cuts):
    rows = rows_of(sound(seed=seed, each=20))
    assert of_clients(rows).violations == 0
    assert of_values(rows).violations == 0
    asked = order_of(rows, cuts=sorted(cuts))
    assert asked.violations == 0
    assert asked.operations == int((rows.is_write & (rows.outcome == OK)).sum())


def test_a_revision_that_goes_back_is_told_with_both_operations():
    ops = sound()
    at = end_of(ops)
    ops += [
        a_read(3, 11, at, revision=900),
        a_read(3, 10, at + 100, revision=850),
    ]
    found = of_clients(rows_of(ops))
    assert found.violations == 1
    (witness,) = found.witnesses
    assert witness.sentence == "key 3: a client saw revision 850 after it had seen 900"
    assert [row.revision for row in witness.rows] == [900, 850]
    assert [row.sent_us for row in witness.rows] == [BEGAN_US + at, BEGAN_US + at + 100]
    assert witness.staleness_us == 50


def test_another_client_or_another_key_may_see_an_older_one():
    at = 0
    ops = [a_read(3, 11, at, revision=900), a_read(4, 10, at + 100, revision=850)]
    assert of_clients(rows_of(ops)).violations == 0
    ops = [ops[0], replace(ops[1], key=3, connection=7)]
    assert of_clients(rows_of(ops)).violations == 0


def test_reads_that_overlap_on_one_connection_may_be_answered_in_any_order():
    ops = [a_read(3, 11, 0, revision=900), replace(a_read(3, 10, 20, revision=850), done=60)]
    assert of_clients(rows_of(ops)).violations == 0


def write(worker: int, key: int, sent: int, done: int, revision: int) -> Op:
    return Op(worker, 1, key, 10 * revision, sent, done, is_write=True, revision=revision)


@pytest.mark.parametrize("cuts", [(), (0.5,), (0.2, 0.4, 0.6, 0.8)])
def test_a_write_that_got_an_older_revision_than_was_seen_before_it_is_told(cuts):
    ops = [write(0, key, 100 * key, 100 * key + 50, 10 + key) for key in range(20)]
    ops[12] = replace(ops[12], revision=15)
    found = order_of(rows_of(ops), cuts=cuts)
    assert found.violations == 1
    (witness,) = found.witnesses
    assert witness.rows[0].revision == 21 and witness.rows[1].revision == 15
    assert "a write got revision 15, though 21 had been seen before it was sent" in witness.sentence


def test_a_read_also_tells_which_revision_the_store_had_reached():
    ops = [a_read(5, 1, 0, revision=40), write(0, 6, 100, 150, 39)]
    assert order_of(rows_of(ops)).violations == 1
    ops = [a_read(5, 1, 0, revision=40), write(0, 6, 40, 150, 39)]
    assert order_of(rows_of(ops)).violations == 0, "they overlap"


def test_writes_of_two_hosts_are_compared_by_as_much_as_the_clocks_are_known():
    rows = rows_of([write(0, 1, 0, 100, 40), write(1, 2, 200, 300, 39)])
    assert order_of(rows, apart_us=99, hosts=[0, 1]).violations == 1
    assert order_of(rows, apart_us=100, hosts=[0, 1]).violations == 0
    assert order_of(rows, apart_us=None, hosts=[0, 1]).violations == 0, "nobody knows"
    assert order_of(rows, apart_us=None, hosts=[0, 0]).violations == 1


def test_one_revision_with_two_values_is_told():
    ops = [
        *sound(),
        write(0, 2, 0, 50, 70_000),
        a_read(2, 700_000, 100, revision=70_000),
        a_read(2, 5, 200, revision=70_000),
    ]
    found = of_values(rows_of(ops))
    assert found.violations == 1
    assert found.witnesses[0].sentence == "key 2: revision 70000 was seen with two values"
    assert {row.value for row in found.witnesses[0].rows} == {700_000, 5}


def test_a_store_without_revisions_says_nothing():
    rows = rows_of([replace(one, revision=0) for one in sound()])
    assert of_clients(rows) == of_values(rows) == order_of(rows) == Against()
