"""What is found out on AWS before anything is made there; Terraform is not even called."""

from __future__ import annotations

import json

import pytest

from soakbed.adapters.aws import NO_CREDENTIALS, AwsRefused
from soakbed.adapters.terraform import Terraform
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec
from soakbed.stages.lease import drop_lease, hold_lease
from soakbed.stages.provision_aws import make_on_aws
from soakbed.stages.teardown import teardown
from tests.standins.aws import Answer, AwsDoor, Call

EC2 = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'
HERE = {
    "GetCallerIdentity": '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/'
    '2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/her</Arn><UserId>U</UserId>'
    "<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
    "DescribeAvailabilityZones": f"<DescribeAvailabilityZonesResponse {EC2}><availabilityZoneInfo>"
    "<item><zoneName>eu-central-1a</zoneName><zoneState>available</zoneState></item>"
    "<item><zoneName>eu-central-1b</zoneName><zoneState>impaired</zoneState></item>"
    "</availabilityZoneInfo></DescribeAvailabilityZonesResponse>",
    "DescribeInstanceTypeOfferings": f"<DescribeInstanceTypeOfferingsResponse {EC2}>"
    "<instanceTypeOfferingSet/></DescribeInstanceTypeOfferingsResponse>",
}


def spec(*zones: str) -> TestbedSpec:
    hosts = {name: {"duty": "data"} for name in ("d1", "d2", "d3")} | {"l1": {"duty": "load"}}
    aws = {"region": "eu-central-1", "zones": list(zones), "operator_cidr": "203.0.113.7/32"}
    return TestbedSpec.model_validate({"name": "t", "provider": "aws", "aws": aws, "hosts": hosts})


@pytest.fixture
def places(tmp_path) -> Places:
    return Places(
        project=tmp_path,
        state=tmp_path / "states/t",
        cache=tmp_path / "cache",
        terraform="/nonexistent/terraform",
    )


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch):
    with AwsDoor() as made:
        made.rules = [
            lambda call: Answer(200, HERE[call.action]) if call.action in HERE else None,
        ]
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield made


def made(places: Places, wanted: TestbedSpec) -> list[str]:
    said: list[str] = []
    make_on_aws(
        wanted,
        terraform=Terraform(places, wanted.remote_state),
        places=places,
        progress=said.append,
    )
    return said


def changing(calls: list[Call]) -> list[str]:
    return [it.action for it in calls if not it.action.startswith(("Describe", "Get"))]


def test_who_is_not_logged_in_is_told_so_before_anything_else(door, places, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "there-is-no-such-profile")
    with pytest.raises(AwsRefused) as refused:
        made(places, spec("eu-central-1a"))
    assert refused.value.code == NO_CREDENTIALS
    assert not places.state.exists()


def test_zones_that_are_not_open_are_named_with_those_that_are(door, places):
    with pytest.raises(ProvisionError, match="no zone eu-central-1b") as raised:
        made(places, spec("eu-central-1a", "eu-central-1b"))
    assert "name some of eu-central-1a " in raised.value.remedy
    assert changing(door.calls) == []


def test_a_type_that_no_zone_has_is_refused_without_making_anything(door, places):
    with pytest.raises(ProvisionError, match=r"eu-central-1a: NotOffered: .*c6id\.2xlarge"):
        made(places, spec("eu-central-1a"))
    assert changing(door.calls) == []


def test_a_testbed_is_not_moved_to_another_region_behind_its_own_back(door, places):
    places.state.mkdir(parents=True)
    (places.state / "zone.json").write_text(
        '{"region": "eu-west-1", "zone": "eu-west-1a", "came_up": true}'
    )
    with pytest.raises(ProvisionError, match="stands in eu-west-1") as raised:
        made(places, spec("eu-central-1a"))
    assert "tear it down first" in raised.value.remedy
    assert door.calls == []


def test_a_teardown_of_what_was_never_made_asks_nobody(door, places):
    wanted = spec("eu-central-1a")
    teardown(wanted, terraform=Terraform(places), places=places, progress=str)
    assert door.calls == []


def test_a_teardown_that_cannot_see_keeps_what_it_knows(door, places, monkeypatch):
    with pytest.raises(ProvisionError, match="does not run"):  # there is no such Terraform
        door.rules.insert(0, offers)
        made(places, spec("eu-central-1a"))
    assert (places.state / "lease.json").exists()
    monkeypatch.setenv("AWS_PROFILE", "there-is-no-such-profile")
    with pytest.raises(AwsRefused):
        wanted = spec("eu-central-1a")
        teardown(wanted, terraform=Terraform(places), places=places, progress=str)
    assert (places.state / "lease.json").exists()
    assert (places.state / "ssh/id_ed25519").exists()


def offers(call: Call) -> Answer | None:
    if call.action != "DescribeInstanceTypeOfferings":
        return None
    return Answer(
        200,
        f"<DescribeInstanceTypeOfferingsResponse {EC2}><instanceTypeOfferingSet><item>"
        "<instanceType>c6id.2xlarge</instanceType><location>eu-central-1a</location></item>"
        "</instanceTypeOfferingSet></DescribeInstanceTypeOfferingsResponse>",
    )


def shared(wanted: TestbedSpec) -> TestbedSpec:
    where = {"bucket": "states", "key": "t.tfstate", "region": "eu-central-1"}
    return TestbedSpec.model_validate(wanted.model_dump(by_alias=True) | {"remote_state": where})


def state_on_lease(lease: str, *, testbed: str = "t"):
    """S3 with a state in which one controller's hosts are."""
    tags = {"soakbed:project": "soakbed", "soakbed:testbed": testbed, "soakbed:lease": lease}
    held = {"version": 4, "resources": [{"instances": [{"attributes": {"tags": tags}}]}]}

    def state(call: Call) -> Answer | None:
        asked = call.path.partition("?")[0] == "/states/t.tfstate"
        return Answer(200, json.dumps(held)) if asked else None

    return state


def test_hosts_that_another_controller_made_are_neither_changed_nor_unmade(door, places):
    door.rules[:0] = [offers, state_on_lease("the-first-one")]
    wanted = shared(spec("eu-central-1a"))
    hold_lease(wanted, places)  # our own, as the pipeline begins it
    for once in (lambda: made(places, wanted), lambda: torn_down(places, wanted)):
        with pytest.raises(ProvisionError, match=r"s3://states/t\.tfstate holds testbed t on l"):
            once()
    assert changing([call for call in door.calls if call.action]) == []
    assert not (places.state / "terraform").exists(), "Terraform is not even called"
    drop_lease(places)  # of a controller that never made anything, too
    with pytest.raises(ProvisionError, match="on lease the-first-one, which another controller"):
        torn_down(places, wanted)


def test_two_testbeds_do_not_meet_in_one_object(door, places):
    wanted = shared(spec("eu-central-1a"))
    lease = hold_lease(wanted, places)
    door.rules[:0] = [offers, state_on_lease(lease.id, testbed="other")]
    with pytest.raises(ProvisionError, match="holds testbed other on lease"):
        made(places, wanted)


def test_who_made_the_hosts_goes_on_with_them(door, places):
    wanted = shared(spec("eu-central-1a"))
    door.rules[:0] = [offers, state_on_lease(hold_lease(wanted, places).id)]
    with pytest.raises(ProvisionError, match="does not run"):  # there is no such Terraform
        made(places, wanted)


def torn_down(places: Places, wanted: TestbedSpec) -> None:
    held = Terraform(places, wanted.remote_state)
    teardown(wanted, terraform=held, places=places, progress=str)
