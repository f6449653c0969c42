"""The script of role lease, in a folder of its own, with a clock and a systemctl of the test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "playbooks/roles/lease/files/soakbed-lease"
NOW_S = 1_800_000_000
GRACE_S = 1800


class Host:
    """One host: its files below `root`, and `powered_off` once the script asked for that."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lease = root / "lease"
        programs = root / "bin"
        programs.mkdir()
        text = SCRIPT.read_text()
        text = text.replace("/var/lib/soakbed/", f"{root}/").replace("/run/", f"{root}/run-")
        self.script = root / "soakbed-lease"
        self.script.write_text(text)
        self._program("systemctl", f'echo "$@" >>{root}/asked')
        self._program("sync", f"echo sync >>{root}/asked")

    def _program(self, name: str, line: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def look(self, now_s: int = NOW_S) -> str:
        """One call of the script at that time; what it says."""
        # The real date shows times; only what it says of now is the test's.
        self._program("date", f'[ "$*" = +%s ] && echo {now_s} || exec /usr/bin/date "$@"')
        path = f"{self.root}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", self.script], env={"PATH": path}, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout

    def boot(self) -> None:
        """/run is empty after a boot; nobody has asked yet."""
        for path in self.root.glob("run-*"):
            path.unlink()
        (self.root / "asked").unlink(missing_ok=True)

    @property
    def powered_off(self) -> bool:
        asked = self.root / "asked"
        return asked.exists() and asked.read_text() == "sync\n--no-block poweroff\n"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_host_lives_on_while_its_lease_does(host):
    host.lease.write_text(f"{NOW_S + 1}\n")
    assert host.look() == ""
    assert not host.powered_off


def test_a_host_ends_when_its_lease_has_ended_and_says_why(host):
    host.lease.write_text(f"{NOW_S}\n")
    assert host.look() == (
        "soakbed: its lease ended at 2027-01-15 08:00:00 UTC; this host ends now\n"
    )
    assert host.powered_off


def test_a_later_second_in_the_file_is_a_longer_life(host):
    host.lease.write_text(f"{NOW_S}\n")
    host.lease.write_text(f"{NOW_S + 600}\n")
    host.look()
    assert not host.powered_off


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(None, id="no file"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\n1900000000\n", id="an empty line first"),
        pytest.param(b"soon\n", id="a word"),
        pytest.param(b"19000000000\n", id="a digit too many: 600 years"),
        pytest.param(b"190000000\n", id="a digit too few"),
        pytest.param(b"0000000001\n", id="leading zeros"),
        pytest.param(b"-190000000\n", id="a sign"),
        pytest.param(b"1900000000 1900000000\n", id="two numbers"),
        pytest.param(f"{NOW_S + 61 * 86400}\n".encode(), id="two months away"),
        pytest.param(b"\x00\xff" * 5000, id="bytes of a damaged disk"),
        pytest.param(b"$(reboot)\n", id="a command"),
    ],
)
def test_what_is_no_lease_is_a_grace_and_then_the_end(host, told):
    if told is not None:
        host.lease.write_bytes(told)
    assert f"this host ends in {GRACE_S} s" in host.look()
    assert f"this host ends in {GRACE_S - 600} s" in host.look(NOW_S + 600)
    assert not host.powered_off
    assert "this host ends now" in host.look(NOW_S + GRACE_S)
    assert host.powered_off


def test_a_lease_written_within_the_grace_ends_it(host):
    host.look()
    host.lease.write_text(f"{NOW_S + 7200}\n")
    assert host.look(NOW_S + 1000) == ""
    host.lease.unlink()
    assert f"this host ends in {GRACE_S} s" in host.look(NOW_S + 2000)
    assert not host.powered_off


def test_a_grace_that_cannot_be_read_begins_again(host):
    (host.root / "run-soakbed-lease-waits-since").write_text("rubbish")
    assert f"this host ends in {GRACE_S} s" in host.look()


def test_a_host_started_by_hand_after_its_end_has_the_same_grace(host):
    host.lease.write_text(f"{NOW_S}\n")
    host.look()
    host.boot()
    assert f"this host ends in {GRACE_S} s" in host.look(NOW_S + 86400)
    assert not host.powered_off
    assert "nobody gave it one" in host.look(NOW_S + 86400 + GRACE_S)
    assert host.powered_off


def test_a_new_lease_after_the_end_of_an_old_one_counts_like_the_first(host):
    host.lease.write_text(f"{NOW_S}\n")
    host.look()
    host.boot()
    host.lease.write_text(f"{NOW_S + 900}\n")
    assert host.look(NOW_S + 100) == ""
    assert "its lease ended" in host.look(NOW_S + 900)
    assert host.powered_off
