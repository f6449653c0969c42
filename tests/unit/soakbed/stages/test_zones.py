from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.stages.zones import ZoneRefused, in_order, lack_of_capacity, nowhere

# As provider 5.100 words it, with all that surrounds the code.
IN_FULL = (
    'aws_instance.host["d2"]: creating EC2 Instance: operation error EC2: RunInstances, https '
    "response error StatusCode: 500, RequestID: 1, api error InsufficientInstanceCapacity: We "
    "currently do not have sufficient c6id.2xlarge capacity in the Availability Zone you requested."
)


@pytest.mark.parametrize(
    ("complaint", "code"),
    [
        pytest.param(IN_FULL, "InsufficientInstanceCapacity", id="none left"),
        pytest.param("api error Unsupported: not in this zone", "Unsupported", id="never there"),
        pytest.param(
            "unexpected state 'terminated', wanted target 'running'. last error: "
            "Server.InsufficientInstanceCapacity: Insufficient capacity",
            "InsufficientInstanceCapacity",
            id="given and taken back",
        ),
        pytest.param("MaxSpotInstanceCountExceeded: no", "MaxSpotInstanceCountExceeded", id="spot"),
        pytest.param("api error VcpuLimitExceeded: 32 vCPUs", None, id="the account's limit"),
        pytest.param("api error UnauthorizedOperation: no", None, id="no permission"),
        pytest.param("api error UnsupportedOperation: no", None, id="a longer word is another"),
        pytest.param("", None, id="no words"),
    ],
)
def test_only_lack_of_capacity_is_a_reason_to_try_another_zone(complaint, code):
    found = lack_of_capacity("eu-central-1a", complaint)
    assert (found and found.code) == code


def test_the_zones_own_words_are_kept():
    found = lack_of_capacity("eu-central-1a", IN_FULL)
    assert found
    assert found.words.startswith("We currently do not have sufficient c6id.2xlarge")


ALL = {"za": frozenset({"t1", "t2"}), "zb": frozenset({"t1", "t2"}), "zc": frozenset({"t1"})}


@pytest.mark.parametrize(
    ("kept", "types", "order", "without"),
    [
        pytest.param("", {"t1"}, ["za", "zb", "zc"], [], id="as the file says"),
        pytest.param("zb", {"t1"}, ["zb", "za", "zc"], [], id="where it lives first"),
        pytest.param("", {"t1", "t2"}, ["za", "zb"], ["zc"], id="not where a type is unknown"),
        pytest.param("", {"t9"}, [], ["za", "zb", "zc"], id="nowhere"),
    ],
)
def test_zones_are_tried_in_order(kept, types, order, without):
    zones, refused = in_order(["za", "zb", "zc"], kept=kept, offers=ALL, types=frozenset(types))
    assert zones == order
    assert [refusal.zone for refusal in refused] == without


@given(st.permutations(["za", "zb", "zc"]), st.sampled_from(["", "za", "zb", "zc", "zd"]))
def test_no_zone_is_lost_or_tried_twice(wanted, kept):
    zones, refused = in_order(wanted, kept=kept, offers=ALL, types=frozenset({"t2"}))
    seen = [*zones, *(refusal.zone for refusal in refused)]
    assert sorted(seen) == sorted({*wanted, *([kept] if kept else [])})


def test_where_no_zone_has_room_each_ones_words_are_told():
    error = nowhere(
        [ZoneRefused("za", "Unsupported", "never"), ZoneRefused("zb", "NotOffered", "")], hosts=4
    )
    assert "- za: Unsupported: never\n- zb: NotOffered" in error.problem
    assert "aws.zones" in error.remedy
