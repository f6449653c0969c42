"""Which fault meets which request, and what it says."""

import pytest

from tests.tikv_double.cluster import Cluster, Store
from tests.tikv_double.faults import KINDS, PD_METHODS, REGION_ERRORS, Fault, Faults, refusal
from tests.tikv_double.messages import errorpb, kvrpcpb


def met(faults: Faults, requests: int, method: str = "RawPut", store: int = 1) -> int:
    return sum(faults.meet(method, store) is not None for _ in range(requests))


def test_a_rule_meets_as_many_requests_as_it_says():
    faults = Faults([Fault("stale_command", count=3)])
    assert met(faults, 10) == 3
    assert faults.rules == []


def test_a_share_meets_about_so_many():
    assert met(Faults([Fault("stale_command", count=None, share=0.1)]), 1000) == pytest.approx(
        100, abs=35
    )


def test_only_the_named_method_and_store_are_met():
    faults = Faults([Fault("stale_command", method="RawGet", store=2, count=None)])
    assert met(faults, 5) == met(faults, 5, "RawGet", 1) == 0
    assert met(faults, 5, "RawGet", 2) == 5


def test_a_rule_without_a_method_leaves_pd_alone():
    faults = Faults([Fault("status", count=None)])
    assert faults.meet("GetRegion", 1, default=False) is None


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "sunspots"},
        {"kind": "stall", "method": "RawPutt"},
        {"kind": "not_leader", "method": "GetRegion"},
    ],
)
def test_a_rule_that_could_never_be_met_is_refused(rule):
    with pytest.raises(ValueError, match="only"):
        Fault(**rule)


@pytest.mark.parametrize("kind", REGION_ERRORS)
def test_every_region_error_is_made_and_says_its_name(kind):
    cluster = Cluster({1: Store(1), 2: Store(2)})
    region = cluster.regions[0]
    ask = kvrpcpb.RawPutRequest(context={"region_id": region.id}, key=b"a", value=b"1")
    refused = refusal(Fault(kind), cluster, ask.context, ask)
    assert refused.kind == kind
    assert refused.error.message
    if kind != "message_only":
        assert refused.error.HasField(kind)


def test_the_region_errors_are_all_of_errorpb_that_6_5_knows():
    newer = {"is_witness", "mismatch_peer_id", "undetermined_result"}
    flashback = {"FlashbackInProgress", "FlashbackNotPrepared"}
    fields = {f.name for f in errorpb.Error.DESCRIPTOR.fields if f.message_type is not None}
    assert fields - newer - flashback == set(REGION_ERRORS) - {"message_only"}


def test_a_hint_names_the_store_that_was_asked_for():
    cluster = Cluster({1: Store(1), 2: Store(2)})
    context = kvrpcpb.Context(region_id=cluster.regions[0].id)
    hinted = refusal(Fault("not_leader", hint=2), cluster, context, None).error
    assert hinted.not_leader.leader.store_id == 2
    silent = refusal(Fault("not_leader"), cluster, context, None).error
    assert not silent.not_leader.HasField("leader")


def test_kinds_have_no_name_twice():
    assert len(set(KINDS)) == len(KINDS)
    assert len(set(PD_METHODS)) == len(PD_METHODS)
