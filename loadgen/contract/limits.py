"""When a load engine was itself the limit: one window judged by its own numbers, nothing else.

The question is never how slow the target was. A target that stops makes requests wait (`lag`, the
overdue queue) while the engine sits idle, and must not read as the engine's fault; so what is
judged is the engine's CPU, its wait for the core, its own delay (`late`) and its passes.
"""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.contract.histogram import Histogram
from loadgen.contract.window import Window

__all__ = ["LIMITS", "MOST_WAIT_SHARE", "Broken", "Limit", "achieved_share", "limits_broken"]

# measuring.md 1.3: k6 asks for 20 % idle, Redis found its own suites clipped at 81 to 91 %.
MOST_CPU_SHARE = 0.80
# A tenth of the core gone to others is a tenth of the arrivals that find the engine waiting
# (Poisson arrivals see time averages): ten times what moves a P99. Quiet runs on a shared virtual
# machine stay below 0.03 (tests/benchmarks/quiet_runs.py), a busy process on the core gives 0.2.
MOST_WAIT_SHARE = 0.10
# Design D8: the generator's share of what it measures; each percentile beside its own kind.
MOST_DELAY_SHARE = 0.10
# One pause of 10 ms, which a shared virtual machine does to anyone, is already the P99 of a second;
# a P95 takes 50 ms of it. The run as a whole is asked for its P99 (rule `lag`).
DELAY_PERCENTILE = 95.0
# ... and no less than this, or a target that answers in 300 us would make every second of a
# virtual machine suspect. Quiet seconds have 0.1 ms at a quarter of the core and up to 1.5 ms at
# three quarters (run 20261122T214413Z-quick-local-4x); a busy process on the core gives 2.5 to 4.4.
LEAST_DELAY_US = 2_000
# measuring.md 1.3 says 5 ms. One such pass in a second meets 0.5 % of the arrivals, which no P99
# shows, and a shared virtual machine does 18 ms to anyone (the same run). 50 ms in a second is
# 5 % of the arrivals: what moves its P95, as above.
MOST_LOOP_LAG_US = 50_000
MOST_NIC_SHARE = 0.70  # measuring.md 1.3
LEAST_VALUES = 100  # fewer carry no P95 with any meaning in one window


@dataclass(frozen=True, slots=True)
class Limit:
    """One reason that a window can have, and what it means. `unit` is "share" or "us"."""

    reason: str
    most: float
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A limit that a window broke: the value found and the limit it was held against."""

    reason: str
    value: float
    limit: float


LIMITS = (
    Limit("cpu", MOST_CPU_SHARE, "share", "the engine used more of its core than this"),
    Limit("core_taken", MOST_WAIT_SHARE, "share", "the engine waited for its core this long"),
    Limit(
        "own_delay",
        LEAST_DELAY_US,
        "us",
        f"P95 of the engine's own delay, where over {MOST_DELAY_SHARE:.0%} of the response P95",
    ),
    Limit("loop_lag", MOST_LOOP_LAG_US, "us", "one pass of the event loop took longer"),
    Limit("nic", MOST_NIC_SHARE, "share", "the link to the target carried more than this"),
)


def limits_broken(window: Window) -> tuple[Broken, ...]:
    """Which limits the engine broke in one window, in the order of LIMITS; empty when sound.

    A window that was cut short by the end of a phase is not judged: its shares are of a part.
    In a closed loop the engine has no delay of its own, and a full core is what it is for; the
    same limits tell there whether the capacity is the engine's or the target's.
    """
    if not window.complete:
        return ()
    state = window.generator
    found = {
        "cpu": state.cpu_share,
        "core_taken": state.wait_share,
        "own_delay": _delay_that_counts_us(window),
        "loop_lag": state.loop_lag_max_us,
        "nic": state.nic_share,
    }
    return tuple(
        Broken(limit.reason, value, limit.most)
        for limit in LIMITS
        if (value := found[limit.reason]) is not None and value > limit.most
    )


def _delay_that_counts_us(window: Window) -> int | None:
    """P95 of the engine's own delay, where it is a real part of what the window measured."""
    if window.late.total < LEAST_VALUES:
        return None
    late_us = window.late.percentile_us(DELAY_PERCENTILE)
    if late_us <= LEAST_DELAY_US:  # the usual case: no need to merge anything
        return late_us
    response = Histogram.merged(one.response for one in window.operations.values())
    if response.total and late_us <= MOST_DELAY_SHARE * response.percentile_us(DELAY_PERCENTILE):
        return None
    return late_us


def achieved_share(window: Window) -> float | None:
    """Sent over due, open loop; None where nothing was due.

    Shown, and no limit of its own: when the target stalls this falls too. What of it is the
    engine's is in `late`.
    """
    due = sum(operation.due for operation in window.operations.values())
    sent = sum(operation.sent for operation in window.operations.values())
    return sent / due if due and window.mode == "open" else None
