"""Four real hosts with a target on them, and the questions that the tests ask of them."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

from soakbed.adapters.ansible import Playbooks
from soakbed.adapters.artifacts import CachedArtifacts
from soakbed.adapters.ssh import Ssh
from soakbed.records.places import Places
from soakbed.records.run import ReadyTarget
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Testbed
from soakbed.stages.configure import HostsReady, configure_target, prepare_hosts, wipe_target

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
UNITS = "/etc/systemd/system"
PROCESSES = "etcd|redis-server|pd-server|tikv-server"


class Bench:
    """Hosts, and the stage under test."""

    def __init__(self, places: Places, testbed: Testbed, spec: RunSpec = SPEC) -> None:
        self.places, self.testbed, self.spec = places, testbed, spec
        self.ansible = Playbooks(places.playbooks, private=places.state)
        self.artifacts = CachedArtifacts.of(places)
        self.shell = Ssh(testbed)
        self.plays = 0

    def log(self) -> Path:
        self.plays += 1
        return self.places.state / "logs" / f"{self.plays}.jsonl"

    def prepare(self, profile: str = "tuned", **lease: int) -> HostsReady:
        return prepare_hosts(
            self.testbed,
            profile,
            ansible=self.ansible,
            places=self.places,
            log=self.log(),
            **lease,
        )

    def up(self, target: str, again=configure_target, **changes) -> ReadyTarget:
        return again(
            self.testbed,
            target,
            self.spec.model_copy(update=changes),
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


def nothing_is_left(bench: Bench) -> None:
    for host in DATA:
        assert bench.on(host, "ls -A /data").split() == []
        assert bench.on(host, f"pgrep -x '{PROCESSES}'") == ""
        assert bench.listening(host) == set()


def redis_cli(bench: Bench, words: str) -> str:
    return (
        "REDISCLI_AUTH=$(cat /etc/soakbed/secrets/redis_admin) LD_LIBRARY_PATH=/opt/soakbed/lib "
        f"/opt/soakbed/bin/redis-cli --tls -h {HOSTS['d1']['address']} --user admin "
        "--cacert /etc/soakbed/pki/ca.crt --cert /etc/soakbed/pki/host.crt "
        f"--key /etc/soakbed/pki/host.key {words}"
    )


def shift_clock(bench: Bench, host: str, by_s: float) -> None:
    """Local hosts share the kernel's clock, and nothing else may hang on one that a test sets. So
    the unit that asks for the lease alone sees another `date` first, and asks every second.
    """
    date = f'[ "$*" = +%s ] && exec /usr/bin/date -d "+{by_s:.0f} seconds" +%s\n'
    files = {
        "/srv/shifted/date": f'#!/bin/sh\n{date}exec /usr/bin/date "$@"\n',
        f"{UNITS}/soakbed-lease.service.d/test.conf": (
            "[Service]\nEnvironment=PATH=/srv/shifted:/usr/sbin:/usr/bin\n"
        ),
        f"{UNITS}/soakbed-lease.timer.d/test.conf": (
            "[Timer]\nOnUnitActiveSec=\nOnUnitActiveSec=1\nAccuracySec=100ms\n"
        ),
    }
    for path, text in files.items():
        folder, _, name = path.rpartition("/")
        bench.shell.put_texts(bench.testbed.hosts[host], folder, {name: text})
    bench.on(host, "chmod 755 /srv/shifted/date; systemctl daemon-reload")
    bench.on(host, "systemctl restart soakbed-lease.timer")
