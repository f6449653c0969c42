"""Memory of a command and of everything it starts, sampled while it runs."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["CommandFailed", "Taken", "watched"]

_EVERY_S = 0.2  # looking costs milliseconds of the processes' time


class CommandFailed(RuntimeError):
    """The command ended with an exit code that was not expected."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one command took. `cpu_s` is of the command and of the children that it waited for.

    The greatest sums over the processes at one moment: `peak_rss_bytes` of resident memory, where
    pages that processes share count once for each, and `peak_bytes`, where they count once.
    """

    seconds: float
    cpu_s: float
    peak_rss_bytes: int
    peak_bytes: int
    said: str


def watched(
    words: Sequence[str], *, environment: Mapping[str, str], allowed: Sequence[int] = (0,)
) -> Taken:
    """Run `words` to their end. Raises CommandFailed unless the exit code is among `allowed`."""
    before = os.times()
    began = time.monotonic()
    child = subprocess.Popen(
        words,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    peaks, over = [0, 0], threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY_S):
            peaks[:] = map(max, peaks, _tree_bytes(child.pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        said, _ = child.communicate()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        over.set()
        thread.join()
    seconds, after = time.monotonic() - began, os.times()
    if child.returncode not in allowed:
        raise CommandFailed(f"{' '.join(words)} ended with {child.returncode}:\n{said[-4000:]}")
    cpu_s = sum(after[2:4]) - sum(before[2:4])
    return Taken(round(seconds, 2), round(cpu_s, 2), *peaks, said)


def _tree_bytes(pid: int) -> tuple[int, int]:
    """Resident memory of all processes, and the same with shared pages once (PSS)."""
    try:
        first = psutil.Process(pid)
        every = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    resident = proportional = 0
    for process in every:
        try:
            told = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        held = {words[0]: int(words[1]) for words in map(str.split, told.splitlines()[1:])}
        resident += held.get("Rss:", 0) * 1024
        proportional += held.get("Pss:", 0) * 1024
    return resident, proportional
