"""What lies between one window of a worker and the next: nothing, lost windows, a clock's step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from soakbed.records.collated import Damage

__all__ = ["Seen", "damages_between"]


@dataclass(frozen=True, slots=True)
class Seen:
    """Where one window stands: its number, phase and time."""

    seq: int
    phase: str
    start_s: int
    length_s: int

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Seen:
        """From the plain form of a window."""
        return cls(
            int(plain["seq"]), str(plain["phase"]), int(plain["start_s"]), int(plain["length_s"])
        )

    def follows(self, before: Seen) -> bool:
        """Whether it is later, by number and by time."""
        later = self.start_s > before.start_s or (
            self.start_s == before.start_s and self.phase != before.phase
        )
        return later and self.seq > before.seq


def damages_between(before: Seen, now: Seen, session: str, worker: int) -> list[Damage]:
    """What must be said of the step from window `before` to the next one, `now`."""
    due_s = before.start_s + before.length_s
    named = {"session": session, "worker": worker}
    lost = now.seq - before.seq - 1
    where = f"{session}/worker-{worker}"
    if lost > 0:
        text = f"{where}: {lost:,} windows are missing, {_utc(due_s)} to {_utc(now.start_s)}"
        return [
            Damage(
                kind="missing_windows",
                treatment="named",
                count=lost,
                at_s=due_s,
                until_s=max(now.start_s, due_s),
                text=text,
                **named,
            )
        ]
    step_s = now.start_s - due_s
    # The phases of a session may lie apart, but time runs forward in it.
    stepped = step_s != 0 if now.phase == before.phase else now.start_s < before.start_s
    if not stepped and lost == 0:
        return []
    way = "back" if step_s < 0 else "forward"
    text = f"{where}: the clock went {way} by {abs(step_s):,} s at {_utc(now.start_s)}"
    if lost < 0:
        text += f", and windows are counted from {now.seq} again"
    return [
        Damage(
            kind="clock_step",
            treatment="marked" if step_s < 0 else "named",
            count=abs(step_s),
            at_s=min(now.start_s, due_s),
            until_s=max(now.start_s, due_s),
            text=text,
            **named,
        )
    ]


def _utc(unix_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))
