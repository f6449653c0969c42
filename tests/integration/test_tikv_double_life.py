"""The double as a process: starts, obeys, breaks what it is told to, and ends with its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import grpc
import psutil
import pytest

from loadgen.clients.tikv import OK, TikvClient
from tests.benchmarks.throwaway import Pki
from tests.integration.engine_runs import until
from tests.tikv_double import Double, DoubleError
from tests.tikv_double.messages import kvrpcpb, more

pytestmark = pytest.mark.timeout(600)

PROJECT = Path(__file__).resolve().parents[2]


def test_it_ends_with_its_block_even_when_it_was_stopped_by_a_signal(monkeypatch):
    monkeypatch.setattr("tests.tikv_double.double.END_WITHIN_S", 500)  # by itself: none is killed
    with Double() as double:
        process = psutil.Process(double.pid)
        os.kill(double.pid, signal.SIGSTOP)
    assert not process.is_running()


def test_it_ends_when_its_parent_is_killed():
    code = (
        "import os, time\n"
        "from tests.tikv_double import Double\n"
        "double = Double(); double.start(); print(double.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(60)


def test_by_hand_it_ends_when_its_time_is_over():
    done = subprocess.run(
        [sys.executable, "-m", "tests.tikv_double", "--for-s", "0.5"],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert '"double": "soakbed-double"' in done.stdout


def test_a_port_that_is_taken_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        double = Double(words=["--pd-port", str(taken.getsockname()[1])])
        with pytest.raises(DoubleError, match="has ended"):
            double.start()


def test_what_it_cannot_do_is_said_and_it_goes_on():
    with Double() as double:
        for do, words in (
            ("dance", {}),
            ("split", {"keys": [""]}),
            ("move_leader", {"key": "", "store": 9}),
            ("merge", {"key": ""}),
            ("fault", {"kind": "sunspots"}),
            ("pd_leader", {"member": 5}),
            ("split", {"unknown": 1}),
        ):
            with pytest.raises(DoubleError):
                double.command(do, **words)
        assert len(double.regions()) == 1


def test_a_store_comes_back_on_its_own_port():
    with Double() as double, TikvClient(double.pds, None, deadline_s=2) as client:
        store = double.leader_of(b"a")
        for _ in range(3):
            client.put(b"a", b"1").needed()
            double.command("stop_store", store=store)
            assert client.put(b"a", b"2").outcome != OK
            double.command("start_store", store=store)
            assert client.put(b"a", b"3").outcome == OK


def test_a_store_that_stands_still_answers_later():
    with Double() as double, TikvClient(double.pds, None) as client:
        client.put(b"a", b"1").needed()
        double.command("stall_store", store=double.leader_of(b"a"), seconds=0.5)
        began = monotonic()
        client.put(b"a", b"2").needed()
        assert monotonic() - began > 0.4
        assert double.count("RawPut", "stalled") == 1


def test_pd_stays_behind_until_it_is_told():
    with Double() as double, TikvClient(double.pds, None) as client:
        double.split(b"m", tell_pd=False)
        assert len(client.pd.regions(b"", monotonic() + 60)) == 1
        double.command("tell_pd")
        assert [r.start for r in client.pd.regions(b"", monotonic() + 60)] == [b"", b"m"]


def test_pd_without_a_leader_and_its_faults_are_waited_out():
    with Double(pds=3) as double, TikvClient(double.pds, None, deadline_s=60) as client:
        double.command("pd_leader", member=None)
        with TikvClient(double.pds, None, deadline_s=2) as hasty:
            assert hasty.put(b"a", b"1").cause == "cluster_down"
        double.command("pd_leader", member=2)
        double.fault("status", method="ScanRegions", count=3)
        double.fault("drop_connection", method="GetStore")
        double.fault("stall", method="GetMembers", stall_s=0.2)
        assert client.put(b"a", b"2").outcome == OK
        double.command("stop_pd", member=2, leader=1)
        assert len(client.pd.stores(monotonic() + 60)) == 3


def batch(double: Double, *methods: str):
    """A BatchCommandsRequest to the store that leads everything."""
    (region,) = double.regions()
    store = region["leader"]
    context = kvrpcpb.Context(
        region_id=region["id"],
        region_epoch={"version": region["version"], "conf_ver": region["conf_ver"]},
        peer={"id": dict(region["peers"])[store], "store_id": store},
    )
    made = more.BatchCommandsRequest(request_ids=range(len(methods)))
    for method in methods:
        ask = getattr(kvrpcpb, f"{method}Request")(context=context, key=b"key")
        if method == "RawPut":
            ask.value = b"value"
        made.requests.append(more.BatchedRequest(**{method: ask}))
    return double.stores[store], made


def batched(address: str, asks, credentials=None):
    """All answers of one stream of batches: request id -> (method, answer)."""
    opened = (
        grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    )
    with opened as channel:
        call = channel.stream_stream(
            "/tikvpb.Tikv/BatchCommands",
            request_serializer=more.BatchCommandsRequest.SerializeToString,
            response_deserializer=more.BatchCommandsResponse.FromString,
        )
        found = {}
        for answer in call(iter(asks), timeout=60):
            for number, response in zip(answer.request_ids, answer.responses, strict=True):
                ((field, value),) = response.ListFields()
                found[number] = (field.name, value)
        return found


def test_a_stream_of_batches_answers_every_command_over_tls(throwaway_pki: Pki):
    tls = throwaway_pki.tls()
    credentials = grpc.ssl_channel_credentials(
        *(Path(name).read_bytes() for name in (tls.ca, tls.key, tls.cert))
    )
    with Double(tls=throwaway_pki.tls("host")) as double:
        address, asks = batch(double, "RawPut", "RawGet", "RawDelete")
        found = batched(address, [asks], credentials)
        assert [found[number][0] for number in range(3)] == ["RawPut", "RawGet", "RawDelete"]
        assert found[1][1].value == b"value"
        assert double.count("BatchCommands", "received") == 1
        assert double.count("RawGet", "applied") == 1


def test_in_a_stream_each_command_has_its_own_fate():
    with Double() as double:
        address, asks = batch(double, "RawPut", "RawPut", "RawGet")
        double.fault("server_is_busy", method="RawPut")
        double.fault("stall", method="RawPut", stall_s=0.3)
        found = batched(address, [asks])
        errors = [found[number][1].HasField("region_error") for number in range(2)]
        assert errors == [True, False]
        assert list(found)[-1] == 1  # the one that was stalled came last, and held up no other


@pytest.mark.parametrize("kind", ["drop_connection", "status"])
def test_a_stream_that_breaks_breaks_for_all_its_commands(kind):
    with Double() as double:
        address, asks = batch(double, "RawPut", "RawGet")
        double.fault(kind, method="RawGet")
        with pytest.raises(grpc.RpcError) as caught:
            batched(address, [asks])
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        until(lambda: double.count("RawPut", "applied") == 1, "the other one is applied")
