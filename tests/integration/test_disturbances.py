"""Each disturbance takes hold, ends, and leaves nothing, on one host made for it alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from soakbed.adapters.host_image import ensure_image
from soakbed.adapters.host_keys import ensure_host_keys
from soakbed.adapters.local_machine import bridge_name, remains_of
from soakbed.records.places import Places
from tests.disturbances import (
    LocalHost,
    NotInTime,
    SmallDisk,
    controller_killed,
    disk_full,
    halted,
    killed,
    parted,
    rebooted,
    small_disk,
    ssh_refused,
    wait_until,
)
from tests.disturbances.local_host import SESSIONS

pytestmark = [pytest.mark.root, pytest.mark.testbed]

PROJECT = Path(__file__).resolve().parents[2]
NAME, NETWORK = "t-chaos-self", "10.83.45"
RUN = ["systemd-run", "--quiet", "--service-type=exec"]  # returns when it is what it will be
# What systemd starts for us carries the word that a master or an engine has on its command line.
SLEEPS = ["/usr/bin/python3", "-c", "import time; time.sleep(600)"]
TALKS = """
import socket, sys, time
end = sys.argv[1] == "listen"
if end:
    server = socket.create_server(("127.0.0.1", 5557))
    line, _ = server.accept()
else:
    line = socket.create_connection(("127.0.0.1", 5557))
while True:
    line.send(b"x") if end else line.recv(1)
    time.sleep(0.02)
"""


def machine(command: str, given: dict[str, str]) -> None:
    """Terraform's own script, without Terraform."""
    subprocess.run(
        [sys.executable, str(PROJECT / "infra/modules/local/machine.py"), command],
        env={**os.environ, "SOAKBED_LOCAL_INPUT": json.dumps(given)},
        check=True,
    )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    state = tmp_path_factory.mktemp("state")
    places = Places(project=PROJECT, state=state, cache=Path.home() / ".cache/soakbed")
    ensure_host_keys(state, {"l1": f"{NETWORK}.21"}, testbed=NAME)
    shared = {"testbed": NAME, "bridge": bridge_name(NAME)}
    given = {
        **{"host": "l1", "address": f"{NETWORK}.21", "prefix": "24", "cpus": ""},
        **{"image": str(ensure_image(places, progress=print)), "ssh_dir": str(state)},
    }
    try:
        machine("network-up", {**shared, "address": f"{NETWORK}.1/24"})
        machine("host-up", {**shared, **given})
        yield LocalHost(NAME, "l1", f"{NETWORK}.21")
    finally:
        machine("testbed-down", shared)
    assert remains_of(NAME).lines() == []


@pytest.fixture
def unit(host: LocalHost) -> Iterator[Callable[..., None]]:
    """Start a unit that systemd starts again; all are stopped after the test."""
    started: list[str] = []

    def start(name: str, *words: str) -> None:
        started.append(name)
        always = ("--property=Restart=always", "--property=RestartSec=0")
        host.run(*RUN, f"--unit={name}", *always, *words)

    yield start
    for name in started:
        host.run("systemctl", "stop", name, check=False)


def test_a_process_that_is_killed_is_another_one_after(host, unit):
    unit("engine", *SLEEPS, "loadgen.engine")
    before = host.pids_of("engine")
    with killed(host, "engine") as told:
        assert told.until_s == 0
    after = host.pids_of("engine")
    assert len(before) == len(after) == 1
    assert before != after
    assert told.from_s < told.until_s


def test_a_process_that_does_not_come_back_is_told_of(host, unit, monkeypatch):
    monkeypatch.setattr("tests.disturbances.faults.BACK_WITHIN_S", 0.2)
    host.run(*RUN, *SLEEPS, "--worker")
    with pytest.raises(NotInTime, match="another worker on l1"), killed(host, "worker"):
        pass
    with pytest.raises(AssertionError, match="l1 has no worker to kill"), killed(host, "worker"):
        pass


def test_a_halted_process_stands_still_and_goes_on_also_when_the_test_fails(host, unit):
    unit("master", *SLEEPS, "--master")
    (pid,) = host.pids_of("master")
    state = Path(f"/proc/{pid}/status")
    with pytest.raises(ZeroDivisionError), halted(host, "master"):
        assert "State:\tT" in state.read_text()
        raise ZeroDivisionError
    wait_until(lambda: "State:\tS" in state.read_text(), "it sleeps again")


def test_parted_means_that_no_packet_passes(host, unit):
    unit("master", "/usr/bin/python3", "-c", TALKS, "listen")
    unit("worker", "/usr/bin/python3", "-c", TALKS, "call")
    wait_until(lambda: "ESTAB" in host.run("ss", "-tn", "sport", "=", "5557"), "they talk")

    def unsent_bytes() -> int:
        return int(host.run("ss", "-tnH", "sport", "=", "5557").split()[2])

    with parted(host):
        wait_until(unsent_bytes, "what is sent stays here")
    wait_until(lambda: unsent_bytes() == 0, "all of it is taken")
    assert host.in_network("nft", "list", "ruleset") == ""


def test_ssh_is_refused_and_answers_again(host):
    assert host.greets()
    with ssh_refused(host):
        assert not host.greets()
    assert host.greets()


@pytest.fixture(scope="module")
def disk(host: LocalHost) -> Iterator[SmallDisk]:
    with small_disk(host, size_bytes=8 << 20) as made:
        yield made


def test_a_full_disk_takes_nothing_until_it_is_freed(host, disk):
    writes = ("cp", "/etc/hostname", f"{SESSIONS}/one")
    with disk_full(disk), pytest.raises(AssertionError, match="No space left"):
        host.run(*writes)
    host.run(*writes)
    assert (host.sessions / "one").read_text() == "l1\n"


def test_a_host_that_reboots_is_another_one_on_the_same_disk(host, disk):
    (host.sessions / "two").write_text("kept\n")
    before = host.first_process()
    with rebooted(host):
        assert host.first_process() != before
    assert host.first_process() not in (before, None)
    assert host.greets()
    assert host.run("cat", f"{SESSIONS}/two") == "kept\n"


def test_a_controller_that_is_killed_says_nothing_more():
    process = subprocess.Popen(["sleep", "60"], text=True)
    with controller_killed(process):
        assert process.returncode == -9


def test_a_host_that_is_down_is_said_to_be(host):
    nobody = LocalHost(NAME, "l2", f"{NETWORK}.22")
    assert nobody.first_process() is None
    assert nobody.pids() == []
    assert not nobody.greets()
    with pytest.raises(NotInTime, match="l2 of t-chaos-self is down"):
        nobody.run("true")
