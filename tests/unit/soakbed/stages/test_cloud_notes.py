from __future__ import annotations

import pytest

from soakbed.adapters.terraform_events import Step
from soakbed.archive.intent_log import IntentLog
from soakbed.errors import ArchiveError
from soakbed.records.intents import open_intents
from soakbed.stages.cloud_notes import CloudNotes, planned_creations

VPC, KEY, HOST = "m.aws_vpc.testbed", "m.aws_key_pair.operator", 'm.aws_instance.host["d1"]'


def change(address: str, actions: list[str], **after):
    kind = address.split(".")[1]
    return {
        "address": address,
        "mode": "managed",
        "type": kind,
        "change": {"actions": actions, "after": after or None},
    }


PLAN = {
    "resource_changes": [
        change(VPC, ["create"], tags={"Name": "soakbed-t-vpc"}),
        change(KEY, ["create"], key_name="soakbed-t-word", tags={"Name": "soakbed-t-key"}),
        change(HOST, ["delete", "create"], tags={"Name": "soakbed-t-d1"}),
        change("m.aws_subnet.hosts", ["no-op"], tags={}),
        change("m.aws_route_table.ssh", ["update"], tags={}),
        change("m.aws_internet_gateway.ssh", ["delete"]),
        change("m.terraform_data.image", ["create"], input={}),
        {**change("m.aws_ami.debian", ["read", "create"]), "mode": "data"},
    ]
}


@pytest.fixture
def log(tmp_path) -> IntentLog:
    return IntentLog(tmp_path / "t.jsonl")


def notes(log: IntentLog, said: list[str] | None = None) -> CloudNotes:
    said = [] if said is None else said
    return CloudNotes(log, "t", "word", "eu-west-1", said.append)


def test_only_what_a_cloud_would_keep_is_an_intent():
    found = planned_creations(PLAN, testbed="t", lease="word", region="eu-west-1", at_s=7)
    assert [(it.address, it.name) for it in found] == [
        (VPC, "soakbed-t-vpc"),
        (KEY, "soakbed-t-word"),
        (HOST, "soakbed-t-d1"),
    ]
    assert {(it.step, it.lease, it.region, it.at_s) for it in found} == {
        ("create", "word", "eu-west-1", 7)
    }


def test_a_plan_that_makes_nothing_writes_nothing(log):
    notes(log).before({"resource_changes": [change(VPC, ["no-op"])]})
    notes(log).before({})
    assert not log.path.exists()


def test_what_was_made_has_its_id_and_what_was_removed_is_gone(log):
    book = notes(log)
    book.before(PLAN)
    book.tell(Step(VPC, "aws_vpc", "create", "vpc-1"))
    book.tell(Step(HOST, "aws_instance", "create", "i-1"))
    book.tell(Step("m.terraform_data.image", "terraform_data", "create", "x"))
    book.tell(Step(VPC, "aws_vpc", "update", "vpc-1"))
    assert {it.address: (it.step, it.id) for it in open_intents(log.read())} == {
        VPC: ("made", "vpc-1"),
        HOST: ("made", "i-1"),
        KEY: ("create", ""),
    }
    later = notes(log)  # another command, which has only the log
    later.tell(Step(HOST, "aws_instance", "delete", "i-1"))
    later.tell(Step(KEY, "aws_key_pair", "delete", "soakbed-t-word"))
    assert [it.id for it in open_intents(log.read())] == ["vpc-1"]
    later.all_gone()
    assert open_intents(log.read()) == []


def test_a_host_that_is_made_again_is_first_gone_and_then_there(log):
    book = notes(log)
    book.before(PLAN)
    book.tell(Step(HOST, "aws_instance", "create", "i-1"))
    again = notes(log)
    again.before({"resource_changes": [change(HOST, ["delete", "create"])]})
    again.tell(Step(HOST, "aws_instance", "delete", "i-1"))
    again.tell(Step(HOST, "aws_instance", "create", "i-2"))
    assert [it.id for it in open_intents(log.read()) if it.address == HOST] == ["i-2"]


def test_another_lease_is_none_of_our_business(log):
    notes(log).before(PLAN)
    other = CloudNotes(log, "t", "other", "eu-west-1", str)
    other.tell(Step(VPC, "aws_vpc", "delete", "vpc-1"))
    other.all_gone()
    assert len(open_intents(log.read())) == 3


def test_a_full_disk_stops_what_is_not_begun_and_nothing_that_is(log, monkeypatch):
    said: list[str] = []
    book = notes(log, said)
    book.before(PLAN)
    monkeypatch.setattr("os.write", lambda _handle, _text: 0)
    book.tell(Step(VPC, "aws_vpc", "create", "vpc-1"))
    assert "warning" in said[0]
    with pytest.raises(ArchiveError):
        notes(log).before(PLAN)
