"""What lines of journals and kernel logs mean: pattern -> kind and severity. Data, and no more.

Wordings were read in the sources or journals of the pinned versions: etcd 3.5, Redis 7.0, PD and
TiKV 6.5, systemd 252, Linux 6.1. A line that no pattern knows is no event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from soakbed.records.events import Severity

__all__ = ["KERNEL", "REGION_LEADER", "Sign", "signs_of"]

# TiKV gives every region a leader; single ones are gathered (host_events).
REGION_LEADER = "region_leader"


@dataclass(frozen=True, slots=True)
class Sign:
    """One wording. Lines that agree on the groups `once_by` of the pattern tell one event."""

    kind: str
    severity: Severity
    pattern: re.Pattern[str]
    once_by: tuple[str, ...] = ()


def _sign(kind: str, severity: Severity, pattern: str, *once_by: str) -> Sign:
    return Sign(kind, severity, re.compile(pattern), once_by)


# A member that is told to stop may end by the very signal (15), which systemd words like a death.
_DIED = r"Main process exited, code=(?!.*status=(?:15/TERM|143))"
_OF_SYSTEMD = (
    _sign("restart", "run", r"systemd\[\d+\]: .*Scheduled restart job, restart counter"),
    _sign("died", "run", rf"systemd\[\d+\]: .*{_DIED}"),
    _sign("oom_kill", "run", r"systemd\[\d+\]: .*process of this unit has been killed by the OOM"),
    _sign("reboot", "run", r"^-- Boot (?P<boot>[0-9a-f]+) --$", "boot"),
)
_OF_GO = (_sign("panic", "run", r"\]: (?:panic: |fatal error: )"),)
# unit prefix -> signs of what runs in it
_BY_UNIT: dict[str, tuple[Sign, ...]] = {
    "soakbed-etcd": (
        _sign("leader_change", "window", r"became leader at term (?P<term>\d+)", "term"),
        _sign("leader_lost", "window", r"lost leader (?P<leader>\w+) at term", "leader"),
        _sign("alarm", "run", r"\"msg\":\"alarm raised\".*\"alarm\":\"(?P<alarm>\w+)\"", "alarm"),
        _sign("panic", "run", r"\"level\":\"(?:panic|fatal)\""),
        *_OF_GO,
    ),
    "soakbed-redis": (
        _sign("leader_change", "window", r"Failover election won"),
        _sign("cluster_down", "phase", r"Cluster state changed: (?P<state>fail)", "state"),
        _sign("member_failing", "window", r"Marking node (?P<member>\w+) as failing", "member"),
        _sign("disk_stall", "window", r"AOF fsync is taking too long"),
        _sign("panic", "run", r"=== REDIS BUG REPORT START"),
    ),
    "soakbed-pd": (
        _sign("leader_change", "window", r"campaign (?:pd|PD) leader ok"),
        _sign("panic", "run", r"\] \[(?:FATAL|PANIC)\] "),
        *_OF_GO,
    ),
    "soakbed-tikv": (
        _sign(REGION_LEADER, "note", r"became leader at term \d+"),
        _sign("panic", "run", r"\] \[FATAL\] "),
    ),
}
_UNITS_OF = {
    "etcd": ("soakbed-etcd",),
    "redis_cluster": ("soakbed-redis",),
    "tikv": ("soakbed-pd", "soakbed-tikv"),
}
KERNEL = (
    _sign("oom_kill", "run", r"Killed process \d+ \([^)]*\)"),
    _sign("disk_error", "run", r"I/O error|EXT4-fs error|XFS \(.*(?:orruption|[Ss]hut)"),
    _sign("disk_error", "phase", r"nvme.*(?:timeout|resetting controller)"),
    _sign("kernel_stall", "phase", r"blocked for more than \d+ seconds|soft lockup|rcu.*stall"),
    _sign("clock_unstable", "phase", r"[Cc]locksource .* unstable"),
)


def signs_of(unit: str, target: str) -> tuple[Sign, ...] | None:
    """Signs to look for in the journal of a unit; None: it does not matter to this target.

    Hosts keep the journals of what was measured before; its end is no event of this target.
    """
    if unit.startswith("soakbed-load-"):
        return _OF_SYSTEMD if f"-{target}-" in unit else None
    for prefix in _UNITS_OF.get(target, tuple(_BY_UNIT)):
        if unit.startswith(prefix):
            return (*_OF_SYSTEMD, *_BY_UNIT[prefix])
    return None
