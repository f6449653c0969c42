"""The sampler that runs on hosts: what it reads, what it writes, when it ends."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.archive.data.samples import read_samples
from soakbed.stages.probes import samples
from soakbed.stages.samples import SAMPLER

STAT = "cpu  100 20 30 4000 500 6 7 80 9 0\ncpu0 100 20 30 4000 500 6 7 80 9 0\nintr 1\n"
MEMINFO = "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  400 kB\nHugePages_Total: 0\n"
DISKS = """\
   7       0 loop0 9 9 9 9 9 9 9 9 9 9 9
 254       0 vda 10 1 80 5 20 2 160 7 0 2500 12
 254       1 vda1 1 1 1 1 1 1 1 1 1 1 1
"""
DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo: 7 0 0 0 0 0 0 0 7 0 0 0 0 0 0 0
  eth0:100 1 0 0 0 0 0 0 2000 2 0 0 0 0 0 0
  eth1: 10 1 0 0 0 0 0 0 5 2 0 0 0 0 0 0
"""


WAYS = ("received", "sent")


def sampler(file: Path, *, interval_s="0.05", for_s="60", most_bytes="1000000"):
    command = [sys.executable, "-I", str(SAMPLER), str(file), "/", interval_s, for_s, most_bytes]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_lines(file: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not file.exists() or file.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_waiting_for_a_disk_is_not_busy_and_stolen_time_stands_apart():
    assert samples.cpu_of_machine(STAT) == (163 / samples.TICKS_PER_S, 80 / samples.TICKS_PER_S)


def test_memory_in_use_is_what_could_not_be_had_for_the_asking():
    assert samples.memory_of_machine(MEMINFO) == 600 * 1024
    assert samples.memory_of_machine("MemTotal: 1000 kB\n") is None


def test_the_counters_of_one_disk_are_bytes_requests_and_seconds():
    assert samples.disk_counters(DISKS, "vda") == {
        "disk_read_bytes": 80 * 512,
        "disk_written_bytes": 160 * 512,
        "disk_reads": 10,
        "disk_writes": 20,
        "disk_busy_s": 2.5,
        "disk_read_wait_s": 0.005,
        "disk_write_wait_s": 0.007,
    }
    assert samples.disk_counters(DISKS, "sda") == {}
    assert samples.disk_counters(DISKS, "") == {}


def test_only_the_links_that_carry_the_host_are_summed():
    def told(*links):
        found = samples.network_counters(DEV, links)
        return [found.get(f"net_{way}_{what}") for what in ("bytes", "packets") for way in WAYS]

    assert told("eth0") == [100, 2000, 1, 2]
    assert told("eth0", "eth1") == [110, 2005, 2, 4]
    assert samples.network_counters(DEV, ["wlan0"]) == {}


# What the driver of an ENA card answers: drivers/net/ethernet/amazon/ena/ena_ethtool.c (6.1).
ENA = {
    "tx_timeout": 0,
    "suspend": 0,
    "resume": 0,
    "wd_expired": 0,
    "interface_up": 1,
    "interface_down": 0,
    "admin_q_pause": 0,
    "bw_in_allowance_exceeded": 7,
    "bw_out_allowance_exceeded": 4_294_967_296,
    "pps_allowance_exceeded": 0,
    "conntrack_allowance_exceeded": 3,
    "linklocal_allowance_exceeded": 0,
    "queue_0_tx_cnt": 31,
}


def names_of(counters) -> bytes:
    return b"".join(name.encode().ljust(32, b"\0") for name in counters)


class _Driver:
    """Answers an ioctl as the kernel does, into the memory of whoever asks."""

    def __init__(self, counters: dict[str, int], links=("ens5",)) -> None:
        self.counters, self.links = counters, links

    def __call__(self, _socket: object, request: int, ifreq: bytes) -> bytes:
        name, place = struct.unpack("16sP16x", ifreq)
        assert (request, len(ifreq)) == (0x8946, 40)
        if name.rstrip(b"\0").decode() not in self.links:
            raise OSError(errno.EOPNOTSUPP, "it counts nothing")
        question = ctypes.string_at(place, 4)
        count = len(self.counters)
        if question == b"\x37\0\0\0":
            assert ctypes.string_at(place, 20) == struct.pack("=IIQI", 0x37, 0, 2, 0)
            answer = struct.pack("=IIQI", 0x37, 0, 2, count)
        elif question == b"\x1b\0\0\0":
            answer = struct.pack("=III", 0x1B, 1, count) + names_of(self.counters)
        else:
            assert question == b"\x1d\0\0\0"
            answer = struct.pack("=II", 0x1D, count)
            answer += struct.pack(f"={count}Q", *self.counters.values())
        ctypes.memmove(place, answer, len(answer))
        return ifreq


def test_a_card_of_a_cloud_says_what_it_held_back_and_another_says_nothing(monkeypatch):
    monkeypatch.setattr(samples.fcntl, "ioctl", _Driver(ENA))
    assert samples.counters_of_link("ens5") == ENA
    assert samples.counters_of_link("ens6") == {}
    held = [samples.counters_of_link(link) for link in ("ens5", "ens6")]
    assert samples.allowances_of(held) == {name: ENA[name] for name in samples.ALLOWANCES}
    twice = samples.allowances_of([ENA, ENA])
    assert twice["bw_in_allowance_exceeded"] == 14
    assert samples.allowances_of([{"tx_timeout": 3}]) == {}


def test_an_older_driver_has_fewer_allowances_and_the_others_stay_unknown(monkeypatch):
    fewer = {name: count for name, count in ENA.items() if not name.startswith("conntrack")}
    monkeypatch.setattr(samples.fcntl, "ioctl", _Driver(fewer))
    monkeypatch.setattr(samples, "links_of_host", lambda: ["ens5", "ens6"])
    made = samples.Sampler("/")
    assert made.cards == ["ens5"]
    assert made.start(5)["sources"]["network_allowance"] == ["host", "drivers of ens5"]
    row = dict(zip(samples.COLUMNS, made.sample(), strict=False))
    assert row["bw_in_allowance_exceeded"] == 7
    assert row["conntrack_allowance_exceeded"] is None


def test_a_host_without_such_a_card_has_no_allowances_and_never_zero():
    made = samples.Sampler("/")
    if made.cards:
        pytest.skip("this machine has a card of AWS")
    row = dict(zip(samples.COLUMNS, made.sample(), strict=False))
    assert {row[name] for name in samples.ALLOWANCES} == {None}
    assert row["at_s"] and row["cpu_busy_s"] > 0 and row["net_received_packets"] is not None
    assert made.start(5)["sources"]["network_allowance"] is None
    assert samples.counters_of_link("lo") == samples.counters_of_link("nonesuch") == {}


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=32),
        st.integers(0, 2**64 - 1),
        max_size=30,
    )
)
def test_counters_of_a_card_come_back_whatever_they_are_called(counters):
    values = struct.pack(f"={len(counters)}Q", *counters.values())
    assert samples.card_counters(names_of(counters), values) == counters


