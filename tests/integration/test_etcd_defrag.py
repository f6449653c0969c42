"""Planned housekeeping on a real etcd of three members: space is freed, leader last, and told."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from soakbed.archive.data.journal_signs import signs_of
from soakbed.archive.data.told_lines import found_in
from tests.benchmarks.binaries import find_etcd
from tests.ports import free_port

SCRIPT = Path(__file__).resolve().parents[2] / "playbooks/roles/etcd/files/defrag.py"
VALUE_BYTES, WRITES = 500_000, 30

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def endpoints(tmp_path) -> Iterator[list[str]]:
    """Three members on loopback, ended after the test."""
    binary = find_etcd()
    clients = {f"e{i}": f"http://127.0.0.1:{free_port()}" for i in range(3)}
    peers = {name: f"http://127.0.0.1:{free_port()}" for name in clients}
    together = ",".join(f"{name}={url}" for name, url in peers.items())
    with ExitStack() as stack:
        for name, client in clients.items():
            words = ["--name", name, "--data-dir", str(tmp_path / name), "--log-level", "error",
                     "--listen-client-urls", client, "--advertise-client-urls", client,
                     "--listen-peer-urls", peers[name], "--initial-cluster", together,
                     "--initial-advertise-peer-urls", peers[name]]  # fmt: skip
            process = subprocess.Popen([binary.path, *words], env=binary.environment())
            stack.callback(process.wait)
            stack.callback(process.kill)
        _wait(list(clients.values()))
        yield list(clients.values())


def _ask(endpoint: str, what: str, **body) -> dict:
    request = urllib.request.Request(f"{endpoint}/v3/{what}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _wait(endpoints: list[str]) -> None:
    until_s = time.monotonic() + 120
    while True:
        try:
            if all(int(_ask(one, "maintenance/status").get("leader", 0)) for one in endpoints):
                return
        except OSError:
            assert time.monotonic() < until_s
        time.sleep(0.1)


def _size(endpoint: str) -> int:
    return int(_ask(endpoint, "maintenance/status")["dbSize"])


def _compacted(endpoints: list[str]) -> None:
    """Wait for members that compact by themselves; the next commit tells of it."""
    until_s = time.monotonic() + 120
    while True:
        _ask(endpoints[0], "kv/put", key=base64.b64encode(b"other").decode(), value="")
        told = [_ask(one, "maintenance/status") for one in endpoints]
        if all(int(one["dbSizeInUse"]) < VALUE_BYTES * WRITES / 4 for one in told):
            return
        assert time.monotonic() < until_s
        time.sleep(0.2)


def _fill(endpoint: str) -> bytes:
    """One key written many times, then all but its last revision dropped."""
    key = base64.b64encode(b"k").decode()
    for number in range(WRITES):
        value = number.to_bytes(4) + os.urandom(VALUE_BYTES)
        put = _ask(endpoint, "kv/put", key=key, value=base64.b64encode(value).decode())
    _ask(endpoint, "kv/compaction", revision=put["header"]["revision"], physical=True)
    return value


def _turn(tmp_path: Path, endpoints: list[str], own: str, which: str) -> str:
    words = [
        which,
        f"--own={own}",
        f"--endpoints={','.join(endpoints)}",
        "--least-bytes=1000000",
        "--least-percent=45",
    ]
    words += ["--timeout-s=30", "--move-leader", f"--memory={tmp_path}/waits-{own[-5:]}"]
    words += [f"--etcdctl={Path(find_etcd().path).with_name('etcdctl')}"]
    environment = os.environ | {"ETCDCTL_API": "3"}
    command = [sys.executable, "-I", str(SCRIPT), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def _leader(endpoints: list[str]) -> str:
    told = {one: _ask(one, "maintenance/status") for one in endpoints}
    return next(one for one, it in told.items() if it["leader"] == it["header"]["member_id"])


def test_every_member_gives_space_back_the_leader_last_and_the_data_stays(endpoints, tmp_path):
    value = _fill(endpoints[0])
    _compacted(endpoints)
    before, led = {one: _size(one) for one in endpoints}, _leader(endpoints)
    assert min(before.values()) > 0.9 * VALUE_BYTES * WRITES
    own = {one: _turn(tmp_path, endpoints, one, "own") for one in endpoints}
    last = {one: _turn(tmp_path, endpoints, one, "last") for one in endpoints}
    for one in endpoints:
        told = (own if one != led else last)[one]
        assert told.startswith("soakbed-defrag: gave back "), (own, last)
        assert _size(one) < before[one] / 10
    assert own[led] == "soakbed-defrag: leads, so it waits for the last turn"
    assert _leader(endpoints) != led
    found = _ask(endpoints[1], "kv/range", key=base64.b64encode(b"k").decode())["kvs"][0]
    assert base64.b64decode(found["value"]) == value

    line = f"2026-11-24T09:26:34.500000+0000 d1 soakbed-defrag[9]: {last[led]}"
    unit = "soakbed-etcd-defrag@last"
    (one,) = found_in([line], signs_of(unit, "etcd"), host="d1", source="journal", unit=unit)
    assert (one.event.kind, one.event.severity) == ("defrag", "note")
    assert 0 < one.event.until_s - one.event.at_s < 30
