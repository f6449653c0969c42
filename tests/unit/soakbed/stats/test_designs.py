"""Arrays are proven here with other eyes than the code's own: by counting pairs in a dictionary."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydoe import get_orthogonal_array

from soakbed.records.campaign import Design
from soakbed.stats.designs import (
    OFFERED,
    NoDesign,
    confounded,
    full_factorial,
    held_by,
    is_orthogonal,
    orthogonal,
    smallest_array,
)

ARRAYS = [name for names in OFFERED.values() for name in names]


def pairs_are_even(rows) -> bool:
    for one, other in combinations(range(len(rows[0])), 2):
        counts = Counter((row[one], row[other]) for row in rows)
        every = len({row[one] for row in rows}) * len({row[other] for row in rows})
        if len(counts) != every or len(set(counts.values())) != 1:
            return False
    return all(len(set(Counter(column).values())) == 1 for column in zip(*rows, strict=True))


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_that_is_offered_is_orthogonal(name):
    array = get_orthogonal_array(name)
    assert pairs_are_even(array.tolist())
    assert is_orthogonal(np.asarray(array))


def test_the_array_of_the_library_that_is_not_orthogonal_is_found_out_and_not_offered():
    array = np.asarray(get_orthogonal_array("L64(2^31)"))
    assert not pairs_are_even(array.tolist())
    assert not is_orthogonal(array)
    assert "L64(2^31)" not in ARRAYS


def test_a_spec_may_name_exactly_the_arrays_that_are_offered():
    assert set(get_args(Design)) == {"full", "orthogonal", *OFFERED}


@given(st.sampled_from(ARRAYS), st.randoms(), st.integers(0, 10**6))
def test_one_wrong_digit_anywhere_is_found(name, random, place):
    array = np.asarray(get_orthogonal_array(name)).copy()
    row, column = place % len(array), random.randrange(array.shape[1])
    levels = int(array[:, column].max()) + 1
    array[row, column] = (array[row, column] + random.randrange(1, levels)) % levels
    assert not is_orthogonal(array)


@st.composite
def factors_for(draw):
    """An array, and factors that it holds: levels of its columns, whole or folded."""
    short = draw(st.sampled_from([name for name in OFFERED if name != "L81"]))
    array = get_orthogonal_array(draw(st.sampled_from(OFFERED[short])))
    columns = [int(column.max()) + 1 for column in array.T]
    taken = draw(st.lists(st.sampled_from(range(len(columns))), min_size=2, max_size=4))
    folds = {2: [2], 3: [3], 4: [2, 4], 5: [5], 6: [2, 3, 6]}
    return short, [draw(st.sampled_from(folds[columns[place]])) for place in taken]


@given(factors_for())
def test_whatever_columns_are_chosen_or_folded_every_pair_of_levels_is_tried_equally_often(asked):
    array, widths = asked
    try:
        rows = orthogonal(widths, array)
    except NoDesign:  # the same column was asked for twice
        return
    assert pairs_are_even(rows.tolist())
    assert [int(column.max()) + 1 for column in rows.T] == widths


@given(st.lists(st.integers(2, 4), min_size=1, max_size=4))
def test_a_full_factorial_is_every_combination_once(widths):
    rows = [tuple(row) for row in full_factorial(widths).tolist()]
    assert sorted(rows) == sorted(product(*map(range, widths)))


def test_four_factors_in_an_l8_are_not_hidden_by_any_two():
    assert confounded(orthogonal([2, 2, 2, 2], "L8")) == []


def test_seven_factors_in_an_l8_are_each_three_interactions_and_it_is_said():
    found = confounded(orthogonal([2] * 7, "L8"))
    assert Counter(one.effect for one in found) == dict.fromkeys(range(7), 3)
    assert all(one.wholly for one in found)


def test_what_is_said_to_be_wholly_hidden_really_is_the_product_of_the_two():
    rows = 2 * orthogonal([2] * 5, "L8") - 1
    for one in confounded(orthogonal([2] * 5, "L8")):
        product_of_two = rows[:, one.between[0]] * rows[:, one.between[1]]
        assert abs(int(product_of_two @ rows[:, one.effect])) == len(rows)


def test_in_an_l12_every_effect_is_hidden_by_a_ninth_at_a_time():
    """Plackett and Burman's twelve: each effect has a correlation of 1/3 with each interaction."""
    found = confounded(orthogonal([2] * 11, "L12"))
    assert {round(one.share, 6) for one in found} == {round(1 / 9, 6)}
    assert len(found) == 11 * 45


def test_a_full_factorial_hides_nothing():
    assert confounded(full_factorial([5, 4, 3])) == []


@pytest.mark.parametrize(
    ("widths", "array"),
    [
        pytest.param([2, 2], "L4", id="two by two"),
        pytest.param([2] * 4, "L8", id="four of two"),
        pytest.param([3, 3, 2], "L18", id="two levels in a folded column of six"),
        pytest.param([5, 4, 3], "", id="the article's matrix has no array"),
    ],
)
def test_the_smallest_array_that_holds_the_factors_is_found(widths, array):
    assert smallest_array(widths) == array


def test_an_array_without_room_says_what_it_holds():
    with pytest.raises(NoDesign, match=r"L9 does not hold factors of 2, 2 levels.*4 of 3 levels"):
        orthogonal([2, 2], "L9")
    assert held_by("L16") == "15 of 2 levels, or 5 of 4 levels"