@given(st.binary(max_size=400), st.binary(max_size=120))
def test_no_answer_of_a_driver_breaks_the_sampler(names, values):
    found = samples.card_counters(names, values)
    assert sum(found.values()) <= sum(
        struct.unpack(f"={len(values) // 8}Q", values[: len(values) // 8 * 8])
    )


@given(st.text(max_size=300))
def test_no_text_of_the_kernel_breaks_the_counters_of_a_disk(said):
    assert samples.disk_counters(said, "vda") == {}


@given(st.lists(st.integers(0, 2**63), min_size=17, max_size=20))
def test_whatever_a_disk_has_counted_is_read_from_its_place(numbers):
    line = f" 259 0 nvme1n1 {' '.join(map(str, numbers))}\n"
    found = samples.disk_counters(DISKS + line, "nvme1n1")
    assert (found["disk_reads"], found["disk_writes"]) == (numbers[0], numbers[4])
    assert found["disk_written_bytes"] == 512 * numbers[6]
    assert found["disk_read_wait_s"] == numbers[3] / 1000
    assert found["disk_write_wait_s"] == numbers[7] / 1000
    assert found["disk_busy_s"] == numbers[9] / 1000


def test_what_a_child_used_is_still_there_when_it_has_ended():
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    before = samples.usage_of([os.getpid()])
    subprocess.run([sys.executable, "-I", "-c", busy], check=True)
    assert samples.usage_of([os.getpid()]).cpu_s - before.cpu_s >= 0.25


def test_bytes_that_a_process_writes_to_a_disk_are_its_own(tmp_path):
    before = samples.usage_of([os.getpid()])
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    rise = samples.usage_of([os.getpid()]).written_bytes - before.written_bytes
    if not rise and "tmpfs" in subprocess.getoutput(f"stat -f -c %T {tmp_path}"):
        pytest.skip("the folder of the tests is in memory: TMPDIR=/var/tmp puts it on a disk")
    assert rise >= 1 << 20


def test_a_process_that_is_gone_has_used_nothing():
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert samples.usage_of([gone.pid]) == samples.Usage()


def test_the_disk_of_a_folder_is_one_that_the_kernel_counts():
    disk = samples.disk_of("/")
    known = {line.split()[2] for line in Path("/proc/diskstats").read_text().splitlines()}
    assert disk in known or not disk  # a root that is no disk's has none to name


def tree(root: Path, groups: dict[str, str]) -> None:
    """Control groups below `root`, each with its processes."""
    for path, pids in groups.items():
        (root / path).mkdir(parents=True)
        (root / path / "cgroup.procs").write_text(pids)


def test_the_group_of_a_machine_of_its_own_is_the_root_of_version_2(tmp_path):
    tree(tmp_path, {"init.scope": "1\n", "system.slice/soakbed-etcd.service": "7\n8\n"})
    mounts = f"proc /proc proc rw 0 0\ncgroup2 {tmp_path} cgroup2 rw,nosuid 0 0\n"
    group = samples.cgroup_of_host("0::/init.scope\n", mounts)
    assert group == tmp_path
    assert [unit.name for unit in samples.unit_groups(group)] == ["soakbed-etcd.service"]


def test_the_group_of_a_container_is_found_in_the_tree_of_its_machine(tmp_path):
    own = "soakbed/t/d1/payload"
    worker = "soakbed-load-worker@run:0.service"
    tree(tmp_path / "v1", {f"{own}/init.scope": "1\n"})
    tree(tmp_path / "v2", {f"{own}/init.scope": "1\n"})
    tree(tmp_path / "v2", {f"{own}/system.slice/system-soakbed\\x2dload.slice/{worker}": "9\n"})
    mounts = (
        f"cgroup {tmp_path}/v1 cgroup rw,name=systemd 0 0\ncgroup2 {tmp_path}/v2 cgroup2 rw 0 0\n"
    )
    paths = f"1:name=systemd:/{own}/init.scope\n0::/{own}/init.scope\n"
    group = samples.cgroup_of_host(paths, mounts)
    assert group == tmp_path / "v2" / own
    assert [unit.name for unit in samples.unit_groups(group)] == [worker]


def test_a_group_that_pid_1_is_not_in_is_not_believed(tmp_path):
    tree(tmp_path, {"init.scope": "12\n"})
    mounts = f"cgroup2 {tmp_path} cgroup2 rw 0 0\n"
    assert samples.cgroup_of_host("0::/init.scope\n", mounts) is None
    assert list(samples.unit_groups(None)) == [] and samples.cpu_of_cgroup(None) is None


def test_cpu_of_a_group_is_in_seconds_and_unknown_where_it_does_not_count(tmp_path):
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert samples.cpu_of_cgroup(tmp_path) == 2.5
    assert samples.cpu_of_cgroup(tmp_path / "gone") is None


def test_the_sampler_writes_until_it_is_asked_to_end_and_covers_the_time_to_that_moment(tmp_path):
    file = tmp_path / "samples.jsonl"
    process = sampler(file, interval_s="0.2")
    wait_for_lines(file, 4)
    asked_s = time.time()
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=120)[0] == "asked\n"
    found = read_samples(file, host="d1", duty="data")
    assert found.damages == {} and found.starts == 1
    assert found.hosts["at_s"][-1] >= asked_s - 0.1
    assert (found.hosts["seconds"] > 0).all()  # how late it wakes is the machine's
    assert (found.hosts["cpu_busy"] >= 0).all()
    assert set(found.hosts["cpu_scope"]) == {"host"}


def test_a_sampler_that_is_killed_and_started_again_writes_on_in_the_same_file(tmp_path):
    file = tmp_path / "samples.jsonl"
    for _ in range(2):
        process = sampler(file)
        wait_for_lines(file, file.read_bytes().count(b"\n") + 4 if file.exists() else 4)
        process.kill()
        process.communicate()
        with file.open("ab") as cut:
            cut.write(b'12345678 [1,2,"cut by the ki')
    found = read_samples(file, host="d1", duty="data")
    assert found.damages == {"lines cut or damaged": 2}
    assert found.starts == 2
    assert found.hosts["at_s"].size == found.samples - 1, "the differences go on over the gap"
    assert found.samples >= 5


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        pytest.param({"for_s": "0"}, "time\n", id="time"),
        pytest.param({"most_bytes": "900"}, "space\n", id="space"),
    ],
)
def test_the_sampler_ends_by_itself_when_its_time_or_space_is_up(tmp_path, limit, why):
    process = sampler(tmp_path / "samples.jsonl", **limit)
    assert process.communicate(timeout=120)[0] == why
    assert process.returncode == 0


def test_each_line_carries_its_checksum(tmp_path):
    file = tmp_path / "samples.jsonl"
    sampler(file, for_s="0").communicate(timeout=120)
    for line in file.read_bytes().splitlines():
        check, _, said = line.partition(b" ")
        assert int(check, 16) == zlib.crc32(said)
        json.loads(said)
