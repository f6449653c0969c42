"""Commands and files over SSH, through Fabric: the only module that knows that library.

Hosts are known by the key that was recorded when they were made; any other key is refused. What is
run or written there is root's: a user of another name goes through sudo, without a password. A
connection that broke is made again once per call, and a host that stays away is `HostUnreachable`,
which callers that only look in may wait out.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shlex
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from fabric import Config, Connection
from paramiko import Channel, RejectPolicy
from paramiko.ssh_exception import SSHException

from soakbed.errors import LoadError
from soakbed.records.testbed import Host, Testbed

__all__ = ["Answer", "CommandFailed", "HostUnreachable", "Result", "Shell", "Ssh"]

CONNECT_TIMEOUT_S = 10
KEEPALIVE_S = 15
# One new connection per call mends a restart or a dropped line; waiting longer is the caller's.
ATTEMPTS = 2
_CHUNK_BYTES = 256 * 1024
_ANSWER_TIMEOUT_S = 10.0
_GLANCE_S = 0.2  # how often a silent command's other stream and its time limit are looked at

_PART_TIMEOUT_S = 120
_WRITE_TIMEOUT_S = 120
_SHELL = "/bin/sh -s"
_DD = ("iflag=skip_bytes,count_bytes,fullblock", "status=none")

Made = TypeVar("Made")


class HostUnreachable(LoadError):
    """A host does not answer over SSH, or broke off; may pass."""


class CommandFailed(LoadError):
    """A command on a host ended with an error, or not in time."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host said to one question, and when, by this machine's monotonic clock, in ns."""

    said: str
    asked_ns: int
    came_ns: int


@dataclass(frozen=True, slots=True)
class _Ended:
    """The same before its bytes are taken for text."""

    code: int
    out: bytes
    err: bytes

    def text(self) -> Result:
        out, err = (said.decode(errors="replace") for said in (self.out, self.err))
        return Result(self.code, out, err)


class Shell(Protocol):
    """What the stages need of a host."""

    def run(
        self, host: Host, command: Sequence[str], *, timeout_s: float = 60, check: bool = True
    ) -> Result:
        """Run one command as root, which must bear being run twice, as after a line that broke.

        Raises CommandFailed on a non-zero end when `check`, and when time is up.
        """

    def ask(self, host: Host, command: Sequence[str], *, times: int) -> list[Answer]:
        """Start one command that answers each line with a line, and ask it so many times.

        It runs as the user that logs in, since nothing may stand between it and us. The first
        answer, which waits for the command to start, is not among them. Raises HostUnreachable,
        and CommandFailed when an answer does not come in a few seconds.
        """

    def put_texts(self, host: Host, folder: str, texts: Mapping[str, str]) -> None:
        """Write small files into a folder, each whole or not at all."""

    def get_tree(self, host: Host, folder: str, into: Path, *, timeout_s: float = 600) -> None:
        """Copy a folder of the host into a local one."""

    def read_part(self, host: Host, path: str, offset: int, most_bytes: int) -> bytes:
        """Bytes of a file from `offset` on, fewer than `most_bytes` at its end.

        Raises CommandFailed when there is no such file.
        """


