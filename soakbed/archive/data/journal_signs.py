"""What lines of journals and kernel logs mean: pattern -> kind. Data, and no more; what a kind
means for the run is said by `records.policy_rows`.

Wordings were read in the sources or journals of the pinned versions: etcd 3.5, Redis 7.0, PD and
TiKV 6.5, systemd 252, Linux 6.1. A line that no pattern knows is no event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["GATHERED_S", "HOUSEKEEPING", "KERNEL", "REGION_LEADER", "Sign", "load_kind", "signs_of"]

# TiKV gives every region a leader, Redis rewrites its log as often as it grows: these are told by
# stretches of so many seconds (host_events), with their number.
REGION_LEADER = "region_leader"
GATHERED_S = {REGION_LEADER: 10, "log_rewrite": 600}


@dataclass(frozen=True, slots=True)
class Sign:
    """One wording. Lines that agree on the groups `once_by` of the pattern tell one event.

    A group `took_s` says how long what a line tells of took; the line is its end.
    """

    kind: str
    pattern: re.Pattern[str]
    once_by: tuple[str, ...] = ()


def _sign(kind: str, pattern: str, *once_by: str) -> Sign:
    return Sign(kind, re.compile(pattern), once_by)


# A member that is told to stop may end by the very signal (15), which systemd words like a death.
_DIED = r"Main process exited, code=(?!.*status=(?:15/TERM|143))"
_OF_SYSTEMD = (
    _sign("restart", r"systemd\[\d+\]: .*Scheduled restart job, restart counter"),
    _sign("died", rf"systemd\[\d+\]: .*{_DIED}"),
    _sign("oom_kill", r"systemd\[\d+\]: .*process of this unit has been killed by the OOM"),
    _sign("reboot", r"^-- Boot (?P<boot>[0-9a-f]+) --$", "boot"),
)
_OF_GO = (_sign("panic", r"\]: (?:panic: |fatal error: )"),)
HOUSEKEEPING = "soakbed-etcd-defrag"
# unit prefix -> signs of what runs in it
_BY_UNIT: dict[str, tuple[Sign, ...]] = {
    "soakbed-etcd": (
        _sign("leader_change", r"became leader at term (?P<term>\d+)", "term"),
        _sign("leader_lost", r"lost leader (?P<leader>\w+) at term", "leader"),
        _sign("alarm", r"\"msg\":\"alarm raised\".*\"alarm\":\"(?P<alarm>\w+)\"", "alarm"),
        _sign("panic", r"\"level\":\"(?:panic|fatal)\""),
        *_OF_GO,
    ),
    "soakbed-redis": (
        _sign("leader_change", r"Failover election won"),
        _sign("cluster_down", r"Cluster state changed: (?P<state>fail)", "state"),
        _sign("member_failing", r"Marking node (?P<member>\w+) as failing", "member"),
        _sign("disk_stall", r"AOF fsync is taking too long"),
        _sign("log_rewrite", r"Background AOF rewrite finished successfully"),
        _sign("panic", r"=== REDIS BUG REPORT START"),
    ),
    "soakbed-pd": (
        _sign("leader_change", r"campaign (?:pd|PD) leader ok"),
        _sign("panic", r"\] \[(?:FATAL|PANIC)\] "),
        *_OF_GO,
    ),
    "soakbed-tikv": (
        _sign(REGION_LEADER, r"became leader at term \d+"),
        _sign("panic", r"\] \[FATAL\] "),
    ),
}
# What our own housekeeping says; that it ends, well or not, is no end of a member.
_OF_DEFRAG = (
    _sign("defrag", r"soakbed-defrag: gave back .* in (?P<took_s>[\d.]+) s"),
    _sign("defrag_failed", r"soakbed-defrag: (?:put off|failed)"),
)
_UNITS_OF = {
    "etcd": ("soakbed-etcd",),
    "redis_cluster": ("soakbed-redis",),
    "tikv": ("soakbed-pd", "soakbed-tikv"),
}
_MEMBERS = r"(?:etcd|redis-server|pd-server|tikv-server)"
KERNEL = (
    _sign("oom_kill", rf"Killed process \d+ \({_MEMBERS}\)"),
    _sign("oom_elsewhere", r"Killed process \d+ \([^)]*\)"),
    _sign("disk_error", r"I/O error|EXT4-fs error|XFS \(.*(?:orruption|[Ss]hut)"),
    _sign("disk_reset", r"nvme.*(?:timeout|resetting controller)"),
    _sign("kernel_stall", r"blocked for more than \d+ seconds|soft lockup|rcu.*stall"),
    _sign("clock_unstable", r"[Cc]locksource .* unstable"),
)
_WORKER = "soakbed-load-worker"
# What a worker itself says (loadgen.telling).
_OF_WORKER = (
    _sign("load_died", r"soakbed: engine \d+ died"),
    _sign("steering_lost", r"soakbed: the master (?:has not answered|answers again)"),
    _sign("load_disk_full", r"soakbed: the disk takes (?:nothing|what it is given)"),
)


def load_kind(kind: str, unit: str) -> str:
    """What systemd says of a unit of the load, in words of its own: no member went away.

    >>> load_kind("died", "soakbed-load-worker@run:0"), load_kind("died", "soakbed-load-master@run")
    ('load_died', 'steering_lost')
    >>> load_kind("died", "soakbed-etcd")
    'died'
    """
    if not unit.startswith("soakbed-load-"):
        return kind
    return f"load_{kind}" if unit.startswith(_WORKER) or kind == "reboot" else "steering_lost"


def signs_of(unit: str, target: str) -> tuple[Sign, ...] | None:
    """Signs to look for in the journal of a unit; None: it does not matter to this target.

    Hosts keep the journals of what was measured before; its end is no event of this target.
    """
    if unit.startswith("soakbed-load-"):
        own = (Sign(load_kind(one.kind, unit), one.pattern, one.once_by) for one in _OF_SYSTEMD)
        told = _OF_WORKER if unit.startswith(_WORKER) else ()
        return (*own, *told) if f"-{target}-" in unit else None
    if unit.startswith(HOUSEKEEPING):
        return _OF_DEFRAG if target == "etcd" else None
    for prefix in _UNITS_OF.get(target, tuple(_BY_UNIT)):
        if unit.startswith(prefix):
            return (*_OF_SYSTEMD, *_BY_UNIT[prefix])
    return None
