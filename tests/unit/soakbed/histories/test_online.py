"""The online check: the same verdict as over the whole, batch by batch, and memory that stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.histories.online import OnlineZones
from soakbed.histories.register import FAILED, INITIAL, OK, UNKNOWN, RegisterHistory
from soakbed.histories.zones import check_zones
from tests.benchmarks.zone_checker import correct
from tests.oracle.registers import Operation, explained, history_of

LONGEST = 8


@st.composite
def streams(draw):
    """Operations of up to `LONGEST`, in the order in which they are told of, and where to cut."""
    found = []
    for value in range(1, draw(st.integers(0, 5)) + 1):
        start = draw(st.integers(0, 40))
        outcome = draw(st.sampled_from([OK, OK, OK, OK, UNKNOWN, FAILED]))
        lasts = LONGEST if outcome == UNKNOWN else draw(st.integers(0, LONGEST))
        key = draw(st.integers(0, 1))
        found.append(Operation(key, value, start, start + lasts, True, outcome))
    for _ in range(draw(st.integers(0, 6))):
        start, key = draw(st.integers(0, 44)), draw(st.integers(0, 1))
        own = [one.value for one in found if one.is_write and one.key == key]
        value = draw(st.sampled_from([INITIAL, *own, *own, *own]))
        lasts = draw(st.integers(0, LONGEST))
        found.append(Operation(key, value, start, start + lasts, False))
    found.sort(key=lambda one: one.finish)
    cuts = draw(st.lists(st.integers(0, 50), max_size=6).map(sorted))
    return found, cuts


def fed(operations, cuts):
    online, told, at = OnlineZones(LONGEST), [], 0
    for cut in [*cuts, 200, 400]:
        batch = [one for one in operations[at:] if one.finish <= cut]
        at += len(batch)
        told += online.feed(history_of(batch), until=cut)
    assert online.operations == len(operations)
    return told


@settings(max_examples=2000)
@given(streams())
def test_batches_say_what_the_whole_says(stream):
    operations, cuts = stream
    assert (not fed(operations, cuts)) == explained(operations)
    assert (not fed(operations, [])) == check_zones(history_of(operations)).linearizable


@settings(max_examples=300)
@given(streams(), st.randoms(use_true_random=False))
def test_blocks_that_come_late_and_out_of_order_change_nothing(stream, random_):
    operations, cuts = stream
    late = 10
    told_at = {at: one.finish + random_.randint(0, late) for at, one in enumerate(operations)}
    online, told, before = OnlineZones(LONGEST), [], -1
    for cut in [*cuts, 200, 400]:
        block = [at for at, moment in told_at.items() if before < moment <= cut]
        random_.shuffle(block)
        # What finished ten before has come from everybody.
        told += online.feed(history_of(operations[at] for at in block), until=cut - late)
        before = max(before, cut)
    assert online.operations == len(operations)
    assert (not told) == check_zones(history_of(operations)).linearizable


def part(history: RegisterHistory, rows) -> RegisterHistory:
    columns = ("key", "value", "start", "finish", "is_write", "outcome")
    none = np.array([], dtype=np.int64)
    return RegisterHistory(*(getattr(history, name)[rows] for name in columns), none)


def test_a_long_stream_keeps_what_matters_alone_and_finds_a_stale_read_within_the_timeout():
    history = correct(200_000, 50)
    rows = np.argsort(history.finish, kind="stable")
    longest = int((history.finish - history.start).max())
    online = OnlineZones(longest)
    sizes, told = [], []
    for batch in np.array_split(rows, 40):
        until = int(history.finish[batch].max())
        told += online.feed(part(history, batch), until=until)
        sizes.append(len(online))
    assert told == []
    # Fifty keys, and what was in flight: nothing grows.
    assert max(sizes[5:]) < 2000
    assert max(sizes[-10:]) <= 1.5 * max(sizes[5:15])
    last = int(history.finish[rows[-1]])
    key = int(history.key[history.value == 1][0])
    stale = history_of([Operation(key, 1, last + 1, last + 2, False)])
    assert online.feed(stale, until=last + 2) == []
    (crossing,) = online.feed(history_of([]), until=last + 2 + longest)
    assert (crossing.found, crossing.key, crossing.values) == ("not_there", key, (1,))


@pytest.mark.parametrize("cuts", [[], [5, 11, 16, 30]])
def test_each_kind_of_violation_is_named_once(cuts):
    lost = [Operation(3, 1, 0, 4, True), Operation(3, INITIAL, 6, 9, False)]
    (crossing,) = fed(lost, cuts)
    assert (crossing.found, crossing.key, set(crossing.values)) == ("order", 3, {0, 1})
    early = [Operation(3, 1, 0, 4, False), Operation(3, 1, 6, 9, True)]
    (crossing,) = fed(early, cuts)
    assert (crossing.found, crossing.from_, crossing.until) == ("before_its_write", 4, 6)
    failed = [Operation(3, 1, 0, 4, True, FAILED), Operation(3, 1, 6, 9, False)]
    assert [one.found for one in fed(failed, cuts)] == ["not_there"]
