"""The whole flow over hosts that somebody has, killed on its way and finished all the same."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from soakbed.records.testbed import Host, Testbed
from tests.contract.provider_contract import keys_in
from tests.disturbances.local_host import LocalHost
from tests.end_to_end.hosts_you_have import (
    DATA_DIR,
    USER,
    as_hosts_you_have,
    inner,
    make_local_hosts,
)
from tests.end_to_end.test_main_job import TOO_FEW, every_host_was_sampled, lacking

pytestmark = [pytest.mark.root, pytest.mark.testbed]


@pytest.mark.parametrize("short_soakbed", [("t-kill", "10.83.71")], indirect=True)
def test_a_run_over_hosts_you_have_killed_in_every_stage_is_finished_by_the_same_command(
    short_soakbed,
):
    local = make_local_hosts(short_soakbed)
    soakbed = as_hosts_you_have(short_soakbed, local)
    bench = ("bench", "--targets", "etcd")
    for stage, after_s in (("etcd: configure", 4), ("etcd: steady", 5), ("etcd: collect", 0.3)):
        soakbed.run_until(stage, *bench, then=signal.SIGKILL, after_s=after_s)
    soakbed.run(*bench, expect=(0, 7))
    runs = [path for path in soakbed.results.iterdir() if not path.is_symlink()]
    assert len(runs) == 1, "every attempt went on with the first one's folder"
    assert soakbed.summary()["targets"]["etcd"]["status"] == "measured"
    run = soakbed.results / "latest"
    assert lacking(run, "etcd") <= TOO_FEW
    every_host_was_sampled(run / "etcd", member="soakbed-etcd.service")
    assert keys_in(run) == []
    assert keys_in(soakbed.folder / "state" / "t-kill-have" / "terraform") == []
    the_cluster_was_where_hosts_reach_each_other(run, local)

    processes = {name: set(host_of(local, one).pids()) for name, one in local.hosts.items()}
    soakbed.run("teardown")
    assert not list((soakbed.folder / "state" / "t-kill-have").glob("ssh/*"))
    for name, one in local.hosts.items():
        assert processes[name] & set(host_of(local, one).pids()), f"{name} was left alone"


def host_of(local: Testbed, one: Host) -> LocalHost:
    return LocalHost(local.name, one.name, one.address)


def the_cluster_was_where_hosts_reach_each_other(run: Path, local: Testbed) -> None:
    data = [inner(host.address) for host in local.of_duty("data")]
    ready = json.loads((run / "etcd/ready.json").read_text())
    assert ready["endpoints"] == [f"{address}:2379" for address in data]
    testbed = Testbed.model_validate_json((run / "testbed.json").read_text())
    assert testbed.provider == "static" and not testbed.shares_machine
    for name, host in testbed.hosts.items():
        assert (host.user, host.data_dir) == (USER, DATA_DIR)
        assert host.reached_at == local.hosts[name].address
        assert host.address == inner(host.reached_at)
    for host in local.of_duty("data"):
        told = (run / "etcd/hosts" / host.name / "journal/soakbed-etcd.log").read_text()
        assert f"{inner(host.address)}:2380" in told
