"""The real apt, with lists and cache of its own: a package comes, the machine is as before."""

from pathlib import Path

import pytest

from soakbed.adapters.artifact_pins import read_pins
from soakbed.adapters.artifact_sources import Missing
from soakbed.adapters.debian import DebianArchive, unpack

PINS = Path(__file__).resolve().parents[2] / "playbooks/group_vars/all/artifacts.yml"


def test_a_pinned_package_comes_from_this_machines_own_mirror(tmp_path):
    before = sorted(path.name for path in Path("/var/lib/apt/lists").iterdir())
    pin = read_pins(PINS)["redis_cluster"].debian.packages["liblzf1"]
    archive = DebianArchive(tmp_path / "apt", arch="amd64")
    (deb,) = archive.fetch(["liblzf1"], release="bookworm", into=tmp_path / "debs")
    assert (deb.package, deb.version) == ("liblzf1", pin.version)
    assert deb.sha256 == pin.sha256["amd64"]
    unpack(deb.file, tmp_path / "files")
    assert list((tmp_path / "files").rglob("liblzf.so.1"))
    assert sorted(path.name for path in Path("/var/lib/apt/lists").iterdir()) == before


def test_a_mirror_that_does_not_answer_is_missing_in_apts_words(tmp_path):
    archive = DebianArchive(tmp_path, mirror="http://127.0.0.1:9/debian", arch="amd64")
    with pytest.raises(Missing, match=r"Unable to locate package|Failed to fetch"):
        archive.fetch(["liblzf1"], release="bookworm", into=tmp_path / "debs")
