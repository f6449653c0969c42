"""Memory of a command and of everything it starts, sampled while it runs."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

__all__ = ["CommandFailed", "Taken", "watched"]

_EVERY_S = 0.1


class CommandFailed(RuntimeError):
    """The command ended with an exit code that was not expected."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one command took. `cpu_s` is of the command and of the children that it waited for.

    `peak_rss_bytes` is the greatest sum of resident memory over the processes at one moment; pages
    that processes share are counted once for each.
    """

    seconds: float
    cpu_s: float
    peak_rss_bytes: int
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
    peak_bytes, over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak_bytes
        while not over.wait(_EVERY_S):
            peak_bytes = max(peak_bytes, _tree_rss_bytes(child.pid))

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
    return Taken(round(seconds, 2), round(cpu_s, 2), peak_bytes, said)


def _tree_rss_bytes(pid: int) -> int:
    try:
        first = psutil.Process(pid)
        every = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    held = 0
    for process in every:
        try:
            held += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return held
