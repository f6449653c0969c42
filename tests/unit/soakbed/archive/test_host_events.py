"""Collected files -> events: every wording that we know, once, where and when it happened."""

from __future__ import annotations

import json

import numpy as np
import pytest

from soakbed.archive.data.host_events import MACHINE_LOG, host_events
from soakbed.archive.data.samples import ClockStep, HostSamples

AT = "2026-11-24T09:26:34.060240+0000"
AT_S = 1795512394.06024


def folder_of(
    tmp_path, files=None, *, sessions=((AT_S - 100, AT_S + 100),), since_s=0.0, name="any"
):
    target = tmp_path / name
    (target / "load").mkdir(parents=True)
    (target / "collected.json").write_text(json.dumps({"since_s": since_s}))
    for number, (start_s, end_s) in enumerate(sessions):
        outcome = {"started_s": start_s, "ended_s": end_s}
        (target / "load" / f"session-{number}.json").write_text(json.dumps(outcome))
    for name, content in (files or {}).items():
        path = target / "hosts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return target


def journal(unit: str, *said: str, at: str = AT, host="d1") -> dict[str, str]:
    return {f"{host}/journal/{unit}.log": "".join(f"{at} {host} {one}\n" for one in said)}


@pytest.mark.parametrize(
    ("unit", "said", "kind", "severity", "text"),
    [
        pytest.param(
            "soakbed-etcd",
            'etcd[136]: {"level":"info","logger":"raft","msg":"5a84 became leader at term 2"}',
            "leader_change", "window", "soakbed-etcd: 5a84 became leader at term 2",
            id="etcd leads",
        ),
        pytest.param(
            "soakbed-etcd",
            'etcd[136]: {"level":"info","msg":"raft.node: 1b03 lost leader 5a84 at term 3"}',
            "leader_lost", "window", "soakbed-etcd: raft.node: 1b03 lost leader 5a84 at term 3",
            id="etcd loses",
        ),
        pytest.param(
            "soakbed-etcd",
            'etcd[1]: {"level":"warn","msg":"alarm raised","alarm":"NOSPACE","from":"5a84"}',
            "alarm", "run", "soakbed-etcd: alarm raised", id="etcd full",
        ),
        pytest.param(
            "soakbed-redis-replica",
            "redis-server[302]: 302:S 24 Nov 2026 09:26:34.060 # Failover election won: I'm the "
            "new master.",
            "leader_change", "window",
            "soakbed-redis-replica: Failover election won: I'm the new master.", id="redis leads",
        ),
        pytest.param(
            "soakbed-redis-master",
            "redis-server[301]: 301:M 24 Nov 2026 09:26:34.060 # Cluster state changed: fail",
            "cluster_down", "phase", "soakbed-redis-master: Cluster state changed: fail",
            id="redis down",
        ),
        pytest.param(
            "soakbed-pd",
            'pd-server[7]: [2026/11/24 09:26:34.060 +00:00] [INFO] [server.go:1370] '
            '["campaign pd leader ok"] [campaign-pd-leader-name=d1]',
            "leader_change", "window",
            'soakbed-pd: ["campaign pd leader ok"] [campaign-pd-leader-name=d1]', id="pd leads",
        ),
        pytest.param(
            "soakbed-tikv",
            'tikv-server[8]: [2026/11/24 09:26:34.060 +00:00] [FATAL] [lib.rs:4] ["disk is gone"]',
            "panic", "run", 'soakbed-tikv: ["disk is gone"]', id="tikv panics",
        ),
        pytest.param(
            "soakbed-etcd",
            "systemd[1]: soakbed-etcd.service: Scheduled restart job, restart counter is at 1.",
            "restart", "run",
            "soakbed-etcd: Scheduled restart job, restart counter is at 1.",
            id="restarted",
        ),
        pytest.param(
            "soakbed-tikv",
            "systemd[1]: soakbed-tikv.service: Main process exited, code=killed, status=9/KILL",
            "died", "run",
            "soakbed-tikv: Main process exited, code=killed, status=9/KILL",
            id="killed",
        ),
        pytest.param(
            "soakbed-etcd",
            "systemd[1]: soakbed-etcd.service: A process of this unit has been killed by the OOM "
            "killer.",
            "oom_kill", "run",
            "soakbed-etcd: A process of this unit has been killed by the OOM "
            "killer.", id="out of memory",
        ),
    ],
)  # fmt: skip
def test_a_wording_that_we_know_is_an_event(tmp_path, unit, said, kind, severity, text):
    found = host_events(folder_of(tmp_path, journal(unit, "x[1]: nothing", said, "x[1]: nothing")))
    (event,) = found.events
    assert (event.kind, event.severity, event.text) == (kind, severity, text)
    assert event.at_s == event.until_s == pytest.approx(AT_S, abs=1e-5)
    assert (event.host, event.source, found.unread) == ("d1", "journal", {})


