"""Both targets on four real hosts: configured, verified, changed, locked, wiped; nothing by halves.

Tests run in the order they stand in: each target is brought up once, and asked several questions.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from soakbed.adapters.local_machine import folder_of, living_hosts
from soakbed.adapters.secrets import ensure_passwords
from soakbed.adapters.terraform import Terraform
from soakbed.errors import ConfigureError
from soakbed.records.lease import first_lease
from soakbed.records.places import Places
from soakbed.records.testbed_spec import LeaseSpec
from soakbed.stages.configure import (
    verify_target,
)
from soakbed.stages.heartbeat import Heartbeat
from soakbed.stages.lease import held_lease, keep_lease
from soakbed.stages.provision import provision
from soakbed.stages.teardown import teardown
from tests.integration.configured import (
    DATA,
    HOSTS,
    PROJECT,
    SPEC,
    Bench,
    answers,
    nothing_is_left,
    redis_cli,
    refuses_strangers,
    rolled,
    shift_clock,
    starts,
)

# The hosts live on a lease; what one of them sees of the clock is shifted in the end.
LEASE_ENDS_S = int(time.time()) + 4 * 3600

pytestmark = [pytest.mark.root, pytest.mark.testbed, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    state = tmp_path_factory.mktemp("state")
    places = Places(project=PROJECT, state=state, cache=Path.home() / ".cache/soakbed")
    terraform = Terraform(places)
    try:
        made = provision(SPEC.testbed, terraform=terraform, places=places, progress=print)
        yield Bench(places, made.testbed)
    finally:
        teardown(SPEC.testbed, terraform=terraform, places=places, progress=print)


# ---- hosts


def test_hosts_are_measured_and_told_what_they_could_not_take(bench):
    ready = bench.prepare(lease_ends_s=LEASE_ENDS_S)
    assert set(ready.facts) == set(HOSTS)
    for name, facts in ready.facts.items():
        assert facts["fsync_us"]["p99"] > 0
        assert set(facts["rtt_us"]) == set(HOSTS) - {name}
        assert abs(facts["clock_offset_us"]) <= facts["clock_bound_us"] + 50_000
    assert any("d1: vm.swappiness: wanted 1" in line for line in ready.not_applied)


def test_a_second_preparation_changes_nothing(bench):
    assert bench.prepare(lease_ends_s=LEASE_ENDS_S).changed == 0


def test_the_machines_own_kernel_is_left_alone(bench):
    host = Path("/proc/sys/vm/swappiness").read_text()
    assert bench.on("d1", "cat /proc/sys/vm/swappiness") == host
    assert bench.on("d1", "cat /proc/sys/net/core/somaxconn").strip() == "32768"
    assert Path("/proc/sys/net/core/somaxconn").read_text().strip() != "32768"


def test_stock_after_tuned_is_stock(bench):
    bench.prepare("stock", lease_dropped=True)
    assert bench.on("d1", "cat /proc/sys/net/core/somaxconn").strip() != "32768"
    assert " relatime" in bench.on("d1", "grep ' /data ' /proc/mounts").replace(",", " ")
    lease = "ls /var/lib/soakbed/lease; systemctl is-enabled soakbed-lease.timer"
    assert bench.on("d1", lease).split() == ["disabled"]
    bench.prepare("tuned", lease_ends_s=LEASE_ENDS_S)
    assert bench.on("d1", lease).split() == ["/var/lib/soakbed/lease", "enabled"]
    assert "noatime" in bench.on("d1", "grep ' /data ' /proc/mounts")


def test_keys_can_be_read_by_their_owner_only(bench):
    listed = bench.on("d1", "stat -c '%n %a %U' /etc/soakbed/pki/*.key")
    assert sorted(line.split("/")[-1] for line in listed.splitlines()) == [
        "admin.key 600 root",
        "host.key 600 soakbed",
    ]
    assert "client.key 600 soakbed" in bench.on("l1", "stat -c '%n %a %U' /etc/soakbed/pki/*")


# ---- etcd


def test_etcd_comes_up_and_tells_what_it_runs_with(bench):
    ready = bench.up("etcd")
    assert set(ready.effective) == set(DATA)
    for host in DATA:
        assert ready.effective[host]["quota_backend_bytes"] == str(8 * 1024**3)
        assert ready.effective[host]["ETCD_UNSAFE_NO_FSYNC"] == "false"
        assert ready.binaries[host] == dict(
            bench.artifacts.bundle("etcd", allow_substitute=True).files
        )
    assert ready.endpoints == tuple(f"{HOSTS[host]['address']}:2379" for host in DATA)


def test_configuring_etcd_again_changes_nothing(bench):
    before = starts(bench, "soakbed-etcd")
    assert bench.up("etcd").changed_tasks == 0
    assert starts(bench, "soakbed-etcd") == before


def test_no_port_of_etcd_answers_a_client_without_a_certificate(bench):
    refuses_strangers(bench, {2379, 2380, 2381, 2382})


def test_the_metrics_port_answers_a_client_with_a_certificate(bench):
    assert answers(HOSTS["d1"]["address"], 2381, bench.tls("bench"))


@pytest.fixture(scope="module")
def etcdctl(bench, tmp_path_factory):
    """etcdctl of the bundle, here, as a given user."""
    folder = tmp_path_factory.mktemp("etcdctl")
    with tarfile.open(bench.artifacts.bundle("etcd", allow_substitute=True).file) as packed:
        packed.extractall(folder, filter="data")
    pki = bench.places.state / "pki"

    def run(user, *words):
        endpoints = ",".join(f"https://{HOSTS[host]['address']}:2379" for host in DATA)
        return subprocess.run(
            [
                folder / "soakbed/bin/etcdctl",
                f"--endpoints={endpoints}",
                f"--cacert={pki}/ca.crt",
                f"--cert={pki}/{user}.crt",
                f"--key={pki}/{user}.key",
                *words,
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ETCDCTL_API": "3"},
        )

    return run


def test_the_load_may_use_its_own_keys_and_no_others(bench, etcdctl):
    assert etcdctl("bench", "put", "/bench/key", "value").returncode == 0
    assert "value" in etcdctl("bench", "get", "/bench/key").stdout
    for words in (("put", "/other", "x"), ("get", "/", "--prefix"), ("user", "list")):
        assert "permission denied" in etcdctl("bench", *words).stderr


def test_a_hosts_own_certificate_is_no_user(bench, etcdctl):
    assert etcdctl("d1", "put", "/bench/key", "x").returncode != 0


def test_a_change_of_etcd_is_rolled_out_host_by_host(bench, etcdctl):
    before = starts(bench, "soakbed-etcd")
    bench.up("etcd", profile="stock")
    after = starts(bench, "soakbed-etcd")
    assert all(new > old for old, new in zip(before, after, strict=True))
    assert all(first < second for first, second in pairwise(after))
    rolled(
        bench,
        "Member runs with the new configuration",
        "Cluster has quorum, one leader, no alarm, and one view",
    )
    assert "value" in etcdctl("bench", "get", "/bench/key").stdout


def test_a_member_that_is_down_is_seen(bench):
    bench.on("d2", "systemctl kill --signal=KILL soakbed-etcd")
    with pytest.raises(ConfigureError, match=r"etcd is not ready"):
        bench.up("etcd", verify_target, profile="stock")
    assert bench.up("etcd", profile="stock").changed_tasks == 1
    assert bench.up("etcd", verify_target, profile="stock").changed_tasks == 0


def test_redis_is_refused_where_etcd_runs(bench):
    with pytest.raises(ConfigureError, match=r"still runs soakbed-etcd\.service"):
        bench.up("redis_cluster")


def test_a_wiped_etcd_leaves_no_process_and_no_data(bench):
    assert bench.wipe("etcd") == 3
    nothing_is_left(bench)
    assert bench.wipe("etcd") == 0


def test_a_wipe_that_was_interrupted_does_not_stand_in_the_way(bench):
    bench.up("etcd")
    for host in DATA:
        bench.on(host, "systemctl kill --signal=KILL soakbed-etcd; systemctl stop soakbed-etcd")
    bench.on("d1", "rm -rf /data/etcd")
    assert bench.up("etcd").changed_tasks > 0
    bench.wipe()


# ---- Redis Cluster


@pytest.fixture(scope="module")
def cluster(bench):
    """A client of the load's user, as the spec gives it to generators."""
    pki = bench.places.state / "pki"
    passwords = ensure_passwords(
        bench.places.state / "secrets" / "redis.json", ("admin", "bench", "replication")
    )

    def connect(user, password=None, **more):
        return redis.RedisCluster(
            host=HOSTS["d1"]["address"],
            port=6379,
            username=user,
            password=password or passwords[user],
            ssl=True,
            ssl_ca_certs=str(pki / "ca.crt"),
            ssl_certfile=str(pki / "bench.crt"),
            ssl_keyfile=str(pki / "bench.key"),
            protocol=2,
            **more,
        )

    return connect


