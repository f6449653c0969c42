"""Which disk becomes the data disk: by its model, and never one on which anything is."""

import subprocess

import pytest
from ansible.module_utils import block_devices
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.playbooks.test_modules import load

local_disk = load("local_disk")

MODEL = "Amazon EC2 NVMe Instance Storage"


def disk(path="/dev/nvme1n1", **more):
    blank = {
        "path": path,
        "type": "disk",
        "model": MODEL,
        "size": 474_000_000_000,
        "ro": False,
        "fstype": None,
        "label": None,
        "pttype": None,
        "mountpoints": [None],
    }
    return blank | more


def chosen(disks, signatures=None, *, mounted=False):
    found = block_devices.disks_of_model({"blockdevices": disks}, MODEL)
    said = {one["path"]: [] for one in found} | (signatures or {})
    return block_devices.choose(found, said, mounted=mounted)


def test_the_disk_is_found_by_its_model_whatever_its_number():
    boot = disk("/dev/nvme0n1", model="Amazon Elastic Block Store", children=[{"type": "part"}])
    for path in ("/dev/nvme1n1", "/dev/nvme2n1"):
        choice = chosen([boot, disk(path, model=f"{MODEL}      ")])
        assert (choice.action, choice.path, choice.refused) == ("format", path, {})
    swapped = disk("/dev/nvme1n1", model="Amazon Elastic Block Store")
    assert chosen([swapped, disk("/dev/nvme0n1")]).path == "/dev/nvme0n1"


def test_a_disk_that_we_formatted_is_mounted_again_and_one_that_is_mounted_stays():
    ours = disk(label="soakbed-data", fstype="xfs")
    for blank in (disk("/dev/nvme0n1"), disk("/dev/nvme2n1")):
        choice = chosen([blank, ours])
        assert (choice.action, choice.path) == ("mount", "/dev/nvme1n1"), "data may be on it"
    assert chosen([ours]).action == "mount"
    assert chosen([ours], mounted=True).action == "there"
    assert chosen([], mounted=True).action == "there"


@pytest.mark.parametrize(
    ("there", "signatures", "why"),
    [
        pytest.param({"fstype": "ext4"}, [], "it holds ext4", id="a file system"),
        pytest.param({"pttype": "gpt"}, [], "partition table (gpt)", id="a table"),
        pytest.param({"children": [{"type": "part"}]}, [], "partitions", id="a partition"),
        pytest.param({"children": [{"type": "lvm"}]}, [], "built on it", id="a volume"),
        pytest.param({"mountpoints": ["/mnt"]}, [], "mounted", id="a mount"),
        pytest.param({}, [{"type": "LVM2_member"}], "LVM2_member", id="what udev missed"),
        pytest.param({}, None, "could not be read", id="nobody knows"),
        pytest.param({"ro": True}, [], "read-only", id="read-only"),
        pytest.param({"ro": None}, [], "read-only", id="perhaps read-only"),
        pytest.param({"size": 0}, [], "no size", id="no size"),
        pytest.param(
            {"fstype": "ntfs", "label": "soakbed-data"}, [], "ntfs", id="our label, not our system"
        ),
        pytest.param(
            {"fstype": "xfs", "label": "soakbed-data", "mountpoints": ["/x"]},
            *([], "mounted"),
            id="ours, elsewhere",
        ),
    ],
)
def test_a_disk_on_which_anything_is_is_left_alone_and_says_why(there, signatures, why):
    choice = chosen([disk(**there)], {"/dev/nvme1n1": signatures})
    assert choice.action == "refuse"
    assert why in choice.refused["/dev/nvme1n1"]
    # And with a blank one beside it, that one is taken.
    beside = chosen([disk(**there), disk("/dev/nvme2n1")], {"/dev/nvme1n1": signatures})
    assert (beside.action, beside.path) == ("format", "/dev/nvme2n1")


def test_two_disks_that_carry_our_label_are_left_to_a_person():
    ours = {"label": "soakbed-data", "fstype": "xfs"}
    both = [disk("/dev/nvme1n1", **ours), disk("/dev/nvme2n1", **ours), disk("/dev/nvme3n1")]
    choice = chosen(both)
    assert choice.action == "refuse"
    why = "2 disks carry our label: /dev/nvme1n1, /dev/nvme2n1"
    assert choice.refused == {"/dev/nvme1n1": why, "/dev/nvme2n1": why}


