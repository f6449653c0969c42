"""`python -m tests.benchmarks.seventy_two_hours`: what 72 h of windows do to memory and disk.

Engine, Locust worker, Locust master and the watching controller, each in a process of its own, live
through every window that 72 h have, as fast as they take them (`soak_parts`). What the engine
spools the worker follows, seals by the hour and reports; the master adds it up; the controller
fetches it and has it collated. Only the time between windows is left out, and the target.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.session import HostShare, SessionFolder
from tests.benchmarks.growth_page import Growth, page

__all__ = ["PARTS", "Course", "live", "main"]

PARTS = ("engine", "worker", "master", "controller")
HOUR_S = 3600
# What is made once is made by then; the controller's first collation comes after an hour.
WARM_S = 600
BACKFILL_S = 180
AT_ONCE = 60  # windows that the four are told of together
MOST_GROWTH_BYTES = 10_000_000  # of each: over 72 h that is 39 bytes a window

EXAMPLES = """\
examples:
  python -m tests.benchmarks.seventy_two_hours               all of them, some 40 minutes
  python -m tests.benchmarks.seventy_two_hours --hours 2     a minute or two, to see it work
  python -m tests.benchmarks.seventy_two_hours --out growth.json --page growth.html
"""


@dataclass(slots=True)
class Course:
    """What was seen at the end of each hour, in bytes. Memory is what grew since `base`."""

    base: dict[str, int] = field(default_factory=dict)  # part -> memory once it was warm
    hours: list[float] = field(default_factory=list)
    grown: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in PARTS})
    host_bytes: list[int] = field(default_factory=list)  # windows on the load host
    archive_bytes: list[int] = field(default_factory=list)  # copies and tables in the archive
    collating_peak_bytes: int = 0
    settled: tuple[int, int] = (0, 0)  # both, once every hour that is over was sealed

    def worst(self) -> int:
        """The most that any part ever grew."""
        return max(max(grown) for grown in self.grown.values())


class Live:
    """The four processes over one folder, moved on together."""

    def __init__(self, folder: Path, *, operations: int) -> None:
        self.session = folder / "sessions" / "r-redis_cluster-steady"
        self.target = folder / "run" / "redis_cluster"
        _lay(self.session)
        ends = os.pipe()
        try:
            self._parts = {
                "engine": self._start("engine", str(operations)),
                "worker": self._start("worker", str(ends[1]), keeps=ends[1]),
                "master": self._start("master", str(ends[0]), keeps=ends[0]),
                "controller": self._start("controller", str(self.target)),
            }
        finally:
            for end in ends:
                os.close(end)

    def _start(self, name: str, word: str, *, keeps: int | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.soak_parts", name, str(self.session), word],
            # Locust otherwise patches the standard library, and reads from pipes would not wait.
            env={**os.environ, "LOCUST_SKIP_MONKEY_PATCH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=() if keeps is None else (keeps,),
        )

    def _tell(self, name: str, line: str) -> None:
        part = self._parts[name]
        assert part.stdin is not None
        part.stdin.write(line + "\n")
        part.stdin.flush()

    def _hear(self, name: str) -> list[str]:
        part = self._parts[name]
        assert part.stdout is not None
        if not (answer := part.stdout.readline()):
            raise RuntimeError(f"the {name} ended with {part.wait()}")
        return answer.split()

    def seconds(self, count: int) -> None:
        """Live through so many windows, each seen by all four: first it is written."""
        while count > 0:
            some = min(count, AT_ONCE)
            self._tell("engine", f"step {some}")
            self._hear("engine")
            for name in PARTS[1:]:
                self._tell(name, f"step {some}")
            for name in PARTS[1:]:
                self._hear(name)
            count -= some

    def settle(self) -> None:
        """Have every hour sealed that is over, and fetched. In the worker's own pace it takes half
        a minute, which is longer than an hour here.
        """
        words = [*("-m", "loadgen.sealing", str(self.session)), *("--rank", "0", "--busy", "1")]
        subprocess.run([sys.executable, *words], check=True, stderr=subprocess.DEVNULL)
        self.seconds(BACKFILL_S)

    def resident_bytes(self, name: str) -> tuple[int, int]:
        """Memory of a part, and the peak of a process that it had started."""
        self._tell(name, "rss")
        own, children = self._hear(name)
        return int(own), int(children)

    def close(self) -> None:
        """End all four."""
        for part in self._parts.values():
            assert part.stdin is not None
            part.stdin.close()
        for name, part in self._parts.items():
            try:
                code = part.wait(60)
            except subprocess.TimeoutExpired:
                part.kill()
                code = part.wait()
            assert part.stdout is not None
            part.stdout.close()
            if code:
                raise RuntimeError(f"the {name} ended with {code}")


def _lay(session: Path) -> None:
    """The session's folder as `soakbed` lays it on a load host."""
    session.mkdir(parents=True)
    folder = SessionFolder(session)
    folder.locust.mkdir()
    Plan(
        run_id="r",
        session="steady",
        target="redis_cluster",
        endpoints=("127.0.0.1:1",),
        keyspace=Keyspace(1000, "bench:"),
        phases=(Phase("steady", "open", 73 * HOUR_S, rate_per_s=100.0),),
        tls=None,
    ).write(folder.plan_file)
    folder.write_share(HostShare(ranks=(0,)))


