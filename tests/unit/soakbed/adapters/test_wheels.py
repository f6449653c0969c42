"""The archives that load hosts are given: named by content, marked as whole, without bystanders."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from soakbed.adapters import wheels
from soakbed.adapters.wheels import (
    MARK,
    HostPython,
    ensure_loadgen_bundle,
    ensure_loadgen_package,
    load_host_variables,
)
from soakbed.errors import Unavailable
from soakbed.records.places import Places
from soakbed.stages.configure import preparation_of


@pytest.fixture
def places(tmp_path: Path) -> Places:
    project = tmp_path / "project"
    (project / "loadgen" / "__pycache__").mkdir(parents=True)
    (project / "loadgen" / "__init__.py").write_text('"""Load."""\n')
    (project / "loadgen" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (project / "requirements").mkdir()
    (project / "requirements" / "loadgen.lock").write_text("")
    return Places(project=project, state=tmp_path / "state", cache=tmp_path / "cache")


def names(archive: Path) -> list[str]:
    with tarfile.open(archive) as packed:
        return packed.getnames()


def test_the_package_holds_sources_alone_and_ends_with_the_mark(places):
    assert names(ensure_loadgen_package(places)) == ["loadgen/__init__.py", MARK]


def test_the_same_content_gives_the_same_archive_and_another_content_another(places):
    first = ensure_loadgen_package(places)
    assert ensure_loadgen_package(places) == first
    (places.project / "loadgen" / "__init__.py").write_text('"""Other."""\n')
    assert ensure_loadgen_package(places) != first


def test_a_campaign_that_somebody_writes_makes_no_other_engine_and_prepares_no_host_again(places):
    before = ensure_loadgen_package(places), preparation_of(places, "tuned")
    campaigns = places.project / "loadgen" / "campaigns"
    campaigns.mkdir()
    (campaigns / "own.yaml").write_text("name: own\n")
    assert (ensure_loadgen_package(places), preparation_of(places, "tuned")) == before


def test_a_bundle_is_made_once_per_lock_and_says_that_it_fetches(places):
    said: list[str] = []
    archive = ensure_loadgen_bundle(places, progress=said.append)
    assert names(archive) == [MARK]
    assert ensure_loadgen_bundle(places, progress=said.append) == archive
    assert len(said) == 1


def test_another_architecture_gets_another_bundle(places):
    one = ensure_loadgen_bundle(places, python=HostPython(machine="x86_64"))
    other = ensure_loadgen_bundle(places, python=HostPython(machine="aarch64"))
    assert one != other


def test_the_role_is_told_both_archives_and_what_names_their_content(places):
    variables = load_host_variables(places)
    assert variables["load_host_bundle_stamp"] in variables["load_host_bundle"]
    assert variables["load_host_package_stamp"] in variables["load_host_package"]
    assert len(variables["load_host_package_stamp"]) == 64


def test_packages_that_cannot_be_had_are_unavailable_with_what_pip_said(places, monkeypatch):
    lock = places.project / "requirements" / "loadgen.lock"
    lock.write_text("no-hash-here==1\n")
    with pytest.raises(Unavailable, match="pip could not fetch"):
        ensure_loadgen_bundle(places)


def test_an_index_that_never_answers_is_given_up(places, monkeypatch):
    monkeypatch.setattr(wheels, "_PIP_TIMEOUT_S", 0.01)
    with pytest.raises(Unavailable, match="did not arrive"):
        ensure_loadgen_bundle(places)


def test_tests_and_scripts_of_packages_stay_behind(places, monkeypatch):
    def install(lock: Path, into: Path, python: HostPython) -> None:
        for name in ("pkg/a.py", "pkg/tests/b.py", "bin/locust", "pkg/c.so"):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_text("x")

    monkeypatch.setattr(wheels, "_install", install)
    assert names(ensure_loadgen_bundle(places)) == ["pkg/a.py", "pkg/c.so", MARK]


def test_the_lock_of_the_load_hosts_is_hashed_and_names_no_index():
    lock = (Path(__file__).resolve().parents[4] / "requirements" / "loadgen.lock").read_text()
    pins = [line for line in lock.splitlines() if "==" in line]
    assert {"locust", "hiredis"} <= {pin.partition("==")[0] for pin in pins}
    assert lock.count("--hash=sha256:") >= len(pins)
    assert "://" not in lock


def test_the_load_generator_starts_without_anything_of_the_controller():
    forbidden = "soakbed, fabric, ansible_runner, pydantic, jinja2"
    code = f"""
import sys
for name in {forbidden.split(", ")!r}: sys.modules[name] = None
import loadgen.engine.__main__, loadgen.launch, loadgen.look, loadgen.relay
"""
    subprocess.run([sys.executable, "-c", code], check=True)
