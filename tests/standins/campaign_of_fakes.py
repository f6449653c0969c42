"""`python -m tests.standins.campaign_of_fakes RESULTS SECONDS` presses a campaign of two cells.

The cells are made-up runs, everything else is the real thing. Each target takes so many seconds,
and says when it begins, so that a test can kill the process in the middle of it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from soakbed.archive.campaign_folder import CampaignFolder
from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.records.campaign import Cell
from soakbed.report.campaign_page import campaign_page
from soakbed.stages.campaign_results import campaign_report_of
from soakbed.stages.campaign_run import CellRunner
from tests.golden.made_campaign import begun, campaign_spec, made_testbed, press_made_up

SPEC = campaign_spec(factors={"connections": [16, 64]}, design="full", targets=["etcd"])


def main(results: Path, pause_s: float) -> None:
    """Go on with the campaign in `results`, or begin it."""

    def press(cell: Cell, run: RunFolder) -> list[str]:
        print(f"pressing {cell.key} in {run.run_id}", flush=True)
        time.sleep(pause_s)
        press_made_up(cell, run.path)
        run.finish()
        return []

    folder = CampaignFolder.unfinished(results, SPEC, made_testbed()) or begun(results, SPEC)
    CellRunner(folder, press=press, wipe=lambda: None, tell=lambda _said: None)()
    write_whole(folder.page, campaign_page(campaign_report_of(folder), script=""))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