@contextlib.contextmanager
def live(folder: Path, *, operations: int) -> Iterator[Live]:
    """The four, ended whatever happens."""
    four = Live(folder, operations=operations)
    try:
        yield four
    finally:
        four.close()


def undergone(
    four: Live, *, hours: int, hour_s: int = HOUR_S, warm_s: int = WARM_S
) -> Iterator[Course]:
    """The course so far, after each hour; `hour_s` windows are an hour."""
    course = Course()
    four.seconds(warm_s)
    course.base = {name: four.resident_bytes(name)[0] for name in PARTS}
    for hour in range(hours):
        four.seconds(hour_s)
        course.hours.append(hour + 1)
        for name in PARTS:
            own, children = four.resident_bytes(name)
            course.grown[name].append(own - course.base[name])
            if name == "controller":
                course.collating_peak_bytes = children
        course.host_bytes.append(_bytes_under(four.session))
        course.archive_bytes.append(_bytes_under(four.target))
        yield course
    four.settle()
    course.settled = (_bytes_under(four.session), _bytes_under(four.target))


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # sealed and removed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def main(arguments: list[str] | None = None) -> int:
    """Run, print a line each hour of windows, save. Exit 0 when it stayed flat, 7 when not."""
    asked = _parser().parse_args(arguments)
    began = time.monotonic()
    course = Course()
    with (
        tempfile.TemporaryDirectory(prefix="soakbed-72h-", dir=asked.folder) as folder,
        live(Path(folder), operations=asked.operations) as four,
    ):
        for course in undergone(four, hours=asked.hours):
            print(_line(course, time.monotonic() - began), flush=True)
    flat = course.worst() < MOST_GROWTH_BYTES
    verdict = _verdict(course, asked.hours)
    print(f"{'flat' if flat else 'NOT flat'}: {verdict}")
    if asked.out:
        told = {"schema": 2, "operations_per_window": asked.operations, "flat": flat}
        asked.out.write_text(json.dumps({**told, **asdict(course)}, indent=1) + "\n")
    if asked.page:
        asked.page.write_text(
            page("Memory and disk over 72 h of windows", verdict, growths(course))
        )
    return 0 if flat else 7


def growths(course: Course, *, points: int = 12) -> list[Growth]:
    """What the page draws: so many points of each figure."""
    every = max(1, len(course.hours) // points)
    shown = [
        i for i in range(len(course.hours)) if (i + 1) % every == 0 or i + 1 == len(course.hours)
    ]
    hours = tuple(course.hours[i] for i in shown)

    def growth(name: str, held: list[int], limit: float | None = None) -> Growth:
        return Growth(name, "MB", hours, tuple(held[i] / 1e6 for i in shown), limit)

    most = MOST_GROWTH_BYTES / 1e6
    return [
        *(growth(f"Memory of the {name}, grown", course.grown[name], most) for name in PARTS),
        growth("Session on the load host", course.host_bytes),
        growth("Session in the archive, copies and tables", course.archive_bytes),
    ]


def _line(course: Course, seconds: float) -> str:
    grown = ", ".join(f"{name} {course.grown[name][-1] / 1000:+,.0f} kB" for name in PARTS)
    return (
        f"hour {len(course.hours)} ({seconds:,.0f} s): {grown}; host "
        f"{course.host_bytes[-1] / 1e6:,.2f} MB, archive {course.archive_bytes[-1] / 1e6:,.2f} MB"
    )


def _verdict(course: Course, hours: int) -> str:
    base = ", ".join(f"{name} {course.base[name] / 1e6:.0f} MB" for name in PARTS)
    most = ", ".join(f"{name} {max(course.grown[name]) / 1e6:+.2f} MB" for name in PARTS)
    return (
        f"{hours * HOUR_S:,} windows of one worker; began with {base}; grew by at most {most} "
        f"(allowed {MOST_GROWTH_BYTES / 1e6:.0f} MB each); per hour of windows "
        f"{course.settled[0] / hours / 1e6:.2f} MB on the load host and "
        f"{course.settled[1] / hours / 1e6:.2f} MB in the archive; the process that collates took "
        f"{course.collating_peak_bytes / 1e6:.0f} MB at most and is gone after"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.seventy_two_hours",
        description="Memory and disk of a soak's four programs, time-compressed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hours", type=int, default=72, help="hours of 1-s windows (72)")
    parser.add_argument("--operations", type=int, default=100, help="operations per window (100)")
    parser.add_argument("--folder", type=Path, help="where their files lie meanwhile")
    parser.add_argument("--out", type=Path, help="save the figures as JSON")
    parser.add_argument("--page", type=Path, help="save plots and table as one HTML file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
