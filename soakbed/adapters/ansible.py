"""Playbooks, run through ansible-runner: the only module that knows that library.

Called by `stages.configure`. Everything a play leaves behind for itself (variables with secrets,
event files, control sockets) lies in private folders that are gone when `play` returns.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TextIO

import ansible_runner
import psutil

from soakbed.errors import ConfigureError

__all__ = ["Ansible", "PlayOutcome", "Playbooks", "TaskTime"]

Json = Any
OnEvent = Callable[[str], None]

# A task that hands data back returns it under this key, as {topic: data}; see playbooks/README.md.
RETURNED = "soakbed"
_GRACE_S = 5.0
# Ansible's own words for the task that checks a role's variables; no progress to tell.
_ARGUMENTS = "Validating arguments against arg spec"


@dataclass(frozen=True, slots=True)
class TaskTime:
    """How long one task took on its slowest host."""

    play: str
    task: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PlayOutcome:
    """What one playbook did. `returned`: host -> topic -> data; `changed_tasks`: "host: task".

    `changed` may be more than those named, since tasks that handle secrets tell nothing else.
    """

    changed: int
    seconds: float
    tasks: tuple[TaskTime, ...]
    returned: Mapping[str, Mapping[str, Json]]
    changed_tasks: tuple[str, ...] = ()


class Ansible(Protocol):
    """What the stages need to know about Ansible."""

    def play(
        self,
        playbook: str,
        inventory: Path,
        variables: Mapping[str, Json],
        *,
        log: Path,
        on_event: OnEvent | None = None,
    ) -> PlayOutcome:
        """Run one playbook to its end. Raises ConfigureError naming host and task."""


@dataclass(slots=True)
class _Listener:
    """Turns runner events into a log, progress words and the outcome."""

    log: TextIO
    on_event: OnEvent
    play: str = ""
    changed: int = 0
    changed_tasks: list[str] = field(default_factory=list)
    tasks: dict[tuple[str, str], float] = field(default_factory=dict)
    returned: dict[str, dict[str, Json]] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    def __call__(self, event: Mapping[str, Json]) -> bool:
        """Take one event; False, since runner need not keep it."""
        kind, data = str(event.get("event", "")), event.get("event_data") or {}
        if kind == "playbook_on_play_start":
            self.play = str(data.get("name", ""))
        elif kind == "playbook_on_task_start":
            name = str(data.get("name", ""))
            if _ARGUMENTS not in name:
                self.on_event(f"{self.play}: {name}")
        elif kind in ("runner_on_ok", "runner_on_failed", "runner_on_unreachable"):
            self._result(kind, data)
        elif kind == "playbook_on_stats":
            # Not a sum over the events above: those of no_log tasks do not say that they changed.
            self.changed = sum((data.get("changed") or {}).values())
        return False

    def _result(self, kind: str, data: Mapping[str, Json]) -> None:
        host, task = str(data.get("host", "")), str(data.get("task", ""))
        result: Mapping[str, Json] = data.get("res") or {}
        seconds = float(data.get("duration") or 0.0)
        key = (self.play, task)
        self.tasks[key] = max(seconds, self.tasks.get(key, 0.0))
        failed = kind != "runner_on_ok" and not data.get("ignore_errors")
        message = _message(result) if failed else ""
        if failed:
            self.failures.append((host, task, message))
        elif result.get("changed"):
            self.changed_tasks.append(f"{host}: {task}")
        for topic, content in (result.get(RETURNED) or {}).items():
            known = self.returned.setdefault(host, {})
            # A host may have members of two kinds, each of which tells its own.
            both = isinstance(content, dict) and isinstance(known.get(topic), dict)
            known[topic] = known[topic] | content if both else content
        line = {
            "at_s": round(time.time(), 3),
            "event": kind.removeprefix("runner_on_"),
            "play": self.play,
            "host": host,
            "task": task,
            "seconds": round(seconds, 3),
            "changed": bool(result.get("changed")),
        }
        self.log.write(json.dumps(line | ({"message": message} if message else {})) + "\n")
        self.log.flush()

    def outcome(self, seconds: float) -> PlayOutcome:
        """The record of a play that ended well."""
        times = tuple(TaskTime(play, task, took) for (play, task), took in self.tasks.items())
        return PlayOutcome(
            self.changed, seconds, times, self.returned, changed_tasks=tuple(self.changed_tasks)
        )


class Playbooks:
    """Runs the playbooks of one project. `private` is a folder of mode 0700 (the state)."""

    def __init__(self, folder: Path, *, private: Path) -> None:
        self._folder = folder
        self._private = private

    def play(
        self,
        playbook: str,
        inventory: Path,
        variables: Mapping[str, Json],
        *,
        log: Path,
        on_event: OnEvent | None = None,
    ) -> PlayOutcome:
        """Run one playbook to its end. Raises ConfigureError naming host and task."""
        log.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with (
            log.open("a", encoding="utf-8") as stream,
            self._scratch() as scratch,
            _control_sockets() as sockets,
            _interruptible(scratch) as interrupted,
        ):
            _write_private(scratch / "env" / "extravars", json.dumps(variables))
            listener = _Listener(stream, on_event or _silent)
            done = ansible_runner.run(
                private_data_dir=str(scratch),
                project_dir=str(self._folder),
                playbook=playbook,
                inventory=str(inventory.resolve()),
                envvars=self._environment(scratch, sockets),
                settings={"suppress_ansible_output": True, "pexpect_timeout": 1},
                quiet=True,
                event_handler=listener,
                cancel_callback=interrupted,
            )
            if interrupted():
                raise KeyboardInterrupt
            if done.rc != 0:
                with done.stdout as said:
                    raise _failure(playbook, listener, said.read(), log)
        return listener.outcome(time.monotonic() - started)

    def _environment(self, scratch: Path, sockets: Path) -> dict[str, str]:
        return {
            "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
            "ANSIBLE_LOCAL_TEMP": str(scratch / "tmp"),
            "PATH": os.pathsep.join([str(_launcher(scratch)), *os.get_exec_path()]),
        }

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A private folder; those of processes that died before are removed on the way."""
        self._private.mkdir(parents=True, exist_ok=True)
        for left in self._private.glob(".ansible-*"):
            if not psutil.pid_exists(_pid_in(left)):
                shutil.rmtree(left)
        folder = Path(tempfile.mkdtemp(prefix=f".ansible-{os.getpid()}-", dir=self._private))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def _silent(_: str) -> None:
    return None