class Ssh:
    """The hosts of one testbed, each over one connection that is kept open."""

    def __init__(self, testbed: Testbed) -> None:
        self._known_hosts = Path(testbed.known_hosts_file)
        self._open: dict[str, Connection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; the next call opens a new one."""
        for name in list(self._open):
            self._drop(name)

    def run(
        self, host: Host, command: Sequence[str], *, timeout_s: float = 60, check: bool = True
    ) -> Result:
        """Run one command; its words are quoted, so that nothing in them is read by a shell."""
        line = shlex.join(command)

        def attempt(connection: Connection) -> Result:
            # Not Fabric's run: it catches Ctrl-C for itself, and takes three threads per command.
            with contextlib.closing(connection.create_session()) as channel:
                _begin(channel, host, line)
                done = _read_to_end(channel, timeout_s)
            if done is None:
                raise CommandFailed(
                    f"{host.name}: {_shown(line)} did not end in {timeout_s:.0f} s",
                    remedy=f"look at {host.name} ({host.reached_at}): is it overloaded or full?",
                )
            return done.text()

        result = self._with(host, attempt)
        if check and result.code:
            said = (result.err or result.out).strip().splitlines()
            raise CommandFailed(
                f"{host.name}: {_shown(line)} ended with {result.code}: {' / '.join(said[-3:])}",
                remedy=f"run it by hand on {host.name} ({host.reached_at}) to see why",
            )
        return result

    def ask(self, host: Host, command: Sequence[str], *, times: int) -> list[Answer]:
        """Ask a command on a host so many times: a line each way, over the one open connection."""
        line = shlex.join(command)

        def attempt(connection: Connection) -> list[Answer]:
            with contextlib.closing(connection.create_session()) as channel:
                channel.settimeout(_ANSWER_TIMEOUT_S)
                channel.exec_command(line)
                _one_answer(channel)
                return [_one_answer(channel) for _ in range(times)]

        try:
            return self._with(host, attempt)
        except _Silent as error:
            raise CommandFailed(
                f"{host.name}: {_shown(line)} did not answer: {error}",
                remedy=f"look at {host.name} ({host.reached_at}): is it overloaded or full?",
            ) from error

    def put_texts(self, host: Host, folder: str, texts: Mapping[str, str]) -> None:
        """Write small files into a folder, in the order given, each whole or not at all."""
        script = _writing(folder, texts)

        def attempt(connection: Connection) -> _Ended | None:
            with contextlib.closing(connection.create_session()) as channel:
                _feed(channel, host, script)
                return _read_to_end(channel, _WRITE_TIMEOUT_S)

        ended = self._with(host, attempt)
        if ended is None or ended.code:
            said = ended.err.decode(errors="replace").strip() if ended else "it took too long"
            raise CommandFailed(
                f"{host.name}: {', '.join(texts)} cannot be written to {folder}: {said}",
                remedy=f"look at {host.name} ({host.reached_at}): is its disk full?",
            )

    def get_tree(self, host: Host, folder: str, into: Path, *, timeout_s: float = 600) -> None:
        """Copy a folder of the host into a local one, as one stream."""
        command = shlex.join(["tar", "-C", folder, "-cf", "-", "."])

        def attempt(connection: Connection) -> None:
            into.mkdir(parents=True, exist_ok=True)
            channel = connection.create_session()
            channel.settimeout(timeout_s)
            with contextlib.closing(channel):
                _begin(channel, host, command)
                stream = io.BufferedReader(channel.makefile("rb"), _CHUNK_BYTES)
                with tarfile.open(fileobj=stream, mode="r|") as packed:
                    packed.extractall(into, filter="data")
                code = channel.recv_exit_status()
            # 1: a file changed while it was read, such as a log; what was read is kept.
            if code > 1:
                raise CommandFailed(
                    f"{host.name}: {command} ended with {code}",
                    remedy=f"look at {folder} on {host.name} ({host.reached_at})",
                )

        self._with(host, attempt)

    def read_part(self, host: Host, path: str, offset: int, most_bytes: int) -> bytes:
        """Bytes of a file from `offset` on: a copy that broke off is taken up by it.

        Raises CommandFailed when there is no such file.
        """
        # dd alone of the usual tools begins anywhere without reading what is before.
        line = shlex.join(
            ["dd", f"if={path}", f"skip={offset}", f"count={most_bytes}", "bs=256K", *_DD]
        )

        def attempt(connection: Connection) -> _Ended:
            with contextlib.closing(connection.create_session()) as channel:
                _begin(channel, host, line)
                done = _read_to_end(channel, _PART_TIMEOUT_S)
            if done is None:
                raise EOFError(f"{path} did not come in {_PART_TIMEOUT_S} s")
            return done

        ended = self._with(host, attempt)
        if ended.code:
            raise CommandFailed(
                f"{host.name}: {path} cannot be read: {ended.err.decode(errors='replace').strip()}",
                remedy=f"look at the file on {host.name} ({host.reached_at})",
            )
        return ended.out

    def _with(self, host: Host, attempt: Callable[[Connection], Made]) -> Made:
        for left in reversed(range(ATTEMPTS)):
            try:
                return attempt(self._connection(host))
            except (OSError, EOFError, SSHException, tarfile.ReadError) as error:
                self._drop(host.name)
                if not left:
                    raise HostUnreachable(
                        f"{host.name} ({host.reached_at}:{host.port}) does not answer over SSH: "
                        f"{error or type(error).__name__}",
                        remedy="check that the host is up (`soakbed status`) and reachable; "
                        "load that runs there goes on, and the same command adopts it",
                    ) from error
                time.sleep(0.5)
        raise AssertionError("the last attempt returns or raises")

    def _connection(self, host: Host) -> Connection:
        if host.name not in self._open:
            connection = Connection(
                host.reached_at,
                user=host.user,
                port=host.port,
                connect_timeout=CONNECT_TIMEOUT_S,
                connect_kwargs={
                    "key_filename": host.key_file,
                    "allow_agent": False,
                    "look_for_keys": False,
                },
                # Nothing of the operator's own ~/.ssh/config or fabric.yml has a say here.
                config=Config(lazy=True, overrides=_OVERRIDES),
            )
            connection.client.set_missing_host_key_policy(RejectPolicy())
            connection.client.load_host_keys(str(self._known_hosts))
            connection.open()
            connection.transport.set_keepalive(KEEPALIVE_S)
            self._open[host.name] = connection
        return self._open[host.name]

    def _drop(self, name: str) -> None:
        connection = self._open.pop(name, None)
        if connection is not None:
            # Not Fabric's close, which first says goodbye over the line that may be the broken one.
            connection.client.close()


class _Silent(Exception):
    """A command that should have answered did not, while the connection stands."""


def _begin(channel: Channel, host: Host, line: str) -> None:
    """Start a command as root."""
    if host.user == "root":
        channel.exec_command(line)
    else:
        _feed(channel, host, line)


def _feed(channel: Channel, host: Host, script: str) -> None:
    """Start root's shell and let it read `script`, all of it or none.

    Not as arguments: sudo writes those into the host's journal, and the kernel bounds them. In
    braces, so that a line that breaks off in the middle of a command runs no half of it.
    """
    channel.exec_command(_SHELL if host.user == "root" else f"sudo -n -- {_SHELL}")
    channel.settimeout(_WRITE_TIMEOUT_S)
    # Who was refused has hung up already, and its words are still to be read.
    with contextlib.suppress(OSError):
        channel.sendall(f"{{\n{script}\n}}\n".encode())
        channel.shutdown_write()


def _writing(folder: str, texts: Mapping[str, str]) -> str:
    """A script that writes the files, each under another name first."""
    lines = ["set -e", f"mkdir -p {shlex.quote(folder)}", f"cd {shlex.quote(folder)}"]
    for name, text in texts.items():
        new, named = shlex.quote(f"./{name}.new"), shlex.quote(f"./{name}")
        # The shell's own printf, whose argument no kernel bounds.
        lines += [f"printf %s {shlex.quote(text)} > {new}", f"mv -f {new} {named}"]
    return "\n".join(lines)


def _one_answer(channel: Channel) -> Answer:
    said = b""
    asked_ns = time.monotonic_ns()
    try:
        channel.sendall(b"\n")
        while not said.endswith(b"\n"):
            if not (chunk := channel.recv(_CHUNK_BYTES)):
                raise _Silent("it ended")
            said += chunk
    except TimeoutError as error:
        raise _Silent(f"nothing in {_ANSWER_TIMEOUT_S} s") from error
    return Answer(said.decode(errors="replace").strip(), asked_ns, time.monotonic_ns())


_OVERRIDES: Mapping[str, Any] = {"load_ssh_configs": False}

# A line that broke is told of as HostUnreachable; without this paramiko prints it, too.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def _read_to_end(channel: Channel, timeout_s: float) -> _Ended | None:
    """What a command writes until it ends; None when time is up. EOFError when the line broke."""
    out, err = bytearray(), bytearray()
    ends_s = time.monotonic() + timeout_s
    channel.settimeout(_GLANCE_S)
    for stream, read in ((out, channel.recv), (err, channel.recv_stderr)):
        while time.monotonic() < ends_s:
            while channel.recv_stderr_ready():
                err += channel.recv_stderr(_CHUNK_BYTES)
            with contextlib.suppress(TimeoutError):
                if not (chunk := read(_CHUNK_BYTES)):
                    break
                stream += chunk
        else:
            return None
    code = channel.recv_exit_status()
    if code < 0:
        raise EOFError("the connection broke before the command's end was known")
    return _Ended(code, bytes(out), bytes(err))


def _shown(line: str) -> str:
    return line if len(line) <= 200 else f"{line[:200]}..."
