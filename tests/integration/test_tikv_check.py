"""The check before and after a load of TiKV, against the double over mutual TLS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from time import monotonic

import pytest

from loadgen.clients.tikv_check import CheckFailed, check
from loadgen.clients.tikv_regions import regions_now
from loadgen.engine.tls import client_context
from loadgen.keyspace import key_bytes
from soakbed.records.placement import Placement
from tests.benchmarks.throwaway import Pki
from tests.tikv_double import Double
from tests.tikv_double.counters import RECEIVED

pytestmark = pytest.mark.timeout(600)

PROJECT = Path(__file__).resolve().parents[2]
SPLITS = [key_bytes("/bench/", number) for number in range(1000, 9000, 1000)]
LOADED = {key_bytes("/bench/", number): b"value" for number in range(0, 9000, 100)}


@pytest.fixture
def double(throwaway_pki: Pki) -> Iterator[Double]:
    with Double(pds=3, tls=throwaway_pki.tls("host"), split_at=SPLITS) as running:
        running.load(LOADED)
        yield running


def test_every_region_is_tried_and_nothing_of_the_load_is_touched(
    double: Double, throwaway_pki: Pki
):
    found = check(double.pds, throwaway_pki.tls())
    assert found.regions == len(SPLITS) + 1
    assert found.leaders == dict.fromkeys(double.stores.values(), 3)
    assert found.pd_leader == double.pds[0]
    assert len(found.refused) == 2 * (3 + 3)
    assert found.followed == []
    assert double.values() == LOADED


def test_the_version_that_every_store_says_is_told(double: Double, throwaway_pki: Pki):
    found = check(double.pds, throwaway_pki.tls())
    assert [store.version for store in found.stores] == ["soakbed-double"] * 3
    assert [store.state for store in found.stores] == ["Up"] * 3


def test_what_a_killed_check_left_does_not_matter(double: Double, throwaway_pki: Pki):
    double.load({b"\x00soakbed-check": b"left", SPLITS[0] + b"\x00soakbed-check": b"left"})
    check(double.pds, throwaway_pki.tls())
    assert double.values() == LOADED


def test_moves_during_the_check_are_followed_and_told(double: Double, throwaway_pki: Pki):
    for region in double.regions()[:2]:
        double.move_leader(region["start"], 3, tell_pd=False)
    found = check(double.pds, throwaway_pki.tls())
    assert any("not leader" in said for said in found.followed)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            {"kind": "key_error", "method": "RawGet"},
            r"get ended failed \(other\): .* is closed",
        ),
        ({"kind": "server_is_busy", "method": "RawPut"}, r"put ended failed \(busy\)"),
        ({"kind": "drop_connection", "method": "RawCompareAndSwap"}, r"swap .* ended unknown"),
    ],
)
def test_a_store_that_does_not_keep_its_promise_is_named(
    double: Double, throwaway_pki: Pki, rule, told
):
    double.fault(**rule)
    with pytest.raises(CheckFailed, match=rf"region \d+: {told}[\s\S]*remedy: "):
        check(double.pds, throwaway_pki.tls())


def test_a_member_that_lets_strangers_in_is_named(throwaway_pki: Pki):
    """A double without TLS beside a PD that names it: what a store with no [security] would be."""
    with Double(stores=1) as plain:
        port = plain.stores[1].rpartition(":")[2]
        with (
            Double(
                stores=1,
                tls=throwaway_pki.tls("host"),
                words=["--announce-store", f"127.0.0.1:{port}"],
            ) as double,
            pytest.raises(CheckFailed, match=f"{port}: it does not refuse .* no TLS"),
        ):
            check(double.pds, throwaway_pki.tls())


def test_a_slow_cluster_ends_the_check_in_its_time(double: Double, throwaway_pki: Pki, monkeypatch):
    # It is slow by the check's clock, which leaps while the first region is tried.
    clock = lambda: monotonic() + 1000 * double.count("RawPut", RECEIVED)  # noqa: E731
    monkeypatch.setattr("loadgen.clients.tikv_check.monotonic", clock)
    with pytest.raises(CheckFailed, match="only 1 regions were checked within 900 s"):
        check(double.pds, throwaway_pki.tls(), within_s=900)
    assert double.values() == LOADED


def run(double_pds: list[str], pki: Pki, *, client: str = "client") -> subprocess.CompletedProcess:
    tls = pki.tls(client)
    return subprocess.run(
        [sys.executable, "-m", "loadgen.clients.tikv_check", "--pd", *double_pds, "--ca", tls.ca,
         "--cert", tls.cert, "--key", tls.key],
        cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_as_a_program_it_prints_json_and_ends_well(double: Double, throwaway_pki: Pki):
    done = run(double.pds, throwaway_pki)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["regions"] == len(SPLITS) + 1


def test_as_a_program_it_says_what_is_wrong_and_what_to_do(double: Double, throwaway_pki: Pki):
    pds = double.pds
    double.stop()
    done = run(pds[:1], throwaway_pki)
    assert done.returncode == 1
    assert "PD does not answer" in done.stderr
    assert "remedy: " in done.stderr
    assert "Traceback" not in done.stderr


def test_it_needs_nothing_but_the_standard_library(double: Double, throwaway_pki: Pki):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['grpc', 'google.protobuf', 'tikv', "
        "'tikv_client', 'hiredis'])); import loadgen.clients.tikv_check"
    )
    subprocess.run([sys.executable, "-S", "-c", code], cwd=PROJECT, check=True)


def test_the_map_of_regions_is_told_with_the_store_that_leads_each(
    double: Double, throwaway_pki: Pki
):
    double.move_leader(SPLITS[0], 3)
    double.move_leader(SPLITS[1], None)
    tls = throwaway_pki.tls()
    context = client_context(tls, protocols=("h2",))
    found = regions_now(double.pds, context)
    assert [one.start for one in found.regions] == ["", *(key.hex() for key in SPLITS)]
    assert [one.end for one in found.regions] == [*(key.hex() for key in SPLITS), ""]
    leaders = {one["id"]: one["leader"] for one in double.regions()}
    assert {one.id: one.leader for one in found.regions} == {
        region: double.stores[store] if store else "" for region, store in leaders.items()
    }
    words = ["--pd", *double.pds, "--ca", tls.ca, "--cert", tls.cert, "--key", tls.key]
    module = [sys.executable, "-m", "loadgen.clients.tikv_regions"]
    done = subprocess.run(
        [*module, *words], cwd=PROJECT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    read = Placement.model_validate_json(done.stdout)
    assert [one.model_dump() for one in read.regions] == [asdict(one) for one in found.regions]