def _write_private(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o700)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:  # noqa: PTH123
        out.write(text)


def _launcher(scratch: Path) -> Path:
    """Folder with the Ansible of this Python, ended by the kernel when its starter dies.

    Runner makes its child ignore SIGHUP, so a play would outlive a pipeline that was killed, and
    meet the play of the next one on the same hosts.
    """
    ansible = Path(sys.executable).parent / "ansible-playbook"
    if shutil.which("setpriv") is None:
        return ansible.parent
    launcher = scratch / "bin" / "ansible-playbook"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec setpriv --pdeathsig TERM -- "{ansible}" "$@"\n')
    launcher.chmod(0o700)
    return launcher.parent


@contextmanager
def _control_sockets() -> Iterator[Path]:
    """A folder for SSH's control sockets, which are closed at the end.

    It lies in the temporary directory since a socket's path may have 104 characters only. Folders
    of processes that died before are removed on the way.
    """
    for left in Path(tempfile.gettempdir()).glob("sb-ssh-*-*"):
        if not psutil.pid_exists(_pid_in(left)):
            # Another user's, or one that another soakbed removes just now: not ours to mind.
            with contextlib.suppress(PermissionError, FileNotFoundError):
                _close_sockets(left)
    folder = Path(tempfile.mkdtemp(prefix=f"sb-ssh-{os.getpid()}-"))
    try:
        yield folder
    finally:
        _close_sockets(folder)


def _close_sockets(folder: Path) -> None:
    for socket in folder.iterdir():
        subprocess.run(
            ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "soakbed"],
            capture_output=True,
            check=False,
            timeout=_GRACE_S,
        )
    shutil.rmtree(folder, ignore_errors=True)


def _pid_in(folder: Path) -> int:
    """The process that made a private folder; its name says so."""
    return int(folder.name.rsplit("-", 2)[1])


@contextmanager
def _interruptible(scratch: Path) -> Iterator[Callable[[], bool]]:
    """While the block runs, Ctrl-C and SIGTERM end the play, all its processes, and then us."""
    event = threading.Event()

    def interrupted() -> bool:
        if event.is_set():
            _end_play(scratch)
        return event.is_set()

    def remember(_signal: int, _frame: FrameType | None) -> None:
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_play(scratch: Path) -> None:
    """Ask our own ansible-playbook and all below it to stop; kill what does not."""
    play = [
        process
        for process in psutil.Process().children()
        if any(str(scratch) in word for word in _command_line(process))
    ]
    ours = [*play, *(below for process in play for below in _below(process))]
    for process in ours:
        _signal(process, signal.SIGTERM)
    until = time.monotonic() + _GRACE_S
    while any(map(_alive, ours)) and time.monotonic() < until:
        time.sleep(0.05)
    for process in filter(_alive, ours):
        _signal(process, signal.SIGKILL)


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _alive(process: psutil.Process) -> bool:
    """Whether it still does anything; a zombie waits for runner, which alone may reap it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _message(result: Mapping[str, Json]) -> str:
    """What went wrong, in the words of the module; of the first failed item in a loop."""
    items: list[Mapping[str, Json]] = result.get("results", [])
    failed_item = next((item for item in items if item.get("failed")), {})
    for source in (failed_item, result):
        for key in ("msg", "message", "stderr", "censored"):
            if source.get(key) and source[key] != "One or more items failed":
                return str(source[key]).strip()
    return "failed without a word"


def _failure(playbook: str, listener: _Listener, stdout: str, log: Path) -> ConfigureError:
    remedy = f"mend it and run the same command again; what was done before is kept, see {log}"
    if not listener.failures:
        said = " ".join(line.strip() for line in stdout.strip().splitlines()[-6:])
        return ConfigureError(f"{playbook} did not run: {said}", remedy=remedy)
    host, task, message = listener.failures[0]
    others = sorted({name for name, _, _ in listener.failures[1:]} - {host})
    also = f" (also on {', '.join(others)})" if others else ""
    return ConfigureError(
        f"{playbook} failed on {host}{also} at '{task}': {message}", remedy=remedy
    )
