"""The live watch: what hosts answer, what it means, and that a look is cheap and bears anything."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.adapters.pki import ensure_pki
from soakbed.adapters.ssh import HostUnreachable, Result
from soakbed.archive.data.watched import read_events
from soakbed.records.policy import stops
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.probes import watch as probe
from soakbed.stages.probes.samples import COLUMNS
from soakbed.stages.watchman import PROBE, certificates, look, pki_of, seen, watch

NOW_S = 1795512400.0
DATA = Host(name="d1", duty="data", address="10.0.0.1", key_file="k")
LOAD = Host(name="l1", duty="load", address="10.0.0.9", key_file="k")
GB = 10**9


def unit(state="active", result="success"):
    return {"ActiveState": state, "Result": result, "SubState": "", "NRestarts": "0"}


def reading(**changed):
    held = {
        "at_s": NOW_S,
        "mono_s": 1000.0,
        "boot": "b1",
        "throttled_us": 5_000_000,
        "units": {"soakbed-etcd.service": unit()},
        "disks": {"/data": {"total": 100 * GB, "free": 50 * GB, "inodes_free": 9}},
    }
    return held | changed


BEFORE = reading(at_s=NOW_S - 30, mono_s=970.0)


def answer(now=None, before=BEFORE, journal=None, kernel=()):
    return {
        "now": now or reading(),
        "before": before,
        "journal": journal or {},
        "kernel": list(kernel),
    }


def kinds(said, host=DATA, target="etcd"):
    return [event.kind for event in seen(host, target, said)]


def full(share):
    return reading(
        disks={"/data": {"total": 1000, "free": round(1000 * (1 - share)), "inodes_free": 9}}
    )


def test_a_quiet_host_tells_nothing_and_neither_does_a_first_look():
    assert kinds(answer()) == []
    assert kinds(answer(before=None, now=reading(boot="b9", throttled_us=9**9))) == []


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        (full(0.90), None),
        (full(0.91), "disk_filling"),
        (full(0.98), "disk_full"),
        (reading(at_s=NOW_S + 0.3), "clock_step"),
        (reading(at_s=NOW_S - 0.3), "clock_step"),
        (reading(at_s=NOW_S + 0.2), None),
        (reading(throttled_us=5_300_000), None),
        (reading(throttled_us=5_400_000), "throttled"),
        (reading(throttled_us=None), None),
        (reading(boot="b2", mono_s=1.0, throttled_us=0), "reboot"),
    ],
)
def test_what_changed_since_the_last_look(now, kind):
    assert kinds(answer(now)) == ([kind] if kind else [])


STARTED = {
    "schema": 1, "interval_s": 5, "boot": "b1", "cores": 4, "unit_columns": [],
    "columns": list(COLUMNS), "sources": {"cpu_steal": ["host", "/proc/stat"]},
}  # fmt: skip


def sampled_at(mono_s, **counters):
    held = {"at_s": NOW_S - 1000 + mono_s, "mono_s": mono_s} | counters
    return [STARTED, [*(held.get(name) for name in COLUMNS), {}]]


@pytest.mark.parametrize(
    ("counters", "kind"),
    [
        # 30 s of four cores are 120 s.
        ({"cpu_steal_s": 5.9}, None),
        ({"cpu_steal_s": 6.1}, "cpu_stolen"),
        ({"bw_in_allowance_exceeded": 9, "net_received_packets": 9_001}, None),
        ({"bw_in_allowance_exceeded": 9, "net_received_packets": 8_999}, "network_throttled"),
        # What changes no figure can wait for the samples.
        ({"disk_write_wait_s": 900.0, "disk_writes": 1000}, None),
    ],
)
def test_what_the_sampler_counted_between_two_looks_is_told_at_once(counters, kind):
    before = BEFORE | {"sampled": sampled_at(965.0, **dict.fromkeys(counters, 0))}
    now = reading(sampled=sampled_at(995.0, **counters))
    found = list(seen(DATA, "etcd", answer(now, before=before)))
    assert [event.kind for event in found] == ([kind] if kind else [])
    assert all((one.at_s, one.until_s) == (NOW_S - 35, NOW_S - 5) for one in found)


def test_a_sampler_that_wrote_nothing_new_or_was_never_there_tells_nothing():
    stands = sampled_at(965.0, cpu_steal_s=50.0)
    assert kinds(answer(reading(sampled=stands), before=BEFORE | {"sampled": stands})) == []
    assert kinds(answer(reading(sampled=stands))) == []
    assert kinds(answer(reading(sampled=[]), before=BEFORE | {"sampled": stands})) == []


def test_the_probe_finds_the_newest_sample_and_the_start_that_explains_it(tmp_path):
    assert probe.sampled(tmp_path) == []
    old, new = (tmp_path / name / "samples.jsonl" for name in ("old", "new"))
    for path, count in ((old, 2), (new, 3000)):
        path.parent.mkdir()
        records = [STARTED, *(sampled_at(float(at))[1] for at in range(count))]
        lines = [f"01234567 {json.dumps(one, separators=(',', ':'))}" for one in records]
        path.write_text("\n".join([*lines, '01234567 [1,2,"cut']))
    os.utime(old, (1, 1))
    assert probe.sampled(tmp_path) == [STARTED, sampled_at(2999.0)[1]]
    new.unlink()
    assert probe.sampled(tmp_path) == [STARTED, sampled_at(1.0)[1]]


def test_the_same_on_a_load_host_ends_nothing():
    for now in (full(0.99), reading(boot="b2")):
        (event,) = seen(LOAD, "etcd", answer(now))
        assert event.kind in ("load_disk_filling", "load_reboot")
        assert not stops(event)


DOWN = {"soakbed-etcd.service": unit("failed", "signal")}


def test_a_member_that_is_down_at_two_looks_stays_down():
    assert kinds(answer(reading(units=DOWN))) == []
    again = answer(reading(units=DOWN), before=BEFORE | {"units": DOWN})
    (event,) = seen(DATA, "etcd", again)
    assert (event.kind, event.text) == ("member_down", "soakbed-etcd: failed (signal)")
    assert stops(event)
    assert kinds(again, target="tikv") == []


def test_a_worker_that_failed_for_good_is_lost_and_one_that_ended_is_not():
    name = "soakbed-load-worker@run-etcd-steady:3.service"
    failed = {name: unit("failed", "exit-code")}
    said = answer(reading(units=failed), before=BEFORE | {"units": failed})
    (event,) = seen(LOAD, "etcd", said)
    assert (event.kind, event.worker) == ("worker_lost", 3)
    ended = {name: unit("inactive")}
    assert kinds(answer(reading(units=ended), before=BEFORE | {"units": ended}), LOAD) == []


def test_lines_are_read_by_the_wordings_of_the_archive():
    at = "2026-11-24T09:26:34.060240+0000 d1 "
    journal = {
        "soakbed-etcd.service": [
            at + 'etcd[1]: {"msg":"alarm raised","alarm":"NOSPACE"}',
            at
            + "systemd[1]: soakbed-etcd.service: Main process exited, code=killed, status=9/KILL",
        ],
        "soakbed-etcd-defrag@own.service": [
            at + "soakbed-defrag[7]: soakbed-defrag: gave back 3.0 MB in 0.250 s: 5 are 2 MB now"
        ],
    }
    kernel = [at + "kernel: EXT4-fs error (device vda1): x"]
    told = kinds(answer(journal=journal, kernel=kernel))
    assert told == ["alarm", "died", "defrag", "disk_error"]


class _Shell:
    """Runs the probe of each host here, or says that the host is away."""

    def __init__(self, memory: Path, away=()):
        self.memory, self.away, self.asked = memory, away, []

    def run(self, host, command, *, timeout_s=60, check=True):
        if host.name in self.away:
            raise HostUnreachable(f"{host.name} is away", remedy="wait")
        self.asked.append(host.name)
        question = json.loads(command[-1]) | {"memory": str(self.memory / host.name)}
        here = [sys.executable, *command[1:-1], json.dumps(question)]
        done = subprocess.run(here, capture_output=True, text=True, check=True)
        return Result(0, done.stdout, done.stderr)


def hosts_in(tmp_path) -> Testbed:
    hosts = {host.name: host.model_copy(update={"data_dir": "/tmp"}) for host in (DATA, LOAD)}
    return Testbed(
        name="t",
        provider="static",
        shares_machine=False,
        known_hosts_file=str(tmp_path / "state" / "ssh" / "known_hosts"),
        hosts=hosts,
    )


def test_one_command_per_host_and_a_host_that_is_away_is_waited_for(tmp_path):
    testbed = hosts_in(tmp_path)
    shell = _Shell(tmp_path, away=("l1",))
    found = look(testbed, "etcd", shell=shell, since_s=NOW_S)
    assert shell.asked == ["d1"]
    # No such member here: it was not there at the first look, and is not at the second.
    assert [event.kind for event in found if event.kind == "member_down"] == []
    first = watch(testbed, "etcd", shell=shell, folder=tmp_path / "etcd", since_s=NOW_S)
    assert read_events(tmp_path / "etcd")[0] == first
    assert watch(testbed, "etcd", shell=shell, folder=tmp_path / "etcd", since_s=NOW_S) == []


def test_certificates_must_last_as_long_as_the_load(tmp_path):
    testbed = hosts_in(tmp_path)
    now = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    day_s = 86400
    life, left = dt.timedelta(days=3), dt.timedelta(days=1)
    ensure_pki(pki_of(testbed), {"d1": ["10.0.0.1"]}, lifetime=life, renew_below=left, now=now)
    from_s = now.timestamp()

    def told(at_s, until_s):
        return [event.kind for event in certificates(pki_of(testbed), now_s=at_s, until_s=until_s)]

    assert told(from_s, from_s + 2 * day_s) == told(from_s, 0) == []
    assert told(from_s, from_s + 4 * day_s) == ["certificate_short"]
    assert told(from_s + 3 * day_s, 0) == ["certificate_expired"]
    assert certificates(tmp_path / "none", now_s=from_s, until_s=0) == []


@settings(max_examples=50)
@given(st.lists(st.text(max_size=60), max_size=6), st.floats(0, 2e9), st.integers(0, 10**12))
def test_no_line_and_no_reading_breaks_a_look(lines, at_s, throttled_us):
    said = answer(
        reading(at_s=at_s, throttled_us=throttled_us),
        journal={"soakbed-etcd.service": lines, "any.service": lines},
        kernel=lines,
    )
    assert all(event.host == "d1" for event in seen(DATA, "etcd", said))


def test_the_probe_needs_python_alone():
    allowed = {"json", "os", "re", "subprocess", "sys", "time", "pathlib", "__future__"}
    words = [line.split() for line in PROBE.read_text().splitlines()]
    used = {line[1].split(".")[0] for line in words if line[:1] in (["import"], ["from"])}
    assert used <= allowed
