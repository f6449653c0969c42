"""The live watch: one command on each host, and what it saw as events of the policy.

The host's own readings are kept on the host (`probes/watch.py`), so a controller that was killed
sees at its next look what rose since the last one. Parsing is apart from asking: `seen` is pure.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from soakbed.adapters.pki import expiry
from soakbed.adapters.ssh import CommandFailed, HostUnreachable, Shell
from soakbed.archive.data.journal_signs import GATHERED_S, KERNEL, load_kind, signs_of
from soakbed.archive.data.samples import samples_of_records
from soakbed.archive.data.throttling import throttled
from soakbed.archive.data.told_lines import any_of, found_in
from soakbed.archive.data.watched import append_events
from soakbed.records import policy
from soakbed.records.events import Event
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.collect import MACHINE
from soakbed.stages.disk_growth import full_at_s

__all__ = [
    "CLOCK_STEP_S",
    "MOST_FILLED_SHARE",
    "MOST_FULL_SHARE",
    "certificates",
    "foretold",
    "look",
    "pki_of",
    "seen",
    "watch",
]

PROBE = Path(__file__).with_name("probes") / "watch.py"
MOST_FILLED_SHARE = 0.90
MOST_FULL_SHARE = 0.97
MOST_THROTTLED_SHARE = 0.01  # of the time between two looks, as the judge's rule
# Half a minute of the fastest slewing that chrony does by itself (maxslewrate is for catching up
# alone) is 15 ms; samples, which are closer together, find smaller steps after the run.
CLOCK_STEP_S = 0.25
_OVERLAP_S = 2
_TIMEOUT_S = 30
_MEMORY = "/run/soakbed-watch.json"  # gone after a boot, as what it holds is
_MEMBERS = {
    "etcd": ("soakbed-etcd.service",),
    "redis_cluster": ("soakbed-redis-master.service", "soakbed-redis-replica.service"),
    "tikv": ("soakbed-pd.service", "soakbed-tikv.service"),
}
_UNITS = {
    "etcd": r"soakbed-etcd",
    "redis_cluster": r"soakbed-redis",
    "tikv": r"soakbed-(?:pd|tikv)",
}
_DOWN = ("failed", "inactive")


def watch(
    testbed: Testbed,
    target: str,
    *,
    shell: Shell,
    folder: Path,
    since_s: float,
    until_s: float = 0.0,
) -> list[Event]:
    """Look, and keep what is news in `folder`/events.jsonl (`results/<run_id>/<target>`).

    Returns the news. `since_s`: the last look, or the beginning of the load; `until_s`: when load
    and collection end at the latest, for certificates (0: not known).
    """
    found = look(testbed, target, shell=shell, since_s=since_s, until_s=until_s)
    return append_events(folder, found)


def look(
    testbed: Testbed, target: str, *, shell: Shell, since_s: float, until_s: float = 0.0
) -> list[Event]:
    """What happened on any host since `since_s`, by time. A host that is away tells nothing."""

    def asked(host: Host) -> list[Event]:
        command = ["python3", "-I", "-c", PROBE.read_text(), _question(host, target, since_s)]
        try:
            said = json.loads(shell.run(host, command, timeout_s=_TIMEOUT_S).out)
        except (CommandFailed, HostUnreachable, ValueError):
            return []
        return [*seen(host, target, said), *foretold(host, said, until_s=until_s)]

    hosts = list(testbed.hosts.values())
    with ThreadPoolExecutor(len(hosts)) as pool:
        found = [event for told in pool.map(asked, hosts) for event in told]
    if testbed.shares_machine:
        found += _machine(since_s)
    found += certificates(pki_of(testbed), now_s=time.time(), until_s=until_s)
    return sorted(found, key=lambda event: event.at_s)


def seen(host: Host, target: str, said: Mapping[str, Any]) -> Iterator[Event]:
    """What one host's answer (probes/watch.py) tells of."""
    now, before = said["now"], said["before"]
    for unit, lines in said["journal"].items():
        name = unit.removesuffix(".service")
        signs = signs_of(name, target) or ()
        for one in found_in(lines, signs, host=host.name, source="journal", unit=name):
            if one.event.kind not in GATHERED_S:
                yield one.event
    for one in found_in(said["kernel"], KERNEL, host=host.name, source="kernel"):
        yield one.event
    yield from _disks(host, now)
    if before is not None:
        yield from _compared(host, now, before)
        yield from _gone(host, target, now, before)


def foretold(host: Host, said: Mapping[str, Any], *, until_s: float) -> Iterator[Event]:
    """Disks that will be full before `until_s` if they go on filling as they do (0: not known)."""
    now = said["now"]
    for folder, points in now.get("used", {}).items():
        limit_bytes = MOST_FULL_SHARE * now["disks"][folder]["total"]
        full_s = full_at_s(points, limit_bytes=limit_bytes, until_s=until_s)
        if full_s is None:
            continue
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(full_s))
        hours = (points[-1][0] - points[0][0]) / 3600
        text = f"{folder}: as it filled for {hours:.1f} h, {MOST_FULL_SHARE:.0%} full at {when}"
        yield _told(host, "disk_full_soon", now, text)


