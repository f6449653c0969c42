"""What it means for a run that a host got less than it seems to have: rows of the event policy.

`archive.data.throttling` finds such stretches in the hosts' samples, and has the limits.
"""

from __future__ import annotations

from soakbed.records.policy_rows import Row

__all__ = ["THROTTLE_POLICY"]

THROTTLE_POLICY: tuple[Row, ...] = (
    Row(
        "cpu_stolen", ("samples", "watch"), "leave_out",
        "the hypervisor gave over 5 % of a host's CPU time to others",
        "the target would have had that time on a machine of its own",
        "take an instance type without CPU credits, or another host; see cpu_steal_share",
    ),
    Row(
        "machine_stolen", ("samples",), "flag",
        "the hypervisor gave over 5 % of the CPU time of the machine that hosts share to others",
        "hosts on one machine take CPU from each other anyway, and no figure of such a testbed is "
        "to be set beside one of other hosts",
        "measure on a machine that is not virtual, or is quiet",
    ),
    Row(
        "network_throttled", ("samples", "watch"), "leave_out",
        "the cloud held back over one packet in a thousand of a host: its allowance of bandwidth, "
        "packets or connections was used up",
        "a limit of the instance that reads like one of the target: an operation is some four "
        "packets, so this is what P99 begins to show",
        "take an instance type with a higher sustained (not “up to”) bandwidth, or a lower rate",
    ),
    Row(
        "network_burst", ("samples",), "note",
        "the cloud held back a packet now and then, fewer than one in a thousand",
        "bursts of milliseconds do that far below the allowance, and P99 does not show it",
        "nothing to do; if it grows, as network_throttled",
    ),
    Row(
        "disk_slow", ("samples",), "flag",
        "reads or writes of the data disk took over 10 ms on average, over a whole sample",
        "a disk that is held back and a target that gives it too much look alike from here, so it "
        "stays in the figures and is said",
        "see the disk's plots: if it wrote little meanwhile, take a local NVMe disk or one with "
        "more operations per second",
    ),
)  # fmt: skip
