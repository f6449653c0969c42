"""The whole flow on one screen: provision -> configure -> load -> collect -> judge -> report.

Every stage leaves a record; a second call resumes at the first record that is missing.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from soakbed.adapters.host_image import ensure_image
from soakbed.adapters.local_machine import living_hosts
from soakbed.adapters.openssh import greets
from soakbed.adapters.patient import PatientShell
from soakbed.adapters.ssh import Shell, Ssh
from soakbed.adapters.wheels import load_host_variables, loadgen_build
from soakbed.archive.manifest import manifest
from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.errors import Unavailable
from soakbed.pressing import PATIENCE_S, Pressing, Progress, Stopwatch, Tools
from soakbed.records.calibration import RunCalibration
from soakbed.records.lease import Lease
from soakbed.records.places import Places
from soakbed.records.run import StageTime
from soakbed.records.spec import TARGETS, RunSpec, TestbedSpec
from soakbed.records.summary import Summary
from soakbed.records.testbed import Testbed
from soakbed.reporting import judge_and_report
from soakbed.stages.calibrate import KEPT, known_calibration, machines_of
from soakbed.stages.configure import (
    preparation_of,
    prepare_hosts,
    with_counted_cores,
)
from soakbed.stages.cost_plan import begin_cost, end_cost
from soakbed.stages.hardware import architecture_of
from soakbed.stages.heartbeat import heartbeat_of
from soakbed.stages.host_checks import check_local_machine
from soakbed.stages.inventory import inventory
from soakbed.stages.lease import drop_lease, held_lease, hold_lease
from soakbed.stages.provision import ProvisionOutcome, provision
from soakbed.stages.watch_notes import WATCH

__all__ = ["Bench", "Progress", "Stopwatch", "Tools", "fetch", "prepare"]


def fetch(
    spec: TestbedSpec,
    targets: Sequence[str],
    *,
    tools: Tools,
    places: Places,
    watch: Stopwatch,
    allow_substitute: bool = True,
) -> dict[str, Unavailable]:
    """Image, artifacts and the load hosts' packages into the cache, side by side.

    Returns the targets whose artifacts cannot be had: `bench` calls them not_measured.
    """
    lacking: dict[str, Unavailable] = {}
    arch = architecture_of(spec, places)

    def bundle(target: str) -> None:
        try:
            tools.artifacts.bundle(target, allow_substitute=allow_substitute, arch=arch)
        except Unavailable as error:
            lacking[target] = error

    with watch.stage("fetch"), ThreadPoolExecutor() as pool:
        if spec.provider == "local":
            check_local_machine(spec, places)
        jobs = [pool.submit(load_host_variables, places, arch=arch, progress=tools.progress)]
        jobs += [pool.submit(bundle, target) for target in targets]  # type: ignore[arg-type]
        if spec.provider == "local":
            jobs.append(pool.submit(ensure_image, places, progress=tools.progress))  # type: ignore[arg-type]
        for job in jobs:
            job.result()
    return lacking


def prepare(
    spec: TestbedSpec,
    profile: str,
    *,
    tools: Tools,
    places: Places,
    watch: Stopwatch,
    only_what_is_missing: bool = False,
) -> Testbed:
    """Hosts made, tuned, certified and with the load generator on them.

    `only_what_is_missing`: trust an earlier preparation by the same playbooks and profile, as
    `bench` does right after `provision`; a host that was made again is always prepared.
    """
    fetch(spec, TARGETS, tools=tools, places=places, watch=watch)
    had = held_lease(places)
    came_up, lease = _made(spec, tools=tools, places=places, watch=watch)
    mark = places.state / "prepared.json"
    wanted = preparation_of(places, profile) | ({"lease": lease.id} if lease else {})
    if came_up.changed:
        mark.unlink(missing_ok=True)
    if only_what_is_missing and mark.exists() and json.loads(mark.read_text()) == wanted:
        return with_counted_cores(came_up.testbed, places)
    with watch.stage("prepare hosts") as changed:
        prepared = prepare_hosts(
            came_up.testbed,
            profile,
            ansible=tools.ansible,
            places=places,
            log=places.state / "logs" / "site.jsonl",
            progress=tools.progress,
            load_host=_packages(spec, places, tools),
            **_of_lease(had, lease),
        )
        changed(prepared.changed)
        if lease is None:
            drop_lease(places)
        write_whole(places.state / "preflight.json", json.dumps(prepared.facts, indent=1) + "\n")
        write_whole(mark, json.dumps(wanted) + "\n")
    return with_counted_cores(came_up.testbed, places)


def _of_lease(had: Lease | None, lease: Lease | None) -> dict[str, Any]:
    """What role lease is told: when hosts end, or that they no longer do."""
    dropped = had is not None and lease is None
    return {"lease_ends_s": lease.ends_s if lease else 0, "lease_dropped": dropped}


def _packages(spec: TestbedSpec, places: Places, tools: Tools) -> dict[str, str]:
    """What the load hosts run, of their own architecture."""
    return load_host_variables(places, arch=architecture_of(spec, places), progress=tools.progress)


def _made(
    spec: TestbedSpec, *, tools: Tools, places: Places, watch: Stopwatch
) -> tuple[ProvisionOutcome, Lease | None]:
    """The hosts, and the lease that they live on."""
    lease = hold_lease(spec, places)
    with watch.stage("provision") as changed:
        made = provision(spec, terraform=tools.terraform, places=places, progress=tools.progress)
        changed(made.changed)
    if lease is not None:
        lease = _beat_once(spec, places, made.testbed, tools) or lease
    return made, lease


def _beat_once(spec: TestbedSpec, places: Places, testbed: Testbed, tools: Tools) -> Lease | None:
    """Whoever calls for the hosts wants them to live on: tell them, before preparing them."""
    with Ssh(testbed) as shell:
        heart = heartbeat_of(spec, places, testbed, shell=shell, progress=tools.progress)
        if heart is not None:
            heart()
    return held_lease(places)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: press every target of the spec in turn, each alone on the hosts (design D11)."""

    spec: RunSpec
    run: RunFolder
    places: Places
    tools: Tools
    watch: Stopwatch
    earlier: tuple[StageTime, ...] = ()  # of the command that made the hosts

    def __call__(self, command: Sequence[str]) -> Summary:
        """The run from its first missing record to the page."""
        self._keep_manifest(command)
        is_on = self.run.is_soak() and self._load_is_on()
        testbed = self._hosts(is_on=is_on)
        begin_cost(self.run, self.spec.testbed, self.places)
        with Ssh(testbed) as hosts:
            patience_s = math.inf if is_on else PATIENCE_S
            waiting = PatientShell(hosts, self.tools.progress, patience_s)
            shell = waiting if self.run.is_soak() else hosts
            if not is_on:
                self._keep_manifest(command, self._calibration(testbed, shell))
            heart = heartbeat_of(
                self.spec.testbed,
                self.places,
                testbed,
                shell=hosts,
                progress=self.tools.progress,
                run=self.run,
            )
            press = Pressing(self.spec, self.run, self.places, self.tools, self.watch, hosts, heart)
            for target in self.spec.targets:
                press(target, testbed, shell)
        end_cost(self.run)
        self._keep_manifest(command)
        summary = judge_and_report(self.run, stage=self.watch.stage)
        self._keep_manifest(command)
        self.run.finish()
        return summary

    def _hosts(self, *, is_on: bool) -> Testbed:
        """The hosts, prepared; while a soak's load is on they are left alone, even silent ones.

        To make a host again whose network alone is gone would throw the load away.
        """
        if is_on:
            self.tools.progress("the load is on: the hosts are taken as they are")
            return self.run.read("testbed", Testbed)
        testbed = prepare(
            self.spec.testbed,
            self.spec.profile,
            tools=self.tools,
            places=self.places,
            watch=self.watch,
            only_what_is_missing=True,
        )
        self.run.keep("testbed", Testbed, lambda: testbed)
        self._keep_preparation(testbed)
        return testbed

    def _load_is_on(self) -> bool:
        """Whether a session was begun and not accounted for, on hosts in which something runs."""
        begun = [
            path.parent
            for target in self.spec.targets
            for path in self.run.folder(target, "load").glob(f"*/{WATCH}")
        ]
        if all(folder.with_suffix(".json").exists() for folder in begun):
            return False
        if self._have_ended():
            return False
        if self.spec.testbed.provider != "local":
            return True
        return set(self.spec.testbed.hosts) <= living_hosts(self.spec.testbed.name)

    def _have_ended(self) -> bool:
        """Whether the hosts' lease ended, and with it the hosts: there is nobody to wait for."""
        lease = held_lease(self.places)
        if lease is None or not lease.has_lapsed(time.time()) or not self.run.has("testbed"):
            return False
        hosts = self.run.read("testbed", Testbed).hosts.values()
        if any(greets(host.reached_at, host.port, within_s=5) for host in hosts):
            return False
        self.tools.progress(
            "warning: the lease of the hosts ended, and they with it; what was not fetched by then "
            "is lost"
        )
        return True

    def _calibration(self, testbed: Testbed, shell: Shell) -> RunCalibration:
        """The load hosts' ceiling as it is known now, or as the run began with."""
        held = RunCalibration.in_manifest(self.run.read("manifest", dict[str, Any]))
        if held.calibration is not None:
            return held
        return known_calibration(
            self.places.state / KEPT,
            self.spec.workload,
            engine_build=loadgen_build(self.places),
            machines=machines_of(testbed, shell),
        )

    def _keep_manifest(
        self, command: Sequence[str], calibration: RunCalibration | None = None
    ) -> None:
        """What ran, with the times so far; a resumed run keeps the command it began with."""
        before = self.run.read("manifest", dict[str, Any]) if self.run.has("manifest") else {}
        made = manifest(
            self.run.run_id,
            self.places.project,
            command=str(before.get("command") or shlex.join(command)),
            times=[*self.earlier, *self.run.times()],
        )
        held = calibration.model_dump(mode="json", by_alias=True) if calibration else None
        made["calibration"] = held or before.get("calibration")
        commits = [*before.get("earlier_commits", []), before.get("commit")]
        made["earlier_commits"] = [
            commit for commit in commits if commit not in (None, made["commit"])
        ]
        made |= {key: before.get(key, {}) for key in ("engines", "clock_offsets")}
        self.run.write("manifest", made)

    def _keep_preparation(self, testbed: Testbed) -> None:
        """The inventory, the log of the preparation, and what the hosts measured in it."""
        path = self.run.path / "inventory.yml"
        if not path.exists():
            write_whole(path, json.dumps(inventory(testbed), indent=1) + "\n")
        for source, copy in (
            (self.places.state / "logs" / "site.jsonl", self.run.folder("ansible") / "site.jsonl"),
            (self.places.state / "preflight.json", self.run.path / "preflight.json"),
        ):
            if source.exists() and not copy.exists():
                shutil.copyfile(source, copy)
