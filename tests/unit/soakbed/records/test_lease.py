"""How long hosts live: a margin after the plan, never shortened but by the budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.records.lease import LONGEST_S, Lease, extended, first_lease

NOW_S = 1_800_000_000.0
HOUR_S = 3600

moments = st.floats(1e9, 4e9)
hours = st.floats(0.1, 168)
budgets = st.none() | st.floats(0.01, 2000)
leases = st.builds(
    Lease,
    id=st.just("k3v9q2x7"),
    testbed=st.just("t"),
    provider=st.just("aws"),
    begun_s=st.integers(10**9, 3 * 10**9),
    ends_s=st.integers(10**9, 4 * 10**9),
)


def held(**values: Any) -> Lease:
    told = {"begun_s": int(NOW_S), "ends_s": int(NOW_S) + 2 * HOUR_S, **values}
    return Lease(id="k3v9q2x7", testbed="t", provider="aws", **told)


def ends(lease: Lease, **values: Any) -> int:
    told = {"now_s": NOW_S, "planned_end_s": 0.0, "margin_h": 2.0, "budget_h": None, **values}
    return extended(lease, **told).ends_s


@given(leases, moments, moments, hours, budgets)
def test_no_lease_outlives_its_budget(lease, now_s, planned_end_s, margin_h, budget_h):
    made = ends(
        lease, now_s=now_s, planned_end_s=planned_end_s, margin_h=margin_h, budget_h=budget_h
    )
    if budget_h is not None:
        assert made <= lease.begun_s + budget_h * HOUR_S


@given(leases, moments, moments, hours)
def test_without_a_budget_an_end_once_given_is_kept(lease, now_s, planned_end_s, margin_h):
    made = ends(lease, now_s=now_s, planned_end_s=planned_end_s, margin_h=margin_h)
    assert made >= lease.ends_s


@given(leases, moments, moments, hours)
def test_a_beat_gives_the_margin_after_now_and_after_the_plan(
    lease, now_s, planned_end_s, margin_h
):
    made = ends(lease, now_s=now_s, planned_end_s=planned_end_s, margin_h=margin_h)
    assert made >= now_s + margin_h * HOUR_S
    assert made >= min(planned_end_s + margin_h * HOUR_S, now_s + LONGEST_S)


@given(leases, moments, moments, hours, budgets)
def test_a_second_beat_at_once_changes_nothing(lease, now_s, planned_end_s, margin_h, budget_h):
    told = {
        "now_s": now_s, "planned_end_s": planned_end_s, "margin_h": margin_h, "budget_h": budget_h
    }  # fmt: skip
    once = extended(lease, **told)
    assert extended(once, **told) == once


@given(leases, moments, moments, hours, budgets)
def test_who_it_belongs_to_and_since_when_never_changes(
    lease, now_s, planned_end_s, margin_h, budget_h
):
    made = extended(
        lease, now_s=now_s, planned_end_s=planned_end_s, margin_h=margin_h, budget_h=budget_h
    )
    assert made.model_copy(update={"ends_s": lease.ends_s}) == lease


@given(moments, moments, hours)
def test_a_new_end_is_never_so_far_that_hosts_would_not_believe_it(now_s, planned_end_s, margin_h):
    lease = held(begun_s=int(now_s), ends_s=int(now_s))
    assert ends(lease, now_s=now_s, planned_end_s=planned_end_s, margin_h=margin_h) <= (
        now_s + LONGEST_S + 1
    )


@pytest.mark.parametrize(
    ("planned_h", "budget_h", "expected_h"),
    [
        pytest.param(72, None, 74, id="the plan and the margin"),
        pytest.param(72, 73, 73, id="the budget cuts the margin"),
        pytest.param(72, 10, 10, id="the budget cuts the plan"),
        pytest.param(-1, None, 2, id="nothing planned: the margin after now"),
        pytest.param(0, 1, 1, id="the budget takes back what was given"),
    ],
)
def test_the_end_of_a_lease(planned_h, budget_h, expected_h):
    planned_end_s = NOW_S + planned_h * HOUR_S
    assert ends(held(), planned_end_s=planned_end_s, budget_h=budget_h) == (
        NOW_S + expected_h * HOUR_S
    )


def test_each_first_lease_has_a_word_of_its_own_that_a_tag_can_hold():
    words = {
        first_lease("t", provider="aws", region="eu-west-1", now_s=NOW_S, lasts_h=2).id
        for _ in range(50)
    }
    assert len(words) == 50
    assert all(len(word) == 12 and word.isalnum() and word.islower() for word in words if word)


def test_a_lease_that_begins_anew_keeps_its_word():
    made = first_lease(
        "t", provider="aws", region="eu-west-1", now_s=NOW_S, lasts_h=0.5, least_id="old"
    )
    assert (made.id, made.begun_s, made.ends_s) == ("old", NOW_S, NOW_S + 1800)


def test_a_lease_has_lapsed_at_its_very_end():
    lease = held(ends_s=100)
    assert [lease.has_lapsed(at_s) for at_s in (99.9, 100, 101)] == [False, True, True]
