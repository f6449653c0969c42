"""Four real hosts on this machine: made, left alone, mended, interrupted, gone without trace."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from soakbed.adapters.local_machine import living_hosts, remains_of
from soakbed.adapters.terraform import Terraform
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.provision import ProvisionOutcome, provision
from soakbed.stages.static_checks import check_hosts
from soakbed.stages.teardown import teardown
from tests.contract.provider_contract import breaches, keys_in

pytestmark = [pytest.mark.root, pytest.mark.testbed, pytest.mark.timeout(900)]

PROJECT = Path(__file__).resolve().parents[2]
SPEC = TestbedSpec.model_validate(
    {
        "name": "t-infra",
        "provider": "local",
        "network_cidr": "10.83.40.0/24",
        "hosts": {
            "d1": {"duty": "data", "address": "10.83.40.11"},
            "d2": {"duty": "data", "address": "10.83.40.12"},
            "d3": {"duty": "data", "address": "10.83.40.13"},
            "l1": {"duty": "load", "address": "10.83.40.21"},
        },
    }
)


class Bench:
    """The two stages, on one state folder."""

    def __init__(self, state: Path) -> None:
        self.places = Places(project=PROJECT, state=state, cache=Path.home() / ".cache/soakbed")
        self.said: list[str] = []

    def up(self) -> ProvisionOutcome:
        terraform = Terraform(self.places)
        say = self.said.append
        return provision(SPEC, terraform=terraform, places=self.places, progress=say)

    def down(self, testbed: TestbedSpec | str = SPEC) -> list[str]:
        terraform = Terraform(self.places)
        say = self.said.append
        return teardown(testbed, terraform=terraform, places=self.places, progress=say).lines()

    def start(self, stage: str) -> subprocess.Popen[str]:
        """The same stage in a process of its own, so that it can be killed."""
        code = f"""
            from pathlib import Path
            from tests.integration.test_local_hosts import Bench
            bench = Bench(Path({str(self.places.state)!r}))
            bench.said = type("Out", (), {{"append": staticmethod(lambda s: print(s, flush=True))}})
            bench.{stage}()
        """
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def signal_after(self, line: str, number: signal.Signals, *, wait_s: float = 0.0) -> int:
        """Start "up", send it the signal once it has said `line`; its exit status."""
        process = self.start("up")
        assert process.stdout is not None
        heard = []
        for said in process.stdout:
            heard.append(said)
            if line in said:
                time.sleep(wait_s)
                process.send_signal(number)
                break
        else:
            pytest.fail(f"never said {line!r}: {''.join(heard)}")
        process.stdout.read()
        process.stdout.close()
        return process.wait(timeout=300)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "state")
    made.down()
    yield made
    made.down()
    assert not remains_of(SPEC.name)


def ssh(testbed: Testbed, host: Host, *command: str) -> str:
    done = subprocess.run(
        [
            *("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-i", host.key_file),
            *("-o", f"UserKnownHostsFile={testbed.known_hosts_file}"),
            *(f"{host.user}@{host.address}", *command),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def boot_ids(testbed: Testbed) -> dict[str, str]:
    """When each host's first process started: another value means another host."""
    return {
        name: ssh(testbed, host, "stat -c %Y.%Z /proc/1; cat /proc/1/stat | cut -d' ' -f22")
        for name, host in testbed.hosts.items()
    }


def pids_of(host: str) -> list[int]:
    group = Path("/sys/fs/cgroup/systemd/soakbed", SPEC.name, host)
    if not group.exists():
        group = Path("/sys/fs/cgroup/soakbed", SPEC.name, host)
    return [int(p) for f in group.rglob("cgroup.procs") for p in f.read_text().split()]