def test_redis_cluster_comes_up_and_tells_what_it_runs_with(bench):
    ready = bench.up("redis_cluster")
    assert set(ready.effective) == {f"{h}-{duty}" for h in DATA for duty in ("master", "replica")}
    for settings in ready.effective.values():
        assert settings["version"] == "7.0.15"
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["cluster-node-timeout"] == "15000"
        assert "masterauth" not in settings


def test_all_slots_are_held_and_no_replica_lies_beside_its_master(bench, cluster):
    client = cluster("bench")
    shards = client.execute_command("CLUSTER SLOTS", target_nodes=client.RANDOM)
    client.close()
    held = (
        sorted((row[0], row[1]) for row in shards) if isinstance(shards, list) else sorted(shards)
    )
    assert held == [(0, 5460), (5461, 10921), (10922, 16383)]
    nodes = bench.on("d1", redis_cli(bench, "cluster nodes"))
    rows = [line.split() for line in nodes.splitlines()]
    address = {row[0]: row[1].split(":")[0] for row in rows}
    replicas = [row for row in rows if "slave" in row[2]]
    assert len(replicas) == 3
    assert all(address[row[0]] != address[row[3]] for row in replicas)


def test_configuring_redis_again_changes_nothing(bench):
    assert bench.up("redis_cluster").changed_tasks == 0


