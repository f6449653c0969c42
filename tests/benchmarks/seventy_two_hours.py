"""`python -m tests.benchmarks.seventy_two_hours`: what 72 h of windows do to an engine's memory.

The recorder and the spool are the engine's own and are given every window that 72 h have, with a
few operations each, as fast as they take them. Only the time between windows is left out.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from loadgen.contract.spool import SpoolWriter
from loadgen.engine.spooling import Spool
from loadgen.recorder import Clock, Recorder

__all__ = ["Engine", "main", "resident_bytes"]

SECOND = 1_000_000_000
WARM_WINDOWS = 300  # what is made once is made by then
MOST_GROWTH_BYTES = 1_000_000  # issue: under 1 MB

EXAMPLES = """\
examples:
  python -m tests.benchmarks.seventy_two_hours               all of them, a quarter of an hour
  python -m tests.benchmarks.seventy_two_hours --hours 1     a minute's worth, to see it work
  python -m tests.benchmarks.seventy_two_hours --out growth.json
"""


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


class Engine:
    """The recording half of an engine: windows go through recorder and spool onto disk."""

    def __init__(self, path: Path) -> None:
        self._spool = Spool(SpoolWriter(path, hourly=False))
        clock = Clock()
        self._recorder = Recorder(self._spool.put, worker=0, length_s=1, clock=clock)
        self._start = clock.next_boundary_ns(clock.monotonic_ns(1_700_000_000 * SECOND), 1)
        self._recorder.begin("steady", "open", self._start)

    def windows(self, first: int, count: int, *, operations: int) -> None:
        """Live through `count` seconds from second `first` on, with so many operations each."""
        recorder = self._recorder
        gap = SECOND // (operations + 1)
        for second in range(first, first + count):
            at = self._start + second * SECOND
            for number in range(operations):
                recorder.sent[number & 1] += 1
                # Other latencies each second, so that other buckets fill.
                end = at + number * gap + (second % 997) * 1000
                recorder.done[number & 1].append((at, at + 1000, end + 1000))
                recorder.late_ns.append(number * 1000)
            recorder.absorb()
            recorder.close_window()
            while self._spool._queue.qsize() > 3:
                time.sleep(0.001)

    def close(self) -> None:
        """Write what is left. Raises OSError when the spool could not be written."""
        self._spool.close()
        if self._spool.error is not None:
            raise self._spool.error


def main(arguments: list[str] | None = None) -> int:
    """Run, print a line each hour of windows, save. Exit 0 when it stayed flat, 7 when not."""
    asked = _parser().parse_args(arguments)
    hours: list[int] = []
    with tempfile.TemporaryDirectory(prefix="soakbed-72h-") as folder:
        spool = Path(folder) / "spool"
        engine = Engine(spool)
        engine.windows(0, WARM_WINDOWS, operations=asked.operations)
        gc.collect()
        before = resident_bytes()
        for hour in range(asked.hours):
            engine.windows(WARM_WINDOWS + hour * 3600, 3600, operations=asked.operations)
            gc.collect()
            hours.append(resident_bytes() - before)
            print(
                f"hour {hour + 1} of {asked.hours}: {hours[-1] / 1000:+,.0f} kB, "
                f"spool {spool.stat().st_size / 1e6:,.1f} MB",
                flush=True,
            )
        engine.close()
        size = spool.stat().st_size
    flat = max(hours) < MOST_GROWTH_BYTES
    print(
        f"{'flat' if flat else 'NOT flat'}: {asked.hours * 3600:,} windows, at most "
        f"{max(hours) / 1000:+,.0f} kB over the first {WARM_WINDOWS} (allowed "
        f"{MOST_GROWTH_BYTES / 1000:,.0f} kB); spool {size / 1e6:,.1f} MB"
    )
    if asked.out:
        told = {"schema": 1, "growth_bytes_by_hour": hours, "spool_bytes": size, "flat": flat}
        asked.out.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if flat else 7


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.seventy_two_hours",
        description="Memory of one engine over a time-compressed soak.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hours", type=int, default=72, help="hours of 1-s windows (72)")
    parser.add_argument("--operations", type=int, default=40, help="operations per window (40)")
    parser.add_argument("--out", type=Path, help="save the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
