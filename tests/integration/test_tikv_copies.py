"""Copies of regions at rest, against the double over mutual TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from loadgen.clients import tikv_copies
from loadgen.keyspace import key_bytes
from loadgen.quiesced import quiesced
from soakbed.records.quiesced import Quiesced
from soakbed.stages.consistency_replicas import check_replicas
from tests.benchmarks.throwaway import Pki
from tests.integration.engine_runs import plan_for
from tests.tikv_double import Double

pytestmark = pytest.mark.timeout(600)

SPLITS = [key_bytes("/bench/", number) for number in (300, 600)]
LOADED = {key_bytes("/bench/", number): b"value of %d" % number for number in range(0, 900, 10)}
LOST, CHANGED = key_bytes("/bench/", 310), key_bytes("/bench/", 590)


@pytest.fixture
def double(throwaway_pki: Pki) -> Iterator[Double]:
    with Double(pds=1, tls=throwaway_pki.tls("host"), split_at=SPLITS) as running:
        running.load(LOADED)
        yield running


def look(double: Double, pki: Pki) -> Quiesced:
    plan = plan_for("tikv", double.pds, pki.tls())
    return Quiesced.model_validate_json(json.dumps(quiesced(plan, within_s=300).to_json()))


def test_replicas_of_every_region_are_equal_and_those_that_went_astray_are_found_with_their_keys(
    double: Double, throwaway_pki: Pki, monkeypatch
):
    monkeypatch.setattr(tikv_copies, "KEYS_AT_ONCE", 7)  # several pages of a scan
    found = look(double, throwaway_pki)
    assert [group.verdict for group in found.groups] == ["equal"] * 3
    assert [{copy.keys for copy in group.copies} for group in found.groups] == [{30}] * 3
    assert {copy.role for copy in found.groups[0].copies} == {"leader", "follower"}
    assert check_replicas(found).verdict == "ok"

    region = double.regions()[1]
    first, second = [store for store in double.stores if store != region["leader"]]
    double.lead_astray(first, LOST)
    double.lead_astray(second, CHANGED, b"another")
    found = look(double, throwaway_pki)
    assert [group.verdict for group in found.groups] == ["equal", "differ", "equal"]
    named = {one.key: one.holds for one in found.groups[1].differences}
    assert named == {
        LOST.decode(): dict.fromkeys(double.stores.values(), "value of 310")
        | {double.stores[first]: ""},
        CHANGED.decode(): dict.fromkeys(double.stores.values(), "value of 590")
        | {double.stores[second]: "another"},
    }
    check = check_replicas(found)
    assert check.verdict == "violation"
    assert LOST.decode() in check.sentence


def test_a_store_that_is_away_or_knows_no_checksum_leaves_it_unknown(
    double: Double, throwaway_pki: Pki, monkeypatch
):
    monkeypatch.setattr(tikv_copies, "ATTEMPTS", 2)
    double.fault("status", method="RawChecksum", store=2, count=None, code="UNIMPLEMENTED")
    found = look(double, throwaway_pki)
    assert [group.verdict for group in found.groups] == ["unknown"] * 3
    assert all(double.stores[2] in one.why for one in found.unasked)
    assert check_replicas(found).verdict == "unknown"


def test_a_region_that_moved_is_asked_again_where_it_is_now(double: Double, throwaway_pki: Pki):
    double.fault("epoch_not_match", method="RawChecksum", count=1)
    assert [group.verdict for group in look(double, throwaway_pki).groups] == ["equal"] * 3
