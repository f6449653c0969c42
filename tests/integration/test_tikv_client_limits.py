"""What the independent clients of TiKV cannot do, so that the choice of ours stays a fact.

When one of these fails, a client has learnt something: read loadgen/clients/README.md again.
"""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import tikv

from loadgen.clients.tikv import OK, TikvClient
from loadgen.engine.outcome import FAILED, UNKNOWN
from loadgen.engine.tls import client_context
from tests.benchmarks.throwaway import Pki
from tests.integration.tikv_clients import ClientError, opened
from tests.tikv_double import Double

pytestmark = pytest.mark.timeout(600)

needs_tikv_client = pytest.mark.skipif(
    find_spec("tikv_client") is None,
    reason="tikv-client has wheels for CPython 3.11 on Linux x86-64 alone: test there",
)


@pytest.fixture
def double(throwaway_pki: Pki) -> Iterator[Double]:
    with Double(tls=throwaway_pki.tls("host")) as running:
        yield running


def test_tikv_python_sends_a_put_again_whose_connection_broke_and_says_nothing(
    double: Double, throwaway_pki: Pki
):
    with opened("tikv-python", double.pds, throwaway_pki.tls()) as client:
        double.fault("drop_connection", method="RawPut", after=True)
        client.put(b"key", b"once")
    assert double.writes() == {(b"key", b"once"): 2}


def test_tikv_python_has_nothing_to_turn_its_retries_off():
    taken = set(inspect.signature(tikv.RawClient).parameters)
    assert taken == {"pd_endpoints", "timeout", "atomic", "tls"}


def test_tikv_python_says_the_same_of_what_failed_and_of_what_was_applied(
    double: Double, throwaway_pki: Pki
):
    tls = throwaway_pki.tls()
    files = tikv.TLSConfig(ca=tls.ca, cert=tls.cert, key=tls.key)
    # One shall never come, and the other find its way before its time is over.
    for key, after, timeout_s in ((b"never", False, 1), (b"applied", True, 5)):
        double.fault("hang", method="RawPut", after=after)
        with (
            tikv.RawClient(double.pds, timeout=timeout_s, tls=files) as client,
            pytest.raises(tikv.TimeoutError),
        ):
            client.put(key, b"1")
        double.command("clear_faults")
    assert list(double.values()) == [b"applied"]


@pytest.mark.parametrize("shown", ["no certificate", "no TLS"])
def test_tikv_python_and_ours_are_refused_without_a_certificate(
    double: Double, throwaway_pki: Pki, shown
):
    ca = throwaway_pki.tls().ca
    bare = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    bare.set_alpn_protocols(["h2"])
    plain = shown == "no TLS"
    with (
        tikv.RawClient(
            double.pds, timeout=1, tls=None if plain else tikv.TLSConfig(ca=ca)
        ) as client,
        pytest.raises(tikv.TimeoutError),
    ):
        client.get(b"key")
    with TikvClient(double.pds, None if plain else bare, deadline_s=1) as ours:
        assert ours.put(b"key", b"1").outcome == FAILED
    assert double.counters() == {}  # not one request came through


@needs_tikv_client
def test_tikv_client_has_no_tls_no_swap_and_no_time_limit(double: Double):
    import tikv_client

    assert set(inspect.signature(tikv_client.RawClient.connect).parameters) == {"pd_endpoints"}
    assert not [name for name in dir(tikv_client.RawClient) if "swap" in name or "cas" in name]
    with pytest.raises(ClientError), opened("tikv-client", double.pds, None):
        pass
    assert double.counters() == {}


@needs_tikv_client
def test_tikv_client_sends_a_put_again_whose_connection_broke_and_says_nothing():
    with Double() as plain, opened("tikv-client", plain.pds, None) as client:
        plain.fault("drop_connection", method="RawPut", after=True)
        client.put(b"key", b"once")
        assert plain.writes() == {(b"key", b"once"): 2}


@needs_tikv_client
def test_tikv_client_leaves_a_busy_server_to_its_caller():
    with Double() as plain, opened("tikv-client", plain.pds, None) as client:
        plain.fault("server_is_busy", method="RawPut")
        with pytest.raises(ClientError, match="ServerIsBusy"):
            client.put(b"key", b"1")


def test_ours_says_what_it_followed_and_never_sends_a_lost_put_again(
    double: Double, throwaway_pki: Pki
):
    context = client_context(throwaway_pki.tls(), protocols=("h2",))
    with TikvClient(double.pds, context) as ours:
        assert ours.put(b"a", b"1").followed == ()
        double.move_leader(b"a", 2, tell_pd=False)
        moved = ours.put(b"a", b"2")
        assert (moved.outcome, len(moved.followed)) == (OK, 1)
        assert "not leader" in moved.followed[0]
        double.fault("drop_connection", method="RawPut", after=True)
        assert ours.put(b"a", b"3")[:3] == (UNKNOWN, None, "connection")
        assert double.writes()[b"a", b"3"] == 1
        assert ours.get(b"a").needed() == b"3"


@pytest.mark.parametrize(
    ("rule", "outcome", "cause"),
    [
        ({"kind": "server_is_busy"}, FAILED, "busy"),
        ({"kind": "stale_command", "after": True}, UNKNOWN, "other"),
        ({"kind": "hang", "after": True}, UNKNOWN, "timeout"),
        ({"kind": "status", "code": "UNAVAILABLE"}, UNKNOWN, "cluster_down"),
        ({"kind": "status", "code": "RESOURCE_EXHAUSTED"}, FAILED, "busy"),
        ({"kind": "drop_connection"}, UNKNOWN, "connection"),
        ({"kind": "key_error", "text": "storage is closed."}, UNKNOWN, "other"),
        ({"kind": "not_leader", "count": None}, FAILED, "redirect_limit"),
    ],
)
def test_ours_ends_every_put_as_what_it_is(
    double: Double, throwaway_pki: Pki, rule, outcome, cause
):
    context = client_context(throwaway_pki.tls(), protocols=("h2",))
    # Only what never ends meets its deadline, and before that a get has to find its way in time.
    # All others end by themselves, some after every redirect that is allowed.
    deadline_s = 5 if rule["kind"] == "hang" else 60
    with TikvClient(double.pds, context, deadline_s=deadline_s) as ours:
        ours.get(b"a").needed()
        double.fault(method="RawPut", **rule)
        ended = ours.put(b"a", b"1")
        assert (ended.outcome, ended.cause) == (outcome, cause)
        double.command("clear_faults")
        assert ours.get(b"a").outcome == OK  # and the client goes on