def test_hosts_come_up_booted_and_pinned_and_a_second_call_changes_nothing(bench: Bench) -> None:
    first = bench.up()
    assert first.changed == 5  # four hosts and the bridge
    testbed = first.testbed
    assert breaches(testbed, SPEC) == []
    assert keys_in(bench.places.state / "terraform") == []
    # What is asked of hosts that somebody has is true of these, too.
    hosts, known = list(testbed.hosts.values()), testbed.known_hosts_file
    assert check_hosts(hosts, known, declared={}, progress=bench.said.append) == []
    assert "d1, d2, d3, l1 share one machine" in bench.said[-1]
    before = boot_ids(testbed)
    available = len(os.sched_getaffinity(0))
    for name, host in testbed.hosts.items():
        assert ssh(testbed, host, "systemctl is-system-running --wait") == "running"
        assert ssh(testbed, host, "hostname") == name
        assert ssh(testbed, host, "nproc") == str(len(host.cpus))
        assert ssh(testbed, host, "stat -f -c %T /data") != "overlayfs"
        assert ssh(testbed, host, "python3 -c 'import venv, ensurepip; print(1)'") == "1"
    if available > 1:
        load = {cpu for host in testbed.of_duty("load") for cpu in host.cpus}
        data = {cpu for host in testbed.of_duty("data") for cpu in host.cpus}
        assert load and data and not load & data

    again = bench.up()
    assert again.changed == 0
    assert again.testbed == testbed
    assert boot_ids(testbed) == before
    kept = Testbed.model_validate_json((bench.places.state / "testbed.json").read_text())
    assert kept == testbed


def test_hosts_reach_each_other_and_nothing_else(bench: Bench) -> None:
    testbed = bench.up().testbed
    d1 = testbed.hosts["d1"]
    assert "1 received" in ssh(testbed, d1, "ping -c1 -W2", testbed.hosts["l1"].address)
    assert ssh(testbed, d1, "ip -4 route show default") == ""


def test_a_host_that_died_is_made_again_alone(bench: Bench) -> None:
    testbed = bench.up().testbed
    before = boot_ids(testbed)
    for pid in pids_of("d2"):
        os.kill(pid, signal.SIGKILL)
    while pids_of("d2"):
        time.sleep(0.05)
    again = bench.up()
    after = boot_ids(again.testbed)
    assert again.changed == 1
    assert {name for name in before if before[name] != after[name]} == {"d2"}


def test_a_host_that_reboots_comes_back_as_it_was_and_again(bench: Bench) -> None:
    testbed = bench.up().testbed
    host, before = testbed.hosts["l1"], boot_ids(testbed)
    ssh(testbed, host, "echo kept | tee /srv/left /data/left; touch /run/gone")
    for _ in range(2):
        was = boot_ids(testbed)["l1"]
        with contextlib.suppress(subprocess.CalledProcessError):  # it goes while it answers
            ssh(testbed, host, "systemctl reboot")
        ends_s = time.monotonic() + 300
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if boot_ids(testbed)["l1"] != was:
                    break
            assert living_hosts(SPEC.name) == set(SPEC.hosts), "nobody may think that it died"
            assert time.monotonic() < ends_s
            time.sleep(0.1)
    assert ssh(testbed, host, "systemctl is-system-running --wait") == "running"
    assert ssh(testbed, host, "cat /srv/left /data/left") == "kept\nkept"
    assert ssh(testbed, host, "ls /run/gone; true") == ""
    assert ssh(testbed, host, "nproc") == str(len(host.cpus))
    assert "1 received" in ssh(testbed, testbed.hosts["d1"], "ping -c1 -W2", host.address)
    after = boot_ids(testbed)
    assert {name for name in before if before[name] != after[name]} == {"l1"}
    assert bench.up().changed == 0


def test_a_machine_that_lost_its_bridge_gets_its_hosts_again(bench: Bench) -> None:
    bench.up()
    bridge = remains_of(SPEC.name).links[0]
    subprocess.run(["ip", "link", "delete", bridge], check=True)
    assert bench.up().changed == 5


def test_teardown_leaves_nothing_and_a_second_one_is_fine(bench: Bench) -> None:
    bench.up()
    found = bench.down()
    assert {line.split(":")[0] for line in found} == {
        kind.name.replace("_", " ") for kind in dataclasses.fields(remains_of(SPEC.name))
    }
    assert remains_of(SPEC.name).lines() == []
    assert list(bench.places.state.iterdir()) == []  # keys and state are gone too
    assert bench.down() == []


def test_teardown_by_name_works_without_terraforms_state(bench: Bench) -> None:
    bench.up()
    Terraform(bench.places).forget()
    assert bench.down(SPEC.name)
    assert remains_of(SPEC.name).lines() == []


