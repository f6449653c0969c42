"""The heartbeat of a testbed: while somebody is at work on it, its lease is extended.

Tags first, so that nobody who sweeps by them takes hosts that go on living; then each host's own
file. What cannot be told is told again at the next beat. It is never a reason to end anything:
until the old end there is a margin of hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from soakbed.adapters.aws import AwsRegion
from soakbed.adapters.aws_companions import mark_companions
from soakbed.adapters.aws_resources import Region, extend, find
from soakbed.adapters.ssh import Shell
from soakbed.archive.data.watched import append_events
from soakbed.archive.run_folder import RunFolder
from soakbed.errors import SoakbedError
from soakbed.records import policy
from soakbed.records.cloud_resource import LeaseName, those_of
from soakbed.records.events import Event
from soakbed.records.lease import Lease, end_of_anothers, extended
from soakbed.records.places import Places
from soakbed.records.testbed import Host, Testbed
from soakbed.records.testbed_spec import LeaseSpec, TestbedSpec
from soakbed.stages.cost import budget_hours
from soakbed.stages.cost_plan import hour_cost_of
from soakbed.stages.lease import held_lease, keep_lease

__all__ = ["BEAT_S", "HOST_FILE", "Heartbeat", "heartbeat_of"]

BEAT_S = 600.0
HOST_FOLDER, HOST_FILE = "/var/lib/soakbed", "lease"  # which role lease asks

Progress = Callable[[str], None]


@dataclass(slots=True)
class Heartbeat:
    """Of one testbed, by one command. `budget_h`: hours since the lease began that are paid for."""

    spec: LeaseSpec
    places: Places
    testbed: Testbed
    shell: Shell
    progress: Progress
    budget_h: float | None = None
    run: RunFolder | None = None
    cloud: Region | None = None
    _tagged_s: int = field(default=0, init=False)

    def __call__(self, planned_end_s: float = 0.0, *, target: str = "") -> None:
        """Extend to a margin after `planned_end_s` (unix time; 0: after now).

        What it could not tell is a warning, and an event of `target` where a run is on.
        """
        before = held_lease(self.places)
        if before is None:
            return
        lease = extended(
            before,
            now_s=time.time(),
            planned_end_s=planned_end_s,
            margin_h=self.spec.margin_h,
            budget_h=self.budget_h,
        )
        if lease != before:
            keep_lease(lease, self.places)
        untold = [*self._tag(lease), *self._tell_hosts(lease, told_s=before.ends_s)]
        for event in untold:
            self.progress(f"warning: {event.text}")
        if untold and self.run is not None and target:
            append_events(self.run.folder(target), untold)

    def _tag(self, lease: Lease) -> list[Event]:
        if self.cloud is None or self._tagged_s == lease.ends_s:
            return []
        run_id = self.run.run_id if self.run else ""
        try:
            name = LeaseName(lease.testbed, lease.id)
            held = those_of(find(self.cloud), [name])
            extend(self.cloud, held, destroy_after_s=lease.ends_s, run_id=run_id)
            mark_companions(self.cloud, name, [one.id for one in held if one.kind == "instance"])
        except SoakbedError as error:
            return [_untold("", f"the cloud could not be told of a longer lease: {error.problem}")]
        self._tagged_s = lease.ends_s
        return []

    def _tell_hosts(self, lease: Lease, *, told_s: int) -> list[Event]:
        def tell(host: Host) -> Event | None:
            try:
                if later_s := self._of_another(host, lease, told_s):
                    whose = "of another controller or an earlier provision, and keeps it"
                    until = f"{host.name} holds a lease until {_utc(later_s)} UTC {whose}"
                    return _untold(host.name, until)
                self.shell.put_texts(host, HOST_FOLDER, {HOST_FILE: f"{lease.ends_s}\n"})
            except SoakbedError as error:
                return _untold(host.name, f"{host.name} was not told its lease: {error.problem}")
            return None

        hosts = list(self.testbed.hosts.values())
        with ThreadPoolExecutor(len(hosts)) as pool:
            return [event for event in pool.map(tell, hosts) if event is not None]

    def _of_another(self, host: Host, lease: Lease, told_s: int) -> int | None:
        """A later end that somebody else gave the host; to cut it short would end their run.

        Nobody else has given any in a cloud: hosts there are of one controller alone
        (`stages.shared_state`).
        """
        if self.cloud is not None:
            return None
        path = f"{HOST_FOLDER}/{HOST_FILE}"
        found = self.shell.run(host, ["head", "-c", "100", path], check=False).out
        return end_of_anothers(found, told_s=told_s, ends_s=lease.ends_s, now_s=time.time())


def heartbeat_of(
    spec: TestbedSpec,
    places: Places,
    testbed: Testbed,
    *,
    shell: Shell,
    progress: Progress,
    run: RunFolder | None = None,
) -> Heartbeat | None:
    """The heartbeat of a testbed; None where its hosts live without a lease."""
    if spec.leased is None:
        return None
    return Heartbeat(
        spec.leased,
        places,
        testbed,
        shell,
        progress,
        budget_h=budget_hours(hour_cost_of(spec, places), spec.budget),
        run=run,
        cloud=AwsRegion(spec.aws.region) if spec.aws else None,
    )


def _untold(host: str, text: str) -> Event:
    return policy.event("lease_not_extended", time.time(), host=host, source="watch", text=text)


def _utc(at_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_s))
