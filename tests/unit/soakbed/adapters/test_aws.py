from __future__ import annotations

from collections.abc import Iterator

import pytest

from soakbed.adapters.aws import NO_ANSWER, NO_CREDENTIALS, AwsRefused, AwsRegion, is_gone
from tests.standins.aws import Answer, AwsDoor, ec2_error, refuse

WHO = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/her</Arn><UserId>U</UserId>
<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"""


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsDoor]:
    with AwsDoor() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield made


def test_whoever_asks_is_named(door: AwsDoor) -> None:
    door.rules = [lambda call: Answer(200, WHO) if call.action == "GetCallerIdentity" else None]
    who = AwsRegion("eu-central-1").identity()
    assert (who.account, who.arn) == ("123456789012", "arn:aws:iam::123456789012:user/her")


def test_every_page_of_an_answer_is_read(door: AwsDoor) -> None:
    def pages(call):
        second = call.parameters.get("NextToken") == "more"
        more = "" if second else "<nextToken>more</nextToken>"
        return Answer(
            200,
            '<DescribeVolumesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><volumeSet>'
            f"<item><volumeId>vol-{2 if second else 1}</volumeId></item></volumeSet>{more}"
            "</DescribeVolumesResponse>",
        )

    door.rules = [pages]
    found = AwsRegion("eu-central-1").all_of("ec2", "describe_volumes", "Volumes")
    assert [volume["VolumeId"] for volume in found] == ["vol-1", "vol-2"]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        pytest.param("AuthFailure", "aws sts get-caller-identity", id="a bad key"),
        pytest.param("ExpiredToken", "aws sts get-caller-identity", id="a session that is over"),
        pytest.param("UnauthorizedOperation", "permission", id="a permission that lacks"),
        pytest.param("OptInRequired", "aws.region", id="a region that is not enabled"),
        pytest.param("InsufficientInstanceCapacity", "run it again", id="anything else"),
    ],
)
def test_what_aws_refuses_comes_back_with_its_code_and_a_remedy(
    door: AwsDoor, code: str, remedy: str
) -> None:
    door.rules = [refuse("DescribeInstances", code)]
    with pytest.raises(AwsRefused) as refused:
        list(AwsRegion("eu-central-1").all_of("ec2", "describe_instances", "Reservations"))
    assert refused.value.code == code
    assert "eu-central-1: ec2 describe_instances" in refused.value.problem
    assert remedy in refused.value.remedy
    assert "very-secret" not in str(refused.value)
    assert not is_gone(refused.value)


def test_the_long_cipher_of_a_missing_permission_is_not_shown(door: AwsDoor) -> None:
    said = "You may not ec2:RunInstances. Encoded authorization failure message: AbCdEf"
    door.rules = [lambda _call: ec2_error("UnauthorizedOperation", said)]
    with pytest.raises(AwsRefused, match="ec2:RunInstances") as refused:
        AwsRegion("eu-central-1").ask("ec2", "describe_vpcs")
    assert "AbCdEf" not in str(refused.value)


@pytest.mark.parametrize(
    "code",
    [
        *("InvalidInstanceID.NotFound", "InvalidPlacementGroup.Unknown", "Gateway.NotAttached"),
        *("InvalidKeyPair.NotFound", "InvalidGroup.NotFound", "InvalidVpcID.NotFound"),
    ],
)
def test_what_is_gone_can_be_told_from_what_is_refused(door: AwsDoor, code: str) -> None:
    door.rules = [refuse("DeleteVpc", code)]
    with pytest.raises(AwsRefused) as refused:
        AwsRegion("eu-central-1").ask("ec2", "delete_vpc", VpcId="vpc-1")
    assert is_gone(refused.value)


def test_silence_is_no_answer(monkeypatch: pytest.MonkeyPatch, door: AwsDoor) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("soakbed.adapters.aws._TRIES", 1)
    with pytest.raises(AwsRefused, match="did not answer") as refused:
        AwsRegion("eu-central-1").identity()
    assert refused.value.code == NO_ANSWER
    assert not is_gone(refused.value)


def test_who_is_not_logged_in_is_told_how(monkeypatch: pytest.MonkeyPatch, door: AwsDoor) -> None:
    monkeypatch.setenv("AWS_PROFILE", "there-is-no-such-profile")
    with pytest.raises(AwsRefused, match="no AWS credentials") as refused:
        AwsRegion("eu-central-1").identity()
    assert refused.value.code == NO_CREDENTIALS
    assert "AWS_PROFILE" in refused.value.remedy
    assert door.calls == []
