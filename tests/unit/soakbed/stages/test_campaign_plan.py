"""From a campaign's file to its cells, their order, time and cost."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.errors import SpecError
from soakbed.records.spec import TARGETS, HourPrice
from soakbed.stages.campaign_cells import cells_of
from soakbed.stages.campaign_plan import plan_campaign
from soakbed.stages.campaign_spec import load_campaign_spec
from soakbed.stages.campaign_times import overheads_of
from tests.golden.made_campaign import CONTENT, campaign_spec, made_testbed
from tests.golden.recorded import RECORDED

PROJECT = Path(__file__).resolve().parents[4]
TESTBED = PROJECT / "infra/testbeds/local-4x.json"
CAMPAIGNS = PROJECT / "loadgen/campaigns"


def planned(spec, results=Path("/nowhere"), testbed=None):
    testbed = testbed or made_testbed()
    return plan_campaign(spec, testbed, overheads=overheads_of(results, testbed, spec.targets))


def written(folder: Path, **changed) -> Path:
    file = folder / "c.yaml"
    file.write_text(yaml.safe_dump({**CONTENT, **changed}, sort_keys=False))
    return file


# --- what ships ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CAMPAIGNS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_campaign_that_ships_is_right_and_can_be_planned(path):
    spec, testbed = load_campaign_spec(path, TESTBED)
    assert spec.name == path.stem
    assert planned(spec, testbed=testbed).cells


def test_the_articles_matrix_is_its_sixty_cells_on_three_targets():
    spec, testbed = load_campaign_spec(CAMPAIGNS / "claims-60.yaml", TESTBED)
    plan = planned(spec, testbed=testbed)
    works = [cell.spec.workload for cell in plan.cells]
    asked = {(one.read_share, one.connections, one.popularity.kind) for one in works}
    kinds = ("zipf", "uniform", "hot_set")
    assert asked == set(product((1.0, 0.75, 0.5, 0.25, 0.0), (16, 64, 256, 1024), kinds))
    assert len(plan.cells) == 60
    assert all(set(cell.targets) == set(TARGETS) for cell in plan.cells)
    zipf = {one.popularity.theta for one in works if one.popularity.kind == "zipf"}
    hot = {
        (one.popularity.hot_traffic_share, one.popularity.hot_keys_share)
        for one in works
        if one.popularity.kind == "hot_set"
    }
    assert (zipf, hot) == ({0.8}, {(0.95, 0.05)})
    assert {one.value_bytes for one in works} == {1024}
    assert plan.hidden == ()


def test_the_short_l8_hides_no_effect_behind_any_two():
    spec, testbed = load_campaign_spec(CAMPAIGNS / "l8-short.yaml", TESTBED)
    plan = planned(spec, testbed=testbed)
    assert (len(plan.cells), plan.design, plan.hidden) == (8, "L8", ())
    assert "8 of the 16 combinations" in plan.sentence


# --- mistakes -----------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once_with_its_place_and_a_way_out(tmp_path):
    testbed = json.loads(TESTBED.read_text()) | {"provider": "lokal"}
    (tmp_path / "t.json").write_text(json.dumps(testbed))
    file = written(
        tmp_path,
        targets=["etcd", "etdc"],
        cooldown_s=3,
        workload={"keys": 20},
        factors={"read_shar": [0.75, 0.25], "connections": [16, 0, "many"]},
        design="L8",
    )
    with pytest.raises(SpecError) as caught:
        load_campaign_spec(file, tmp_path / "t.json")
    assert [(one.key, one.value, one.remedy) for one in caught.value.mistakes] == [
        ("provider", '"lokal"', "use 'local', 'static' or 'aws'"),
        ("targets.1", '"etdc"', "use 'etcd', 'redis_cluster' or 'tikv'"),
        ("cooldown_s", "3", "write cool_down_s"),
        ("workload.keys", "20", "use at least 100"),
        ("factors.read_shar.0", "0.75", "write read_share"),
        ("factors.read_shar.1", "0.25", "write read_share"),
        ("factors.connections.1", "0", "use at least 1"),
        ("factors.connections.2", '"many"', "write a whole number"),
        ("design", "L8", "write L18"),
    ]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("changed", "key", "told"),
    [
        pytest.param({"factors": {}}, "factors", "at least 1", id="no factor"),
        pytest.param({"factors": {"keys": [100]}}, "factors", "move it to", id="one level"),
        pytest.param({"factors": {"keys": [100, 100]}}, "factors", "twice", id="a level twice"),
        pytest.param({"targets": ["etcd", "etcd"]}, "targets", "name each once", id="twice"),
        pytest.param({"name": "a-name-of-seventeen"}, "name", "at most 16", id="long name"),
        pytest.param(
            {
                "design": "full",
                "factors": {"keys": [*range(100, 200)], "pipeline": [*range(1, 100)]},
            },
            "(whole file)",
            "design: orthogonal",
            id="endless",
        ),
        pytest.param(
            {"factors": {"phases.capacity_s": [3, 6], "window_s": [1, 4]}, "design": "full"},
            "workload",
            "whole number of 4 s windows",
            id="levels that each are right and do not fit together",
        ),
    ],
)
def test_a_campaign_that_makes_no_sense_says_why(tmp_path, changed, key, told):
    with pytest.raises(SpecError) as caught:
        load_campaign_spec(written(tmp_path, **changed), TESTBED)
    assert any(one.key == key and told in str(one) for one in caught.value.mistakes), str(
        caught.value
    )


def test_two_levels_that_only_together_are_wrong_are_found_when_the_cells_are_made(tmp_path):
    factors = {"batch": [1, 8], "batched_stream": [False, True], "keys": [100, 200]}
    with pytest.raises(SpecError, match="leave one of them out") as caught:
        load_campaign_spec(written(tmp_path, factors=factors, design="full"), TESTBED)
    assert {one.key for one in caught.value.mistakes} == {"factors, together"}


@settings(max_examples=50)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            key: st.recursive(
                st.none() | st.booleans() | st.integers(-9, 999) | st.sampled_from(["L8", "etcd"]),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["keys", "phases", "kind", "x.y"]), inner)
                ),
                max_leaves=6,
            )
            for key in ("workload", "factors", "design", "targets", "repeats")
        },
    )
)
def test_whatever_the_file_holds_is_a_spec_error_or_a_plan(tmp_path_factory, changed):
    file = written(tmp_path_factory.mktemp("campaign"), **changed)
    try:
        spec, testbed = load_campaign_spec(file, TESTBED)
    except SpecError as error:
        assert all(one.key and one.problem and one.remedy for one in error.mistakes)
    else:
        assert planned(spec, testbed=testbed).cells


# --- order --------------------------------------------------------------------------------------


matrices = st.fixed_dictionaries(
    {
        "targets": st.permutations(TARGETS).flatmap(
            lambda held: st.integers(1, 3).map(lambda count: held[:count])
        ),
        "profiles": st.sampled_from([["tuned"], ["stock", "tuned"]]),
        "repeats": st.integers(1, 4),
        "seed": st.integers(0, 10**6),
        "factors": st.sampled_from(
            [{"keys": [100, 200, 300]}, {"keys": [100, 200], "pipeline": [1, 2]}]
        ),
    }
)


@settings(max_examples=40)
@given(matrices)
def test_every_combination_is_pressed_once_per_profile_and_repeat_on_every_target(changed):
    spec = campaign_spec(**changed, design="full")
    cells = cells_of(spec, made_testbed())
    held = {(cell.number, cell.profile, cell.repeat) for cell in cells}
    assert len(held) == len(cells) == len({cell.key for cell in cells})
    numbers = len({cell.number for cell in cells})
    assert len(cells) == numbers * len(spec.profiles) * spec.repeats
    assert all(sorted(cell.targets) == sorted(spec.targets) for cell in cells)
    assert {cell.spec.workload.name for cell in cells} == {
        f"made-up-{number}" for number in range(1, numbers + 1)
    }


@settings(max_examples=40)
@given(matrices)
def test_each_two_repeats_are_a_mirror_so_a_steady_drift_favours_nobody(changed):
    spec = campaign_spec(**{**changed, "repeats": 2}, design="full")
    order = [
        (cell.number, cell.profile, target)
        for cell in cells_of(spec, made_testbed())
        for target in cell.targets
    ]
    assert order == order[::-1]
    places: dict[object, int] = {}
    for place, one in enumerate(order):
        places[one] = places.get(one, 0) + place
    assert len(set(places.values())) == 1


@settings(max_examples=40)
@given(matrices)
def test_the_same_seed_is_the_same_order(changed):
    spec = campaign_spec(**changed, design="full")
    assert cells_of(spec, made_testbed()) == cells_of(spec, made_testbed())


def test_two_targets_go_a_b_b_a_and_each_goes_first_as_often():
    spec = campaign_spec(factors={"keys": list(range(100, 108))}, design="full")
    first = [cell.targets[0] for cell in cells_of(spec, made_testbed())]
    assert first[0] != first[1]
    assert first[:4] == [first[0], first[1], first[1], first[0]]
    assert first.count("etcd") == first.count("redis_cluster") == 4


def test_hosts_are_prepared_once_for_each_stretch_under_a_profile():
    plan = planned(campaign_spec(profiles=["stock", "tuned"], repeats=2))
    extra = [time.overhead_s - min(one.overhead_s for one in plan.times) for time in plan.times]
    assert [place for place, more in enumerate(extra) if more > 1] == [0, 4, 12]


# --- time and cost ------------------------------------------------------------------------------


def test_without_earlier_runs_time_rests_on_assumptions_that_are_named():
    plan = planned(campaign_spec())
    assert all("assumed" in one.sentence for one in plan.basis)
    cells = len(plan.cells)
    assert [time.phases_s for time in plan.times] == [2 * (1 + 3 + 1 + 4)] * cells
    assert plan.seconds == pytest.approx(sum(one.seconds for one in plan.times) + (cells - 1) * 1)


def test_earlier_runs_on_this_testbed_say_how_long_things_take(tmp_path):
    run = Path(shutil.copytree(RECORDED, tmp_path / "20260102T030405Z-a"))
    taken = {"etcd: configure": 30.0, "etcd: capacity": 40.0, "etcd: steady": 25.0, "judge": 2.5}
    lines = [{"stage": name, "started_s": 1, "seconds": held} for name, held in taken.items()]
    (run / "stages.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    twice = Path(shutil.copytree(run, tmp_path / "20260103T030405Z-b"))
    with (twice / "stages.jsonl").open("a") as file:  # resumed: its times say nothing
        file.write(json.dumps(lines[0] | {"seconds": 999}) + "\n")
    told = {one.sentence for one in planned(campaign_spec(), tmp_path).basis}
    numbers = json.loads((run / "etcd/numbers.json").read_text())["sessions"]
    loaded = sum(one["seconds"] for held in numbers.values() for one in held["phases"].values())
    assert (
        f"configure, start and end of sessions, collect, wipe: {95 - loaded:.0f} s, median of 1 "
        "run on this testbed" in told
    )
    assert "fill of the key space: 10,000 keys/s, measured" in told  # 20,000 in 2 s
    assert any("look at the hosts, judge, write: 2 s, median" in one for one in told)
    elsewhere = made_testbed().model_copy(update={"name": "another"})
    assert all(
        "assumed" in one.sentence for one in planned(campaign_spec(), tmp_path, elsewhere).basis
    )


def test_local_hosts_cost_nothing_unless_a_price_is_named_and_others_are_unknown():
    spec, testbed = campaign_spec(), made_testbed()
    assert planned(spec).cost.amount == 0
    hosts = {
        name: host.model_copy(update={"key_file": "k"}) for name, host in testbed.hosts.items()
    }
    static = testbed.model_copy(update={"provider": "static", "hosts": hosts})
    unknown = planned(spec, testbed=static).cost
    assert unknown.amount is None and "hour_price" in unknown.sentence
    priced = static.model_copy(update={"hour_price": HourPrice(amount=6, currency="EUR")})
    plan = planned(spec, testbed=priced)
    assert plan.cost.amount == pytest.approx(6 * plan.seconds / 3600)
    own = planned(campaign_spec(hour_price={"amount": 3, "currency": "USD"}), testbed=priced).cost
    assert (own.currency, own.amount) == ("USD", pytest.approx(plan.cost.amount / 2))


def test_what_an_array_hides_is_said_in_words():
    plan = planned(campaign_spec())
    assert (
        "the effect of connections is wholly that of value_bytes and popularity acting together: "
        "this array cannot tell them apart" in [one.sentence for one in plan.hidden]
    )
    assert any("not tried again" in note for note in plan.notes)
    assert any("1 repeat: effects are shown without" in note for note in plan.notes)
