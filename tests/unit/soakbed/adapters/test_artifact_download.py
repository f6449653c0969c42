"""Downloads from a local server that breaks off, lies, and runs out of room."""

import contextlib
import os
import subprocess

import pytest

from soakbed.adapters import artifact_download
from soakbed.adapters.artifact_download import download, part_of, unanswered
from soakbed.adapters.artifact_sources import Missing
from soakbed.errors import Unavailable
from tests.upstream import Upstream, sha256

NAME = "tikv-v6.5.5-linux-amd64.tar.gz"
DATA = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def upstream(tmp_path):
    folder = tmp_path / "upstream"
    folder.mkdir()
    (folder / NAME).write_bytes(DATA)
    with Upstream(folder) as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / NAME


def fetch(upstream, target, **more):
    download(upstream.url + NAME, target, **{"sha256": sha256(DATA)} | more)


def left(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_comes_whole_and_its_progress_is_told(upstream, target, monkeypatch):
    monkeypatch.setattr(artifact_download, "_CHUNK_BYTES", 300_000)
    told = []
    fetch(upstream, target, watch=lambda *row: told.append(row))
    assert target.read_bytes() == DATA
    assert left(target) == [NAME]
    assert told[0] == (NAME, 300_000, len(DATA))
    assert told[-1] == (NAME, len(DATA), len(DATA))


def test_a_connection_that_breaks_is_taken_up_where_it_broke(upstream, target):
    upstream.break_off_after = [400_000, 300_000]
    fetch(upstream, target)
    assert target.read_bytes() == DATA
    assert [span for _, _, span in upstream.asked] == ["", "bytes=400000-", "bytes=700000-"]


def test_the_next_command_goes_on_where_the_last_one_broke_off(upstream, target):
    upstream.break_off_after = [400_000, 0]
    with pytest.raises(Missing, match=r"after 390.6 KiB, which are kept"):
        fetch(upstream, target)
    assert left(target) == [part_of(target).name], "half a file never has the final name"
    upstream.asked.clear()
    fetch(upstream, target)
    assert target.read_bytes() == DATA
    assert [span for _, _, span in upstream.asked] == ["bytes=400000-"]


def test_a_server_without_ranges_sends_everything_again(upstream, target):
    upstream.break_off_after = [400_000, 0]
    with pytest.raises(Missing):
        fetch(upstream, target)
    upstream.ignores_ranges = True
    fetch(upstream, target)
    assert target.read_bytes() == DATA


def test_half_a_file_of_another_content_is_not_completed_but_begun_anew(upstream, target):
    target.parent.mkdir()
    part_of(target).write_bytes(b"x" * 1000)
    fetch(upstream, target)
    assert target.read_bytes() == DATA
    assert [span for _, _, span in upstream.asked] == ["bytes=1000-", ""]


def test_a_whole_file_that_only_lacks_its_name_is_not_fetched_again(upstream, target):
    target.parent.mkdir()
    part_of(target).write_bytes(DATA)
    fetch(upstream, target)
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("kept", [True, False], ids=["an older file is there", "nothing is there"])
def test_a_file_of_the_wrong_hash_never_enters_the_cache(upstream, target, kept):
    if kept:
        target.parent.mkdir()
        target.write_bytes(b"old")
    (upstream.folder / NAME).write_bytes(DATA[::-1])
    with pytest.raises(Missing, match=r"has sha256 [0-9a-f]{16}\.\.\., pinned is"):
        fetch(upstream, target)
    assert left(target) == ([NAME] if kept else [])
    assert not kept or target.read_bytes() == b"old"


def test_a_file_of_another_length_than_the_pinned_one_is_not_even_read(upstream, target):
    with pytest.raises(Missing, match="has 1048576 bytes, pinned are 1048577"):
        fetch(upstream, target, length=len(DATA) + 1)
    assert left(target) == []


def test_a_server_that_sends_more_than_is_pinned_is_cut_off(upstream, target):
    upstream.silent_about_length = True
    (upstream.folder / NAME).write_bytes(DATA + b"more")
    with pytest.raises(Missing, match=r"more than 1\.0 MiB came"):
        fetch(upstream, target, length=len(DATA))
    assert NAME not in left(target)


def test_a_file_without_a_told_length_is_still_taken(upstream, target):
    upstream.silent_about_length = True
    fetch(upstream, target)
    assert target.read_bytes() == DATA


def test_what_is_not_there_is_missing_with_its_url(upstream, target):
    with pytest.raises(Missing, match=r"http://127.0.0.1:\d+/other: the server says 404"):
        download(upstream.url + "other", target, sha256=sha256(DATA))


def test_a_server_that_does_not_answer_is_missing(target):
    with pytest.raises(Missing, match="refused"):
        download("http://127.0.0.1:9/x", target, sha256=sha256(DATA))


def test_whether_a_url_answers_is_asked_without_reading_the_file(upstream):
    assert unanswered(upstream.url + NAME) == ""
    assert "404" in unanswered(upstream.url + "other")
    assert "refused" in unanswered("http://127.0.0.1:9/x")
    assert upstream.files == []


def test_a_file_larger_than_the_free_disk_is_not_begun(upstream, target, monkeypatch):
    usage = artifact_download.shutil.disk_usage("/")
    monkeypatch.setattr(artifact_download.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(
        Unavailable, match=r"1\.0 MiB are still to come and 1000 bytes are free"
    ) as no:
        fetch(upstream, target)
    assert "SOAKBED_CACHE" in no.value.remedy
    assert left(target) == []


@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "soakbed-test", folder],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("needs the right to mount; run it as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.root
@pytest.mark.parametrize("told", [True, False], ids=["length told", "length not told"])
def test_on_a_full_disk_the_cache_stays_as_it_was_and_nothing_new_is_left(upstream, tmp_path, told):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk; run it as root")
    upstream.silent_about_length = not told
    with small_disk(tmp_path / "disk", "512k") as disk:
        (disk / "other").write_bytes(b"kept")
        with pytest.raises(Unavailable, match=r"disk is full|are free") as full:
            fetch(upstream, disk / NAME)
        assert "SOAKBED_CACHE" in full.value.remedy
        assert left(disk / NAME) == ["other"]
        assert (disk / "other").read_bytes() == b"kept"
