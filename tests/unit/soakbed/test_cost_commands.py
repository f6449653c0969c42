"""What commands say and refuse before they make anything, and what they keep of the cost."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from soakbed import commands, commands_campaign, commands_soak
from soakbed.archive.run_folder import RunFolder
from soakbed.commands import Session
from soakbed.errors import BudgetSpent, SpecError
from soakbed.records.campaign import CampaignSpec
from soakbed.records.lease import first_lease
from soakbed.records.places import Places
from soakbed.records.spec import Phases, RunSpec, TestbedSpec, WorkloadSpec
from soakbed.records.testbed_spec import HourPrice
from soakbed.stages.campaign_cells import cells_of
from soakbed.stages.campaign_plan import plan_campaign
from soakbed.stages.campaign_times import overheads_of
from soakbed.stages.cost_plan import (
    begin_cost,
    end_cost,
    forget_hosts,
    hosts_since_s,
    note_hosts,
    plan_of_hosts,
    price_table,
)
from soakbed.stages.heartbeat import heartbeat_of
from soakbed.stages.lease import keep_lease

PROJECT = Path(__file__).parents[3]
HOSTS = {"d1": "data", "d2": "data", "d3": "data", "l1": "load"}
PRICED = {"hour_price": {"amount": 2.0, "currency": "EUR"}}
WORK = WorkloadSpec(name="long", keys=1000, phases=Phases(steady_s=36_000))


def local(**part: Any) -> TestbedSpec:
    hosts = {
        name: {"duty": duty, "address": f"10.83.9.{10 + at}"}
        for at, (name, duty) in enumerate(HOSTS.items())
    }
    whole = {"name": "t-cost", "provider": "local", "network_cidr": "10.83.9.0/24", "hosts": hosts}
    return TestbedSpec.model_validate(whole | part)


def on_aws(**part: Any) -> TestbedSpec:
    cloud = {"region": "us-east-1", "zones": ["us-east-1a"]}
    hosts = {name: {"duty": duty} for name, duty in HOSTS.items()}
    return TestbedSpec.model_validate(
        {"name": "t-cost", "provider": "aws", "aws": cloud, "hosts": hosts} | part
    )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "project").mkdir()
    for part in ("infra", "playbooks"):
        (tmp_path / "project" / part).symlink_to(PROJECT / part)
    return Places(
        project=tmp_path / "project",
        state=tmp_path / "state" / "t-cost",
        cache=tmp_path / "cache",
        archive=tmp_path / "results",
    )


@pytest.fixture(autouse=True)
def _makes_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr("soakbed.commands._LOCKS", tmp_path)
    monkeypatch.setattr(commands, "prepare", lambda *_, **__: pytest.fail("hosts were made"))
    monkeypatch.setattr(commands, "run_through", lambda *_: None)


def session_of(spec: TestbedSpec, places: Places) -> Session:
    console = Console(record=True, width=140, file=io.StringIO())
    return Session.begin(spec, places, console, command=["soakbed", "bench"])


def run_of(spec: TestbedSpec) -> RunSpec:
    return RunSpec(testbed=spec, workload=WORK, targets=("etcd",))


@pytest.mark.parametrize("command", ["bench", "soak", "provision"])
def test_a_plan_beyond_its_budget_is_refused_before_anything_is_made(places, command):
    spec = on_aws(budget={"amount": 3.0, "currency": "USD"})
    session = session_of(spec, places)
    with pytest.raises(SpecError) as refused:
        if command == "bench":
            commands.bench(session, run_of(spec))
        elif command == "soak":
            commands_soak.soak(session, run_of(spec), detach=False)
        else:
            commands.provision(session, "tuned")
    assert "budget = 3.00 USD" in str(refused.value)
    assert not places.results.exists() and not places.state.exists()
    said = session.console.export_text()
    assert "4 × c6id.2xlarge" in said and "boot disk" in said and "an hour" in said


def test_one_within_it_is_shown_and_begun_and_resumed_without_a_word(places):
    spec = local(**PRICED, budget={"amount": 100, "currency": "EUR"})
    session = session_of(spec, places)
    commands.bench(session, run_of(spec))
    said = session.console.export_text()
    assert "2.0000 EUR an hour (hour_price of the testbed)" in said and "budget: 100.00 EUR" in said
    note_hosts(places)
    (places.state / "costs.json").write_text('{"since_s": 1.0}')
    commands.bench(session, run_of(spec))
    assert "resumed" in session.console.export_text()


def test_hosts_on_this_machine_are_no_matter_of_money(places):
    session = session_of(local(), places)
    commands.bench(session, run_of(local()))
    assert "an hour" not in session.console.export_text()


def test_hosts_cost_from_their_first_making_to_their_teardown(places):
    assert hosts_since_s(places) is None
    note_hosts(places)
    first = hosts_since_s(places)
    note_hosts(places)
    assert hosts_since_s(places) == first == pytest.approx(time.time(), abs=60)
    (places.state / "costs.json").write_text("{}")
    assert hosts_since_s(places) <= time.time()
    forget_hosts(places)
    assert hosts_since_s(places) is None


def test_hosts_on_a_lease_cost_from_its_beginning_until_it_lapses(places):
    note_hosts(places)
    now_s = time.time()
    held = first_lease("t-cost", provider="aws", region="", now_s=now_s - 3600, lasts_h=2.0)
    keep_lease(held, places)
    assert hosts_since_s(places) == held.begun_s
    keep_lease(held.model_copy(update={"ends_s": int(now_s) - 1}), places)
    assert hosts_since_s(places) is None


def test_no_lease_is_longer_than_its_budget(places):
    spec = local(**PRICED, lease={"margin_h": 2}, budget={"amount": 6, "currency": "EUR"})
    heart = heartbeat_of(spec, places, None, shell=None, progress=print)
    assert heart.budget_h == 3.0


def test_hosts_alone_are_planned_for_their_first_lease(places):
    planned = plan_of_hosts(on_aws(lease={"first_h": 3, "margin_h": 5}), places)
    assert planned.seconds == 3 * 3600 and planned.margin_s == 0.0


def test_a_run_keeps_its_prices_and_its_end_but_not_its_hosts(places):
    spec = local(**PRICED)
    run = RunFolder.begin(places.results, run_of(spec))
    note_hosts(places)
    began = begin_cost(run, spec, places)
    (places.state / "costs.json").write_text('{"schema": 1, "since_s": 5.0}')
    dearer = local(hour_price={"amount": 9.0, "currency": "EUR"}, budget={"amount": 7})
    held = begin_cost(run, dearer, places)
    assert held.hour == began.hour and held.began_s == began.began_s
    assert held.hosts_since_s == 5.0 and held.budget.amount == 7
    end_cost(run)
    ended_s = run.cost().ended_s
    end_cost(run)
    assert run.cost().ended_s == ended_s > began.began_s


def test_status_says_what_the_hosts_cost_so_far(places, capsys):
    spec = local(**PRICED, budget={"amount": 100, "currency": "EUR"})
    note_hosts(places)
    since = {"schema": 1, "since_s": time.time() - 7200}
    (places.state / "costs.json").write_text(json.dumps(since))
    session = session_of(spec, places)
    commands_soak.status(session, asks_hosts=False, as_json=False)
    told = "4.00 EUR at 2 an hour; 4.00 of a budget of 100.00 since the hosts were made"
    assert told in session.console.export_text()
    commands_soak.status(session, asks_hosts=False, as_json=True)
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert (cost["amount"], cost["currency"], cost["budget"]) == (4.0, "EUR", 100.0)


CAMPAIGN = CampaignSpec.model_validate(
    {
        "name": "two",
        "targets": ["etcd"],
        "workload": {"keys": 1000, "phases": {"steady_s": 3600}},
        "factors": {"read_share": [0.1, 0.9]},
    }
)


def test_a_campaign_in_a_cloud_is_planned_with_its_cost_part_by_part(places):
    made = plan_campaign(
        CAMPAIGN,
        on_aws(),
        overheads=overheads_of(places.results, on_aws(), ["etcd"]),
        prices=price_table(places.infra, "aws"),
    )
    assert made.cost.amount > 2 * 4 * 0.4032 and made.cost.currency == "USD"
    assert "4 × 30 GB boot disk (gp3)" in made.cost.sentence and "2026-07-20" in made.cost.sentence


def test_a_campaign_beyond_its_budget_is_not_begun(places):
    spec = on_aws(budget={"amount": 3.0})
    session = session_of(spec, places)
    commands_campaign.plan(CAMPAIGN, spec, places, session.console, as_json=False)
    assert "warning" in session.console.export_text(), "a plan only warns"
    with pytest.raises(SpecError):
        commands_campaign.run(session, CAMPAIGN, anew=False, retry_failed=False)
    assert not list(places.results.glob("campaigns/*"))


def test_no_cell_is_begun_on_a_budget_that_is_spent(places):
    session = session_of(local(**PRICED, budget={"amount": 10, "currency": "EUR"}), places)
    note_hosts(places)
    commands_campaign._require_money(session, None)
    since = {"schema": 1, "since_s": time.time() - 5 * 3600}
    (places.state / "costs.json").write_text(json.dumps(since))
    with pytest.raises(BudgetSpent) as spent:
        commands_campaign._require_money(session, None)
    assert spent.value.exit_code == 2 and "soakbed teardown" in str(spent.value)
    cheaper = HourPrice(amount=1.0, currency="EUR")
    commands_campaign._require_money(session, cheaper)


def test_the_price_of_a_campaign_is_that_of_its_cells(places):
    own = CAMPAIGN.model_copy(update={"hour_price": HourPrice(amount=5, currency="EUR")})
    for cell in cells_of(own, local(**PRICED)):
        run = RunFolder.begin(places.results, cell.spec)
        assert begin_cost(run, cell.spec.testbed, places).hour.per_hour == 5.0
