from __future__ import annotations

import pytest

from soakbed.adapters.own_address import own_address
from soakbed.errors import ProvisionError
from tests.standins.aws import Answer, AwsDoor


def test_the_address_is_what_the_service_sees():
    with AwsDoor() as door:
        door.rules = [lambda _call: Answer(200, "203.0.113.7\n")]
        assert own_address(door.url) == "203.0.113.7"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(200, "<html>log in to the hotel</html>"), id="a page"),
        pytest.param(Answer(200, "0.0.0.0/0"), id="the whole world"),
        pytest.param(Answer(200, "2001:db8::7"), id="IPv6"),
        pytest.param(Answer(503, "203.0.113.7"), id="an error"),
    ],
)
def test_what_is_no_address_opens_no_door(answer):
    with AwsDoor() as door:
        door.rules = [lambda _call: answer]
        with pytest.raises(ProvisionError) as raised:
            own_address(door.url)
    assert "operator_cidr" in raised.value.remedy


def test_a_service_that_cannot_be_reached_is_named():
    with pytest.raises(ProvisionError, match=r"http://127\.0\.0\.1:9 did not say"):
        own_address("http://127.0.0.1:9")
