"""Both targets on four real hosts: configured, verified, changed, locked, wiped; nothing by halves.

Tests run in the order they stand in: each target is brought up once, and asked several questions.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from soakbed.adapters.ansible import Playbooks
from soakbed.adapters.artifacts import CachedArtifacts
from soakbed.adapters.secrets import ensure_passwords
from soakbed.adapters.ssh import Ssh
from soakbed.adapters.terraform import Terraform
from soakbed.errors import ConfigureError
from soakbed.records.places import Places
from soakbed.records.run import ReadyTarget
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Testbed
from soakbed.stages.configure import (
    HostsReady,
    configure_target,
    prepare_hosts,
    verify_target,
    wipe_target,
)
from soakbed.stages.provision import provision
from soakbed.stages.teardown import teardown

pytestmark = [pytest.mark.root, pytest.mark.testbed, pytest.mark.timeout(900)]

PROJECT = Path(__file__).resolve().parents[2]
HOSTS = {
    "d1": {"duty": "data", "address": "10.83.50.11"},
    "d2": {"duty": "data", "address": "10.83.50.12"},
    "d3": {"duty": "data", "address": "10.83.50.13"},
    "l1": {"duty": "load", "address": "10.83.50.21"},
}
SPEC = RunSpec.model_validate(
    {
        "testbed": {
            "name": "t-play",
            "provider": "local",
            "network_cidr": "10.83.50.0/24",
            "hosts": HOSTS,
        },
        "workload": {"name": "short", "keys": 500},
        "targets": ["etcd", "redis_cluster"],
    }
)
DATA = ("d1", "d2", "d3")
PROCESSES = "etcd|redis-server"


class Bench:
    """Hosts, and the stage under test."""

    def __init__(self, places: Places, testbed: Testbed) -> None:
        self.places, self.testbed = places, testbed
        self.ansible = Playbooks(places.playbooks, private=places.state)
        self.artifacts = CachedArtifacts.of(places)
        self.shell = Ssh(testbed)
        self.plays = 0

    def log(self) -> Path:
        self.plays += 1
        return self.places.state / "logs" / f"{self.plays}.jsonl"

    def prepare(self, profile: str = "tuned") -> HostsReady:
        return prepare_hosts(
            self.testbed, profile, ansible=self.ansible, places=self.places, log=self.log()
        )

    def up(self, target: str, again=configure_target, **changes) -> ReadyTarget:
        return again(
            self.testbed,
            target,
            SPEC.model_copy(update=changes),
            ansible=self.ansible,
            artifacts=self.artifacts,
            places=self.places,
            log=self.log(),
        )

    def wipe(self, target: str = "") -> int:
        return wipe_target(self.testbed, target, ansible=self.ansible, places=self.places)

    def on(self, host: str, line: str) -> str:
        return self.shell.run(self.testbed.hosts[host], ["sh", "-c", line], check=False).out

    def last_log(self) -> list[dict]:
        file = self.places.state / "logs" / f"{self.plays}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]

    def listening(self, host: str) -> set[tuple[str, int]]:
        """Every address and port that something but sshd listens on."""
        found = set()
        for line in self.on(host, "ss -Hltnp").splitlines():
            address, _, port = line.split()[3].rpartition(":")
            if '"sshd"' not in line and not address.startswith(("127.", "[::1]")):
                found.add((self.testbed.hosts[host].address, int(port)))
        return found

    def tls(self, name: str = "") -> ssl.SSLContext:
        pki = self.places.state / "pki"
        context = ssl.create_default_context(cafile=pki / "ca.crt")
        if name:
            context.load_cert_chain(pki / f"{name}.crt", pki / f"{name}.key")
        return context


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


def answers(address: str, port: int, tls: ssl.SSLContext | None) -> bool:
    """Whether a client gets even one byte out of a port. None speaks without TLS."""
    try:
        with socket.create_connection((address, port), timeout=5) as raw:
            stream = tls.wrap_socket(raw, server_hostname=address) if tls else raw
            with stream:
                stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n")
                reply = stream.recv(64)
                # Go's TLS tells a plain client so in plain words, and hangs up.
                return bool(reply) and b"HTTP request to an HTTPS server" not in reply
    except (ssl.SSLError, ConnectionError):
        return False


def refuses_strangers(bench: Bench, ports: set[int]) -> None:
    for host in HOSTS:
        found = bench.listening(host)
        assert {port for _, port in found} == (ports if host in DATA else set())
        for address, port in found:
            assert not answers(address, port, None), f"{host}:{port} speaks without TLS"
            assert not answers(address, port, bench.tls()), f"{host}:{port} needs no certificate"


def starts(bench: Bench, unit: str) -> list[float]:
    """When the unit became active on each host, in the order of the hosts."""
    words = f"systemctl show --property=ActiveEnterTimestamp --timestamp=us+utc {unit}"
    line = f'date --date="$({words} | cut -d= -f2)" +%s.%N'
    return [float(bench.on(host, line)) for host in DATA]


def rolled(bench: Bench, restarted: str, whole: str) -> None:
    """In the last play each host was restarted only when the cluster was whole again."""
    steps = [(row["task"], row["host"]) for row in bench.last_log() if "one" in row["play"]]
    wanted = [(task, host) for host in DATA for task in (restarted, whole)]
    assert [step for step in steps if step in wanted] == wanted


# ---- hosts


def test_hosts_are_measured_and_told_what_they_could_not_take(bench):
    ready = bench.prepare()
    assert set(ready.facts) == set(HOSTS)
    for name, facts in ready.facts.items():
        assert facts["fsync_us"]["p99"] > 0
        assert set(facts["rtt_us"]) == set(HOSTS) - {name}
        assert abs(facts["clock_offset_us"]) <= facts["clock_bound_us"] + 50_000
    assert any("d1: vm.swappiness: wanted 1" in line for line in ready.not_applied)


def test_a_second_preparation_changes_nothing(bench):
    assert bench.prepare().changed == 0


def test_the_machines_own_kernel_is_left_alone(bench):
    host = Path("/proc/sys/vm/swappiness").read_text()
    assert bench.on("d1", "cat /proc/sys/vm/swappiness") == host
    assert bench.on("d1", "cat /proc/sys/net/core/somaxconn").strip() == "32768"
    assert Path("/proc/sys/net/core/somaxconn").read_text().strip() != "32768"


def test_stock_after_tuned_is_stock(bench):
    bench.prepare("stock")
    assert bench.on("d1", "cat /proc/sys/net/core/somaxconn").strip() != "32768"
    assert " relatime" in bench.on("d1", "grep ' /data ' /proc/mounts").replace(",", " ")
    bench.prepare("tuned")
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
    refuses_strangers(bench, {2379, 2380, 2381})


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


def nothing_is_left(bench: Bench) -> None:
    for host in DATA:
        assert bench.on(host, "ls -A /data").split() == []
        assert bench.on(host, f"pgrep -x '{PROCESSES}'") == ""
        assert bench.listening(host) == set()


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


def redis_cli(bench: Bench, words: str) -> str:
    return (
        "REDISCLI_AUTH=$(cat /etc/soakbed/secrets/redis_admin) LD_LIBRARY_PATH=/opt/soakbed/lib "
        f"/opt/soakbed/bin/redis-cli --tls -h {HOSTS['d1']['address']} --user admin "
        "--cacert /etc/soakbed/pki/ca.crt --cert /etc/soakbed/pki/host.crt "
        f"--key /etc/soakbed/pki/host.key {words}"
    )


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