@pytest.mark.parametrize("wait_s", [0.0, 0.8, 1.6])
def test_a_pipeline_killed_while_hosts_are_made_leaves_nothing_after_teardown(
    bench: Bench, wait_s: float
) -> None:
    assert bench.signal_after("host d1: making", signal.SIGKILL, wait_s=wait_s) == -signal.SIGKILL
    bench.down()
    assert remains_of(SPEC.name).lines() == []


@pytest.mark.parametrize("wait_s", [0.3, 1.5])
def test_a_pipeline_killed_while_hosts_are_made_goes_on_when_run_again(
    bench: Bench, wait_s: float
) -> None:
    bench.signal_after("host d1: making", signal.SIGKILL, wait_s=wait_s)
    bench.up()
    assert living_hosts(SPEC.name) == set(SPEC.hosts)
    assert bench.up().changed == 0


def test_killing_terraform_and_its_scripts_too_leaves_nothing_after_teardown(bench: Bench) -> None:
    bench.signal_after("host d1: making", signal.SIGKILL, wait_s=0.2)
    mark = f"SOAKBED_TERRAFORM_OF={bench.places.state / 'terraform'}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
    bench.down()
    assert remains_of(SPEC.name).lines() == []


def test_a_state_cut_short_is_no_obstacle(bench: Bench) -> None:
    bench.up()
    state = Terraform(bench.places).state_file
    state.write_text(state.read_text()[:200])
    assert bench.up().changed == 5
    state.write_text(state.read_text()[:200])
    bench.down()
    assert remains_of(SPEC.name).lines() == []


def test_ctrl_c_lets_terraform_save_what_it_made(bench: Bench) -> None:
    status = bench.signal_after("host d1: making", signal.SIGINT, wait_s=0.5)
    assert status == -signal.SIGINT
    assert not Terraform(bench.places).is_damaged()
    assert Terraform(bench.places).end_stragglers() == 0
    bench.up()
    assert bench.up().changed == 0


def test_an_address_range_in_use_is_refused_with_the_way_out(bench: Bench) -> None:
    bench.up()
    twin = SPEC.model_copy(update={"name": "t-infra-twin"})
    state = bench.places.state.parent / "twin"
    places = bench.places.model_copy(update={"state": state})
    with pytest.raises(
        ProvisionError, match=r"10\.83\.40\.0/24 is in use: 10\.83\.40\.1 on"
    ) as told:
        provision(twin, terraform=Terraform(places), places=places, progress=bench.said.append)
    assert "network_cidr" in told.value.remedy
    assert remains_of("t-infra-twin").lines() == []


def test_hosts_you_have_are_used_and_left_alone(bench: Bench, tmp_path: Path) -> None:
    made = bench.up().testbed
    hosts = {
        name: {"duty": host.duty, "address": host.address, "key_file": host.key_file}
        for name, host in made.hosts.items()
    }
    spec = TestbedSpec.model_validate({"name": "t-have", "provider": "static", "hosts": hosts})
    places = bench.places.model_copy(update={"state": tmp_path / "static"})
    terraform = Terraform(places)

    nobody = tmp_path / "known_hosts"
    places = places.model_copy(update={"known_hosts": str(nobody)})
    nobody.write_text("")
    with pytest.raises(ProvisionError, match=r"no SSH host key is known for 10\.83\.40\.11"):
        provision(spec, terraform=terraform, places=places, progress=str)

    nobody.write_text(Path(made.known_hosts_file).read_text())
    came_up = provision(spec, terraform=terraform, places=places, progress=str)
    assert not came_up.testbed.shares_machine
    assert ssh(came_up.testbed, came_up.testbed.hosts["d1"], "hostname") == "d1"

    before = boot_ids(made)
    teardown(spec, terraform=terraform, places=places, progress=str)
    assert boot_ids(made) == before
    assert list(places.state.iterdir()) == []


def test_a_host_that_refuses_our_key_is_named(bench: Bench) -> None:
    testbed = bench.up().testbed
    ssh(testbed, testbed.hosts["d3"], "rm /root/.ssh/authorized_keys")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch, pytest.raises(ProvisionError, match=r"- d3: .*denied"):
        patch.setattr("soakbed.stages.provision._OPEN_WITHIN_S", 0.1)
        bench.up()