def certificates(folder: Path, *, now_s: float, until_s: float) -> list[Event]:
    """Whether the testbed's certificates last until `until_s`; 0: whether they last now."""
    ends = expiry(folder)
    if ends is None:
        return []
    kind = "certificate_expired" if ends.timestamp() <= now_s else "certificate_short"
    if ends.timestamp() > max(now_s, until_s):
        return []
    text = f"certificates: valid until {ends:%Y-%m-%d %H:%M} UTC"
    return [policy.event(kind, now_s, host="", source="watch", text=text)]


def pki_of(testbed: Testbed) -> Path:
    """Where the certificates of a testbed lie, beside its SSH keys in its state."""
    return Path(testbed.known_hosts_file).parent.parent / "pki"


def _question(host: Host, target: str, since_s: float) -> str:
    data = host.duty == "data"
    members = list(_MEMBERS.get(target, ())) if data else []
    load = rf"soakbed-load-.*-{re.escape(target)}-"
    units = [*members, "soakbed-etcd-defrag"] if data else [f"soakbed-load-worker@x-{target}-x:0"]
    signs = [
        sign for unit in units for sign in signs_of(unit.removesuffix(".service"), target) or ()
    ]
    return json.dumps(
        {
            "members": members,
            "units": _UNITS.get(target, "soakbed-") if data else load,
            "folders": [host.data_dir, "/"] if data else ["/var/lib/soakbed"],
            "since_s": int(since_s) - _OVERLAP_S,
            "lines": any_of(signs),
            "kernel": any_of(KERNEL),
            "memory": _MEMORY,
        }
    )


def _disks(host: Host, now: Mapping[str, Any]) -> Iterator[Event]:
    for folder, space in now["disks"].items():
        filled = 1 - space["free"] / space["total"] if space["total"] else 0.0
        if filled <= MOST_FILLED_SHARE and space["inodes_free"]:
            continue
        kind = "load_disk_filling"
        if host.duty == "data":
            kind = "disk_full" if filled > MOST_FULL_SHARE else "disk_filling"
        yield _told(
            host, kind, now, f"{folder}: {filled:.1%} of {space['total'] / 1e9:.1f} GB used"
        )


def _compared(host: Host, now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Event]:
    if now["boot"] != before["boot"]:
        kind = "reboot" if host.duty == "data" else "load_reboot"
        yield _told(host, kind, now, "the host was booted again")
        return
    passed_s = now["mono_s"] - before["mono_s"]
    step_s = (now["at_s"] - before["at_s"]) - passed_s
    if abs(step_s) >= CLOCK_STEP_S:
        way = "forward" if step_s > 0 else "back"
        yield _told(host, "clock_step", now, f"the clock was set {abs(step_s):.3f} s {way}")
    records = [*before.get("sampled", ()), *now.get("sampled", ())]
    samples = samples_of_records(iter(records), host=host.name, duty=host.duty)
    yield from throttled({host.name: samples}, source="watch")
    if None in (now["throttled_us"], before["throttled_us"]) or passed_s <= 0:
        return
    share = (now["throttled_us"] - before["throttled_us"]) / 1e6 / passed_s
    if share > MOST_THROTTLED_SHARE:
        text = f"a CPU quota held the host back for {share:.1%} of {passed_s:.0f} s"
        yield policy.event(
            "throttled",
            now["at_s"] - passed_s,
            until_s=now["at_s"],
            host=host.name,
            source="watch",
            text=text,
        )


def _gone(
    host: Host, target: str, now: Mapping[str, Any], before: Mapping[str, Any]
) -> Iterator[Event]:
    """Units that were down at the last look and still are: nobody is about to start them again."""
    for unit, state in now["units"].items():
        was = before["units"].get(unit, {})
        if state["ActiveState"] not in _DOWN or was.get("ActiveState") not in _DOWN:
            continue
        how = f"{unit.removesuffix('.service')}: {state['ActiveState']} ({state['Result']})"
        if host.duty == "data" and unit in _MEMBERS.get(target, ()):
            yield _told(host, "member_down", now, how)
            continue
        of_load = f"-{target}-" in unit and load_kind("died", unit) == "load_died"
        if of_load and state["ActiveState"] == "failed":
            rank = unit.removesuffix(".service").rpartition(":")[2]
            worker = int(rank) if rank.isdigit() else -1
            yield _told(host, "worker_lost", now, how, worker=worker)


def _told(host: Host, kind: str, now: Mapping[str, Any], text: str, *, worker: int = -1) -> Event:
    return policy.event(kind, now["at_s"], host=host.name, source="watch", text=text, worker=worker)


def _machine(since_s: float) -> list[Event]:
    """The kernel log of this machine, where hosts are containers on it."""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_s - _OVERLAP_S))
    asked = ["dmesg", "--time-format=iso", f"--since={since}"]
    done = subprocess.run(asked, capture_output=True, check=False)
    lines = done.stdout.decode(errors="replace").splitlines() if not done.returncode else []
    found = found_in(lines, KERNEL, host=MACHINE, source="kernel")
    return [one.event for one in found]