def test_no_port_of_redis_answers_a_client_without_a_certificate(bench):
    refuses_strangers(bench, {6379, 6380, 16379, 16380})


def test_the_load_may_read_and_write_but_not_administer(bench, cluster):
    client = cluster("bench")
    assert client.set("key", "value")
    assert client.get("key") == b"value"
    for words in (("CONFIG", "GET", "*"), ("FLUSHALL",), ("ACL", "LIST"), ("SHUTDOWN",)):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*words, target_nodes=client.get_random_node())
    client.close()


def test_the_load_host_has_the_password_and_nobody_else_can_read_it(bench, cluster):
    told = bench.on("l1", "stat -c '%a %U' /etc/soakbed/secrets/redis_bench")
    assert told.split() == ["600", "soakbed"]
    client = cluster("bench", bench.on("l1", "cat /etc/soakbed/secrets/redis_bench"))
    assert client.ping(target_nodes=client.RANDOM)
    client.close()


def test_a_certificate_without_a_password_is_nobody(bench, cluster):
    address = HOSTS["d1"]["address"]
    with (
        socket.create_connection((address, 6379), timeout=5) as raw,
        bench.tls("bench").wrap_socket(raw, server_hostname=address) as connection,
    ):
        connection.sendall(b"GET key\r\n")
        assert connection.recv(64).startswith(b"-NOAUTH")


