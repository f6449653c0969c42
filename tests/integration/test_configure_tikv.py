"""PD and TiKV on four real hosts, with stand-ins for both programs that a folder offers.

Everything up to the programs is real: artifacts, SSH, roles, systemd, certificates. Tests
run in the order they stand in.
"""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from soakbed.adapters.artifacts import CachedArtifacts
from soakbed.adapters.terraform import Terraform
from soakbed.errors import ConfigureError, Unavailable
from soakbed.records.places import Places
from soakbed.records.spec import RunSpec
from soakbed.stages.configure import verify_target
from soakbed.stages.provision import provision
from soakbed.stages.teardown import teardown
from tests.integration.configured import (
    DATA,
    PROJECT,
    Bench,
    answers,
    nothing_is_left,
    refuses_strangers,
    rolled,
    starts,
)
from tests.standins import pd_server, tikv_server

pytestmark = [pytest.mark.root, pytest.mark.testbed, pytest.mark.timeout(900)]

PORTS = {2479, 2480, 20160, 20180}
SPEC = RunSpec.model_validate(
    {
        "testbed": {
            "name": "t-tikv",
            "provider": "local",
            "network_cidr": "10.83.57.0/24",
            "hosts": {
                "d1": {"duty": "data", "address": "10.83.57.11"},
                "d2": {"duty": "data", "address": "10.83.57.12"},
                "d3": {"duty": "data", "address": "10.83.57.13"},
                "l1": {"duty": "load", "address": "10.83.57.21"},
            },
        },
        "workload": {"name": "short", "keys": 500},
        "targets": ["tikv"],
    }
)
DYING = """#!/bin/sh
case "$*" in
*version*) echo "Release Version: v6.5.5-standin" ;;
*) for i in $(seq 1 60); do echo "{name}: cannot go on, line $i" >&2; done; exit 3 ;;
esac
"""


def put(folder: Path, name: str, source: Path | str) -> None:
    """Lay a program into the folder that SOAKBED_ARTIFACTS names."""
    text = source.read_text() if isinstance(source, Path) else source
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    put(folder, "pd-server", Path(pd_server.__file__))
    put(folder, "tikv-server", Path(tikv_server.__file__))
    return folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[Bench]:
    state = tmp_path_factory.mktemp("state")
    cache = Path.home() / ".cache/soakbed"
    places = Places(project=PROJECT, state=state, cache=cache, artifacts=str(programs))
    terraform = Terraform(places)
    try:
        made = provision(SPEC.testbed, terraform=terraform, places=places, progress=print)
        ready = Bench(places, made.testbed, SPEC)
        # What is made of these programs is of no use to anybody else.
        pins = places.playbooks / "group_vars" / "all" / "artifacts.yml"
        ready.artifacts = CachedArtifacts(pins, state / "artifacts", named=str(programs))
        ready.prepare()
        yield ready
    finally:
        teardown(SPEC.testbed, terraform=terraform, places=places, progress=print)
    shutil.rmtree(state / "artifacts", ignore_errors=True)


def of_pd(bench: Bench, path: str) -> dict:
    """What PD's API tells a client that shows the load's certificate."""
    address = bench.testbed.hosts["d2"].address
    link = http.client.HTTPSConnection(address, 2479, timeout=5, context=bench.tls("bench"))
    link.request("GET", f"/pd/api/v1{path}")
    found: dict = json.loads(link.getresponse().read())
    link.close()
    return found


def test_without_leave_to_substitute_a_stand_in_is_not_deployed(bench):
    with pytest.raises(Unavailable, match=r"6\.5\.5-standin"):
        bench.up("tikv", allow_substitute=False)


def test_tikv_comes_up_and_tells_what_it_runs_with(bench):
    ready = bench.up("tikv")
    assert (ready.version, ready.substituted) == ("6.5.5-standin", True)
    assert any("of version 6.5.5-standin" in reason for reason in ready.reasons)
    assert set(ready.effective) == {f"{host}-{kind}" for host in DATA for kind in ("pd", "tikv")}
    for host in DATA:
        pd, tikv = ready.effective[f"{host}-pd"], ready.effective[f"{host}-tikv"]
        assert pd["schedule.merge-schedule-limit"] == pd["schedule.leader-schedule-limit"] == "0"
        assert (tikv["storage.api-version"], tikv["storage.enable-ttl"]) == ("1", "false")
        assert set(ready.binaries[host]) == {
            "/opt/soakbed/bin/pd-server",
            "/opt/soakbed/bin/tikv-server",
        }
    addresses = [bench.testbed.hosts[host].address for host in DATA]
    assert ready.endpoints == tuple(f"{address}:2479" for address in addresses)


def test_the_key_space_is_split_and_every_store_leads_its_share(bench):
    regions = of_pd(bench, "/regions")["regions"]
    assert len(regions) == 24
    assert b"bench:000000000020".hex().upper() in {row["start_key"] for row in regions}
    led = [row["leader"]["store_id"] for row in regions]
    assert sorted(led.count(store) for store in (1, 2, 3)) == [8, 8, 8]


