"""`python -m tests.benchmarks.seventy_two_hour_report`: what collating and reporting a soak costs.

A made-up campaign of 3 targets with 8 workers and 1-s windows is written, collated and reported,
once for each of several lengths; every step in processes of its own. Needs about 120 MB of disk
per hour of the longest, under --folder, and removes it.
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
MOST_S, MOST_RSS_BYTES, MOST_ARCHIVE_BYTES = 60.0, 1_000_000_000, 350_000_000
FULL_HOURS = 72.0
RUN_ID = "made-up-soak"
COLLATE = """
import sys
from pathlib import Path
from soakbed.archive.data.collate import collate
for target in sys.argv[1:]:
    collate(Path(target))
"""
EXAMPLES = """\
examples:
  python -m tests.benchmarks.seventy_two_hour_report                    9, 18, 36 and 72 h
  python -m tests.benchmarks.seventy_two_hour_report --hours 0.5 1 2    a minute's worth
  python -m tests.benchmarks.seventy_two_hour_report --out cost.json --page cost.html
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one length of campaign cost. Archive and spools are of the largest target."""

    hours: float
    collate_s: float
    collate_cpu_s: float
    report_s: float
    report_cpu_s: float
    again_s: float  # the report once more, when nothing has changed
    peak_rss_bytes: int
    archive_bytes: int
    spool_bytes: int
    page_bytes: int
    windows: int

    @property
    def seconds(self) -> float:
        """From spools to page."""
        return self.collate_s + self.report_s

    def within(self) -> bool:
        """Whether it keeps the limits of a full soak."""
        return (
            self.seconds <= MOST_S
            and self.peak_rss_bytes <= MOST_RSS_BYTES
            and self.archive_bytes <= MOST_ARCHIVE_BYTES
        )


def main(arguments: list[str] | None = None) -> int:
    """Make, collate, report, say what it cost. Exit 0 when the limits were kept, 7 when not."""
    asked = _parser().parse_args(arguments)
    costs: list[Cost] = []
    for hours in sorted(asked.hours):
        campaign = Campaign(hours=hours, workers=asked.workers, rate_per_s=asked.rate)
        costs.append(_cost(asked.folder, campaign))
        print(_told(costs[-1]), flush=True)
    conditions = (
        f"{len(campaign.pretences)} targets, {campaign.workers} workers each, 1-s windows, "
        f"{campaign.rate_per_s:,.0f} operations/s per target, {os.cpu_count()} cores; "
        "spools made just before, so read from memory as far as that reaches"
    )
    growths = _growths(costs)
    for growth in growths:
        if (fit := fitted(growth)) is not None:
            print(
                f"{growth.name}: {fit.base:,.2f} + {fit.per_hour:,.3f} {growth.unit} per hour, off "
                f"by at most {fit.worst:.1%} of its end, R2 {fit.r2:.4f}"
            )
    if asked.out:
        told = {"schema": 1, "conditions": conditions, "costs": [asdict(one) for one in costs]}
        asked.out.write_text(json.dumps(told, indent=1) + "\n")
    if asked.page:
        asked.page.write_text(page("What a 72-h report costs", conditions, growths))
    kept = all(one.within() for one in costs)
    print("all limits kept" if kept else "NOT all limits kept")
    return 0 if kept else 7


def _cost(folder: Path, campaign: Campaign) -> Cost:
    results = folder / "results"
    run = results / RUN_ID
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    try:
        began = time.monotonic()
        make_campaign(run, campaign)
        print(f"{campaign.hours:g} h made in {time.monotonic() - began:.0f} s", flush=True)
        targets = [run / one.name for one in campaign.pretences]
        collated = _run(results, "-c", COLLATE, *map(str, targets))
        reported = _run(results, "-m", "soakbed", "report", RUN_ID)
        again = _run(results, "-m", "soakbed", "report", RUN_ID)
        plan = json.loads((targets[0] / "load/steady/plan.json").read_text())
        seconds = sum(phase["duration_s"] for phase in plan["phases"])
        return Cost(
            hours=campaign.hours,
            collate_s=collated.seconds,
            collate_cpu_s=collated.cpu_s,
            report_s=reported.seconds,
            report_cpu_s=reported.cpu_s,
            again_s=again.seconds,
            peak_rss_bytes=max(collated.peak_rss_bytes, reported.peak_rss_bytes),
            archive_bytes=max(_bytes_under(target / "data") for target in targets),
            spool_bytes=max(_bytes_under(target / "load") for target in targets),
            page_bytes=(run / "report" / "index.html").stat().st_size,
            windows=len(targets) * campaign.workers * seconds // campaign.window_s,
        )
    finally:
        shutil.rmtree(results, ignore_errors=True)


def _run(results: Path, *words: str) -> Taken:
    return watched([sys.executable, *words], environment={"SOAKBED_RESULTS": str(results)})


def _bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _told(cost: Cost) -> str:
    return (
        f"{cost.hours:g} h, {cost.windows:,} windows: collate {cost.collate_s:.1f} s "
        f"({cost.collate_cpu_s:.1f} s of CPU), report {cost.report_s:.1f} s "
        f"({cost.report_cpu_s:.1f} s of CPU), again {cost.again_s:.1f} s; peak "
        f"{cost.peak_rss_bytes / 1e6:,.0f} MB; per target archive {cost.archive_bytes / 1e6:,.1f} "
        f"MB of spools {cost.spool_bytes / 1e6:,.1f} MB; page {cost.page_bytes / 1e6:.1f} MB"
    )


def _growths(costs: list[Cost]) -> list[Growth]:
    hours = tuple(one.hours for one in costs)
    full = hours[-1] == FULL_HOURS
    rss = tuple(one.peak_rss_bytes / 1e6 for one in costs)
    archive = tuple(one.archive_bytes / 1e6 for one in costs)
    return [
        Growth(
            "Collate and report",
            "s",
            hours,
            tuple(one.seconds for one in costs),
            MOST_S if full else None,
        ),
        Growth("Collate", "s", hours, tuple(one.collate_s for one in costs)),
        Growth("Report", "s", hours, tuple(one.report_s for one in costs)),
        Growth("Peak memory", "MB", hours, rss, MOST_RSS_BYTES / 1e6 if full else None),
        Growth(
            "Archive per target", "MB", hours, archive, MOST_ARCHIVE_BYTES / 1e6 if full else None
        ),
        Growth("Spools per target", "MB", hours, tuple(one.spool_bytes / 1e6 for one in costs)),
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
    parser.add_argument("--out", type=Path, help="save the figures as JSON")
    parser.add_argument("--page", type=Path, help="save plots and table as one HTML file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
