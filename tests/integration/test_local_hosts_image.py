"""One image from many callers, through a small recipe that builds in no time."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from soakbed.adapters.host_image import ensure_image, image_folder
from soakbed.errors import ProvisionError
from soakbed.records.places import Places

BUILDS = """#!/bin/bash
echo "I: Fetching packages..."
echo build >> "$(dirname "$0")/../../builds"
mkdir "$1.part"
sleep 0.5
mv "$1.part" "$1"
"""
FAILS = """#!/bin/bash
mkdir "$1.part"
echo "E: no such mirror $2"
exit 1
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(
        project=tmp_path,
        state=tmp_path / "state",
        cache=tmp_path / "cache",
        debian_mirror="http://mirror.example/debian",
    )


def recipe(places: Places, script: str) -> None:
    file = places.infra / "image/build.sh"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_an_image_is_built_once_for_all_who_ask_at_the_same_time(places: Places) -> None:
    recipe(places, BUILDS)
    said: list[str] = []
    callers = [
        threading.Thread(target=ensure_image, args=[places], kwargs={"progress": said.append})
        for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert (places.project / "builds").read_text().split() == ["build"]
    assert ensure_image(places, progress=said.append) == image_folder(places)
    assert "host image: fetching packages" in said
    assert any("waiting" in line for line in said)


def test_a_half_made_image_is_removed_and_never_used(places: Places) -> None:
    recipe(places, FAILS)
    with pytest.raises(ProvisionError, match=r"no such mirror http://mirror\.example/debian"):
        ensure_image(places, progress=str)
    half = list((places.cache / "images").glob("*.part"))
    assert len(half) == 1
    recipe(places, BUILDS)
    folder = ensure_image(places, progress=str)
    assert folder.is_dir()
    assert not half[0].exists()