def test_units_run_as_soakbed_and_within_limits(bench):
    for unit in ("soakbed-pd", "soakbed-tikv"):
        words = "-p User,Restart,UnitFileState,IOSchedulingPriority,ActiveState,MemoryMax"
        told = dict(
            line.split("=") for line in bench.on("d1", f"systemctl show {words} {unit}").split()
        )
        assert (told["User"], told["Restart"], told["ActiveState"]) == ("soakbed", "no", "active")
        assert told["UnitFileState"] != "enabled"
        assert told["MemoryMax"].isdigit()


def test_keys_are_private_and_configuration_holds_none(bench):
    assert bench.on("d1", "stat -c '%a %U' /etc/soakbed/pki/host.key").split() == ["600", "soakbed"]
    assert (
        bench.on("d1", "stat -c '%a %U' /data/tikv /data/tikv/pd /data/tikv/store").split()
        == [
            "700",
            "soakbed",
        ]
        * 3
    )
    assert bench.on("d1", "grep -l 'PRIVATE KEY' -r /etc/soakbed/tikv /etc/soakbed/pd") == ""


def test_no_port_answers_a_client_without_a_certificate(bench):
    refuses_strangers(bench, PORTS)
    assert answers(bench.testbed.hosts["d1"].address, 20180, bench.tls("bench"))


def test_configuring_again_changes_nothing(bench):
    before = [starts(bench, unit) for unit in ("soakbed-pd", "soakbed-tikv")]
    assert bench.up("tikv").changed_tasks == 0
    assert [starts(bench, unit) for unit in ("soakbed-pd", "soakbed-tikv")] == before


def test_another_target_is_refused_where_tikv_runs(bench):
    with pytest.raises(ConfigureError, match=r"still runs soakbed-pd\.service, soakbed-tikv"):
        bench.up("redis_cluster")


def test_a_change_is_rolled_out_host_by_host_first_pd_then_tikv(bench):
    before = [starts(bench, unit) for unit in ("soakbed-pd", "soakbed-tikv")]
    ready = bench.up("tikv", profile="stock")
    after = [starts(bench, unit) for unit in ("soakbed-pd", "soakbed-tikv")]
    for old, new in zip(before, after, strict=True):
        assert all(late > early for early, late in zip(old, new, strict=True))
        assert all(first < second for first, second in pairwise(new))
    assert after[0][-1] < after[1][0]
    rolled(
        bench,
        "Member of PD runs with the new configuration",
        "PD has quorum and a leader, and runs with what was rendered",
    )
    rolled(
        bench,
        "Store runs with the new configuration",
        "Stores are up, the key space is split, and its leaders are spread",
    )
    assert ready.effective["d1-pd"]["schedule.leader-schedule-limit"] == "4"
    assert ready.effective["d1-pd"]["schedule.merge-schedule-limit"] == "0"


def test_after_a_load_it_is_looked_at_and_left_alone(bench):
    assert bench.up("tikv", verify_target, profile="stock").changed_tasks == 0


def test_a_store_that_is_down_is_seen_and_told_with_its_journal(bench):
    bench.on("d2", "systemctl kill --signal=KILL soakbed-tikv")
    with pytest.raises(
        ConfigureError, match=r"(?s)failed on d2.*TiKV has ended.*--- status"
    ) as seen:
        bench.up("tikv", verify_target, profile="stock")
    assert "code=killed, status=9/KILL" in seen.value.problem
    assert bench.up("tikv", profile="stock").changed_tasks > 0


def test_a_wipe_leaves_no_process_and_no_data(bench):
    assert bench.wipe("tikv") > 0
    nothing_is_left(bench)
    assert bench.wipe("tikv") == 0


def test_a_wipe_that_was_interrupted_does_not_stand_in_the_way(bench):
    bench.up("tikv")
    for host in DATA:
        units = "soakbed-pd soakbed-tikv"
        bench.on(host, f"systemctl kill --signal=KILL {units}; systemctl stop {units}")
    bench.on("d1", "rm -rf /data/tikv")
    assert bench.up("tikv").changed_tasks > 0
    bench.wipe()


@pytest.mark.parametrize(("name", "unit"), [("pd-server", "PD"), ("tikv-server", "TiKV")])
def test_a_program_that_dies_at_its_start_is_told_with_all_there_is_to_know(
    bench, programs, name, unit
):
    whole = (programs / name).read_text()
    put(programs, name, DYING.replace("{name}", name))
    try:
        with pytest.raises(ConfigureError) as died:
            bench.up("tikv")
    finally:
        put(programs, name, whole)
    told = died.value.problem
    assert f"{unit} has ended" in told
    assert "code=exited, status=3" in told
    assert f"{name}: cannot go on, line 60" in told
    assert f"{name}: cannot go on, line 15\n" in told
    assert f"{name}: cannot go on, line 5\n" not in told
    assert "--- listening ports" in told
    assert '"sshd"' in told
    if name == "tikv-server":
        assert ":2479" in told.partition("--- listening ports")[2]
    bench.wipe()
    nothing_is_left(bench)
