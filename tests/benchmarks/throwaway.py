"""Real servers for a few minutes: Redis masters and an etcd member on loopback, with TLS.

Used by the benchmark of the engine and by its integration tests. Everything lives in one
folder that the caller removes; every process is ended by its own handle.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from loadgen.contract.plan import Tls
from tests.benchmarks.binaries import Binary, find_etcd, find_redis_server

__all__ = [
    "Etcd",
    "Pki",
    "Process",
    "Redis",
    "free_port",
    "make_cluster",
    "serving",
    "start_together",
]

READY_WITHIN_S = 90.0  # far beyond what any of it takes, on a slow machine too


@dataclass(frozen=True)
class Pki:
    """A CA with one certificate for servers and one for the client `bench`."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Pki:
        """Make it with openssl; valid for two days."""
        folder.mkdir(parents=True, exist_ok=True)
        pki = cls(folder)
        pki._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
        pki._openssl("req", "-x509", "-new", "-key", "ca.key", "-days", "2",
                     "-subj", "/CN=throwaway", "-out", "ca.crt")  # fmt: skip
        pki.issue("host", "127.0.0.1")
        pki.issue("client", "127.0.0.1", common_name="bench")
        return pki

    def issue(self, name: str, address: str, *, common_name: str = "") -> None:
        """A certificate for both directions, with an IP SAN."""
        (self.folder / f"{name}.ext").write_text(
            f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth,clientAuth\n"
        )
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={common_name or name}",
                      "-out", f"{name}.csr")  # fmt: skip
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext",
                      "-out", f"{name}.crt")  # fmt: skip

    def tls(self, name: str = "client") -> Tls:
        """What a plan says of it."""
        return Tls(self.path("ca.crt"), self.path(f"{name}.crt"), self.path(f"{name}.key"))

    def path(self, name: str) -> str:
        """A file of it."""
        return str(self.folder / name)

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)


