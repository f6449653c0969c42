"""The sampler that runs on hosts: what it reads, what it writes, when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

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


def sampler(file: Path, *, interval_s="0.05", for_s="60", most_bytes="1000000"):
    command = [sys.executable, "-I", str(SAMPLER), str(file), "/", interval_s, for_s, most_bytes]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_lines(file: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while not file.exists() or file.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_waiting_for_a_disk_is_not_busy_and_stolen_time_stands_apart():
    assert samples.cpu_of_machine(STAT) == (163 / samples.TICKS_PER_S, 80 / samples.TICKS_PER_S)


def test_memory_in_use_is_what_could_not_be_had_for_the_asking():
    assert samples.memory_of_machine(MEMINFO) == 600 * 1024
    assert samples.memory_of_machine("MemTotal: 1000 kB\n") is None


def test_the_counters_of_one_disk_are_bytes_requests_and_seconds():
    assert samples.disk_counters(DISKS, "vda") == (80 * 512, 160 * 512, 10, 20, 2.5)
    assert samples.disk_counters(DISKS, "sda") is None
    assert samples.disk_counters(DISKS, "") is None


def test_only_the_links_that_carry_the_host_are_summed():
    assert samples.network_counters(DEV, ["eth0"]) == (100, 2000)
    assert samples.network_counters(DEV, ["eth0", "eth1"]) == (110, 2005)
    assert samples.network_counters(DEV, ["wlan0"]) is None


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
    assert process.communicate(timeout=5)[0] == "asked\n"
    found = read_samples(file, host="d1", duty="data")
    assert found.damages == {} and found.starts == 1
    assert found.hosts["at_s"][-1] >= asked_s - 0.1
    assert (found.hosts["seconds"] <= 0.35).mean() > 0.4  # a busy machine wakes it late
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
    assert process.communicate(timeout=20)[0] == why
    assert process.returncode == 0


def test_each_line_carries_its_checksum(tmp_path):
    file = tmp_path / "samples.jsonl"
    sampler(file, for_s="0").communicate(timeout=20)
    for line in file.read_bytes().splitlines():
        check, _, said = line.partition(b" ")
        assert int(check, 16) == zlib.crc32(said)
        json.loads(said)
