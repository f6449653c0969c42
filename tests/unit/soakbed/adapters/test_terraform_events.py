"""What Terraform says as it goes, turned into counts, complaints and lines for an operator."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.adapters.terraform_events import Account, Step, events_of, line_of


def hook(kind, address, **more):
    resource = {"addr": address, "resource_type": address.split(".")[-2]}
    return {"type": kind, "hook": {"resource": resource, **more}}


CLOUD = "module.testbed.module.aws"
HOST = 'module.local[0].terraform_data.host["d1"]'


@pytest.mark.parametrize(
    ("event", "line"),
    [
        pytest.param(hook("apply_start", HOST, action="create"), "host d1: making", id="start"),
        pytest.param(
            hook("apply_complete", HOST, action="create", elapsed_seconds=2),
            "host d1: making done after 2 s",
            id="done",
        ),
        pytest.param(
            hook("apply_errored", HOST, action="delete", elapsed_seconds=1),
            "host d1: removing failed after 1 s",
            id="failed",
        ),
        pytest.param(
            hook("apply_start", "module.local[0].terraform_data.network", action="delete"),
            "network: removing",
            id="a resource that there is only one of",
        ),
        pytest.param(
            hook("apply_start", f'{CLOUD}.aws_instance.host["d1"]', action="create"),
            "host d1: making",
            id="a host in a cloud",
        ),
        pytest.param(
            hook("apply_start", f"{CLOUD}.aws_placement_group.hosts", action="delete"),
            "placement group: removing",
            id="a part of a cloud",
        ),
        pytest.param(
            hook("apply_start", "other.thing", action="create"), "other.thing: making", id="unknown"
        ),
        pytest.param({"type": "version"}, "", id="nothing an operator needs"),
        pytest.param(
            {"type": "diagnostic", "diagnostic": {"severity": "warning", "summary": "old flag"}},
            "warning: old flag",
            id="warning",
        ),
    ],
)
def test_an_event_reads_as_one_line(event, line):
    assert line_of(event) == line


def test_a_host_that_was_made_again_counts_once():
    account = Account()
    for action in ("delete", "create"):
        account.take(hook("apply_complete", HOST, action=action, elapsed_seconds=1))
    assert account.touched == {HOST}


def test_every_step_is_told_as_it_comes_with_the_id_of_what_it_is_about():
    told: list[Step] = []
    account = Account(told.append)
    vpc = f"{CLOUD}.aws_vpc.testbed"
    for kind, action, more in [
        ("apply_start", "create", {}),
        ("apply_complete", "create", {"id_key": "id", "id_value": "vpc-1"}),
        # When it is done there is nothing left that has an id.
        ("apply_start", "delete", {"id_key": "id", "id_value": "vpc-1"}),
        ("apply_complete", "delete", {}),
    ]:
        account.take(hook(kind, vpc, action=action, **more))
    assert told == [Step(vpc, "aws_vpc", action, "vpc-1") for action in ("create", "delete")]


def test_outputs_are_taken_without_their_types():
    account = Account()
    account.take({"type": "outputs", "outputs": {"testbed": {"value": {"schema": 1}, "type": "x"}}})
    account.take({"type": "outputs", "outputs": {"testbed": {"action": "create"}}})
    assert account.outputs == {"testbed": None}  # planned only: the last word counts


def test_a_complaint_names_what_it_is_about():
    account = Account()
    told = {"severity": "error", "summary": "no", "detail": "say yes", "address": HOST}
    account.take({"type": "diagnostic", "diagnostic": told})
    assert account.complaints == [f"{HOST}: no\nsay yes"]


@given(st.lists(st.binary(max_size=80).filter(lambda raw: b"\n" not in raw)))
def test_lines_that_are_no_events_never_stop_the_stream(lines):
    good = json.dumps({"type": "version"}).encode()
    stream = io.BytesIO(b"\n".join([*lines, good]) + b"\n")
    assert list(events_of(stream))[-1] == {"type": "version"}
