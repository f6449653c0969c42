"""The reader of plans finds each fault; the real plan is read beside the other tests of AWS."""

import copy

import pytest

from tests.plan_faults import faults_in

HOST = {
    "root_block_device": [{"encrypted": True}],
    "metadata_options": [{"http_tokens": "required"}],
}
RULE = {"cidr_ipv4": "203.0.113.7/32"}


def plan(host=HOST, rule=RULE, group=()):
    rows = [
        ("aws_instance", host),
        ("aws_vpc_security_group_ingress_rule", rule),
        ("aws_security_group", {"ingress": list(group)}),
    ]
    inner = [{"address": f"{kind}.it", "type": kind, "values": values} for kind, values in rows]
    return {"planned_values": {"root_module": {"child_modules": [{"resources": inner}]}}}


def test_a_plan_that_opens_nothing_has_no_faults():
    assert faults_in(plan()) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param({"rule": {"cidr_ipv4": "0.0.0.0/0"}}, "open to the world", id="rule"),
        pytest.param({"rule": {"cidr_ipv6": "::/0"}}, "open to the world", id="rule, IPv6"),
        pytest.param(
            {"group": [{"cidr_blocks": ["0.0.0.0/0"]}]}, "open to the world", id="inside a group"
        ),
        pytest.param({"host": HOST | {"root_block_device": [{}]}}, "not encrypted", id="disk"),
        pytest.param({"host": HOST | {"root_block_device": []}}, "not encrypted", id="no word"),
        pytest.param(
            {"host": HOST | {"metadata_options": [{"http_tokens": "optional"}]}},
            "version 1",
            id="metadata",
        ),
        pytest.param({"host": HOST | {"metadata_options": []}}, "version 1", id="no word of it"),
        pytest.param(
            {"host": HOST | {"user_data": "-----BEGIN OPENSSH PRIVATE KEY-----"}},
            "private key",
            id="a key",
        ),
    ],
)
def test_each_fault_is_told(changed, told):
    (fault,) = faults_in(plan(**copy.deepcopy(changed)))
    assert told in fault