def free_port() -> int:
    """A port nobody listens on now; below 55536, so that Redis can add 10000 for its bus."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        with socket.socket() as bus:
            if port < 55536 and bus.connect_ex(("127.0.0.1", port + 10000)) != 0:
                return port
    raise RuntimeError("no free port below 55536 on loopback")


@dataclass
class Process:
    """One server process in its own folder, on one core or wherever the kernel likes."""

    folder: Path
    core: int | None = None
    popen: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start_command(self, binary: Binary, words: Sequence[str]) -> None:
        """Start it; its output goes to `log` in its folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pin = [] if self.core is None else ["taskset", "-c", str(self.core)]
        with (self.folder / "log").open("ab") as log:
            self.popen = subprocess.Popen(
                [*pin, binary.path, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=binary.environment(),
            )

    @property
    def pid(self) -> int:
        """Of the process while it runs."""
        assert self.popen is not None
        return self.popen.pid

    def signal(self, number: int) -> None:
        """Send a signal to it alone."""
        os.kill(self.pid, number)

    def stop(self, *, kill: bool = False) -> None:
        """End it and wait; a second call is fine."""
        if self.popen is None:
            return
        if self.popen.poll() is None:
            self.popen.kill() if kill else self.popen.terminate()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.popen = None


@dataclass
class Redis(Process):
    """One Redis master or replica in cluster mode; TLS only, or plain without `pki`."""

    port: int = 0
    pki: Pki | None = None
    extra: tuple[str, ...] = ()

    @property
    def endpoint(self) -> str:
        """address:port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.port = self.port or free_port()
        words = ["--bind", "127.0.0.1", "--cluster-enabled", "yes",
                 "--save", "", "--appendonly", "no", "--dir", str(self.folder),
                 "--cluster-node-timeout", "2000"]  # fmt: skip
        if self.pki is None:
            words += ["--port", str(self.port)]
        else:
            words += ["--port", "0", "--tls-port", str(self.port), "--tls-cluster", "yes",
                      "--tls-replication", "yes", "--tls-auth-clients", "yes",
                      "--tls-ca-cert-file", self.pki.path("ca.crt"),
                      "--tls-cert-file", self.pki.path("host.crt"),
                      "--tls-key-file", self.pki.path("host.key")]  # fmt: skip
        self.start_command(find_redis_server(), [*words, *self.extra])
        self.wait_for(["PING"], "PONG")

    def cli(self, *words: str) -> str:
        """What redis-cli says."""
        tls = [] if self.pki is None else self.pki_words("--tls")
        command = ["redis-cli", "-p", str(self.port), *tls, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    def pki_words(self, *first: str) -> list[str]:
        """TLS options as redis-cli and redis-benchmark take them."""
        assert self.pki is not None
        return [*first, "--cacert", self.pki.path("ca.crt"), "--cert",
                self.pki.path("client.crt"), "--key", self.pki.path("client.key")]  # fmt: skip

    def wait_for(self, words: list[str], text: str) -> None:
        """Until redis-cli's answer contains `text`. Raises TimeoutError."""
        deadline = time.monotonic() + READY_WITHIN_S
        while text not in (said := self.cli(*words)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"redis on {self.endpoint}: {words} says {said!r}")
            time.sleep(0.1)


def make_cluster(masters: Sequence[Redis], replicas: Sequence[Redis] = ()) -> None:
    """Join started members into one cluster; one master alone simply takes all slots."""
    if len(masters) == 1 and not replicas:
        masters[0].cli("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    else:
        for member in (*masters, *replicas):
            member.cli("CLUSTER", "MEET", "127.0.0.1", str(masters[0].port))
        width = -(-16384 // len(masters))
        for at, master in enumerate(masters):
            last = min(16383, (at + 1) * width - 1)
            master.cli("CLUSTER", "ADDSLOTSRANGE", str(at * width), str(last))
    for member in (*masters, *replicas):
        known = f"cluster_known_nodes:{len(masters) + len(replicas)}"
        member.wait_for(["CLUSTER", "INFO"], known)
        member.wait_for(["CLUSTER", "INFO"], "cluster_state:ok")
    for master, replica in zip(masters, replicas, strict=False):
        replica.cli("CLUSTER", "REPLICATE", master.cli("CLUSTER", "MYID").strip())
        replica.wait_for(["INFO", "replication"], "master_link_status:up")


@dataclass
class Etcd(Process):
    """One etcd member, alone or by `start_together`; mutual TLS for clients and peers."""

    binary: Binary = field(default_factory=find_etcd)
    port: int = 0
    peer_port: int = 0
    http_port: int = 0
    pki: Pki | None = None
    extra: tuple[str, ...] = ()
    name: str = "e1"
    members: tuple[str, ...] = ()  # name=peer URL of all; empty: this one alone

    @property
    def endpoint(self) -> str:
        """address:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def scheme(self) -> str:
        """Of its URLs."""
        return "http" if self.pki is None else "https"

    @property
    def peer_url(self) -> str:
        """Where other members find it."""
        return f"{self.scheme}://127.0.0.1:{self.peer_port}"

    def take_ports(self) -> None:
        """Ports of its own, where it was given none."""
        self.port = self.port or free_port()
        self.peer_port = self.peer_port or free_port()
        self.http_port = self.http_port or free_port()

    def start(self) -> None:
        """Start it and wait until it takes connections; one of several may await the others."""
        self.take_ports()
        scheme, peer = self.scheme, self.peer_url
        client = f"{scheme}://{self.endpoint}"
        members = ",".join(self.members or (f"{self.name}={peer}",))
        words = ["--name", self.name, "--data-dir", str(self.folder / "data"),
                 "--listen-client-urls", client, "--advertise-client-urls", client,
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", members, "--log-level", "warn",
                 # As the role's tuned profile: gRPC by its own server, HTTP on another port.
                 "--listen-client-http-urls", f"{scheme}://127.0.0.1:{self.http_port}",
                 ]  # fmt: skip
        for kind in ("", "peer-") if self.pki is not None else ():
            assert self.pki is not None
            words += [f"--{kind}client-cert-auth", f"--{kind}trusted-ca-file",
                      self.pki.path("ca.crt"), f"--{kind}cert-file", self.pki.path("host.crt"),
                      f"--{kind}key-file", self.pki.path("host.key")]  # fmt: skip
        self.start_command(self.binary, [*words, *self.extra])
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if time.monotonic() > deadline or (self.popen and self.popen.poll() is not None):
                raise TimeoutError(f"etcd on {self.endpoint} did not start; see {self.folder}/log")
            time.sleep(0.1)


def start_together(members: Sequence[Etcd]) -> None:
    """Start members as one cluster; who needs its leader asks for it."""
    for number, member in enumerate(members, 1):
        member.name = f"e{number}"
        member.take_ports()
    together = tuple(f"{member.name}={member.peer_url}" for member in members)
    for member in members:
        member.members = together
        member.start()


class Startable(Protocol):
    """What `serving` needs of a server."""

    def start(self) -> None: ...

    def stop(self, *, kill: bool = False) -> None: ...


Server = TypeVar("Server", bound=Startable)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Started for the block, a Redis with all slots; ended whatever happens, a failed start too."""
    try:
        server.start()
        if isinstance(server, Redis):
            make_cluster([server])
        yield server
    finally:
        server.stop(kill=True)
