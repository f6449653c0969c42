"""`python -m tests.benchmarks.soak_for_real --minutes 20`: a soak, and all that may befall it.

A testbed of its own, a Redis Cluster pressed at a low rate, SSH refused for a quarter of the time,
a long partition, a halted master, a full disk, kills, a reboot, and no controller for half of it.
Then the run is resumed, and load host, archive and target are held against each other. Writes a
report (Markdown) with the course, every finding, and memory and disk of the programs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.disturbances.course import Fault
from tests.disturbances.evidence import archived
from tests.disturbances.faults import Disturbance
from tests.disturbances.findings import Finding, Left, findings_of, saved, told_as_text
from tests.disturbances.proof import TARGET, Proof
from tests.end_to_end.conftest import leftovers, make_soakbed

__all__ = ["Memory", "course_of", "main", "report_of"]

NAME, NETWORK = "soak-real", "10.83.77"
FULL_MINUTES = 20
SAMPLE_S = 10.0
WARM_S = 60.0

EXAMPLES = """\
examples:
  python -m tests.benchmarks.soak_for_real                        20 minutes, and 3 around them
  python -m tests.benchmarks.soak_for_real --minutes 5            the same course, shorter
  python -m tests.benchmarks.soak_for_real --folder /var/tmp/it   keep the run and the report there
"""

# Seconds of a run of 20 minutes.
_COURSE = (
    Fault(40, "master killed"),
    Fault(70, "master halted", 30),
    Fault(120, "master and workers parted", 60),
    Fault(220, "SSH refused", 300),
    Fault(560, "controller killed"),
    Fault(600, "engine killed"),
    Fault(660, "disk full", 60),
    Fault(760, "worker killed"),
    Fault(860, "host rebooted"),
    Fault(1160, "controller resumes"),
)


def course_of(minutes: float) -> tuple[Fault, ...]:
    """The course, drawn out or pressed together to so many minutes.

    >>> course_of(10)[3]
    Fault(at_s=110, kind='SSH refused', hold_s=150.0)
    """
    by = minutes / FULL_MINUTES
    return tuple(Fault(round(one.at_s * by), one.kind, one.hold_s * by) for one in _COURSE)


@dataclass(slots=True)
class Life:
    """Memory of one process over its life, as sampled."""

    kind: str
    pid: int
    at_s: list[float] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)

    def grown_bytes(self) -> int | None:
        """From its second minute to its end; None for one that did not live that long."""
        warm = [i for i, at_s in enumerate(self.at_s) if at_s - self.at_s[0] >= WARM_S]
        return self.rss_bytes[-1] - self.rss_bytes[warm[0]] if warm else None


class Memory:
    """Samples what each program of the soak holds in RAM."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof
        self.lives: dict[int, Life] = {}

    def sample(self) -> None:
        """One sample of every process there is."""
        soak = self._proof.soak
        found = [
            (kind, pid)
            for kind in ("master", "worker", "engine")
            for pid in soak.load_host.pids_of(kind)
        ]
        found += [("controller", one.pid) for one in soak.controllers if one.poll() is None]
        for kind, pid in found:
            if held := _resident_bytes(pid):
                life = self.lives.setdefault(pid, Life(kind, pid))
                life.at_s.append(time.time())
                life.rss_bytes.append(held)

    @contextmanager
    def sampled(self) -> Iterator[None]:
        """Sample beside what is done inside."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(SAMPLE_S):
                self.sample()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


def main(arguments: list[str] | None = None) -> int:
    """Do it. Exit 0 when every finding holds, 7 when not."""
    asked = _parser().parse_args(arguments)
    lasts_s = round(asked.minutes * 60)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="soakbed-for-real-"))
    folder.mkdir(parents=True, exist_ok=True)
    soakbed = make_soakbed(folder, NAME, NETWORK)
    proof = Proof(folder, soakbed.testbed, soakbed.environment)
    memory = Memory(proof)
    began = time.monotonic()
    try:
        soakbed.run("provision")
        with memory.sampled():
            left = proof.undergo(course_of(asked.minutes), lasts_s=lasts_s, say=_say)
        findings = findings_of(left)
    finally:
        soakbed.run("teardown")
    findings.append(_nothing_left())
    report = report_of(left, findings, memory, seconds=time.monotonic() - began)
    (folder / "report.md").write_text(report)
    saved(findings, folder / "findings.json")
    print(told_as_text(findings))
    print(f"report: {folder / 'report.md'}")
    return 0 if all(one.holds for one in findings) else 7


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _nothing_left() -> Finding:
    found = leftovers(NAME)
    return Finding("teardown left nothing on the machine", not found, "; ".join(found) or "nothing")


def report_of(left: Left, findings: Sequence[Finding], memory: Memory, *, seconds: float) -> str:
    """The report, Markdown."""
    plan = left.plan()
    tables = archived(left.run.parent)
    steady = [one for one in tables if one.phase == "steady"]
    began_s = min(one.start_s for one in steady)
    rate_per_s = plan.phases[-1].rate_per_s
    parts = [
        "# A soak in real time",
        f"{plan.phases[-1].duration_s:,} s of steady load at {rate_per_s:,.0f}/s against a Redis "
        f"Cluster on the local testbed, {time.strftime('%Y-%m-%d', time.gmtime(began_s))}; "
        f"{seconds:,.0f} s from the first host to the last. "
        f"{sum(one.holds for one in findings)} of {len(findings)} findings hold.",
        "## What befell it",
        _table(
            ("second", "what", "lasted"),
            [_row(one, began_s) for one in left.story],
        ),
        "## What was found",
        _table(
            ("holds", "claim", "figures"),
            [("yes" if one.holds else "**NO**", one.claim, one.told) for one in findings],
        ),
        "## Gaps",
        _table(
            ("from second", "seconds", "cause", "told by"),
            [
                (str(one.from_s - began_s), str(one.until_s - one.from_s), one.cause, one.told)
                for one in left.gaps()
            ],
        ),
        "## Memory",
        _table(
            ("program", "lived", "MB at its end", "grown after its first minute"),
            [_memory_row(one) for one in memory.lives.values()],
        ),
        "## Disk",
        _disk(left, len(steady)),
    ]
    return "\n\n".join(parts) + "\n"


def _row(one: Disturbance, began_s: int) -> tuple[str, str, str]:
    lasted_s = one.until_s - one.from_s
    return f"{one.from_s - began_s:.0f}", one.name, f"{lasted_s:.1f} s"


def _memory_row(life: Life) -> tuple[str, str, str, str]:
    grown = life.grown_bytes()
    told = "lived no minute" if grown is None else f"{grown / 1e6:+.2f} MB"
    lived_s = life.at_s[-1] - life.at_s[0]
    return life.kind, f"{lived_s:,.0f} s", f"{life.rss_bytes[-1] / 1e6:.1f}", told


def _disk(left: Left, windows: int) -> str:
    spools = sum(path.stat().st_size for path in left.kept["steady"].glob("worker-*"))
    data = sum(path.stat().st_size for path in (left.run / TARGET / "data").rglob("*.parquet"))
    per_hour = 3600 / max(1, windows)
    return (
        f"Per hour of windows of one worker: {spools * per_hour / 1e6:.2f} MB of spools on the "
        f"load host before they are sealed, {data * per_hour / 1e6:.2f} MB of tables in the "
        "archive, those of host samples included."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "/").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.soak_for_real",
        description=(__doc__ or "").partition("\n\n")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=FULL_MINUTES, help="steady load (20)")
    parser.add_argument("--folder", type=Path, help="where run and report go (a new one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
