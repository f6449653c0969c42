"""kill -9 in the middle of a cell: the same command goes on there, and what was done stays done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from soakbed.archive.campaign_folder import CampaignFolder

PROJECT = Path(__file__).resolve().parents[2]


def started(results: Path, pause_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.standins.campaign_of_fakes", str(results), str(pause_s)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return output.splitlines()


def test_two_cells_survive_a_kill_in_the_second(tmp_path):
    process = started(tmp_path, 0.2)
    assert process.stdout is not None
    try:
        first, second = process.stdout.readline(), process.stdout.readline()
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert second.startswith("pressing ") and second != first
    (folder,) = CampaignFolder.all_of(tmp_path)
    cut_off = folder.read()
    assert [state.settled for state in cut_off.states] == ["done", "left"]
    done = json.loads((tmp_path / cut_off.states[0].run_id / "summary.json").read_text())

    assert told(started(tmp_path, 0)) == [second.strip()], "the same cell in the same run folder"
    (folder,) = CampaignFolder.all_of(tmp_path)
    campaign = folder.read()
    assert campaign.finished and campaign.states[0] == cut_off.states[0]
    assert [len(state.attempts) for state in campaign.states] == [1, 1]
    kept = tmp_path / campaign.states[0].run_id / "summary.json"
    assert json.loads(kept.read_text()) == done
    page = folder.page.read_text()
    assert all(f"../../{state.run_id}/report/index.html" in page for state in campaign.states)
