"""The door before the stand-in AWS: a lost answer is given again, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.standins.aws import Answer, AwsDoor, Call, ec2_error

ROUTE = {"RouteTableId": "rtb-1", "DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "igw-1"}
DONE = Answer(200, "<CreateRouteResponse><return>true</return></CreateRouteResponse>")


class Routes:
    """A rule, as EC2 does it: what is there cannot be made again."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, call: Call) -> Answer | None:
        if call.action != "CreateRoute":
            return None
        self.made += 1
        return DONE if self.made == 1 else ec2_error("RouteAlreadyExists")


def asker(door: AwsDoor):
    return boto3.client(
        "ec2",
        region_name="eu-central-1",
        endpoint_url=door.url,
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="secret-of-the-stand-in",
        config=Config(retries={"mode": "standard", "max_attempts": 3}),
    )


@pytest.fixture
def upstream() -> Iterator[AwsDoor]:
    with AwsDoor() as behind:
        behind.rules = [Routes()]
        yield behind


def test_an_attempt_after_a_lost_answer_gets_that_answer(upstream: AwsDoor):
    lost: list[Call] = []

    def lose_the_first(call: Call, said: bytes) -> bytes:
        if not lost:
            lost.append(call)
            raise ConnectionError("as the test wants it")
        return said

    host, port = upstream.url.removeprefix("http://").split(":")
    with AwsDoor((host, int(port))) as door:
        door.edits = [lose_the_first]
        assert asker(door).create_route(**ROUTE)["Return"] is True
        first, second = door.asked("CreateRoute")
        assert first.invocation == second.invocation != ""
        assert (first.status, second.status) == (0, 200)
        assert len(door.faults) == 1
        assert len(upstream.asked("CreateRoute")) == 1
        with pytest.raises(ClientError, match="RouteAlreadyExists"):
            asker(door).create_route(**ROUTE)  # another call: AWS refuses it


def test_an_attempt_after_a_refusal_is_put_to_the_rules_again():
    refusals = [ec2_error("RequestLimitExceeded", status=503)]
    with AwsDoor() as door:
        door.rules = [lambda call: refusals.pop() if refusals else DONE]
        assert asker(door).create_route(**ROUTE)["Return"] is True
        assert [call.status for call in door.calls] == [503, 200]