def test_a_change_of_redis_is_rolled_out_host_by_host(bench, cluster):
    ready = bench.up("redis_cluster", appendfsync="always")
    assert {settings["appendfsync"] for settings in ready.effective.values()} == {"always"}
    masters = starts(bench, "soakbed-redis-master")
    assert all(first < second for first, second in pairwise(masters))
    rolled(
        bench,
        "Members run with the new configuration",
        "Cluster is whole before the next host's turn",
    )
    client = cluster("bench")
    assert client.get("key") == b"value"
    client.close()


def test_a_master_that_lost_its_lead_gets_it_back(bench):
    bench.on("d1", "systemctl stop soakbed-redis-master")
    bench.on(
        "d2",
        redis_cli(bench, "cluster failover takeover").replace(
            HOSTS["d1"]["address"], f"{HOSTS['d2']['address']} -p 6380"
        ),
    )
    assert bench.up("redis_cluster", appendfsync="always").changed_tasks > 0
    nodes = bench.on("d1", redis_cli(bench, "cluster nodes"))
    assert re.search(r"10\.83\.50\.11:6379@16379\S* myself,master", nodes)
    assert bench.up("redis_cluster", appendfsync="always").changed_tasks == 0


def test_secrets_are_in_no_log(bench):
    file = bench.places.state / "secrets" / "redis.json"
    secrets = [*json.loads(file.read_text()).values()]
    secrets += [
        key.read_text().splitlines()[1] for key in (bench.places.state / "pki").glob("*.key")
    ]
    logs = "".join(log.read_text() for log in (bench.places.state / "logs").iterdir())
    assert logs
    assert [secret for secret in secrets if secret in logs] == []


def test_a_wiped_redis_leaves_no_process_and_no_data(bench):
    assert bench.wipe() == 3
    nothing_is_left(bench)


# ---- leases; the last, for one host ends itself


def test_every_host_asks_for_its_lease_by_itself(bench):
    for host in HOSTS:
        assert bench.on(host, "cat /var/lib/soakbed/lease").strip() == str(LEASE_ENDS_S)
        assert bench.on(host, "systemctl is-enabled soakbed-lease.timer").strip() == "enabled"
        asked = bench.on(host, "systemctl show -p LastTriggerUSec --value soakbed-lease.timer")
        assert asked.strip() not in ("", "n/a")


def test_a_heartbeat_that_reaches_a_host_keeps_it_and_without_one_it_ends_itself(bench):
    lease = first_lease("t-play", provider="local", region="", now_s=time.time(), lasts_h=1)
    keep_lease(lease, bench.places)
    said: list[str] = []
    beat = Heartbeat(LeaseSpec(margin_h=10), bench.places, bench.testbed, bench.shell, said.append)
    beat()
    assert said == []
    extended = held_lease(bench.places)
    assert extended.ends_s > LEASE_ENDS_S + 5 * 3600
    for host in HOSTS:
        assert bench.on(host, "cat /var/lib/soakbed/lease").strip() == str(extended.ends_s)

    shift_clock(bench, "d3", LEASE_ENDS_S + 3600 - time.time())  # past the first, not this one
    time.sleep(5)  # its timer asks every second: five times it had the chance
    assert living_hosts("t-play") == set(HOSTS)
    shift_clock(bench, "d3", extended.ends_s + 3600 - time.time())
    ends_s = time.monotonic() + 300
    while "d3" in living_hosts("t-play"):
        assert time.monotonic() < ends_s, "it lives on"
        time.sleep(0.2)
    assert living_hosts("t-play") == set(HOSTS) - {"d3"}
    console = (folder_of("t-play") / "d3/console.log").read_text(errors="replace")
    assert "soakbed: its lease ended" in console

    beat()
    assert any("d3 was not told its lease" in line for line in said)
