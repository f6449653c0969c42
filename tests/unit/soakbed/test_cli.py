import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.told_help import help_of

PROJECT = Path(__file__).resolve().parents[3]
COMMANDS = (
    "setup",
    "provision",
    "configure",
    "calibrate",
    "bench",
    "soak",
    "attach",
    "stop",
    "resume",
    "collect",
    "judge",
    "report",
    "teardown",
    "status",
)


def soakbed(*words, tmp_path):
    environment = {
        **os.environ,
        "SOAKBED_STATE": str(tmp_path / "state"),
        "SOAKBED_RESULTS": str(tmp_path / "results"),
        "COLUMNS": "120",
    }
    return subprocess.run(
        [sys.executable, "-m", "soakbed", *words],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_five_mistakes_exit_with_two_and_nothing_is_made(tmp_path):
    testbed = json.loads((PROJECT / "infra/testbeds/local-4x.json").read_text())
    testbed["provider"], testbed["nmae"] = "lokal", testbed.pop("name")
    (tmp_path / "t.json").write_text(json.dumps(testbed))
    (tmp_path / "w.yaml").write_text("schema: 1\nname: w\nkeys: 1\n")
    done = soakbed(
        "bench",
        "--testbed",
        str(tmp_path / "t.json"),
        "--workload",
        str(tmp_path / "w.yaml"),
        "--targets",
        "etdc",
        tmp_path=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.count("try: ") == 5, done.stderr
    assert "nothing was made" in done.stderr
    assert "\x1b[" not in done.stderr, "colour only on a terminal"
    assert not (tmp_path / "state").exists() and not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    code, said = help_of(*COMMANDS)[command]
    assert code == 0
    assert f"soakbed {command}" in said and "Example" in said


def test_a_report_of_a_run_that_is_not_there_exits_with_six(tmp_path):
    done = soakbed("report", "nope", tmp_path=tmp_path)
    assert done.returncode == 6
    assert "try: " in done.stderr


def test_resume_without_an_unfinished_run_says_how_to_start_one(tmp_path):
    done = soakbed("resume", tmp_path=tmp_path)
    assert done.returncode == 6
    assert "soakbed bench" in done.stderr


def test_status_for_scripts_is_json(tmp_path):
    done = soakbed("status", "--json", tmp_path=tmp_path)
    assert json.loads(done.stdout)["finished"] == []