@pytest.mark.parametrize(
    "said",
    [
        "systemd[1]: soakbed-etcd.service: Main process exited, code=killed, status=15/TERM",
        "systemd[1]: soakbed-etcd.service: Main process exited, code=exited, status=143/n/a",
        "systemd[1]: soakbed-etcd.service: Deactivated successfully.",
        'etcd[1]: {"level":"info","msg":"published local member to cluster through raft"}',
    ],
)
def test_a_member_that_was_told_to_stop_did_not_die(tmp_path, said):
    assert host_events(folder_of(tmp_path, journal("soakbed-etcd", said))).events == []


def test_what_happened_before_or_after_the_load_puts_nothing_in_doubt(tmp_path):
    said = "systemd[1]: soakbed-etcd.service: Scheduled restart job, restart counter is at 1."
    target = folder_of(
        tmp_path,
        journal("soakbed-etcd", said),
        sessions=[(AT_S - 60, AT_S - 5), (AT_S + 5, AT_S + 9)],
    )
    assert [event.severity for event in host_events(target).events] == ["note"]


def test_what_lies_before_the_run_is_not_told(tmp_path):
    said = "kernel: Out of memory: Killed process 5 (x)"
    files = {"d1/kernel.log": f"{AT} d1 {said}\n"}
    assert host_events(folder_of(tmp_path, files, since_s=AT_S + 1)).events == []


def test_an_event_without_a_time_is_counted_and_not_guessed(tmp_path):
    files = {
        "d1/journal/soakbed-etcd.log": "yesterday d1 systemd[1]: x: Scheduled restart job, restart "
        "counter is at 1.\n"
    }
    found = host_events(folder_of(tmp_path, files))
    assert found.events == []
    assert found.unread == {"journal/soakbed-etcd.log: restart without a time": 1}


def test_a_reboot_is_told_once_at_the_time_of_the_first_line_after_it(tmp_path):
    lines = f"-- Boot 0123abc --\n{AT} d1 x[1]: hello\n"
    files = {f"d1/journal/{unit}.log": lines for unit in ("soakbed-pd", "soakbed-tikv")}
    (event,) = host_events(folder_of(tmp_path, files)).events
    assert (event.kind, event.severity, event.at_s) == ("reboot", "run", pytest.approx(AT_S))


def test_what_several_members_tell_of_is_one_event_until_the_last_told_it(tmp_path):
    said = 'etcd[1]: {"msg":"raft.node: 1b lost leader 5a at term 3"}'
    files = journal("soakbed-etcd", said) | journal(
        "soakbed-etcd", said, host="d2", at=AT.replace("34.", "35.")
    )
    (event,) = host_events(folder_of(tmp_path, files)).events
    assert (event.host, event.until_s - event.at_s) == ("d1", pytest.approx(1.0))


def test_a_cluster_that_is_down_is_one_event_although_every_member_says_so(tmp_path):
    said = "redis-server[1]: 1:M 24 Nov 2026 09:26:34.060 # Cluster state changed: fail"
    files = {}
    for host in ("d1", "d2", "d3"):
        files |= journal("soakbed-redis-master", said, host=host)
    assert len(host_events(folder_of(tmp_path, files)).events) == 1


def test_the_end_of_a_target_that_was_measured_before_is_no_event_of_this_one(tmp_path):
    died = "systemd[1]: x.service: Main process exited, code=killed, status=9/KILL"
    worker = "soakbed-load-worker@run-{}-steady:0"
    files = {}
    for unit in (
        "soakbed-etcd",
        "soakbed-pd",
        "soakbed-tikv",
        *map(worker.format, ("etcd", "tikv")),
    ):
        files |= journal(unit, died)
    found = host_events(folder_of(tmp_path, files, name="tikv"))
    assert sorted(event.text.partition(": ")[0] for event in found.events) == [
        "soakbed-load-worker@run-tikv-steady:0",
        "soakbed-pd",
        "soakbed-tikv",
    ]


def test_the_same_term_of_a_cluster_made_again_is_another_event(tmp_path):
    said = 'etcd[1]: {"msg":"5a became leader at term 2"}'
    files = journal("soakbed-etcd", said) | journal(
        "soakbed-etcd", said, host="d2", at=AT.replace("09:26", "09:36")
    )
    assert len(host_events(folder_of(tmp_path, files)).events) == 2


