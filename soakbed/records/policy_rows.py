"""What each kind of event means for a run: data, and no more. `records.policy` asks it.

One question decides: would the target have done this on a healthy testbed under this load? What it
does by itself stays in its figures, pleasant or not; what was done to it, by hosts, disks, clocks
or our own generator, does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from soakbed.records.events import Severity

__all__ = ["CONSEQUENCES", "POLICY", "Consequence", "Row"]

Consequence = Literal["note", "flag", "leave_out", "phase_invalid", "stop"]
# Each with what it does, and the severity that it belongs to.
CONSEQUENCES: dict[Consequence, tuple[Severity, str]] = {
    "note": ("note", "marked on the timeline; no figure changes"),
    "flag": ("window", "its windows are flagged and counted, and stay in every figure"),
    "leave_out": (
        "window",
        "its windows are left out of the steady figures and counted; too many, and the run is "
        "invalid",
    ),
    "phase_invalid": ("phase", "the phase was not what was asked for: the run is judged invalid"),
    "stop": (
        "run",
        "nothing after it can count: a soak stops the load, keeps the hosts as they are, and the "
        "run is judged invalid",
    ),
}

_HOST = ("journal", "kernel", "facts", "samples", "watch")


@dataclass(frozen=True, slots=True)
class Row:
    """One kind. `around_s`: seconds before and after it that count as its windows."""

    kind: str
    sources: tuple[str, ...]
    consequence: Consequence
    meaning: str
    why: str  # this consequence and no other
    remedy: str
    around_s: tuple[float, float] = (0.0, 0.0)

    @property
    def severity(self) -> Severity:
        """What the event puts in doubt."""
        return CONSEQUENCES[self.consequence][0]


POLICY: tuple[Row, ...] = (
    # What a target does by itself.
    Row(
        "leader_change", ("journal", "watch"), "flag",
        "the target chose another leader, or a replica became master",
        "how often a target changes its leader under this load, and what that costs, is a figure "
        "of the target",
        "see the hosts' disks and CPU at that time; a longer election timeout hides the cause",
    ),
    Row(
        "leader_lost", ("journal",), "flag",
        "a member of etcd had no leader for a while",
        "as leader_change",
        "as leader_change",
    ),
    Row(
        "region_leader", ("journal",), "note",
        "regions of TiKV got another leader: PD balances them all the time",
        "balancing is what this target is made of",
        "nothing to do; a caveat tells of leaders that moved in the steady phase",
    ),
    Row(
        "member_failing", ("journal",), "flag",
        "a member of Redis Cluster was called failing by a majority of masters",
        "the target's own judgement; what it cost is in its figures",
        "read that member's journal: a fork, a slow disk or a full core keeps it from answering",
    ),
    Row(
        "disk_stall", ("journal",), "flag",
        "Redis waited for an fsync of its log that took over a second",
        "durability on this disk costs this much, and that is a figure of the target",
        "give the data its own disk, or declare appendfsync=no and what it is worth",
    ),
    Row(
        "defrag", ("journal", "watch"), "note",
        "a member of etcd gave space back to the disk, one member at a time; it answers nothing "
        "meanwhile",
        "planned housekeeping is part of what it takes to run this target for days",
        "nothing to do; housekeeping of the workload turns it off or on",
    ),
    Row(
        "defrag_failed", ("journal", "watch"), "note",
        "a planned defragmentation was put off or failed; the file keeps its size",
        "nothing was done to the target; a file that grows to its quota is told as an alarm",
        "read the journal of soakbed-etcd-defrag on that host",
    ),
    Row(
        "log_rewrite", ("journal",), "note",
        "members of Redis rewrote their append-only log, which forks the process",
        "it happens by itself whenever the log has grown enough, so it is part of the target",
        "nothing to do; auto-aof-rewrite-* in group_vars/tuned.yml say when",
    ),
    # What makes a target another than the one that was asked for.
    Row(
        "cluster_down", ("journal", "watch"), "phase_invalid",
        "Redis Cluster refused keys: a part of its slots had no master",
        "latencies are then of the keys that were still served, so the phase has no figure for "
        "the whole key space",
        "read the members' journals for the master that went away",
    ),
    Row(
        "alarm", ("journal", "watch"), "stop",
        "etcd raised an alarm: no space left in its quota, or a corrupt member",
        "with NOSPACE only reads are served until somebody disarms it; CORRUPT is the end of it",
        "raise etcd_quota_backend_bytes, shorten etcd_auto_compaction_retention, or lower the rate",
    ),
    Row(
        "panic", ("journal",), "stop",
        "a program of the target ended itself",
        "a target with a member less is another target",
        "read that member's journal; it names the place in its source",
    ),
    Row(
        "restart", _HOST, "stop",
        "a member was started again",
        "it comes back with cold caches and had lost its connections; nothing here restarts "
        "members, so somebody else does",
        "read the journals under hosts/ for why it ended",
    ),
    Row(
        "died", ("journal", "watch"), "stop",
        "a member ended without being told to",
        "as panic",
        "read that member's journal and the host's kernel.log",
    ),
    Row(
        "member_down", ("watch", "facts"), "stop",
        "a member that was there when the load began is down, and stays down",
        "as panic",
        "read that member's journal; start it again only for a new run",
    ),
    Row(
        "oom_kill", _HOST, "stop",
        "the kernel killed a member because memory ran out",
        "as panic",
        "give the hosts more memory, or lower maxmemory, the block cache or the key space",
    ),
    # What hosts do to a target.
    Row(
        "oom_elsewhere", ("kernel", "watch"), "leave_out",
        "the kernel killed a program that is no member, because memory ran out",
        "before it kills, the kernel takes page cache and stalls everybody: those seconds are the "
        "host's",
        "keep other work off the hosts",
        around_s=(10.0, 10.0),
    ),
    Row(
        "reboot", ("journal", "watch"), "stop",
        "a data host was booted again",
        "as restart, with the page cache lost too",
        "read kernel.log, and the provider's notices",
    ),
    Row(
        "disk_error", ("kernel", "watch"), "stop",
        "the kernel could not read or write a disk, or shut a file system down",
        "a failing disk answers late long before it answers wrong",
        "replace the disk or the host",
    ),
    Row(
        "disk_reset", ("kernel", "watch"), "phase_invalid",
        "an NVMe disk did not answer and its controller was reset",
        "every write waited for seconds, and nobody knows which disk does it next",
        "suspect the disk; look at its own log (nvme smart-log)",
    ),
    Row(
        "disk_filling", ("watch",), "note",
        "a disk is over 90 % full",
        "nothing suffers yet, but the plateau that was foreseen is not the one that comes",
        "see the projection that was shown before the start: fewer keys, smaller values, a lower "
        "rate, a shorter retention, or a larger disk",
    ),
    Row(
        "disk_full_soon", ("watch",), "note",
        "a disk that goes on filling as it did will be full before the end",
        "an hour of growth and more, on the host itself: there is still time to act",
        "as disk_filling; soakbed stop ends the run in an orderly way and keeps what was measured",
    ),
    Row(
        "disk_full", ("watch",), "stop",
        "the disk of a data host is over 97 % full",
        "file systems fragment and databases begin to refuse; the next failure would be ours",
        "as disk_filling",
    ),
    Row(
        "kernel_stall", ("kernel", "watch"), "phase_invalid",
        "a process waited over 120 s for a disk, or a CPU was stuck for over 20 s",
        "a machine that stands still that long was no place to measure",
        "read kernel.log; on a virtual machine suspect its host",
    ),
    Row(
        "clock_unstable", ("kernel",), "phase_invalid",
        "the kernel gave its clock source up for a slower one",
        "from then on every time that is read costs more, on this host and no other",
        "boot the host with a clock source that stays",
    ),
    Row(
        "clock_step", ("samples", "watch"), "leave_out",
        "the clock of a host was set by 50 ms or more",
        "windows of several hosts no longer mean the same second, and timers fire early or late",
        "let chrony slew the clock, and start it long before the load",
        around_s=(6.0, 1.0),
    ),
    Row(
        "throttled", ("watch",), "leave_out",
        "a CPU quota held a host back",
        "the quota's doing, not the target's",
        "lift the CPU quota of the hosts",
    ),
    Row(
        "certificate_short", ("watch",), "note",
        "certificates end before the load and the collection of its evidence would",
        "nothing fails before that hour",
        "stop the run in good time: the certificates of a running target are not renewed",
    ),
    Row(
        "certificate_expired", ("watch",), "stop",
        "certificates are no longer valid",
        "no connection can be made again, by clients or between members",
        "prepare the hosts anew: soakbed provision renews certificates",
    ),
    # What happens to the load, which the target has no part in.
    Row(
        "load_restart", ("journal", "samples", "watch"), "leave_out",
        "a worker of the load was started again and went on in the plan",
        "with a worker less the target had an easier second",
        "read the journal of that unit; coverage counts what was not pressed",
        around_s=(3.0, 3.0),
    ),
    Row(
        "load_died", ("journal",), "leave_out",
        "a worker of the load ended without being told to",
        "as load_restart",
        "as load_restart",
        around_s=(2.0, 3.0),
    ),
    Row(
        "load_oom_kill", ("journal", "watch"), "leave_out",
        "the kernel killed a part of the load generator because memory ran out",
        "as load_restart",
        "give the load host more memory, or fewer connections per worker",
        around_s=(3.0, 3.0),
    ),
    Row(
        "steering_lost", ("journal", "samples"), "note",
        "Locust's master, or a tunnel to it, ended, was started again, or did not answer; engines "
        "press on without",
        "load goes by the plan on the load hosts (design D9)",
        "nothing to do; Locust's own pages may show fewer operations",
    ),
    Row(
        "load_reboot", ("journal", "watch"), "flag",
        "a load host was booted again",
        "while it was down nobody pressed, so there is nothing to leave out: coverage counts it",
        "read kernel.log of that host",
    ),
    Row(
        "load_disk_filling", ("watch",), "note",
        "the disk of a load host is over 90 % full; engines go on without it",
        "what an engine cannot write it keeps in memory as long as it can, and says so",
        "make room on the load host; finished runs are in /var/lib/soakbed/sessions",
    ),
    Row(
        "load_disk_full", ("journal",), "note",
        "the disk of a load host took nothing, or takes what it is given again",
        "windows that could not be written were kept in memory; coverage counts any that were lost",
        "as load_disk_filling",
    ),
    Row(
        "worker_lost", ("watch",), "phase_invalid",
        "a worker of the load is gone and is not started again",
        "from then on the target is pressed with less than was asked for",
        "read the journal of its unit, then: soakbed resume",
    ),
    Row(
        "engine_bound", ("watch",), "flag",
        "a load engine broke a limit of its own",
        "the rule generator_bound judges every second of the steady phase, with its own limit",
        "see the table of marked seconds; keep other work off the load host's cores",
    ),
    # What happened to the evidence.
    Row(
        "gap", ("samples",), "note",
        "a host was not sampled for a while",
        "figures of the load do not need samples; those of resources leave it out",
        "nothing to do",
    ),
    Row(
        "unwatched", ("watch",), "note",
        "nobody looked at the run for a while; the load went on and was fetched later",
        "load needs no controller (design D9)",
        "nothing to do",
    ),
    Row(
        "cut_frame", ("archive",), "note",
        "a spool ends inside a frame; its bytes are left out and counted",
        "the engine died while it wrote; what is missing is counted as such",
        "see what ended that worker",
    ),
    Row(
        "no_end", ("archive",), "note",
        "an engine's own totals are missing",
        "the rule workers_reported judges it",
        "see what ended that worker",
    ),
    Row(
        "missing_spool", ("archive",), "phase_invalid",
        "a planned worker left no file",
        "half the load must never be read as all of it",
        "collect again while the load host lives",
    ),
    Row(
        "chain", ("archive",), "phase_invalid",
        "a spool cannot be followed from frame to frame",
        "what lies up to the next whole frame is lost",
        "collect again, and suspect the disk",
    ),
    Row(
        "sealed_hour", ("archive",), "phase_invalid",
        "a sealed hour of a worker cannot be read",
        "a whole hour of that worker is missing; the rule spools_whole judges it",
        "collect again while the load host lives, and suspect the disk",
    ),
    Row(
        "checksum", ("archive",), "flag",
        "bytes of a frame were changed; it is left out",
        "that worker's window is missing; the rule spools_whole judges it",
        "collect again, and suspect the disk",
    ),
    Row(
        "content", ("archive",), "flag",
        "a frame cannot be read although its checksum is right; it is left out",
        "as checksum",
        "read it with the soakbed that measured it",
    ),
    Row(
        "schema", ("archive",), "flag",
        "a frame has another schema; it is left out",
        "as checksum",
        "read it with the soakbed that measured it",
    ),
    Row(
        "missing_windows", ("archive",), "flag",
        "windows of a worker are missing",
        "as checksum; coverage counts them",
        "see what ended that worker",
    ),
    Row(
        "duplicate_window", ("archive",), "note",
        "a window was there before; the second one is left out",
        "nothing is counted twice",
        "nothing to do",
    ),
    Row(
        "time_step", ("archive",), "flag",
        "a window begins before the one before it ended, or long after: the clock was set, or an "
        "engine stood still",
        "samples tell of a clock that was set, and those seconds are left out; in the rest there "
        "is no window, and coverage counts them",
        "as clock_step, or see what held that worker up",
    ),
)  # fmt: skip
