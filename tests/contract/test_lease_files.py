"""What a cloud host brings from its first boot is what role lease brings later, byte for byte."""

import re
from pathlib import Path

import pytest

from soakbed.records.lease import LONGEST_S

PROJECT = Path(__file__).resolve().parents[2]
FILES = PROJECT / "playbooks/roles/lease/files"
FIRST_BOOT = (PROJECT / "infra/modules/aws/user_data.sh.tftpl").read_text()
# cat >PATH <<'END_OF_FILE' ... END_OF_FILE
WRITTEN = dict(re.findall(r"cat >\S+/(\S+) <<'END_OF_FILE'\n(.*?)END_OF_FILE\n", FIRST_BOOT, re.S))


@pytest.mark.parametrize("file", sorted(FILES.iterdir()), ids=lambda path: path.name)
def test_first_boot_and_role_bring_the_same_file(file):
    assert WRITTEN[file.name] == file.read_text()


def test_nothing_in_them_is_taken_for_terraforms_own_words():
    # Terraform reads ${ and %{; the one thing that it is to fill in is the end of the lease.
    assert re.findall(r"[$%]\{[^}]*\}", FIRST_BOOT) == ["${destroy_after}"]


def test_first_boot_is_no_longer_than_aws_takes():
    assert len(FIRST_BOOT.encode()) < 16_384


def test_no_lease_that_we_give_is_taken_for_damage_by_a_host():
    (longest_s,) = re.findall(r"^longest_s=(\d+)", (FILES / "soakbed-lease").read_text(), re.M)
    assert int(longest_s) > LONGEST_S + 86400