def test_a_leader_that_hands_over_for_planned_housekeeping_is_a_note_and_any_other_is_not(tmp_path):
    def change(term, second):
        said = f'etcd[1]: {{"msg":"5a became leader at term {term}"}}'
        return f"{AT.replace('34.', second)} d1 {said}\n"

    turn = (
        "soakbed-defrag[9]: soakbed-defrag: gave back 57.0 MB in 2.000 s: 86.4 MB are 29.4 MB now"
    )
    files = {
        "d1/journal/soakbed-etcd.log": change(2, "20.") + change(3, "30."),
        "d1/journal/soakbed-etcd-defrag@last.log": f"{AT} d1 {turn}\n",
    }
    found = host_events(folder_of(tmp_path, files, name="etcd")).events
    assert [(one.kind, one.severity) for one in found] == [
        ("leader_change", "window"),
        ("leader_change", "note"),
        ("defrag", "note"),
    ]
    assert found[2].until_s - found[2].at_s == pytest.approx(2.0)


def test_leaders_of_regions_are_told_by_stretches(tmp_path):
    said = '[2026/11/24 09:26:34.060 +00:00] [INFO] [raft.rs:1] ["became leader at term 6"]'
    files = journal("soakbed-tikv", *[f"tikv-server[8]: {said} [region_id={i}]" for i in range(7)])
    (event,) = host_events(folder_of(tmp_path, files)).events
    assert event.text == "soakbed-tikv: 7 regions have their leader here from now"
    assert event.severity == "note"


def test_a_kill_for_memory_that_every_container_reads_is_told_once(tmp_path):
    line = "2026-11-24T09:26:34,060240+00:00 Memory cgroup out of memory: Killed process 9 (etcd)\n"
    files = dict.fromkeys(("d1/kernel.log", "d2/kernel.log", MACHINE_LOG), line)
    (event,) = host_events(folder_of(tmp_path, files)).events
    assert (event.kind, event.source, event.severity) == ("oom_kill", "kernel", "run")
    assert event.at_s == pytest.approx(AT_S)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("blk_update_request: I/O error, dev vda, sector 5 op 0x1:(WRITE)", "disk_error"),
        ("EXT4-fs error (device vda1): ext4_find_entry:1455", "disk_error"),
        ("INFO: task redis-server:301 blocked for more than 120 seconds.", "kernel_stall"),
        ("clocksource: Marking clocksource 'tsc' as unstable because the skew", None),
        ("clocksource tsc unstable (delta = 12 ns)", None),
    ],
)
def test_lines_of_the_kernel(tmp_path, line, kind):
    files = {"d1/kernel.log": f"{AT} d1 kernel: {line}\n"}
    found = [event.kind for event in host_events(folder_of(tmp_path, files)).events]
    assert found == [kind or "clock_unstable"]


def test_restarts_that_no_journal_tells_of_are_told_by_the_counters(tmp_path):
    def units(restarts):
        return {"at_s": AT_S + restarts, "units": {"soakbed-etcd.service": {"restarts": restarts}}}

    said = "systemd[1]: soakbed-etcd.service: Scheduled restart job, restart counter is at 1."
    files = {"d1/facts-before.json": units(0), "d1/facts-after.json": units(2)}
    found = host_events(folder_of(tmp_path, files | journal("soakbed-etcd", said)))
    assert [event.source for event in found.events] == ["journal", "facts"]
    assert "restarts rose by 2, and its journal tells of 1" in found.events[1].text


def test_samples_tell_of_clocks_gaps_and_members_begun_anew_but_not_twice(tmp_path):
    said = "systemd[1]: soakbed-etcd.service: Scheduled restart job, restart counter is at 1."
    samples = HostSamples({}, {})
    samples.clock_steps = [ClockStep(AT_S - 5, -1.5)]
    samples.gaps = [(AT_S - 50, AT_S - 10)]
    samples.restarts = [
        (AT_S + 4, "soakbed-etcd.service"),
        (AT_S + 50, "soakbed-etcd.service"),
        (AT_S, "soakbed-samples-x.service"),
        (AT_S, "soakbed-etcd-defrag@own.service"),
    ]
    found = host_events(folder_of(tmp_path, journal("soakbed-etcd", said)), {"d1": samples})
    told = [(event.source, event.kind, event.severity) for event in found.events]
    assert told == [
        ("samples", "gap", "note"),
        ("samples", "clock_step", "window"),
        ("journal", "restart", "run"),
        ("samples", "restart", "run"),
    ]
    assert "1.500 s back" in found.events[1].text
    assert np.all(np.diff([event.at_s for event in found.events]) >= 0)


def test_a_damaged_record_is_counted(tmp_path):
    files = {"d1/facts-before.json": "{", "d1/facts-after.json": {"at_s": 1}}
    assert host_events(folder_of(tmp_path, files)).unread == {"d1/facts-before.json: not JSON": 1}
