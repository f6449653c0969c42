"""The faults themselves. See the package for how they are used."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.disturbances.local_host import LocalHost, wait_until
from tests.disturbances.small_disk import SmallDisk

__all__ = [
    "RPC_PORT",
    "Disturbance",
    "controller_killed",
    "disk_full",
    "halted",
    "killed",
    "line_cut",
    "parted",
    "rebooted",
    "ssh_refused",
]

RPC_PORT = 5557
TABLE = "inet soakbed_disturbance"
DEAD_WITHIN_S = 120
BACK_WITHIN_S = 120


@dataclass(slots=True)
class Disturbance:
    """What was done, and when it was so; `until_s` is 0 while it is."""

    name: str
    from_s: float = 0.0
    until_s: float = 0.0


@contextmanager
def _told(name: str) -> Iterator[Disturbance]:
    told = Disturbance(name, from_s=time.time())
    try:
        yield told
    finally:
        told.until_s = time.time()


@contextmanager
def controller_killed(process: subprocess.Popen[str]) -> Iterator[Disturbance]:
    """kill -9 of a `soakbed` that we started; whoever wants it back starts another."""
    with _told("controller killed") as told:
        process.kill()
        process.wait(DEAD_WITHIN_S)
        yield told


@contextmanager
def killed(host: LocalHost, kind: str, *, comes_back: bool = True) -> Iterator[Disturbance]:
    """kill -9 of every `master`, `worker` or `engine` of the host; over when another one runs."""
    with _told(f"{kind} killed") as told:
        victims = set(host.pids_of(kind))
        if not victims:
            raise AssertionError(f"{host.name} has no {kind} to kill")
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: not victims & set(host.pids_of(kind)),
            f"the killed {kind} is gone",
            within_s=DEAD_WITHIN_S,
        )
        yield told
        if comes_back:
            wait_until(
                lambda: set(host.pids_of(kind)) - victims,
                f"another {kind} on {host.name}",
                within_s=BACK_WITHIN_S,
            )


@contextmanager
def halted(host: LocalHost, kind: str) -> Iterator[Disturbance]:
    """SIGSTOP, then SIGCONT; with pidfds, so that no stranger is ever signalled."""
    with contextlib.ExitStack() as opened:
        told = opened.enter_context(_told(f"{kind} halted"))
        victims = host.pids_of(kind)
        if not victims:
            raise AssertionError(f"{host.name} has no {kind} to halt")
        for pid in victims:
            handle = os.pidfd_open(pid)
            opened.callback(os.close, handle)
            opened.callback(_go_on, handle)
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
            wait_until(lambda pid=pid: _state(pid) in ("T", ""), f"{kind} {pid} stands still")
        yield told


def _go_on(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGCONT)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@contextmanager
def parted(host: LocalHost, *, port: int = RPC_PORT) -> Iterator[Disturbance]:
    """No packet between the master and any worker: both ways, without a word to either."""
    rules = f"tcp dport {port} counter drop\ntcp sport {port} counter drop\n"
    with _told("master and workers parted") as told, _filtered(host, rules):
        wait_until(lambda: _dropped(host), f"a packet to or from port {port} is dropped")
        yield told


@contextmanager
def line_cut(host: LocalHost, address: str) -> Iterator[Disturbance]:
    """Nothing that another host sends arrives here, so that every line between the two is dead."""
    rules = f"ip saddr {address} counter drop\n"
    with _told(f"{host.name} hears nothing of {address}") as told, _filtered(host, rules):
        wait_until(lambda: _dropped(host), f"a packet of {address} is dropped")
        yield told


@contextmanager
def ssh_refused(host: LocalHost) -> Iterator[Disturbance]:
    """Every SSH connection to the host is reset, open ones and new ones."""
    rules = "tcp dport 22 counter reject with tcp reset\n"
    with _told("SSH refused") as told, _filtered(host, rules):
        wait_until(lambda: not host.greets(), f"{host.name} refuses SSH")
        yield told
    wait_until(host.greets, f"{host.name} answers SSH", within_s=BACK_WITHIN_S)


@contextmanager
def _filtered(host: LocalHost, rules: str) -> Iterator[None]:
    """nftables in the host's own network; gone with it, should the host end meanwhile."""
    first = host.first_process()
    chain = f"type filter hook input priority -300; policy accept;\n{rules}"
    host.in_network("nft", "-f", "-", given=f"table {TABLE} {{\nchain cut {{\n{chain}}}\n}}\n")
    try:
        yield
    finally:
        if host.first_process() == first:
            host.in_network("nft", "delete", "table", *TABLE.split())


def _dropped(host: LocalHost) -> bool:
    listed = host.in_network("nft", "list", "table", *TABLE.split()).split()
    return any(listed[i + 1] != "0" for i, word in enumerate(listed) if word == "packets")


@contextmanager
def disk_full(disk: SmallDisk) -> Iterator[Disturbance]:
    """Not a byte is left on the disk of the sessions."""
    filler = disk.path / "filler"
    with _told("disk full") as told:
        try:
            _fill(filler)
            wait_until(lambda: disk.free_bytes() == 0, "the disk is full", within_s=DEAD_WITHIN_S)
            yield told
        finally:
            filler.unlink(missing_ok=True)


def _fill(filler: Path) -> None:
    """Large pieces first, single bytes last."""
    with filler.open("wb", buffering=0) as file:
        for piece in (bytes(1 << 20), bytes(4096), bytes(1)):
            try:
                while file.write(piece) == len(piece):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


@contextmanager
def rebooted(host: LocalHost) -> Iterator[Disturbance]:
    """`systemctl reboot`; over when the host has another process 1 and answers SSH."""
    first = host.first_process()
    with _told("host rebooted") as told:
        host.run("systemctl", "reboot", check=False)  # it may end the command itself
        wait_until(lambda: host.first_process() != first, f"{host.name} goes down")
        yield told
        wait_until(
            lambda: host.first_process() not in (first, None) and host.greets(),
            f"{host.name} is up again",
            within_s=BACK_WITHIN_S,
        )
