"""What testbeds cost an hour, and what fits a budget: by hand-reckoned sums."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.errors import SpecError
from soakbed.records.cost import HourCost, PlannedCost, RunCost
from soakbed.records.prices import PriceTable
from soakbed.records.testbed_spec import Budget, HourPrice, TestbedSpec
from soakbed.stages.cost import (
    budget_hours,
    budget_stops_at_s,
    collection_s,
    hour_cost,
    mistakes_of_budget,
    require_budget,
    so_far,
    why_spent,
)
from soakbed.stages.cost_plan import price_table

INFRA = Path(__file__).parents[4] / "infra"
PRICES = price_table(INFRA, "aws")
TWO = HourCost(per_hour=2.0, currency="USD", basis="by hand")
DUTIES = {"d1": "data", "d2": "data", "d3": "data", "l1": "load"}


def aws(region: str = "us-east-1", types: Mapping[str, str] = {}, **part: Any) -> TestbedSpec:
    hosts = {name: {"duty": duty} for name, duty in DUTIES.items()}
    for name, one in types.items():
        hosts[name]["instance_type"] = one
    cloud = {"region": region, "zones": [f"{region}a"], **part}
    return TestbedSpec.model_validate(
        {"name": "t-aws", "provider": "aws", "aws": cloud, "hosts": hosts}
    )


def local(**part: Any) -> TestbedSpec:
    hosts = {
        name: {"duty": duty, "address": f"10.83.9.{10 + at}"}
        for at, (name, duty) in enumerate(DUTIES.items())
    }
    whole = {"name": "t", "provider": "local", "network_cidr": "10.83.9.0/24", "hosts": hosts}
    return TestbedSpec.model_validate(whole | part)


def test_four_machines_on_aws_cost_their_disks_and_addresses_too():
    made = hour_cost(aws(), PRICES)
    machines, disks, addresses, traffic = (row.per_hour for row in made.rows)
    assert machines == pytest.approx(4 * 0.4032)
    assert disks == pytest.approx(4 * 30 * 0.08 / 720, abs=1e-6)
    assert addresses == pytest.approx(4 * 0.005)
    assert traffic == pytest.approx(0.05 * 0.09, abs=1e-6)
    assert made.per_hour == pytest.approx(machines + disks + addresses + traffic)
    assert (made.currency, made.dated, made.at_most) == ("USD", "2026-07-20", False)


def test_a_host_of_another_type_is_a_row_of_its_own():
    made = hour_cost(aws(types={"l1": "c6in.2xlarge"}, boot_disk_gb=50), PRICES)
    assert [row.what for row in made.rows[:3]] == [
        "3 × c6id.2xlarge",
        "1 × c6in.2xlarge",
        "4 × 50 GB boot disk (gp3)",
    ]


def test_spot_is_an_upper_bound_and_says_so():
    made, on_demand = hour_cost(aws(spot=True), PRICES), hour_cost(aws(), PRICES)
    assert made.at_most and made.per_hour == on_demand.per_hour
    assert any("Spot" in note and "at most" in note for note in made.notes)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param(aws(region="sa-east-1"), "no region sa-east-1", id="a region without prices"),
        pytest.param(
            aws(region="eu-west-1", types={"l1": "c6in.2xlarge"}),
            "no 1 × c6in.2xlarge in eu-west-1",
            id="a type without a price",
        ),
    ],
)
def test_what_the_table_does_not_say_is_unknown_and_never_nothing(spec, told):
    made = hour_cost(spec, PRICES)
    assert made.per_hour is None and not made.is_free and told in made.basis
    assert made.of(3600.0) is None and made.of_billion(100.0) is None


def test_the_users_own_price_wins_over_the_table():
    own = HourPrice(amount=1.5, currency="EUR")
    made = hour_cost(aws().model_copy(update={"hour_price": own}), PRICES)
    assert (made.per_hour, made.currency, made.rows) == (1.5, "EUR", ())
    instead = hour_cost(aws(), PRICES, instead=own)
    assert instead.basis == "hour_price of the campaign"


def test_hosts_on_this_machine_cost_nothing_unless_their_user_says_so():
    assert hour_cost(local(), None).is_free
    priced = hour_cost(local(hour_price={"amount": 0.5, "currency": "EUR"}), None)
    assert not priced.is_free and priced.of(7200) == 1.0


def test_a_figure_that_nobody_vouches_for_says_so():
    made = hour_cost(aws(region="eu-central-1"), PRICES)
    disks = made.rows[1]
    assert not disks.verified
    assert any("Not verified" in note and disks.what in note for note in made.notes)


def test_a_billion_operations_cost_the_hosts_time_that_they_take():
    assert TWO.of_billion(100_000.0) == pytest.approx(2.0 * 10_000 / 3600)
    assert TWO.of_billion(0.0) is None


def test_every_type_that_may_be_asked_for_has_a_price():
    known = json.loads((INFRA / "modules" / "aws" / "instance_types.json").read_text())["types"]
    assert PRICES is not None
    assert [name for name in known if PRICES.instance("us-east-1", name) is None] == []
    assert all(PRICES.instance(region, "c6id.2xlarge") for region in PRICES.regions)


def test_a_price_without_a_source_is_refused():
    made = json.loads((INFRA / "prices" / "aws.json").read_text())
    made["public_ipv4_hour"]["source"] = "hearsay"
    with pytest.raises(ValueError, match="hearsay"):
        PriceTable.model_validate(made)


def test_a_damaged_table_names_the_file_and_the_way_round_it(tmp_path):
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "aws.json").write_text('{"schema": 1}')
    with pytest.raises(SpecError) as raised:
        price_table(tmp_path, "aws")
    assert "aws.json" in str(raised.value) and "hour_price" in str(raised.value)
    assert price_table(tmp_path, "static") is None


def planned(hour: HourCost = TWO, *, hours: float, spent: float = 0.0, of: float = 100.0, **more):
    budget = Budget(amount=of, **more)
    return PlannedCost(hour=hour, load_s=hours * 3600, beside_s=0.0, spent=spent, budget=budget)


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        pytest.param(planned(hours=49.7), "", id="it fits, collection included"),
        pytest.param(planned(hours=49.8), "99.60 USD", id="a quarter of an hour is kept"),
        pytest.param(planned(hours=40, spent=19.0), "", id="with what is spent it fits"),
        pytest.param(planned(hours=40, spent=20.0), "20.00 are spent", id="with what is spent not"),
        pytest.param(planned(hours=1, currency="EUR"), "paid for in USD", id="another currency"),
        pytest.param(
            planned(HourCost(per_hour=None, basis="who knows"), hours=1), "who knows", id="unknown"
        ),
        pytest.param(planned(HourCost(per_hour=0.0, basis=""), hours=999), "", id="for nothing"),
    ],
)
def test_a_plan_that_cannot_fit_is_refused_with_the_figures(plan, told):
    found = mistakes_of_budget(plan, name="t")
    assert [told in one.problem for one in found] == ([True] if told else [])
    if told:
        with pytest.raises(SpecError) as raised:
            require_budget(plan, name="t")
        assert raised.value.exit_code == 2 and "budget" in str(raised.value)


@given(hours=st.floats(0.1, 1000), spent=st.floats(0, 500), per_hour=st.floats(0.01, 100))
def test_the_remedy_of_a_refusal_is_one(hours, spent, per_hour):
    hour = HourCost(per_hour=per_hour, currency="USD", basis="")
    plan = planned(hour, hours=hours, spent=spent)
    for mistake in mistakes_of_budget(plan, name="t"):
        raised = float(mistake.remedy.split("raise it to ")[1].split(" ")[0].replace(",", ""))
        # A greater budget keeps more for the collection, up to a quarter of an hour.
        enough = raised + (hour.of(900.0) or 0.0)
        update = {"budget": Budget(amount=enough)}
        assert mistakes_of_budget(plan.model_copy(update=update), name="t") == []


@given(amount=st.floats(0.01, 1e5), per_hour=st.floats(0.01, 100), since_s=st.floats(0, 2e9))
def test_load_ends_while_the_collection_can_still_be_paid_for(amount, per_hour, since_s):
    hour = HourCost(per_hour=per_hour, currency="USD", basis="")
    cost = RunCost(hour=hour, began_s=since_s, hosts_since_s=since_s, budget=Budget(amount=amount))
    hours, stops_at_s = budget_hours(hour, cost.budget), budget_stops_at_s(cost)
    assert hours is not None and stops_at_s is not None
    assert since_s < stops_at_s < since_s + hours * 3600
    assert stops_at_s + collection_s(hours) == pytest.approx(since_s + hours * 3600)
    early_s, late_s = stops_at_s - hours * 36, stops_at_s + hours * 36
    assert why_spent(cost, early_s) == "" and "is spent" in why_spent(cost, late_s)


def test_what_was_spent_counts_from_the_making_of_the_hosts():
    cost = RunCost(hour=TWO, began_s=7200.0, hosts_since_s=0.0, budget=Budget(amount=100))
    held = so_far(cost, 10_800.0)
    assert held is not None
    assert (held.amount, held.hosts_amount, held.budget) == (2.0, 6.0, 100.0)
    assert budget_stops_at_s(RunCost(hour=TWO, began_s=0, hosts_since_s=0)) is None