def test_of_two_blank_disks_the_first_is_taken_and_the_label_keeps_it_the_one():
    first = chosen([disk("/dev/nvme1n1"), disk("/dev/nvme2n1")])
    assert (first.action, first.path) == ("format", "/dev/nvme1n1")
    assert first.refused == {"/dev/nvme2n1": "one is enough"}
    swapped = [disk("/dev/nvme1n1"), disk("/dev/nvme2n1", label="soakbed-data", fstype="xfs")]
    assert (chosen(swapped).action, chosen(swapped).path) == ("mount", "/dev/nvme2n1")


@pytest.mark.parametrize(
    "root",
    [
        {"children": [{"type": "part", "mountpoints": ["/"]}], "pttype": "gpt"},
        {"mountpoints": ["/"], "fstype": "ext4"},
    ],
)
def test_the_disk_that_a_host_booted_from_is_never_taken_though_it_is_of_the_model(root):
    choice = chosen([disk("/dev/nvme0n1", **root)])
    assert choice.action == "refuse"
    beside = chosen([disk("/dev/nvme0n1", **root), disk("/dev/nvme1n1")])
    assert (beside.action, beside.path) == ("format", "/dev/nvme1n1")


text = st.sampled_from([None, "", "xfs", "gpt", "soakbed-data"])
anything = st.fixed_dictionaries(
    {
        "path": st.sampled_from([f"/dev/nvme{at}n1" for at in range(4)]),
        "type": st.sampled_from(["disk", "part", "loop"]),
        "model": st.sampled_from([MODEL, f" {MODEL} ", "Amazon Elastic Block Store", None]),
        "size": st.sampled_from([0, 1, None, 10**9]),
        "ro": st.sampled_from([True, False, None, "0", 1]),
        "fstype": text,
        "label": text,
        "pttype": text,
        "mountpoints": st.sampled_from([None, [], [None], ["/data"], [None, "[SWAP]"]]),
    },
    optional={"children": st.lists(st.just({"type": "part"}), max_size=1)},
)


@given(
    disks=st.lists(anything, max_size=4, unique_by=lambda one: one["path"]),
    held=st.sets(st.sampled_from([f"/dev/nvme{at}n1" for at in range(4)])),
)
def test_nothing_but_a_blank_whole_disk_of_the_model_is_ever_formatted(disks, held):
    found = block_devices.disks_of_model({"blockdevices": disks}, MODEL)
    said = {one["path"]: [{"type": "dos"}] if one["path"] in held else [] for one in found}
    choice = block_devices.choose(found, said, mounted=False)
    if choice.action != "format":
        return
    (taken,) = (one for one in disks if one["path"] == choice.path)
    assert taken["type"] == "disk" and taken["model"].strip() == MODEL
    assert not taken["fstype"] and not taken["pttype"] and not taken.get("children")
    assert not any(taken["mountpoints"] or []) and taken["size"]
    assert choice.path not in held and taken["ro"] in (False, "0")


def test_a_disk_comes_back_after_a_reboot_and_its_line_stands_once():
    before = "# /etc/fstab\nPARTUUID=1 / ext4 rw 0 1\n"
    once = local_disk.fstab_with(before, "/data", "xfs")
    assert once == before + "LABEL=soakbed-data /data xfs defaults,noatime,nofail 0 2\n"
    assert local_disk.fstab_with(once, "/data", "xfs") == once
    assert "ext4 defaults" in local_disk.fstab_with(once, "/data", "ext4")


def test_what_wipefs_tells_of_a_real_file_is_read(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"\0" * 1_000_000)
    assert local_disk.signatures_on(str(image)) == []
    subprocess.run(["mkswap", "-q", str(image)], check=True, capture_output=True)
    assert [one["type"] for one in local_disk.signatures_on(str(image))] == ["swap"]
    assert local_disk.signatures_on(str(tmp_path / "nowhere")) is None


def test_the_first_file_system_that_the_host_can_make_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"none of mkfs\.xfs, mkfs\.ext4"):
        local_disk.tool_for(["xfs", "ext4"])
    for tool, made in (("mkfs.ext4", "ext4"), ("mkfs.xfs", "xfs")):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
        assert local_disk.tool_for(["xfs", "ext4"]) == made
