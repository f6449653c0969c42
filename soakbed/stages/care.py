"""How the sessions of a soak are looked after: stops, grave events, notes of times unwatched."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from soakbed.adapters.ssh import Shell
from soakbed.archive.data.watched import append_events
from soakbed.archive.run_folder import RunFolder
from soakbed.records import policy
from soakbed.records.testbed import Testbed
from soakbed.records.watch import Unwatched
from soakbed.stages.budget import budget_watch
from soakbed.stages.heartbeat import Heartbeat
from soakbed.stages.load_plan import load_limit_s
from soakbed.stages.watch import Care
from soakbed.stages.watchman import watch

__all__ = ["care_for"]


def care_for(
    run: RunFolder,
    target: str,
    testbed: Testbed,
    *,
    shell: Shell,
    progress: Callable[[str], None],
    heart: Heartbeat | None = None,
) -> Care:
    """For one target of `run`. Only a soak is minded while it runs; any run can be stopped, and
    ends by itself when its budget is spent; any holds the lease of its hosts (`heart`).
    """
    minding = _Minding(run, target, testbed, shell, progress)
    must_stop = budget_watch(run, progress)

    def beat(planned_end_s: float) -> None:
        if heart is not None:
            heart(planned_end_s, target=target)

    if not run.is_soak():
        return Care(stop_asked=must_stop, note=minding.note, beat=beat)
    duties = {name: host.duty for name, host in testbed.hosts.items()}
    return Care(must_stop, minding, minding.note, beat, duties=duties, patient=True)


@dataclass(frozen=True, slots=True)
class _Minding:
    """Looks at all hosts, and says why the load must stop; keeps what it sees in events.jsonl."""

    run: RunFolder
    target: str
    testbed: Testbed
    shell: Shell
    progress: Callable[[str], None]

    def __call__(self, since_s: float) -> str:
        """Look at what happened since then; "" or why to stop, which is also in stop.json."""
        news = watch(
            self.testbed,
            self.target,
            shell=self.shell,
            folder=self.run.folder(self.target),
            since_s=since_s,
            until_s=time.time() + load_limit_s(self.run.spec()),
        )
        for event in news:
            self.progress(f"warning: {event.host or self.target}: {event.text}")
        grave = [f"{event.host}: {event.text}" for event in news if policy.stops(event)]
        why = "; ".join(grave)
        if grave:
            self.run.ask_to_stop(why, keeps_hosts=True)
        return why

    def note(self, silence: Unwatched) -> None:
        """A time in which nobody looked on is an event, and no gap."""
        event = policy.event(
            "unwatched",
            silence.from_s,
            until_s=silence.until_s,
            host="",
            source="watch",
            text=silence.told,
        )
        append_events(self.run.folder(self.target), [event])
