"""How mirrors are found and versions are read; the real apt runs in the integration tests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.adapters.artifact_sources import Missing
from soakbed.adapters.debian import DebianArchive, upstream_version


@pytest.mark.parametrize(
    ("version", "upstream"),
    [
        ("5:7.0.15-1~deb12u10", "7.0.15"),
        ("3.5.16-4", "3.5.16"),
        ("12.2.0-14+deb12u1", "12.2.0"),
        ("1.2-rc1-3", "1.2-rc1"),
        ("7.0.15", "7.0.15"),
    ],
)
def test_the_upstream_version_is_what_stands_between_epoch_and_revision(version, upstream):
    assert upstream_version(version) == upstream


@given(
    epoch=st.integers(0, 9),
    upstream=st.from_regex(r"[0-9][0-9.]{0,8}", fullmatch=True),
    revision=st.from_regex(r"[0-9a-z+~.]{1,8}", fullmatch=True),
)
def test_any_epoch_and_revision_leave_the_upstream_version(epoch, upstream, revision):
    assert upstream_version(f"{epoch}:{upstream}-{revision}") == upstream


class Machine(DebianArchive):
    """A machine whose apt prints what it is told."""

    def __init__(self, tmp_path, printed, mirror=""):
        super().__init__(tmp_path, mirror=mirror, arch="amd64")
        self.printed = printed

    def _apt(self, arguments, *, cwd):
        assert arguments[0] == "indextargets"
        return self.printed


OWN = """main|Debian|http://mirror.example/debian/|bookworm
main|Debian|http://mirror.example/debian-security/|bookworm-security
main|Some Vendor|http://vendor.example/apt/|stable
"""
FRESH = OWN.replace("Debian|", "$(ORIGIN)|").replace("Some Vendor|", "$(ORIGIN)|")


def test_the_mirror_is_the_one_the_machine_uses(tmp_path):
    assert Machine(tmp_path, OWN)._suites("trixie") == [("http://mirror.example/debian/", "trixie")]


def test_security_updates_of_the_same_release_count(tmp_path):
    assert Machine(tmp_path, OWN)._suites("bookworm") == [
        ("http://mirror.example/debian/", "bookworm"),
        ("http://mirror.example/debian-security/", "bookworm-security"),
    ]


def test_a_machine_that_never_fetched_lists_has_a_mirror_too(tmp_path):
    assert Machine(tmp_path, FRESH)._suites("trixie")[0][0] == "http://mirror.example/debian/"


def test_a_mirror_that_the_user_names_is_the_only_one(tmp_path):
    machine = Machine(tmp_path, OWN, mirror="http://mine.example/debian")
    assert machine._suites("trixie") == [("http://mine.example/debian", "trixie")]


def test_a_machine_without_any_mirror_says_so(tmp_path):
    with pytest.raises(Missing, match="no Debian mirror"):
        Machine(tmp_path, "")._suites("trixie")
