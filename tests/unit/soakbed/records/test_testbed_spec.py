"""What a testbed's file may say, for each provider, and what it is told otherwise."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from soakbed.records.testbed import Host
from soakbed.records.testbed_spec import AwsSpec, HostSpec, LeaseSpec, TestbedSpec

SHAPES = Path(__file__).resolve().parents[4] / "infra/testbeds"
AWS = {"region": "eu-central-1", "zones": ["eu-central-1a", "eu-central-1b"]}


def shape(name: str, **changed: Any) -> dict[str, Any]:
    document = json.loads((SHAPES / f"{name}.json").read_text())
    for key, value in changed.items():
        if key == "d1":
            document["hosts"]["d1"] |= value
        else:
            document[key] = value
    return document


def test_hosts_in_a_cloud_are_asked_for_by_duty_alone():
    spec = TestbedSpec.model_validate(shape("aws-4x"))
    assert {host.address for host in spec.hosts.values()} == {""}
    assert spec.aws and spec.aws.instance_type == "c6id.2xlarge"
    assert spec.aws.operator_cidr == "auto"


def test_a_cloud_always_has_a_lease_and_other_testbeds_only_when_they_ask():
    cloud = shape("aws-4x")
    del cloud["lease"]
    assert TestbedSpec.model_validate(cloud).leased == LeaseSpec()
    assert TestbedSpec.model_validate(shape("local-4x")).leased is None
    asked = TestbedSpec.model_validate(shape("local-4x", lease={"margin_h": 1}))
    assert asked.leased == LeaseSpec(margin_h=1)


@pytest.mark.parametrize("name", [path.stem for path in SHAPES.glob("*.json")])
def test_a_testbed_that_asks_for_nothing_new_is_archived_as_an_older_soakbed_reads_it(name):
    spec = TestbedSpec.model_validate(shape(name))
    written = spec.model_dump(mode="json", by_alias=True)
    assert TestbedSpec.model_validate(written) == spec
    new = {"aws", "lease", "budget", "remote_state"}
    assert written.keys() & new == json.loads((SHAPES / f"{name}.json").read_text()).keys() & new
    assert not HostSpec.grown & written["hosts"]["d1"].keys()


def test_a_host_is_reached_at_its_own_address_where_no_other_is_told():
    plain = Host(name="d1", duty="data", address="10.0.0.1", key_file="k")
    assert plain.reached_at == "10.0.0.1"
    assert "ssh_address" not in plain.model_dump()
    cloud = plain.model_copy(update={"ssh_address": "203.0.113.9"})
    assert (cloud.address, cloud.reached_at) == ("10.0.0.1", "203.0.113.9")
    assert Host.model_validate(cloud.model_dump()) == cloud


@pytest.mark.parametrize(
    ("document", "told"),
    [
        pytest.param(shape("aws-4x", aws=None), 'add "aws"', id="aws without its part"),
        pytest.param(
            shape("aws-4x", network_cidr="10.1.0.0/16"), "move it into the part", id="network"
        ),
        pytest.param(
            shape("aws-4x", d1={"address": "10.1.0.1"}), "d1 have address", id="aws address"
        ),
        pytest.param(shape("local-4x", aws=AWS), "part aws on provider local", id="local with aws"),
        pytest.param(
            shape("local-4x", remote_state={"bucket": "abc", "key": "k", "region": "eu-west-1"}),
            "part remote_state on provider local",
            id="local with remote state",
        ),
        pytest.param(
            shape("local-4x", d1={"instance_type": "c6id.large"}), "hosts in a cloud", id="type"
        ),
        pytest.param(
            shape("local-4x", d1={"inner_address": "10.83.17.11"}), "static hosts", id="inner"
        ),
        pytest.param(shape("local-4x", d1={"data_dir": "/mnt"}), "static hosts", id="data_dir"),
        pytest.param(shape("aws-4x", d1={"cores": 8}), "d1 have cores on provider aws", id="cores"),
        pytest.param(shape("static-example", d1={"data_dir": "data"}), "pattern", id="relative"),
        pytest.param(shape("static-example", d1={"address": ""}), "d1 have no address", id="none"),
        pytest.param(
            shape("static-example", d1={"address": "192.0.2.12"}), "share one address", id="twice"
        ),
        pytest.param(
            shape("static-example", d1={"inner_address": "d1.example"}), "not an IPv4", id="name"
        ),
    ],
)
def test_what_does_not_fit_the_provider_is_refused_with_the_way_out(document, told):
    with pytest.raises(ValidationError, match=told):
        TestbedSpec.model_validate(document)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param({"zones": []}, "at least 1", id="no zone"),
        pytest.param({"zones": ["eu-west-1a"]}, "not zones of eu-central-1", id="elsewhere"),
        pytest.param({"zones": ["eu-central-1a"] * 2}, "each once", id="one twice"),
        pytest.param({"region": "Frankfurt"}, "pattern", id="a town"),
        pytest.param({"operator_cidr": "0.0.0.0/0"}, "4,294,967,296", id="the world"),
        pytest.param({"operator_cidr": "0.0.0.0/1"}, "SSH would be open", id="half of it"),
        pytest.param({"operator_cidr": "me"}, "write auto", id="no network"),
        pytest.param({"network_cidr": "8.8.0.0/16"}, "not a private network", id="public"),
        pytest.param({"network_cidr": "10.0.0.0/8"}, "not a private network", id="too wide"),
        pytest.param({"boot_disk_gb": 4}, "greater than or equal to 10", id="no room to boot"),
        pytest.param({"image_owner": "debian"}, "pattern", id="an owner that anybody may be"),
        pytest.param({"owner": "me/you"}, "pattern", id="no word for a tag"),
    ],
)
def test_what_aws_cannot_have_is_refused_with_the_way_out(changed, told):
    AwsSpec.model_validate(AWS)
    with pytest.raises(ValidationError, match=told):
        AwsSpec.model_validate(AWS | changed)


def test_static_hosts_may_reach_each_other_by_other_addresses_than_the_controller():
    document = shape("static-example")
    for at, host in enumerate(document["hosts"].values(), start=1):
        host["inner_address"] = f"10.0.0.{at}"
    spec = TestbedSpec.model_validate(document)
    assert spec.hosts["d1"] == HostSpec.model_validate(spec.hosts["d1"].model_dump())
    document["hosts"]["d1"]["inner_address"] = "10.0.0.2"
    with pytest.raises(ValidationError, match="share one inner_address"):
        TestbedSpec.model_validate(document)
