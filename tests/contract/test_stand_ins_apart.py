"""No measured run can use a stand-in for PD or TiKV unnoticed: nothing that ships knows them, and
they say what they are to whoever asks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from soakbed.adapters.artifact_named import _version_in
from tests.standins import pd_server, tikv_server

PROJECT = Path(__file__).resolve().parents[2]
PINS = PROJECT / "playbooks" / "group_vars" / "all" / "artifacts.yml"
MODULES = (pd_server, tikv_server)


def test_nothing_that_ships_knows_a_stand_in():
    roots = ("soakbed", "loadgen", "infra", "playbooks")
    files = [path for root in roots for path in (PROJECT / root).rglob("*") if path.is_file()]
    assert len(files) > 200
    ours = [path for path in files if path.suffix != ".pyc"]
    assert [path for path in ours if re.search(rb"standins?\b", path.read_bytes())] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_asked_for_its_version_it_names_none_that_is_pinned(module):
    command = [sys.executable, module.__file__, "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pinned = yaml.safe_load(PINS.read_text())["artifacts"]["tikv"]["version"]
    assert _version_in(said) == module.VERSION != pinned
    assert "standin" in module.VERSION


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_it_needs_nothing_that_a_host_does_not_have(module):
    """One file, run by the host's own Python, without what tests have installed."""
    lines = Path(module.__file__).read_text().splitlines()
    assert lines[0] == "#!/usr/bin/python3"
    done = subprocess.run(
        [sys.executable, "-I", "-S", module.__file__, "--version"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
