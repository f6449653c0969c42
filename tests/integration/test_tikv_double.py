"""Independent clients against the double of PD and TiKV: what they find is what TiKV would give."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.benchmarks.throwaway import Pki
from tests.integration.tikv_clients import Client, insisting, opened
from tests.tikv_double import Double

pytestmark = pytest.mark.timeout(600)

KEYS = [b"key-%03d" % number for number in range(40)]
PAIRS = {key: b"value of " + key for key in KEYS}
MIDDLE = b"key-020"
# "by loop": served by http2_server.py instead of grpcio.
CLIENTS = ["tikv-python", "tikv-python over TLS", "tikv-client", "ours", "ours over TLS",
           "tikv-python over TLS, by loop", "tikv-client, by loop"]  # fmt: skip


@pytest.fixture(params=CLIENTS)
def client_name(request) -> str:
    if request.param.startswith("tikv-client") and find_spec("tikv_client") is None:
        pytest.skip("tikv-client has wheels for CPython 3.11 on Linux x86-64 alone: test there")
    return request.param


@pytest.fixture
def double(client_name: str, throwaway_pki: Pki) -> Iterator[Double]:
    tls = throwaway_pki.tls("host") if "over TLS" in client_name else None
    by = "loop" if client_name.endswith("by loop") else "grpcio"
    with Double(stores=3, pds=3, tls=tls, split_at=[MIDDLE], served_by=by) as running:
        yield running


@pytest.fixture
def client(client_name: str, double: Double, throwaway_pki: Pki) -> Iterator[Client]:
    tls = throwaway_pki.tls() if "over TLS" in client_name else None
    with opened(
        client_name.removesuffix(", by loop").removesuffix(" over TLS"), double.pds, tls
    ) as made:
        yield made


def applied_once(double: Double) -> bool:
    """Whether no write was applied twice."""
    return set(double.writes().values()) == {1}


def test_a_value_is_there_until_it_is_deleted(client: Client, double: Double):
    assert client.get(b"key") is None
    client.put(b"key", b"one")
    client.put(b"key", b"two")
    assert client.get(b"key") == b"two"
    client.delete(b"key")
    assert client.get(b"key") is None
    assert double.writes() == {(b"key", b"one"): 1, (b"key", b"two"): 1}
    assert double.count("RawDelete", "applied") == 1


def test_a_value_larger_than_every_window_comes_back_whole(client: Client):
    value = bytes(range(256)) * 2000  # HTTP/2's first window is 64 KiB, a frame 16 KiB
    client.put(b"key", value)
    assert client.get(b"key") == value


def test_batches_go_to_every_region(client: Client, double: Double):
    client.put_many(PAIRS)
    assert double.values() == PAIRS
    assert client.get_many([*KEYS, b"no such key"]) == PAIRS
    client.delete_many(KEYS[::2])
    assert client.get_many(KEYS) == {key: PAIRS[key] for key in KEYS[1::2]}
    assert applied_once(double)


def test_a_scan_crosses_regions_and_stops_at_its_limit(client: Client, double: Double):
    client.put_many(PAIRS)
    assert client.scan(b"", b"z", 100) == sorted(PAIRS.items())
    assert client.scan(KEYS[18], KEYS[30], 5) == sorted(PAIRS.items())[18:23]
    assert client.scan(KEYS[3], KEYS[3], 5) == []


def test_a_range_is_deleted_in_every_region(client: Client, double: Double):
    client.put_many(PAIRS)
    client.delete_range(KEYS[10], KEYS[30])
    assert sorted(double.values()) == KEYS[:10] + KEYS[30:]


def test_a_split_is_followed(client: Client, double: Double):
    double.load(PAIRS)
    assert client.get_many(KEYS) == PAIRS
    double.split(KEYS[5], KEYS[10], KEYS[30])
    for key in KEYS:
        client.put(key, b"after the split")
        assert client.get(key) == b"after the split"
    assert double.count("RawPut", "refused:epoch_not_match") > 0
    assert double.count("RawPut", "applied") == len(KEYS)
    assert applied_once(double)


def test_a_batch_over_a_region_that_was_split_is_split(client: Client, double: Double):
    client.put_many(PAIRS)
    double.split(KEYS[5], KEYS[30])
    assert client.get_many(KEYS) == PAIRS
    client.delete_many(KEYS)
    assert double.values() == {}


def test_a_merge_is_followed(client: Client, double: Double):
    double.load(PAIRS)
    assert client.get_many(KEYS) == PAIRS
    double.merge(KEYS[0])
    for key in (KEYS[0], KEYS[-1]):
        # Ours calls a put unknown where the region is gone: it may have been in flight.
        insisting(lambda key=key: client.put(key, b"after the merge"), "not found")
        assert client.get(key) == b"after the merge"
    assert len(double.regions()) == 1
    assert double.count("RawPut", "applied") == 2


@pytest.mark.parametrize("tell_pd", [True, False])
def test_a_leader_that_moved_is_found(client: Client, double: Double, tell_pd):
    client.put(KEYS[0], b"before")
    old = double.leader_of(KEYS[0])
    double.move_leader(KEYS[0], old % 3 + 1, tell_pd=tell_pd)
    client.put(KEYS[0], b"after")
    assert client.get(KEYS[0]) == b"after"
    assert double.counters()[f"store-{old}"]["RawPut"]["refused:not_leader"] == 1
    assert double.writes() == {(KEYS[0], b"before"): 1, (KEYS[0], b"after"): 1}


def test_a_busy_server_is_asked_again(client: Client, double: Double):
    client.put(KEYS[0], b"before")
    double.fault("server_is_busy", method="RawPut", count=2, backoff_ms=20)
    insisting(lambda: client.put(KEYS[0], b"after"), "ServerIsBusy", "busy: ")
    assert client.get(KEYS[0]) == b"after"
    assert double.count("RawPut", "refused:server_is_busy") == 2
    assert double.writes() == {(KEYS[0], b"before"): 1, (KEYS[0], b"after"): 1}


def test_a_store_that_stopped_is_left(client: Client, double: Double):
    client.put(KEYS[0], b"before")
    double.command("stop_store", store=double.leader_of(KEYS[0]), elect=True)
    for _ in range(3):
        try:
            client.put(KEYS[0], b"after")
            break
        except Exception:  # noqa: BLE001  (tikv-client gives up sooner than the others)
            continue
    assert client.get(KEYS[0]) == b"after"


def test_another_leader_of_pd_is_found(client: Client, double: Double):
    client.put(KEYS[0], b"before")
    double.command("pd_leader", member=3)
    double.fault("not_leader", method="RawPut")  # nobody is named, so PD must be asked
    insisting(lambda: client.put(KEYS[0], b"after"), "not leader")
    assert client.get(KEYS[0]) == b"after"
    refused = [event for method in double.counters()["pd-1"].values() for event in method]
    assert "refused:not_leader" in refused
    assert "pd-3" in double.counters()
    assert applied_once(double)
