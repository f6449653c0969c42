"""A machine that cannot carry hosts is refused politely: every reason at once, with a way out."""

import ipaddress
import os
import platform
import shutil
from types import SimpleNamespace

import psutil
import pytest

from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec
from soakbed.stages import host_checks
from soakbed.stages.host_checks import check_local_machine

SPEC = TestbedSpec.model_validate(
    {
        "name": "t-checks",
        "provider": "local",
        "network_cidr": "10.83.90.0/24",
        "hosts": {
            "d1": {"duty": "data", "address": "10.83.90.11"},
            "d2": {"duty": "data", "address": "10.83.90.12"},
            "d3": {"duty": "data", "address": "10.83.90.13"},
            "l1": {"duty": "load", "address": "10.83.90.21"},
        },
    }
)


class Machine:
    """A machine that is fine, until a test takes something away."""

    system = "Linux"
    user = 0
    missing: frozenset[str] = frozenset()
    used: tuple[tuple[str, str], ...] = ()
    living: frozenset[str] = frozenset()
    disk_bytes = 100 * 10**9
    memory_bytes = 16 * 10**9
    fstype = "ext4"

    def lay(self, patch: pytest.MonkeyPatch) -> None:
        used = [(ipaddress.IPv4Network(network), what) for network, what in self.used]
        disk = SimpleNamespace(free=self.disk_bytes)
        memory = SimpleNamespace(available=self.memory_bytes)
        mounts = [SimpleNamespace(mountpoint="/", fstype=self.fstype)]
        patch.setattr(platform, "system", lambda: self.system)
        patch.setattr(os, "geteuid", lambda: self.user)
        patch.setattr(shutil, "which", lambda name, path: None if name in self.missing else name)
        patch.setattr(shutil, "disk_usage", lambda _: disk)
        patch.setattr(psutil, "virtual_memory", lambda: memory)
        patch.setattr(psutil, "disk_partitions", lambda **_: mounts)
        patch.setattr(host_checks, "networks_in_use", lambda apart_from: used)
        patch.setattr(host_checks, "living_hosts", lambda _: self.living)


@pytest.fixture
def check(monkeypatch, tmp_path):
    def run(**taken: object) -> str:
        machine = Machine()
        for name, value in taken.items():
            setattr(machine, name, value)
        machine.lay(monkeypatch)
        places = Places(project=tmp_path, state=tmp_path / "state", cache=tmp_path / "cache")
        try:
            check_local_machine(SPEC, places)
        except ProvisionError as refused:
            return str(refused)
        return ""

    return run


def test_a_machine_that_has_everything_is_taken(check):
    assert check() == ""


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        pytest.param({"system": "Darwin"}, "runs Darwin", id="not Linux"),
        pytest.param({"user": 1000}, "need root", id="not root"),
        pytest.param({"missing": {"systemd-nspawn"}}, "systemd-container", id="no nspawn"),
        pytest.param({"missing": {"debootstrap"}}, "install debootstrap", id="no debootstrap"),
        pytest.param(
            {"used": (("10.83.0.0/16", "10.83.0.9 on eth1"),)},
            "10.83.90.0/24 is in use: 10.83.0.9 on eth1",
            id="addresses in use",
        ),
        pytest.param({"disk_bytes": 5_900_000_000}, "5.9 GB free", id="little disk"),
        pytest.param({"memory_bytes": 2_900_000_000}, "2.9 GB of memory", id="little memory"),
        pytest.param({"fstype": "overlay"}, "lies on an overlay", id="inside a container"),
    ],
)
def test_each_lack_is_named_with_a_way_out(check, taken, told):
    said = check(**taken)
    assert told in said
    assert "\n  try: " in said


def test_every_lack_is_told_at_once(check):
    said = check(user=1000, missing={"ip", "debootstrap"}, disk_bytes=1, memory_bytes=1)
    for lack in ("need root", "no debootstrap, ip", "0.0 GB free at", "0.0 GB of memory"):
        assert lack in said
    assert "apt-get install debootstrap iproute2" in said


def test_hosts_that_run_need_no_room_a_second_time(check):
    assert check(living={"d1"}, disk_bytes=1, memory_bytes=1) == ""


def test_another_network_beside_ours_is_no_obstacle(check):
    assert check(used=(("10.83.91.0/24", "10.83.91.1 on sb-1"),)) == ""
