"""Who had a core, second by second, by the kernel: the truth beside what the engine says."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

__all__ = ["CoreWatch", "cpu_s_of", "waited_s_of"]

_HELD_UP_S = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")


class CoreWatch:
    """Samples /proc/stat at every whole second while the block runs.

    `others` maps a unix second to the share of it that the core was busy with anything but `pid`,
    the hypervisor's stolen time included. Ticks are 10 ms, so a share is known to 0.02. Seconds in
    which this thread itself was held up by more than a fifth of one are not in it.
    """

    def __init__(self, core: int, pid: int) -> None:
        self.others: dict[int, float] = {}
        self._core, self._pid = core, pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CoreWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before = None
        while not self._over.wait(1.0 - time.time() % 1.0):
            now_s = time.time()
            try:
                now = (now_s, _busy_s(self._core), cpu_s_of(self._pid))
            except OSError:  # the process has ended
                return
            if before is not None:
                passed = now[0] - before[0]
                others_s = (now[1] - before[1]) - (now[2] - before[2])
                if abs(passed - 1) < _HELD_UP_S:
                    self.others[round(before[0])] = max(0.0, others_s / passed)
            before = now


def _busy_s(core: int) -> float:
    """Everything but idle and waiting for disks."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, *more = map(int, ticks)
            return (user + nice + system + sum(more[:3])) / _TICKS
    raise OSError(f"no core {core}")


def cpu_s_of(pid: int) -> float:
    """CPU time of a process's main thread, by the scheduler."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def waited_s_of(pid: int) -> float:
    """Time for which a process's main thread was ready to run and something else had its core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
