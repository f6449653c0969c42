"""What README promises is there: its make targets, its files, its settings."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.told_help import help_of

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text()
SHOWN = re.findall(r"^    (make .*?)(?: {2,}#.*)?$", README, re.MULTILINE)
SHOWN += re.findall(r"`(make [^`]+)`", README)
COMMANDS = sorted({command.strip() for command in SHOWN})


def test_readme_shows_the_two_commands():
    assert "make provision bench teardown" in COMMANDS
    assert "make test" in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_make_command_in_readme_is_one_that_make_knows(command):
    words = [w for w in shlex.split(command)[1:] if "/file.json" not in w]
    done = subprocess.run(
        ["make", "-n", *words], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


TOLD = sorted(
    set(
        re.findall(r"soakbed ((?:(?:artifacts|campaign) )?[a-z]+)(?= {2,}#| [a-z]+\.tar|`)", README)
    )
    | set(
        re.findall(
            r"^    \.venv/bin/soakbed ((?:(?:artifacts|campaign) )?[a-z]+)", README, re.MULTILINE
        )
    )
)


@pytest.mark.parametrize("words", TOLD)
def test_every_command_of_soakbed_in_readme_is_one_that_it_knows(words):
    code, said = help_of(*TOLD)[words]
    assert code == 0, said
    assert f"soakbed {words}" in said


def test_every_file_that_readme_names_is_there():
    named = re.findall(r"`((?:infra|playbooks|loadgen|soakbed|results|tests)/[\w./-]*)`", README)
    named += re.findall(r"\]\(([\w./-]+)\)", README)
    made_by_a_run = {"results/latest/report/index.html"}
    missing = [name for name in named if not (PROJECT / name).exists()]
    assert set(missing) <= made_by_a_run


def test_every_setting_in_readme_is_read_and_every_one_read_is_in_readme():
    sources = (PROJECT / "soakbed/environment.py").read_text()
    sources += (PROJECT / "infra/controller/bootstrap.sh").read_text()
    assert set(re.findall(r"SOAKBED_[A-Z_]+", README)) == set(
        re.findall(r"SOAKBED_(?!\*)[A-Z_]+", sources)
    )


def test_make_lists_itself():
    done = subprocess.run(["make"], cwd=PROJECT, capture_output=True, text=True, check=True)
    for target in ("setup", "provision", "calibrate", "bench", "teardown", "test", "check",
                   "report", "soak", "attach", "stop", "status", "resume", "engine-bench",
                   "help"):  # fmt: skip
        assert re.search(rf"^  {target}\s", done.stdout, re.MULTILINE), target
