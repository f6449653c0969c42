"""`python -m tests.benchmarks.seventy_two_hour_report`: what collating and reporting a soak costs.

A made-up campaign of 3 targets with 8 workers and 1-s windows is written as load hosts leave it,
finished hours sealed; then `soakbed report` collates, judges, compares and writes the page, once
for each of several lengths. Needs about 40 MB of disk per hour of the longest, and as much again
of 4 MB an hour for the tables, under --folder; removes both. Making 72 h takes minutes: --make
does that alone, so that the rest can be run when the machine is quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.growth_page import Growth, fitted, page
from tests.benchmarks.tree_watch import Taken, watched
from tests.synthetic_campaign import Campaign, make_campaign

__all__ = ["Cost", "main"]

# What the issue asks of the longest; shorter ones have no limit of their own.
MOST_S, MOST_BYTES, MOST_ARCHIVE_BYTES = 60.0, 1_000_000_000, 350_000_000
FULL_HOURS = 72.0
RUN_ID = "made-up-soak"
VARIANTS = 24  # of each level of latency: more than a compressor could find again
EXAMPLES = """\
examples:
  python -m tests.benchmarks.seventy_two_hour_report                    9, 18, 36 and 72 h
  python -m tests.benchmarks.seventy_two_hour_report --hours 0.5 1 2    a minute's worth
  python -m tests.benchmarks.seventy_two_hour_report --hours 72 --make         then without it
  python -m tests.benchmarks.seventy_two_hour_report --out cost.json --page cost.html
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one length of campaign cost. Archive and files of workers are of the largest target."""

    hours: float
    seconds: float  # from the files that load hosts left to the page
    cpu_s: float
    again_s: float  # once more, when nothing has changed
    peak_bytes: int  # pages that processes share count once
    peak_rss_bytes: int  # and once for each process
    archive_bytes: int
    left_bytes: int  # sealed hours and spools
    page_bytes: int
    windows: int

    def within(self) -> bool:
        """Whether it keeps the limits of a full soak."""
        return (
            self.seconds <= MOST_S
            and self.peak_bytes <= MOST_BYTES
            and self.archive_bytes <= MOST_ARCHIVE_BYTES
        )


def main(arguments: list[str] | None = None) -> int:
    """Make, report, say what it cost. Exit 0 when the limits were kept, 7 when not."""
    asked = _parser().parse_args(arguments)
    costs: list[Cost] = []
    for hours in sorted(asked.hours):
        campaign = Campaign(hours, workers=asked.workers, rate_per_s=asked.rate, variants=VARIANTS)
        results = asked.folder / f"{hours:g}h"
        _make(results, campaign)
        if not asked.make:
            costs.append(_cost(results, campaign, keep=asked.keep))
            print(_told(costs[-1]), flush=True)
    if asked.add and asked.add.is_file():
        known = json.loads(asked.add.read_text())["costs"]
        costs += [Cost(**one) for one in known if one["hours"] not in asked.hours]
        costs.sort(key=lambda one: one.hours)
    return _conclude(costs, asked, campaign) if costs else 0


def _conclude(costs: list[Cost], asked: argparse.Namespace, campaign: Campaign) -> int:
    conditions = (
        f"{len(campaign.pretences)} targets, {campaign.workers} workers each, 1-s windows, "
        f"{campaign.rate_per_s:,.0f} operations/s per target, {os.cpu_count()} cores; "
        "finished hours sealed, the last one a spool; read from memory as far as that reaches"
    )
    growths = _growths(costs)
    for growth in growths:
        if (fit := fitted(growth)) is not None:
            print(
                f"{growth.name}: {fit.base:,.2f} + {fit.per_hour:,.3f} {growth.unit} per hour, off "
                f"by at most {fit.worst:.1%} of its end, R2 {fit.r2:.4f}"
            )
    if out := asked.add or asked.out:
        told = {"schema": 3, "conditions": conditions, "costs": [asdict(one) for one in costs]}
        out.write_text(json.dumps(told, indent=1) + "\n")
    if asked.page:
        asked.page.write_text(page("What a 72-h report costs", conditions, growths))
    kept = all(one.within() for one in costs)
    print("all limits kept" if kept else "NOT all limits kept")
    return 0 if kept else 7


def _make(results: Path, campaign: Campaign) -> None:
    """The campaign's run folder, if it is not there from before."""
    run = results / RUN_ID
    if run.is_dir():
        return
    began = time.monotonic()
    part = results / ".part" / RUN_ID
    shutil.rmtree(results, ignore_errors=True)
    part.parent.mkdir(parents=True)
    try:
        make_campaign(part, campaign).rename(run)
        part.parent.rmdir()
    except BaseException:
        shutil.rmtree(results, ignore_errors=True)
        raise
    print(f"{campaign.hours:g} h made in {time.monotonic() - began:.0f} s", flush=True)


