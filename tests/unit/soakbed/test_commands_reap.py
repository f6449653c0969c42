"""`soakbed reap`: planted leaks of every kind go, what belongs to others stays, whatever is asked.

The region is in memory and stricter than AWS; tests/integration/test_reap.py asks a real server.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from soakbed import cli_reap
from soakbed.adapters import aws_resources
from soakbed.adapters.aws import NO_CREDENTIALS, AwsRefused
from soakbed.adapters.aws_resources import extend, find
from soakbed.archive.intent_log import IntentLog
from soakbed.archive.lock import TestbedBusy, held_alone
from soakbed.commands_reap import Asked, reap_clouds
from soakbed.errors import ProvisionError, SoakbedError, SpecError
from soakbed.records.cloud_resource import LeaseName, those_of
from soakbed.records.intents import Intent
from soakbed.records.lease import Lease
from soakbed.records.places import Places
from soakbed.stages import reap as stage
from soakbed.stages.lease import keep_lease
from tests.standins.aws_memory import MemoryRegion

PROJECT = Path(__file__).resolve().parents[3]
REGION = "eu-central-1"
PAST_S, FUTURE_S = 1_600_000_000, 4_000_000_000
OWN = LeaseName("aws-4x", "k3v9q2x7")
TAGS = {
    "soakbed:project": "soakbed",
    "soakbed:testbed": OWN.testbed,
    "soakbed:lease": OWN.lease,
    "soakbed:owner": "ann",
}


def until(end: float, **changes: str) -> dict[str, str]:
    return {**TAGS, "soakbed:destroy_after": str(int(end)), **changes}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(aws_resources, "_LOOK_AGAIN_S", 0.001)


@pytest.fixture
def aws() -> MemoryRegion:
    return MemoryRegion(REGION)


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("soakbed.commands_reap.lock_folder", lambda states: states / "locks")
    return tmp_path / "states"


def reaped(aws: MemoryRegion, states: Path, *more: MemoryRegion, **asked: Any) -> str:
    """What the command says; it raises as the command does."""
    told = Console(file=io.StringIO(), width=200)
    regions = {one.name: one for one in (aws, *more)}
    reap_clouds(
        Asked(**{"regions": tuple(regions), **asked}), states, told, open_region=regions.__getitem__
    )
    return told.file.getvalue()


def held_here(states: Path, *, ends_s: int = FUTURE_S) -> Places:
    places = Places(project=states, state=states / OWN.testbed, cache=states)
    lease = Lease(
        id=OWN.lease, testbed=OWN.testbed, provider="aws", region=REGION, begun_s=1, ends_s=ends_s
    )
    keep_lease(lease, places)
    return places


@pytest.mark.parametrize("spot", [False, True], ids=["on demand", "spot"])
def test_planted_leaks_of_every_kind_go_and_a_second_reap_finds_nothing(aws, states, spot):
    aws.plant(until(PAST_S), named="leak", spot=spot)
    before = aws.holds()
    assert len(before) == 11 + spot
    told = reaped(aws, states, all_expired=True)
    assert "dry run: " in told and "ended 2020-09-13" in told and "of ann" in told
    assert aws.holds() == before
    reaped(aws, states, all_expired=True, yes=True)
    requests = [row["State"] for row in aws._held["spot request"].values()]
    assert requests == ["cancelled"] * spot
    assert {kind: ids for kind, ids in aws.holds().items() if kind != "spot request"} == {}
    assert "nothing of soakbed's" in reaped(aws, states, all_expired=True, yes=True)


OTHERS = {
    "no tags at all": {},
    "tags of their own": {"team": "red", "Name": "soakbed-aws-4x-d1"},
    "another project": until(PAST_S, **{"soakbed:project": "soakbed2"}),
    "an empty project": until(PAST_S, **{"soakbed:project": ""}),
    "no lease": {k: v for k, v in until(PAST_S).items() if k != "soakbed:lease"},
    "an empty lease": until(PAST_S, **{"soakbed:lease": ""}),
    "no testbed": {k: v for k, v in until(PAST_S).items() if k != "soakbed:testbed"},
    "an empty testbed": until(PAST_S, **{"soakbed:testbed": ""}),
    "a lease that begins like ours": until(FUTURE_S, **{"soakbed:lease": OWN.lease + "0"}),
    "a living lease of another operator": until(FUTURE_S, **{"soakbed:lease": "another1"}),
    "an end that cannot be read": {**TAGS, "soakbed:lease": "x1", "soakbed:destroy_after": "soon"},
}


def test_nothing_that_belongs_to_others_is_touched_whatever_is_asked_for(aws, states):
    for number, tags in enumerate(OTHERS.values()):
        aws.plant(tags, named=f"other-{number}")
    others = aws.holds()
    aws.plant(until(PAST_S, **{"soakbed:lease": "lapsed11"}), named="leak")
    held_here(states)
    with pytest.raises(ProvisionError, match="nobody can tell whose it is") as unclear:
        reaped(aws, states, all_expired=True, yes=True)
    assert unclear.value.exit_code == 3
    assert aws.holds() == others
    for name in ("aws-4x", "aws-4", "soakbed", "*", "aws-*", "?ws-4x"):
        reaped(aws, states, testbed=name, yes=True)
        assert aws.holds() == others


def test_a_stranger_in_our_network_stays_and_what_holds_him_is_told(aws, states, monkeypatch):
    monkeypatch.setattr(stage, "delete", _at_once)
    ours = aws.plant(until(PAST_S), named="leak")
    stranger = aws.plant({"team": "red"}, named="theirs")
    aws._held["instance"][stranger["instance"]]["SubnetId"] = ours["subnet"]
    with pytest.raises(ProvisionError, match=f"subnet {ours['subnet']}.*DependencyViolation"):
        reaped(aws, states, all_expired=True, yes=True)
    assert stranger["instance"] in aws.holds()["instance"]
    assert set(aws.holds()["subnet"]) == {ours["subnet"], stranger["subnet"]}


def _at_once(*given: Any, **options: Any) -> list[aws_resources.Left]:
    return aws_resources.delete(*given, **{**options, "within_s": 0.05})


def test_a_testbed_begun_here_goes_before_its_lease_has_ended_and_its_namesake_stays(aws, states):
    aws.plant(until(FUTURE_S), named="own")
    aws.plant(until(FUTURE_S, **{"soakbed:lease": "another1"}), named="of-ann")
    held_here(states)
    told = reaped(aws, states, testbed=OWN.testbed)
    assert "begun from here" in told and "of ann" in told
    reaped(aws, states, testbed=OWN.testbed, yes=True)
    assert {tags["soakbed:lease"] for tags in aws.tags_of("vpc")} == {"another1"}


def test_all_expired_leaves_a_living_testbed_of_ones_own_alone(aws, states):
    aws.plant(until(FUTURE_S), named="own")
    before = aws.holds()
    held_here(states)
    reaped(aws, states, all_expired=True, yes=True)
    reaped(aws, states, all_expired=True, testbed=OWN.testbed, yes=True)
    assert aws.holds() == before


def test_a_testbed_on_which_a_pipeline_works_is_left_alone(aws, states):
    aws.plant(until(PAST_S), named="own")
    before = aws.holds()
    held_here(states)
    with held_alone(states / "locks", OWN.testbed):
        with pytest.raises(TestbedBusy):
            reaped(aws, states, testbed=OWN.testbed, yes=True)
        assert "in use" in reaped(aws, states, all_expired=True, yes=True)
        reaped(aws, states, testbed=OWN.testbed)  # looking is free
    assert aws.holds() == before


def test_what_bears_no_tags_is_found_by_the_intent_log_and_its_intents_are_closed(aws, states):
    bare = aws.plant({}, named="soakbed-aws-4x-k3v9q2x7")
    aws.plant({}, named="of-others")
    log = IntentLog.of(held_here(states))

    def made(type: str, **told: str) -> Intent:
        return Intent(
            at_s=1,
            step="made",
            testbed=OWN.testbed,
            lease=OWN.lease,
            region=REGION,
            type=type,
            address=f"module.aws.{type}.it",
            **told,
        )

    named = "soakbed-aws-4x-k3v9q2x7"
    log.append(
        [
            made("aws_instance", id=bare["instance"]),
            made("aws_key_pair", id=named),
            made("aws_placement_group", name=named),
        ]
    )
    reaped(aws, states, testbed=OWN.testbed, yes=True)
    holds = aws.holds()
    assert [len(holds[kind]) for kind in ("instance", "key pair", "placement group")] == [1, 1, 1]
    assert bare["instance"] not in holds["instance"]
    assert len(holds["vpc"]) == 2  # which no line of the log named
    assert [line.step for line in log.read()] == ["made"] * 3 + ["gone"] * 3


def test_what_is_gone_already_is_fine(aws, states):
    made = aws.plant(until(PAST_S), named="leak")

    def quicker(operation: str, parameters: dict[str, Any]) -> str:
        """Somebody else removes each thing a moment before us."""
        for kind, id in made.items():
            if operation.startswith("delete") and kind != "vpc" and id in parameters.values():
                aws._held[kind].pop(id, None)
        return ""

    aws.refuse = quicker
    reaped(aws, states, all_expired=True, yes=True)
    assert aws.holds() == {}


def test_what_is_there_again_at_the_second_look_is_no_success(aws, states):
    made = aws.plant(until(PAST_S), named="leak")
    kept = aws._held["volume"][made["volume"]]

    def again(operation: str, _parameters: dict[str, Any]) -> str:
        if operation == "describe_volumes":
            aws._held["volume"][made["volume"]] = kept
        return ""

    aws.refuse = again
    with pytest.raises(ProvisionError, match=f"volume {made['volume']}.*still there"):
        reaped(aws, states, all_expired=True, yes=True)


LISTINGS = [
    "describe_instances", "describe_volumes", "describe_network_interfaces", "describe_key_pairs",
    "describe_placement_groups", "describe_spot_instance_requests", "describe_vpcs",
    "describe_subnets", "describe_security_groups", "describe_route_tables",
    "describe_internet_gateways",
]  # fmt: skip


@pytest.mark.parametrize("listing", LISTINGS)
def test_who_cannot_see_one_kind_removes_nothing(aws, states, listing):
    aws.plant(until(PAST_S), named="leak")
    before = aws.holds()
    aws.refuse = lambda operation, _: "UnauthorizedOperation" if operation == listing else ""
    with pytest.raises(SoakbedError, match="UnauthorizedOperation") as blind:
        reaped(aws, states, all_expired=True, yes=True)
    assert blind.value.exit_code == 3
    assert aws.holds() == before


def test_a_region_that_fails_ends_it_before_anything_is_removed_in_another(aws, states):
    aws.plant(until(PAST_S), named="leak")
    before = aws.holds()
    other = MemoryRegion("us-west-2")
    other.refuse = lambda operation, _: "InternalError" if operation == "describe_vpcs" else ""
    with pytest.raises(SoakbedError, match="InternalError"):
        reaped(aws, states, other, all_expired=True, yes=True)
    assert aws.holds() == before


def test_without_a_region_named_those_of_the_account_are_looked_at(aws, states):
    aws.plant(until(PAST_S), named="leak")
    asked: list[str] = []

    def open_region(name: str) -> MemoryRegion:
        asked.append(name)
        return aws

    reap_clouds(
        Asked(all_expired=True, yes=True),
        states,
        Console(file=io.StringIO()),
        open_region=open_region,
    )
    assert asked == ["us-east-1", REGION] and aws.holds() == {}


def test_who_has_no_credentials_and_never_made_anything_there_is_told_so_and_no_more(states):
    def nobody(_name: str) -> MemoryRegion:
        raise AwsRefused("no AWS credentials", remedy="log in", code=NO_CREDENTIALS)

    told = Console(file=io.StringIO(), width=200)
    reap_clouds(Asked(all_expired=True, yes=True), states, told, open_region=nobody)
    assert "AWS was not looked at" in told.file.getvalue()
    held_here(states)
    with pytest.raises(AwsRefused):
        reap_clouds(Asked(all_expired=True, yes=True), states, told, open_region=nobody)


def test_local_testbeds_whose_lease_lapsed_are_named(aws, states, monkeypatch):
    there = {"left-over": ["mount"], "living": ["mount"]}
    monkeypatch.setattr("soakbed.commands_reap.remains_of", lambda name: there.get(name, []))
    for name, ends_s in (("left-over", PAST_S), ("living", FUTURE_S), ("gone", PAST_S)):
        places = Places(project=states, state=states / name, cache=states)
        keep_lease(Lease(id="w", testbed=name, provider="local", begun_s=1, ends_s=ends_s), places)
    told = reaped(aws, states)
    assert "testbed left-over on this machine" in told and "soakbed teardown" in told
    assert "testbed living" not in told and "testbed gone" not in told


def test_the_answer_for_scripts_names_leases_and_what_was_chosen(aws, states, capsys):
    aws.plant(until(PAST_S), named="leak")
    reaped(aws, states, all_expired=True, as_json=True)
    told = json.loads(capsys.readouterr().out)
    (lease,) = told["leases"]
    assert (told["dry_run"], told["regions"], told["gone"]) == (True, [REGION], [])
    assert (lease["lapsed"], lease["chosen"], lease["begun_here"]) == (True, True, False)
    assert lease["ends_s"] == PAST_S and len(lease["resources"]) == 13


def test_yes_alone_does_not_say_what_shall_go(aws, states):
    with pytest.raises(SpecError, match="--testbed NAME or --all-expired"):
        reaped(aws, states, yes=True)


def test_a_lease_that_cannot_be_read_is_an_error_and_not_forgotten(aws, states):
    places = held_here(states)
    (places.state / "lease.json").write_text("{")
    with pytest.raises(ProvisionError, match="cannot be read"):
        reaped(aws, states, all_expired=True)


def test_teardown_removes_what_one_lease_has_left_and_nothing_else(aws):
    aws.plant(until(FUTURE_S), named="own")
    aws.plant(until(FUTURE_S, **{"soakbed:lease": "another1"}), named="of-ann")
    done = stage.remove_lease(aws, OWN, made=(), progress=lambda _line: None)
    assert not done.left and len(done.gone) == 13
    assert {tags["soakbed:lease"] for tags in aws.tags_of("vpc")} == {"another1"}


def test_a_longer_lease_is_written_on_everything_of_it_and_on_nothing_else(aws):
    aws.plant(until(PAST_S), named="own")
    aws.plant(until(PAST_S, **{"soakbed:lease": "another1"}), named="of-ann")
    extend(aws, those_of(find(aws), [OWN]), destroy_after_s=FUTURE_S, run_id="run-1")
    for one in find(aws):
        told = (one.tags.get("soakbed:destroy_after"), one.tags.get("soakbed:run"))
        own = one.tags.get("soakbed:lease") == OWN.lease
        if one.tags:
            assert told == ((str(FUTURE_S), "run-1") if own else (str(PAST_S), None)), one


@pytest.mark.parametrize("word", ["aws-4x", str(PROJECT / "infra/testbeds/aws-4x.json")])
def test_a_testbed_is_named_by_its_name_or_its_file(word, monkeypatch):
    asked: list[Asked] = []
    monkeypatch.setattr("soakbed.commands_reap.reap_clouds", lambda one, *_: asked.append(one))
    cli_reap.reap(testbed=word)
    assert asked == [Asked("aws-4x")]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ([], "soakbed reap"),
        (["TESTBED=infra/testbeds/aws-4x.json"], "reap --testbed infra/testbeds/aws-4x.json"),
        (["TESTBED=a.json", "YES=1"], "soakbed reap --testbed a.json --yes"),
    ],
)
def test_make_only_looks_unless_it_is_told_to_remove(words, command):
    clean = {name: value for name, value in os.environ.items() if name not in ("TESTBED", "YES")}
    shown = subprocess.run(
        ["make", "-n", "--no-print-directory", "reap", *words],
        cwd=PROJECT, env=clean, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.strip().endswith(command)