def _cost(results: Path, campaign: Campaign, *, keep: bool) -> Cost:
    run = results / RUN_ID
    targets = [run / one.name for one in campaign.pretences]
    try:
        reported = _run(results, "-m", "soakbed", "report", RUN_ID)
        again = _run(results, "-m", "soakbed", "report", RUN_ID)
        plan = json.loads((targets[0] / "load/steady/plan.json").read_text())
        seconds = sum(phase["duration_s"] for phase in plan["phases"])
        return Cost(
            hours=campaign.hours,
            seconds=reported.seconds,
            cpu_s=reported.cpu_s,
            again_s=again.seconds,
            peak_bytes=max(reported.peak_bytes, again.peak_bytes),
            peak_rss_bytes=max(reported.peak_rss_bytes, again.peak_rss_bytes),
            archive_bytes=max(_bytes_under(target / "data") for target in targets),
            left_bytes=max(_bytes_under(target / "load") for target in targets),
            page_bytes=(run / "report" / "index.html").stat().st_size,
            windows=len(targets) * campaign.workers * seconds // campaign.window_s,
        )
    finally:
        if keep:
            for target in targets:
                shutil.rmtree(target / "data", ignore_errors=True)
        else:
            shutil.rmtree(results, ignore_errors=True)


def _run(results: Path, *words: str) -> Taken:
    return watched([sys.executable, *words], environment={"SOAKBED_RESULTS": str(results)})


def _bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _told(cost: Cost) -> str:
    return (
        f"{cost.hours:g} h, {cost.windows:,} windows: {cost.seconds:.1f} s ({cost.cpu_s:.1f} s of "
        f"CPU), again {cost.again_s:.1f} s; peak {cost.peak_bytes / 1e6:,.0f} MB (RSS "
        f"{cost.peak_rss_bytes / 1e6:,.0f} MB); per target "
        f"archive {cost.archive_bytes / 1e6:,.1f} MB of {cost.left_bytes / 1e6:,.1f} MB that load "
        f"hosts left; page {cost.page_bytes / 1e6:.1f} MB"
    )


def _growths(costs: list[Cost]) -> list[Growth]:
    hours = tuple(one.hours for one in costs)

    def growth(name: str, unit: str, values: list[float], most: float | None = None) -> Growth:
        return Growth(name, unit, hours, tuple(values), most if hours[-1] == FULL_HOURS else None)

    memory = [one.peak_bytes / 1e6 for one in costs]
    archive = [one.archive_bytes / 1e6 for one in costs]
    return [
        growth("Collate and report", "s", [one.seconds for one in costs], MOST_S),
        growth("CPU", "s", [one.cpu_s for one in costs]),
        growth("Again, unchanged", "s", [one.again_s for one in costs]),
        growth("Peak memory", "MB", memory, MOST_BYTES / 1e6),
        growth("Archive per target", "MB", archive, MOST_ARCHIVE_BYTES / 1e6),
        growth("Left by load hosts per target", "MB", [one.left_bytes / 1e6 for one in costs]),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.seventy_two_hour_report",
        description=(__doc__ or "").partition("\n\n")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hours", type=float, nargs="+", default=[9.0, 18.0, 36.0, 72.0])
    parser.add_argument("--workers", type=int, default=8, help="engines per target (8)")
    parser.add_argument("--rate", type=float, default=2000.0, help="operations/s per target (2000)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("/var/tmp/soakbed-72h-report"),
        help="where the made-up runs lie while they are needed",
    )
    parser.add_argument("--make", action="store_true", help="only write the made-up runs")
    parser.add_argument("--keep", action="store_true", help="leave the made-up runs for next time")
    parser.add_argument(
        "--add", type=Path, help="JSON of other lengths that were measured; this one is added to it"
    )
    parser.add_argument("--out", type=Path, help="save the figures as JSON")
    parser.add_argument("--page", type=Path, help="save plots and table as one HTML file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
